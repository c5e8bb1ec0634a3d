//! Steps that are begun while the table that they take is still being stored.

use std::path::PathBuf;
use std::time::Duration;

use bue_worker::Config;
use protocol::api::Lease;
use protocol::{Digest, ErrorKind, JobId, Outcome, Place, ValueRef};

use crate::fake_hub::{Fleet, Work, python, sqlite, until};

/// A table that is too large to travel inside of a settlement.
const TABLE: &str = "def step():\n    return [{'n': n, 'text': f'row {n}'} for n in range(20_000)]\n";
/// Tells the processes that ran it apart.
const MARKED: &str = "SELECT count(*) AS n, 'mark {{uuid|m}}' AS mark FROM orders";
/// Runs for longer than any test.
const ENDLESS: &str = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) AS n FROM c";

fn patient(config: &mut Config) {
    config.limits.ahead_kept = Duration::from_secs(600);
}

/// What is in the folders of processes under names that begin like this.
fn files(fleet: &Fleet, start: &str) -> Vec<PathBuf> {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let scratches = entries(fleet.folder.path().join("worker/scratch")).flat_map(entries);
    let files = scratches.filter(|path| path.is_dir()).flat_map(entries);
    files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(start)).collect()
}

/// What has been returned and not cleared away.
fn returned(fleet: &Fleet) -> Vec<PathBuf> {
    files(fleet, "value")
}

/// How many processes were given a file and have not been cleared away.
pub fn inputs(fleet: &Fleet) -> usize {
    files(fleet, "input").len()
}

async fn value_of(fleet: &Fleet, lease: &Lease) -> ValueRef {
    match fleet.hub.settlement(lease.job).await.outcome {
        Outcome::Success { value, .. } => value,
        other => panic!("not a success: {other:?}"),
    }
}

/// Has the first step run, and says what it returned.
async fn first(fleet: &Fleet, first: Work, second: Work) -> (ValueRef, Lease) {
    let [first, second] = fleet.add_chain([first, second]);
    (value_of(fleet, &first).await, second)
}

/// The mark of the process that ran ahead, when it has returned.
async fn mark_ahead(fleet: &Fleet) -> String {
    let mark = || {
        let contents = returned(fleet).into_iter().filter_map(|path| std::fs::read(path).ok());
        contents.filter_map(|content| mark_in(&String::from_utf8_lossy(&content))).next()
    };
    until("the step that was begun ahead returns", || mark().is_some()).await;
    mark().unwrap()
}

fn mark_in(text: &str) -> Option<String> {
    let place = text.find("mark ")? + "mark ".len();
    text.get(place..place + 36).filter(|mark| mark.bytes().filter(|byte| *byte == b'-').count() == 4).map(str::to_owned)
}

async fn json(fleet: &Fleet, value: &ValueRef) -> String {
    let values = bucket::value::Values::new(fleet.bucket.clone(), fleet.folder.path(), Default::default());
    values.read(value, 1 << 30).await.unwrap().get().to_owned()
}

