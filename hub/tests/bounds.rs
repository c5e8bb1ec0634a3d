//! What a hub does by itself to keep its queue in bounds, and how copies of it are made.

mod rig;

use std::time::Duration;

use bue_hub::QueueError;
use protocol::api::{Pause, Settled};
use protocol::{Digest, ErrorKind, JobState, Outcome, RunState};
use rig::{On, Rig, WORKER, error, script, success};

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(20), "not within twenty seconds: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn a_worker_that_beats_but_never_settles_is_timed_out_by_the_hub_at_the_cost_of_a_retry(on: On) {
    let rig = Rig::with(on, |config| config.limits.timeout_grace = Duration::from_millis(100)).await;
    let run = rig.submit(&script(&["a !retries 1,!timeout 1"], "p = | a\np()\n")).await;
    let first = rig.next_of("a").await;
    assert!(rig.beat(WORKER, &[&first]).await.revoked.is_empty());
    let second = rig.next_of("a").await;
    assert_eq!(second.attempt, 2);
    assert_eq!(rig.beat(WORKER, &[&first, &second]).await.revoked, [first.token]);
    assert_eq!(rig.settle(&first, success("1")).await, Settled::Stale);
    until("the last retry is spent", async || rig.run(&run).await.state == RunState::Failed).await;
    let failed = rig.jobs(&run).await.remove(0);
    assert_eq!((failed.state, failed.error.unwrap().kind), (JobState::Failed, ErrorKind::Timeout));
    assert_eq!(rig.settle(&second, success("1")).await, Settled::Stale);
}

async fn the_time_of_a_lease_does_not_run_while_its_step_does_not(on: On) {
    let rig = Rig::with(on, |config| {
        config.limits.timeout_grace = Duration::ZERO;
        config.limits.beat = Duration::from_millis(100);
    })
    .await;
    let run = rig
        .submit(&script(&["a !retries 0,!timeout 1", "b !retries 0,!timeout 1"], "p = | a\nq = | b\np()\nq()\n"))
        .await;
    let leases = rig.lease(2).await;
    // The other one shows that more than its time has passed.
    until("the one whose step runs is over", async || {
        assert!(rig.beat_idle(WORKER, &[&leases[0]]).await.revoked.is_empty());
        rig.beat(WORKER, &[&leases[1]]).await.revoked.len() == 1
    })
    .await;
    assert_eq!(rig.settle(&leases[0], success("1")).await, Settled::Settled);
    assert_eq!(rig.settle(&leases[1], success("1")).await, Settled::Stale);
    assert_eq!(rig.run(&run).await.counts.succeeded, 1);
}

async fn a_lease_within_its_time_is_left_alone(on: On) {
    let rig = Rig::with(on, |config| config.limits.timeout_grace = Duration::ZERO).await;
    rig.submit(&script(&["a !timeout 1", "b"], "p = | a\nq = | b\np()\nq()\n")).await;
    let leases = rig.lease(2).await;
    until("the short one is over", async || rig.beat(WORKER, &[&leases[0], &leases[1]]).await.revoked.len() == 1).await;
    assert_eq!(rig.settle(&leases[0], success("1")).await, Settled::Stale);
    assert_eq!(rig.settle(&leases[1], success("1")).await, Settled::Settled);
}

async fn finished_runs_over_the_bounds_are_deleted_with_all_their_jobs_and_the_rest_is_kept(on: On) {
    let rig = Rig::with(on, |config| {
        config.limits.kept.succeeded_runs_max = 1;
        config.limits.kept.failed_runs_max = 1;
        config.limits.kept.cancelled_for = Duration::ZERO;
        config.limits.kept.look = Duration::from_millis(20);
    })
    .await;
    let text = script(&["a", "b"], "p = | a\nq = | b\nfor x in p():\n    q(x)\n");
    let mut succeeded = Vec::new();
    for _ in 0..3 {
        succeeded.push(rig.submit(&text).await);
        rig.succeed(&rig.next_of("a").await, "[1, 2, 3]").await;
        for lease in rig.lease(10).await {
            rig.succeed(&lease, "0").await;
        }
    }
    let failed = rig.submit(&script(&["f"], "p = | f\np()\n")).await;
    rig.settle(&rig.next_of("f").await, error("ValueError: no")).await;
    let cancelled = rig.submit(&script(&["c"], "p = | c\np()\n")).await;
    rig.queue.cancel(cancelled.clone()).await.unwrap();
    let open = rig.submit(&script(&["o"], "p = | o\np()\n")).await;
    until("three runs are left", async || {
        let left: Vec<_> = rig.queue.runs(10).await.unwrap().into_iter().map(|run| run.id).collect();
        left == [open.clone(), failed.clone(), succeeded[2].clone()]
    })
    .await;
    assert!(rig.queue.run(succeeded[0].clone(), None, Duration::ZERO).await.is_err());
    assert_eq!(rig.queue.status().await.unwrap().counts.succeeded, 4);
    until("jobs of deleted runs are gone", async || rig.queue.job(protocol::JobId(1)).await.is_err()).await;
    assert_eq!(rig.jobs(&succeeded[2]).await.len(), 7);
    rig.succeed(&rig.next_of("o").await, "1").await;
}

