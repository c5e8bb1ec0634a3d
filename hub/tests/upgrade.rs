//! A queue that a version before wrote is brought up to date when a hub starts on it, and goes on with its jobs.

mod rig;

use std::path::{Path, PathBuf};

use protocol::api::{JobView, Lease, LogRef, Pause, SettleRequest, Settlement};
use protocol::{JobState, RunId, RunState};
use rig::{On, Rig, WORKER, error, script, success};

/// The migrations that made the schema before the newest.
const SQLITE: [&str; 4] = [
    include_str!("../src/store/sqlite/001.sql"),
    include_str!("../src/store/sqlite/002.sql"),
    include_str!("../src/store/sqlite/003.sql"),
    include_str!("../src/store/sqlite/004.sql"),
];
const POSTGRES: [&str; 4] = [
    include_str!("../src/store/postgres/001.sql"),
    include_str!("../src/store/postgres/002.sql"),
    include_str!("../src/store/postgres/003.sql"),
    include_str!("../src/store/postgres/004.sql"),
];

/// Brings the queue, with all its rows, back to the schema before, and opens it again.
async fn downgraded(rig: Rig, on: On) -> Rig {
    match on {
        On::Sqlite => {
            let newest = rig.folder.path().join("newest.db");
            bue_hub::backup(rig.folder.path(), &newest).unwrap();
            let former = former_file(rig.folder.path(), &newest);
            rig.restart_after(|folder| bue_hub::restore(folder, &former)).await
        }
        On::Postgres => {
            rig::postgres::change(rig.config.postgres.as_deref().unwrap(), &former_schema()).await;
            rig.restart().await
        }
    }
}

/// A file of the schema before with the rows of `newest`, as far as it has columns for them.
fn former_file(folder: &Path, newest: &Path) -> PathBuf {
    let path = folder.join("former.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    SQLITE.iter().for_each(|migration| file.execute_batch(migration).unwrap());
    file.pragma_update(None, "user_version", SQLITE.len() as i64).unwrap();
    file.execute("ATTACH ?1 AS newest", [newest.to_str().unwrap()]).unwrap();
    for table in names(&file, "SELECT name FROM main.sqlite_schema WHERE type = 'table'") {
        let columns = names(&file, &format!("SELECT name FROM pragma_table_info('{table}', 'main')")).join(", ");
        let copy = format!(
            "DELETE FROM main.{table}; INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newest.{table}"
        );
        file.execute_batch(&copy).unwrap();
    }
    path
}

fn names(file: &rusqlite::Connection, sql: &str) -> Vec<String> {
    let mut statement = file.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Does the same to a database.
fn former_schema() -> String {
    let migrations = POSTGRES.concat();
    let version = POSTGRES.len();
    format!(
        "ALTER SCHEMA bue RENAME TO newest;
        CREATE SCHEMA bue;
        SET search_path = bue;
        CREATE TABLE schema (version bigint NOT NULL);
        {migrations}
        DO $$
        DECLARE name text; columns text;
        BEGIN
            FOR name IN SELECT table_name FROM information_schema.tables WHERE table_schema = 'bue' LOOP
                SELECT string_agg(quote_ident(column_name), ', ') INTO columns
                    FROM information_schema.columns WHERE table_schema = 'bue' AND table_name = name;
                EXECUTE format('DELETE FROM bue.%I', name);
                EXECUTE format('INSERT INTO bue.%1$I (%2$s) SELECT %2$s FROM newest.%1$I', name, columns);
            END LOOP;
        END $$;
        UPDATE schema SET version = {version};
        DROP SCHEMA newest CASCADE;"
    )
}

async fn settle(rig: &Rig, lease: &Lease, outcome: protocol::Outcome) {
    let (job, attempt, token) = (lease.job, lease.attempt, lease.token);
    let log = Some(LogRef::Text(format!("attempt {attempt}\n")));
    let settlement = Settlement { job, attempt, token, outcome, log, sandbox: Some("full".to_owned()) };
    rig.queue.settle(SettleRequest { session: WORKER, settlements: vec![settlement] }).await.unwrap();
}

/// What is shown of the jobs of a run.
async fn shown(rig: &Rig, run: &RunId) -> Vec<String> {
    let line = |job: &JobView| format!("{} {} {:?} {:?} {:?}", job.id, job.name, job.state, job.attempts, job.parents);
    rig.jobs(run).await.iter().map(line).collect()
}

async fn a_queue_of_the_version_before_goes_on_with_its_jobs(on: On) {
    let rig = Rig::new(on).await;
    let text = script(&["a !retries 3", "b", "c"], "p = | a\nq = b | c\nfor x in p():\n    q(x)\n");
    let run = rig.submit(&text).await;
    let paused = rig.submit(&script(&["z"], "p = | z\np()\n")).await;
    rig.queue.pause(Pause::Run(paused.clone())).await.unwrap();
    settle(&rig, &rig.next_of("a").await, error("ValueError: no")).await;
    let a = rig.next_of("a").await;
    settle(&rig, &a, success("[1, 2, 3]")).await;
    let held = rig.next_of("b").await;
    settle(&rig, &rig.next_of("b").await, success("2")).await;
    let before = shown(&rig, &run).await;

    let rig = downgraded(rig, on).await;
    assert_eq!(shown(&rig, &run).await, before);
    assert_eq!(rig.queue.status().await.unwrap().paused, [Pause::Run(paused.clone())]);
    let history = rig.queue.job(a.job).await.unwrap().history;
    let told: Vec<_> =
        history.iter().map(|attempt| (attempt.number, attempt.outcome.as_str(), &attempt.sandbox)).collect();
    assert_eq!(told, [(1, "error", &None), (2, "success", &None)], "the schema before has no column for sandboxes");
    assert_eq!(rig.queue.log(a.job, Some(1)).await.unwrap(), Some(LogRef::Text("attempt 1\n".to_owned())));

    settle(&rig, &held, success("1")).await;
    let history = rig.queue.job(held.job).await.unwrap().history;
    assert_eq!(history[0].sandbox.as_deref(), Some("full"));
    rig.queue.resume(Pause::Run(paused.clone())).await.unwrap();
    loop {
        let leases = rig.lease(10).await;
        if leases.is_empty() {
            break;
        }
        for lease in &leases {
            settle(&rig, lease, success("3")).await;
        }
    }
    for run in [&run, &paused] {
        let jobs = rig.jobs(run).await;
        assert!(jobs.iter().all(|job| job.state == JobState::Succeeded), "{jobs:?}");
        assert_eq!(rig.run(run).await.state, RunState::Succeeded);
    }
    let after = rig.submit(&text).await;
    assert!(rig.jobs(&after).await[0].id > jobs_max(&before), "no number is given twice");
}

fn jobs_max(shown: &[String]) -> protocol::JobId {
    shown.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).max().unwrap()
}

on_both_stores! {
    a_queue_of_the_version_before_goes_on_with_its_jobs,
}