#[tokio::test]
async fn the_step_that_takes_a_table_runs_while_it_is_stored_and_what_came_of_it_is_used_once() {
    let fleet = Fleet::with(|config| {
        patient(config);
        config.limits.inline_bytes_max = 64;
    });
    let (table, second) = first(&fleet, python(TABLE), sqlite(MARKED)).await;
    let mark = mark_ahead(&fleet).await;
    let leased = Lease { inputs: vec![table], ..second };
    fleet.give(leased.clone());
    let value = json(&fleet, &value_of(&fleet, &leased).await).await;
    assert!(value.starts_with(r#"[{"n":20000,"#), "{value}");
    assert_eq!(mark_in(&value), Some(mark.clone()));
    // Its retry has a process of its own.
    let again = Lease { attempt: 2, job: JobId(77), ..leased };
    fleet.give(Lease { token: protocol::LeaseToken([7; 16]), ..again.clone() });
    let value = json(&fleet, &value_of(&fleet, &again).await).await;
    assert!(value.starts_with(r#"[{"n":20000,"#) && mark_in(&value) != Some(mark), "{value}");
}

/// The keys of all values that are stored for a job.
fn objects(fleet: &Fleet, lease: &Lease) -> Vec<String> {
    let prefix = format!("runs/{}/{}", lease.run, lease.job);
    let entries = std::fs::read_dir(fleet.folder.path().join("bucket").join(&prefix)).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let is_whole = |name: &String| name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    names.filter(is_whole).map(|name| format!("{prefix}/{name}")).collect()
}

/// The key of a value that is an object.
fn key(value: &ValueRef) -> &str {
    match &value.place {
        Place::Object { key, .. } => key,
        other => panic!("no object: {other:?}"),
    }
}

#[tokio::test]
async fn what_a_step_returned_before_there_was_a_lease_is_stored_as_that_of_its_jobs_first_attempt() {
    let own = |lease: &Lease| {
        let mark = Digest::of(&lease.token.0).to_string();
        format!("runs/{}/{}/{}-{}", lease.run, lease.job, lease.attempt, &mark[..8])
    };
    for (attempt, other_job) in [(1, false), (2, false), (1, true)] {
        let fleet = Fleet::with(patient);
        let all = sqlite("SELECT n, n * 2 AS double, text FROM orders");
        let (table, second) = first(&fleet, python(TABLE), all).await;
        until("it is stored", || !objects(&fleet, &second).is_empty()).await;
        let job = if other_job { JobId(77) } else { second.job };
        let leased = Lease { inputs: vec![table], attempt, job, ..second };
        fleet.give(leased.clone());
        let value = value_of(&fleet, &leased).await;
        let stored = objects(&fleet, &leased);
        assert!(stored.iter().any(|stored| stored == key(&value)), "{stored:?}");
        // That of another job, or of a further attempt, is not taken for it.
        assert_eq!(key(&value) == own(&leased), (attempt, other_job) != (1, false), "{value:?}");
        assert!(json(&fleet, &value).await.ends_with(r#"{"n":19999,"double":39998,"text":"row 19999"}]"#));
    }
}

#[tokio::test]
async fn a_job_of_the_same_step_that_takes_another_table_gets_its_own_result() {
    let fleet = Fleet::with(|config| {
        patient(config);
        config.limits.inline_bytes_max = 64;
    });
    let other = fleet.stored(python("def step():\n    return [{'n': n} for n in range(7_000)]\n")).await;
    let (_, second) = first(&fleet, python(TABLE), sqlite(MARKED)).await;
    let mark = mark_ahead(&fleet).await;
    let leased = Lease { inputs: vec![other], ..second };
    fleet.give(leased.clone());
    let value = json(&fleet, &value_of(&fleet, &leased).await).await;
    assert!(value.starts_with(r#"[{"n":7000,"#) && mark_in(&value) != Some(mark), "{value}");
}

#[tokio::test]
async fn what_no_lease_comes_for_goes() {
    let fleet = Fleet::with(|config| config.limits.ahead_kept = Duration::from_millis(1));
    first(&fleet, python(TABLE), sqlite(ENDLESS)).await;
    until("its process and its folder go", || inputs(&fleet) == 0 && returned(&fleet).is_empty()).await;
    // Another one has its room.
    let (table, second) = first(&fleet, python(TABLE), sqlite(MARKED)).await;
    let leased = Lease { inputs: vec![table], ..second };
    fleet.give(leased.clone());
    value_of(&fleet, &leased).await;
}

#[tokio::test]
async fn what_was_begun_for_a_table_that_nobody_wants_goes_with_it() {
    let fleet = Fleet::with(|config| config.limits.ahead_kept = Duration::from_millis(300));
    let all = sqlite("SELECT n, n * 2 AS double, text FROM orders");
    let leases = fleet.add_chain([python(TABLE), all, sqlite(ENDLESS)]);
    value_of(&fleet, &leases[0]).await;
    until("the third step has begun", || inputs(&fleet) > 1).await;
    until("all processes and folders go", || inputs(&fleet) == 0 && returned(&fleet).is_empty()).await;
}

#[tokio::test]
async fn a_worker_that_ends_stops_what_was_begun() {
    let fleet = Fleet::with(patient);
    first(&fleet, python(TABLE), sqlite(ENDLESS)).await;
    until("it has begun", || inputs(&fleet) > 0).await;
    let summary = fleet.stop().await;
    assert_eq!((summary.succeeded, summary.released, summary.failed), (1, 0, 0));
}

#[tokio::test]
async fn an_attempt_that_is_revoked_stops_the_process_that_was_begun_for_it() {
    let fleet = Fleet::with(patient);
    let (table, second) = first(&fleet, python(TABLE), sqlite(ENDLESS)).await;
    let leased = Lease { inputs: vec![table], ..second };
    fleet.give(leased.clone());
    until("it has begun", || inputs(&fleet) > 0 && fleet.hub.available() == 0).await;
    fleet.hub.revoke(leased.token);
    until("its process and its folder go", || inputs(&fleet) == 0).await;
    assert!(!fleet.hub.is_settled(leased.job));
    assert_eq!(fleet.value(python("def step():\n    return 1\n")).await, "1");
}

#[tokio::test]
async fn an_error_is_that_of_the_attempt() {
    let fleet = Fleet::with(patient);
    let (table, second) = first(&fleet, python(TABLE), sqlite("SELECT\n  nmae FROM orders")).await;
    let leased = Lease { inputs: vec![table], ..second };
    fleet.give(leased.clone());
    match fleet.hub.settlement(leased.job).await.outcome {
        Outcome::Error(error) => {
            assert_eq!(
                (error.kind, error.message.as_str()),
                (ErrorKind::Sql, "no such column: nmae (script.bue, line 6)")
            );
        }
        other => panic!("not an error: {other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_begun_that_has_effects_or_where_none_may_be() {
    let effect =
        "def step(rows):\n    with open(PATH, 'a') as file:\n        file.write('ran\\n')\n    return len(rows)\n";
    let fleet = Fleet::with(patient);
    let path = fleet.folder.path().join("ran");
    let code = format!("PATH = {path:?}\n{effect}");
    let (table, second) = first(&fleet, python(TABLE), python(&code)).await;
    let leased = Lease { inputs: vec![table], ..second };
    fleet.give(leased.clone());
    assert_eq!(json(&fleet, &value_of(&fleet, &leased).await).await, "20000");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "ran\n");

    let none = Fleet::with(|config| config.limits.ahead_max = 0);
    let (table, second) = first(&none, python(TABLE), sqlite(ENDLESS)).await;
    assert_eq!(inputs(&none), 0);
    let leased = Lease { inputs: vec![table], ..second };
    none.give(leased.clone());
    until("it has begun", || inputs(&none) > 0).await;
    none.hub.revoke(leased.token);
}