async fn the_pause_of_a_run_goes_with_the_run(on: On) {
    let rig = Rig::with(on, |config| {
        config.limits.kept.cancelled_runs_max = 0;
        config.limits.kept.look = Duration::from_millis(20);
    })
    .await;
    let run = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    rig.queue.pause(Pause::Run(run.clone())).await.unwrap();
    rig.queue.cancel(run).await.unwrap();
    until("the run is gone", async || rig.queue.runs(10).await.unwrap().is_empty()).await;
    assert!(rig.queue.status().await.unwrap().paused.is_empty(), "nobody could resume it");
}

/// Changes the database behind the hub's back: tables are named without their schema.
async fn change(rig: &Rig, sql: &str) {
    match &rig.config.postgres {
        Some(url) => rig::postgres::change(url, &format!("SET search_path = bue; {sql}")).await,
        None => {
            let queue = rusqlite::Connection::open(rig.config.data_dir.join("queue.db")).unwrap();
            queue.execute_batch(sql).unwrap();
        }
    }
}

async fn files_and_pauses_of_runs_that_are_gone_go_too_and_those_of_others_stay(on: On) {
    let rig = Rig::with(on, |config| {
        config.limits.kept.cancelled_for = Duration::ZERO;
        config.limits.kept.look = Duration::from_millis(20);
    })
    .await;
    let (gone, kept) = (script(&["a"], "p = | a\np()\n"), script(&["b"], "p = | b\np()\n"));
    let (run, open) = (rig.submit(&gone).await, rig.submit(&kept).await);
    let young = Digest::of(b"on its way");
    change(&rig, "UPDATE files SET stored_ms = 0").await;
    rig.queue.put_file(young, bytes::Bytes::from_static(b"on its way")).await.unwrap();
    for paused in [Pause::Run(run.clone()), Pause::Run(open.clone()), Pause::Scope("x".to_owned())] {
        rig.queue.pause(paused).await.unwrap();
    }
    rig.queue.cancel(run.clone()).await.unwrap();
    until("the file is gone", async || rig.queue.file(Digest::of(gone.as_bytes())).await.is_err()).await;
    rig.queue.file(Digest::of(kept.as_bytes())).await.unwrap();
    rig.queue.file(young).await.unwrap();
    let paused = rig.queue.status().await.unwrap().paused;
    assert!(paused.len() == 2 && !paused.contains(&Pause::Run(run)), "{paused:?}");
}

async fn no_more_is_paused_than_there_may_be(on: On) {
    let rig = Rig::with(on, |config| config.limits.pauses_max = 2).await;
    for scope in ["a", "b", "a"] {
        rig.queue.pause(Pause::Scope(scope.to_owned())).await.unwrap();
    }
    let refused = rig.queue.pause(Pause::Scope("c".to_owned())).await;
    assert!(matches!(refused, Err(QueueError::TooLarge { setting: "BUE_PAUSES_MAX", .. })), "{refused:?}");
    rig.queue.pause(Pause::Everything).await.unwrap();
    for scope in ["a", "b"] {
        rig.queue.resume(Pause::Scope(scope.to_owned())).await.unwrap();
    }
    rig.queue.pause(Pause::Scope("c".to_owned())).await.unwrap();
}

async fn a_run_can_be_made_again_from_its_own_script_and_files(on: On) {
    let rig = Rig::new(on).await;
    let first = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    rig.queue.cancel(first.clone()).await.unwrap();
    let again = rig.queue.run_again(first.clone(), Some("again".into())).await.unwrap();
    assert!(again.id != first && again.state == RunState::Running);
    let repeated = rig.queue.run_again(first.clone(), Some("again".into())).await.unwrap();
    assert_eq!(repeated.id, again.id, "a request that is repeated makes no further run");
    let other = rig.submit(&script(&["b"], "p = | b\np()\n")).await;
    let refused = rig.queue.run_again(other.clone(), Some("again".into())).await;
    assert!(matches!(refused, Err(bue_hub::QueueError::Conflict(_))), "{refused:?}");
    rig.queue.cancel(other).await.unwrap();
    rig.succeed(&rig.next_of("a").await, "1").await;
    assert_eq!(rig.run(&again.id).await.state, RunState::Succeeded);
    assert_eq!(rig.run(&first).await.state, RunState::Cancelled);
}

