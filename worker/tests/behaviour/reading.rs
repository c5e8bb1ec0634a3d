//! Tables that the process of a Python step has read before there is a lease for the step.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use bue_worker::Config;
use protocol::api::Lease;
use protocol::{JobId, LeaseToken, Outcome, Place, ValueKind, ValueRef};
use serde_json::value::RawValue;

use crate::fake_hub::{Fleet, Work, python, sqlite, until};
use crate::sandbox::here;

/// A table that is too large to travel inside of a settlement.
const TABLE: &str = "def step():\n    return [{'n': n, 'text': f'row {n}'} for n in range(20_000)]\n";
/// Says whether the table was read before, and what is in it.
const TAKE: &str = "import sys\nahead = sys.modules.get('buelon.runner.ahead')\nread = bool(ahead and ahead._read)\n\
    def step(rows):\n    return [read, len(rows), rows[-1]['text']]\n";

fn patient(config: &mut Config) {
    here(config);
    config.limits.ahead_kept = Duration::from_secs(600);
}

/// A chain of two steps, of which the hub gives out as many attempts as are asked for.
struct Chain {
    fleet: Fleet,
    leases: [Lease; 2],
    count: u8,
    /// How many attempts of the second step there were.
    taken: u8,
}

impl Chain {
    async fn start(take: Work, change: impl FnOnce(&mut Config)) -> Self {
        Self::of(python(TABLE), take, change).await
    }

    async fn of(make: Work, take: Work, change: impl FnOnce(&mut Config)) -> Self {
        let fleet = Fleet::with(change);
        let leases = fleet.add_chain([make, take]);
        let mut chain = Self { fleet, leases, count: 0, taken: 0 };
        let table = chain.settled(&chain.leases[0].clone()).await;
        // From now on it is known which interpreter the second step is forked from.
        chain.take(table).await;
        chain
    }

    fn fresh(&mut self, step: usize, inputs: Vec<ValueRef>) -> Lease {
        self.count += 1;
        let of = &self.leases[step];
        let mut token = of.token;
        token.0[7] = self.count;
        Lease { token: LeaseToken(token.0), job: JobId(1_000 + u64::from(self.count)), inputs, ..of.clone() }
    }

    async fn settled(&self, lease: &Lease) -> ValueRef {
        match self.fleet.hub.settlement(lease.job).await.outcome {
            Outcome::Success { value, .. } => value,
            other => panic!("not a success: {other:?}"),
        }
    }

    /// What the first step returns once more.
    async fn table(&mut self) -> ValueRef {
        let lease = self.fresh(0, Vec::new());
        self.fleet.give(lease.clone());
        self.settled(&lease).await
    }

    /// What the second step returns for a table.
    async fn take(&mut self, table: ValueRef) -> String {
        self.taken += 1;
        let lease = self.fresh(1, vec![table]);
        self.fleet.give(lease.clone());
        let value = self.settled(&lease).await;
        let values =
            bucket::value::Values::new(self.fleet.bucket.clone(), self.fleet.folder.path(), Default::default());
        values.read(&value, 1 << 30).await.unwrap().get().to_owned()
    }

    /// What the first step returns once more, and whether the table was lent to somebody before it had returned.
    async fn growing(&mut self, last: &str) -> (Outcome, bool) {
        until("nobody has a table of before", || crate::ahead::inputs(&self.fleet) == 0).await;
        let place = Place::Json(RawValue::from_string(format!(r#"[{{"last": "{last}"}}]"#)).unwrap());
        let lease = self.fresh(0, vec![ValueRef { kind: ValueKind::List, length: None, place }]);
        self.fleet.give(lease.clone());
        let settled = self.fleet.hub.settlement(lease.job);
        tokio::pin!(settled);
        let mut is_lent = false;
        loop {
            tokio::select! {
                biased;
                settled = &mut settled => return (settled.outcome, is_lent),
                () = tokio::time::sleep(Duration::from_millis(1)) => is_lent |= crate::ahead::inputs(&self.fleet) > 0,
            }
        }
    }

    /// Goes on until a table is read ahead: there must be a process that waits, and the worker must be known to be idle.
    async fn until_read(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let table = self.table().await;
            let found = self.take(table).await;
            if found == READ {
                return;
            }
            assert_eq!(found, NOT_READ);
            assert!(Instant::now() < deadline, "no table is read before its step is there");
        }
    }
}

const READ: &str = r#"[true,20000,"row 19999"]"#;
const NOT_READ: &str = r#"[false,20000,"row 19999"]"#;

#[tokio::test]
async fn the_process_of_a_step_has_read_its_table_and_has_run_no_code_of_it() {
    let shared = tempfile::tempdir().unwrap();
    std::fs::set_permissions(shared.path(), Permissions::from_mode(0o777)).unwrap();
    let path = shared.path().join("ran");
    let code = format!("with open({path:?}, 'a') as file:\n    file.write('ran ')\n{TAKE}");
    let writable = shared.path().to_owned();
    let mut chain = Chain::start(python(&code), |config| {
        patient(config);
        config.sandbox.writable.push(writable);
    })
    .await;
    chain.until_read().await;
    let ran = || std::fs::read_to_string(&path).unwrap().matches("ran ").count();
    let before = ran();
    assert_eq!(before, usize::from(chain.taken), "once for each lease");
    let tables = [chain.table().await, chain.table().await];
    chain.fleet.value(python("def step():\n    return 1\n")).await;
    assert_eq!(ran(), before, "it ran although nobody had a lease for it");
    for table in tables {
        assert!([READ, NOT_READ].contains(&chain.take(table).await.as_str()));
    }
}

/// Writes rows for a while. What it does at the last one the table tells that it takes.
fn rows() -> Work {
    let last =
        "CASE (SELECT last FROM orders) WHEN 'refused' THEN json('no JSON') WHEN 'other' THEN n ELSE 'row ' || n END";
    let rows = "WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < 399999)";
    let code = format!("{rows} SELECT n, CASE WHEN n = 399999 THEN {last} ELSE 'row ' || n END AS text FROM c");
    sqlite(&code).input(r#"[{"last": "as the others"}]"#)
}

#[tokio::test]
async fn a_table_of_a_sql_step_is_read_while_it_is_written() {
    let mut chain = Chain::of(rows(), python(TAKE), patient).await;
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let (outcome, is_lent) = chain.growing("as the others").await;
        let Outcome::Success { value, .. } = outcome else { panic!("not a success: {outcome:?}") };
        let found = chain.take(value).await;
        assert!(found.ends_with(r#",400000,"row 399999"]"#), "{found}");
        if is_lent && found.starts_with("[true") {
            return;
        }
        assert!(Instant::now() < deadline, "no table is read while it is written");
    }
}

#[tokio::test]
async fn no_table_is_read_while_it_is_written_where_nothing_is_to_be_begun_ahead() {
    let mut chain = Chain::of(rows(), python(TAKE), |config| {
        patient(config);
        config.limits.ahead_max = 0;
    })
    .await;
    for _ in 0..3 {
        let (outcome, is_lent) = chain.growing("as the others").await;
        assert!(matches!(outcome, Outcome::Success { .. }) && !is_lent, "{outcome:?}");
    }
}

#[tokio::test]
async fn what_is_read_of_a_table_goes_where_the_step_does_not_come_to_its_end_or_writes_it_anew() {
    let mut chain = Chain::of(rows(), python(TAKE), patient).await;
    for last in ["refused", "other"] {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let (outcome, is_lent) = chain.growing(last).await;
            if let Outcome::Success { value, .. } = outcome {
                let found = chain.take(value).await;
                assert!(last == "other" && found.ends_with(r#",400000,399999]"#), "{found}");
            } else {
                assert!(last == "refused" && matches!(outcome, Outcome::Error(_)), "{outcome:?}");
            }
            until("what it read goes", || crate::ahead::inputs(&chain.fleet) == 0).await;
            if is_lent {
                break;
            }
            assert!(Instant::now() < deadline, "no table is read while it is written");
        }
    }
}

#[tokio::test]
async fn a_job_that_takes_another_table_is_given_that() {
    let mut chain = Chain::start(python(TAKE), patient).await;
    let code = "def step():\n    return [{'n': n, 'text': f'other {n}'} for n in range(9_000)]\n";
    let other = chain.fleet.stored(python(code)).await;
    chain.until_read().await;
    let table = chain.table().await;
    assert!(chain.take(other).await.ends_with(r#"9000,"other 8999"]"#));
    assert!([READ, NOT_READ].contains(&chain.take(table).await.as_str()));
}

#[tokio::test]
async fn what_was_read_for_nobody_goes() {
    let mut chain = Chain::start(python(TAKE), |config| {
        here(config);
        config.limits.ahead_kept = Duration::from_millis(300);
    })
    .await;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        chain.table().await;
        if crate::ahead::inputs(&chain.fleet) > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "nothing is read");
    }
    until("its files go", || crate::ahead::inputs(&chain.fleet) == 0).await;
    // Others have its room.
    chain.until_read().await;
}

#[tokio::test]
async fn a_table_that_was_read_stays_as_it_was_when_the_worker_has_no_room_for_it_any_more() {
    let mut chain = Chain::start(python(TAKE), |config| {
        patient(config);
        // For one of them.
        config.limits.tables_bytes_max = 700_000;
    })
    .await;
    chain.until_read().await;
    for _ in 0..5 {
        let tables = [chain.table().await, chain.table().await];
        for table in tables {
            assert!([READ, NOT_READ].contains(&chain.take(table).await.as_str()));
        }
    }
}

#[tokio::test]
async fn a_step_whose_variables_are_its_attempts_own_reads_its_table_itself() {
    let declares = python(TAKE).set(|settings| settings.runtime.environment.push("WORD".to_owned()));
    for (take, ahead_max) in [(declares, 2), (python(TAKE), 0)] {
        let mut chain = Chain::start(take, |config| {
            patient(config);
            config.limits.ahead_max = ahead_max;
        })
        .await;
        for _ in 0..8 {
            let table = chain.table().await;
            assert_eq!(chain.take(table).await, NOT_READ);
        }
    }
}