async fn a_job_parked_by_a_clock_that_was_ahead_comes_within_the_pause_it_asked_for(on: On) {
    let rig = Rig::with(on, |config| {
        config.policy.pending_first = Duration::from_secs(30 * 24 * 3_600);
        config.policy.pending_max = Duration::from_secs(30 * 24 * 3_600);
    })
    .await;
    let run = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    rig.settle(&rig.next_of("a").await, Outcome::Pending { priority: None }).await;
    let parked_until_ms = rig.jobs(&run).await[0].available_at_ms.unwrap();
    assert!(parked_until_ms - bue_hub::clock::now_ms() > 29 * 24 * 3_600_000);
    let mut rig = rig;
    rig.config.policy = rig::quick();
    let rig = rig.restart().await;
    let a = rig.next_of("a").await;
    assert_eq!(a.attempt, 2);
}

/// Dates all leases as a hub does whose clock is a day ahead.
async fn date_leases_ahead(rig: &Rig) {
    match &rig.config.postgres {
        Some(url) => rig::postgres::change(url, "UPDATE bue.leases SET since_ms = since_ms + 86400000").await,
        None => {
            let queue = rusqlite::Connection::open(rig.config.data_dir.join("queue.db")).unwrap();
            queue.execute("UPDATE leases SET since_ms = since_ms + 86400000", []).unwrap();
        }
    }
}

async fn a_lease_given_under_a_clock_that_was_ahead_can_be_lost_on_the_way_like_any_other(on: On) {
    let rig = Rig::with(on, |config| config.limits.lost_on_the_way = Duration::from_millis(1)).await;
    rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let lost = rig.next_of("a").await;
    date_leases_ahead(&rig).await;
    let rig = rig.restart().await;
    until("the lease is given again", async || {
        rig.beat(WORKER, &[]).await;
        rig.lease(1).await.iter().any(|lease| lease.job == lost.job)
    })
    .await;
}

#[tokio::test]
async fn a_copy_made_while_a_hub_works_is_whole_and_takes_its_place() {
    let rig = Rig::new(On::Sqlite).await;
    let run = rig.submit(&script(&["a", "b"], "p = a | b\np()\n")).await;
    rig.succeed(&rig.next_of("a").await, "1").await;
    let copy = rig.folder.path().join("copy.db");
    bue_hub::backup(&rig.config.data_dir, &copy).unwrap();
    assert!(bue_hub::backup(&rig.config.data_dir, &copy).is_err(), "an existing file is not overwritten");
    rig.succeed(&rig.next_of("b").await, "2").await;
    assert!(
        matches!(bue_hub::restore(&rig.config.data_dir, &copy), Err(bue_hub::HubError::InUse { .. })),
        "not under a running hub"
    );
    let rig = rig.restart_after(|folder| bue_hub::restore(folder, &copy)).await;
    assert_eq!(rig.run(&run).await.counts.succeeded, 1);
    rig.succeed(&rig.next_of("b").await, "3").await;
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
}

#[tokio::test]
async fn what_is_no_copy_of_a_queue_is_refused_and_changes_nothing() {
    let rig = Rig::new(On::Sqlite).await;
    let run = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let copy = rig.folder.path().join("copy.db");
    bue_hub::backup(&rig.config.data_dir, &copy).unwrap();
    let mut torn = std::fs::read(&copy).unwrap();
    torn[5_000..20_000].fill(7);
    for (name, content) in [("text", b"no database".to_vec()), ("empty", Vec::new()), ("torn", torn)] {
        let file = rig.folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        let refused = bue_hub::restore(&rig.config.data_dir, &file);
        assert!(matches!(refused, Err(bue_hub::HubError::Copy { .. })), "{name}: {refused:?}");
    }
    assert_eq!(rig.run(&run).await.state, RunState::Running);
}

on_both_stores! {
    files_and_pauses_of_runs_that_are_gone_go_too_and_those_of_others_stay,
    no_more_is_paused_than_there_may_be,
    a_lease_given_under_a_clock_that_was_ahead_can_be_lost_on_the_way_like_any_other,
    a_worker_that_beats_but_never_settles_is_timed_out_by_the_hub_at_the_cost_of_a_retry,
    the_time_of_a_lease_does_not_run_while_its_step_does_not,
    a_lease_within_its_time_is_left_alone,
    finished_runs_over_the_bounds_are_deleted_with_all_their_jobs_and_the_rest_is_kept,
    the_pause_of_a_run_goes_with_the_run,
    a_run_can_be_made_again_from_its_own_script_and_files,
    a_job_parked_by_a_clock_that_was_ahead_comes_within_the_pause_it_asked_for,
}
