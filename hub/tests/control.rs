//! What people can do with jobs and runs, and what they are told about them.

mod rig;

use std::time::Duration;

use bue_hub::QueueError;
use protocol::api::{After, BeatRequest, HeldLease, Pause, Reason, Settled, WorkerInfo};
use protocol::{ErrorKind, JobAddress, JobId, JobState, Outcome, RunId, RunState, StepError};
use rig::{On, Rig, WORKER, error, script, success, texts};

async fn failed_jobs_of_a_run_start_over_with_all_their_retries(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b !retries 1", "c"], "p = a | b | c\np()\n")).await;
    rig.succeed(&rig.next_of("a").await, "1").await;
    for _ in 0..2 {
        rig.settle(&rig.next_of("b").await, error("ValueError: no")).await;
    }
    assert_eq!(rig.run(&run).await.state, RunState::Failed);
    assert_eq!(rig.queue.reset_failed(run.clone()).await.unwrap().jobs, 1);
    let view = rig.run(&run).await;
    assert_eq!((view.state, view.finished_ms), (RunState::Running, None));
    rig.settle(&rig.next_of("b").await, error("ValueError: again")).await;
    let b = rig.next_of("b").await;
    assert_eq!((b.attempt, texts(&b)), (4, vec!["1".to_owned()]));
    rig.succeed(&b, "2").await;
    rig.succeed(&rig.next_of("c").await, "3").await;
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
    rig.jobs(&run).await;
}

async fn who_made_what_failed_jobs_lack_starts_over_with_them(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b", "c"], "p = a | b | c\nq = | c\np()\nq()\n")).await;
    let a = rig.next_of("a").await;
    rig.succeed(&a, "1").await;
    let lost = StepError { lost: Some(a.job), ..StepError::new(ErrorKind::Input, "its input is lost") };
    rig.settle(&rig.next_of("b").await, Outcome::Error(lost)).await;
    rig.settle(&rig.next_of("c").await, error("ValueError: no")).await;
    assert_eq!(rig.run(&run).await.state, RunState::Failed);
    assert_eq!(rig.queue.reset_failed(run.clone()).await.unwrap().jobs, 4, "a, b, the c after them, and the other one");
    rig.succeed(&rig.next_of("a").await, "2").await;
    let b = rig.next_of("b").await;
    assert_eq!(texts(&b), ["2"]);
    // It has started over already.
    let lost = StepError { lost: Some(b.job), ..StepError::new(ErrorKind::Input, "of no job that has succeeded") };
    rig.settle(&b, Outcome::Error(lost)).await;
    assert_eq!(rig.queue.reset_failed(run.clone()).await.unwrap().jobs, 1);
    rig.succeed(&rig.next_of("b").await, "3").await;
    rig.succeed(&rig.next_of("c").await, "4").await;
    rig.succeed(&rig.next_of("c").await, "5").await;
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
}

async fn one_job_and_what_follows_it_start_over(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b", "c"], "p = a | b | c\np()\n")).await;
    for step in ["a", "b", "c"] {
        rig.succeed(&rig.next_of(step).await, "1").await;
    }
    let jobs = rig.jobs(&run).await;
    assert_eq!(rig.queue.reset_job(jobs[1].id).await.unwrap().jobs, 2);
    let states: Vec<JobState> = rig.jobs(&run).await.iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Succeeded, JobState::Available, JobState::Waiting]);
    assert!(matches!(rig.queue.reset_job(JobId(999)).await, Err(QueueError::NotFound { .. })));
}

async fn a_loop_that_has_begun_keeps_its_passes_when_its_source_starts_over(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b"], "p = | a\nq = | b\nfor x in p():\n    q(x)\n")).await;
    let source = rig.next_of("a").await;
    rig.succeed(&source, "[1,2]").await;
    let answer = rig.queue.reset_job(source.job).await.unwrap();
    assert_eq!((answer.jobs, answer.loops_kept), (1, 1));
    for (step, value) in [("a", "[3]"), ("b", "1"), ("b", "2")] {
        rig.succeed(&rig.next_of(step).await, value).await;
    }
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
    assert!(rig.lease(10).await.is_empty());
}

async fn what_is_paused_is_not_leased_and_goes_on_when_it_is_resumed(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b"], "p = a | b\nq = | b\np()\nq()\n")).await;
    let other = rig.submit(&script(&["z"], "p = | z\np()\n")).await;
    for what in [Pause::Everything, Pause::Scope("default".into())] {
        rig.queue.pause(what.clone()).await.unwrap();
        rig.queue.pause(what.clone()).await.unwrap();
        assert_eq!(rig.queue.status().await.unwrap().paused, std::slice::from_ref(&what));
        assert!(rig.lease(10).await.is_empty());
        rig.queue.resume(what.clone()).await.unwrap();
        assert!(matches!(rig.queue.resume(what).await, Err(QueueError::Conflict(_))));
    }
    let a = rig.next_of("a").await;
    rig.queue.pause(Pause::Run(run.clone())).await.unwrap();
    rig.succeed(&a, "1").await;
    let leases = rig.lease(10).await;
    assert_eq!(leases.iter().map(|lease| &lease.run).collect::<Vec<_>>(), [&other]);
    let rig = rig.restart().await;
    assert!(rig.lease(10).await.is_empty(), "a pause outlives a restart");
    let waiting = rig.lease_as(WORKER, &["default"], 10, Duration::from_secs(10));
    let (leases, resumed) = tokio::join!(waiting, rig.queue.resume(Pause::Run(run)));
    resumed.unwrap();
    assert_eq!(leases.len(), 2);
}

async fn a_run_tells_what_is_paused_of_it(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b !scope other"], "p = a | b\np()\n")).await;
    let of_it = [Pause::Everything, Pause::Run(run.clone()), Pause::Scope("other".into())];
    for what in &of_it {
        rig.queue.pause(what.clone()).await.unwrap();
    }
    rig.queue.pause(Pause::Scope("nobody's".into())).await.unwrap();
    let mut paused = rig.run(&run).await.paused;
    paused.sort();
    assert_eq!(paused, [Pause::Everything, Pause::Scope("other".into()), Pause::Run(run.clone())]);
    rig.queue.resume(Pause::Everything).await.unwrap();
    assert_eq!(rig.run(&run).await.paused.len(), 2);
    rig.queue.cancel(run.clone()).await.unwrap();
    assert!(rig.run(&run).await.paused.is_empty(), "a run that has ended has nothing that is held");
}

async fn a_cancelled_run_leaves_nothing_behind_where_paused_runs_are_held(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    rig.queue.pause(Pause::Run(run.clone())).await.unwrap();
    rig.queue.cancel(run.clone()).await.unwrap();
    rig.queue.resume(Pause::Run(run.clone())).await.unwrap();
    assert!(rig.lease(10).await.is_empty());
    assert_eq!(rig.run(&run).await.state, RunState::Cancelled);
}

/// A run of which so many jobs have failed, or wait for their time, that no transaction should change them all.
async fn of_thousands(rig: &Rig, outcome: Outcome) -> protocol::RunId {
    let run = rig.submit(&script(&["a", "b !retries 0", "c"], "p = | a\nq = b | c\nfor x in p():\n    q(x)\n")).await;
    let items: Vec<String> = (0..THOUSANDS).map(|number| number.to_string()).collect();
    rig.succeed(&rig.next_of("a").await, &format!("[{}]", items.join(","))).await;
    let mut settled = 0;
    while settled < THOUSANDS {
        let leases = rig.lease(500).await;
        for lease in &leases {
            rig.settle(lease, outcome.clone()).await;
        }
        settled += leases.len();
    }
    run
}

const THOUSANDS: usize = 2_100;

async fn thousands_of_jobs_are_cancelled(on: On) {
    let rig = Rig::new(on).await;
    let run = of_thousands(&rig, Outcome::Release { reason: "later".into(), delay_ms: 3_600_000 }).await;
    let view = rig.queue.cancel(run.clone()).await.unwrap();
    assert_eq!((view.state, view.counts.cancelled, view.counts.succeeded), (RunState::Cancelled, 4_200, 1));
    assert_eq!(view.counts.total(), 4_201);
    let again = rig.queue.cancel(run).await.unwrap();
    assert_eq!(again.counts, view.counts);
}

async fn thousands_of_failed_jobs_start_over(on: On) {
    let rig = Rig::new(on).await;
    let run = of_thousands(&rig, error("ValueError: no")).await;
    assert_eq!(rig.queue.reset_failed(run.clone()).await.unwrap().jobs, 2_100);
    let view = rig.run(&run).await;
    assert_eq!((view.state, view.counts.failed, view.counts.available), (RunState::Running, 0, 2_100));
    assert_eq!(rig.queue.reset_failed(run).await.unwrap().jobs, 0);
}

#[tokio::test]
async fn a_hub_that_ended_while_it_cancelled_a_run_goes_on_when_it_starts() {
    let rig = Rig::new(On::Sqlite).await;
    let run = of_thousands(&rig, Outcome::Release { reason: "later".into(), delay_ms: 3_600_000 }).await;
    let rig = rig
        .restart_after(|folder| {
            let mark = |connection: rusqlite::Connection| connection.execute("UPDATE runs SET cancelled = 1", []);
            // Where the hub has not let go of it yet, this is tried again.
            let marked = rusqlite::Connection::open(folder.join("queue.db")).and_then(mark);
            marked.map(drop).map_err(|_| bue_hub::HubError::InUse { path: folder.to_owned() })
        })
        .await;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while rig.run(&run).await.counts.cancelled < 4_200 {
        assert!(std::time::Instant::now() < deadline, "{:?}", rig.run(&run).await);
        tokio::task::yield_now().await;
    }
}

async fn a_job_that_does_not_run_can_be_explained(on: On) {
    let rig = Rig::with(on, |config| {
        (config.policy.pending_first, config.policy.pending_max) = (Duration::from_secs(60), Duration::from_secs(60));
    })
    .await;
    let text = script(&["high !priority 9", "low", "end"], "p = | high\nq = low | end\np()\nq()\n");
    let run = rig.submit(&text).await;
    let jobs = rig.jobs(&run).await;
    let (low, end) = (jobs[1].id, jobs[2].id);

    let reasons = rig.queue.explain(low).await.unwrap().reasons;
    assert_eq!(reasons[0], Reason::ScopeNotServed { scope: "default".into() });
    assert_eq!(reasons[1], Reason::Behind { jobs: 1, or_more: false });
    let Reason::Parents(parents) = &rig.queue.explain(end).await.unwrap().reasons[0] else { panic!() };
    assert_eq!((parents[0].job, parents[0].state), (low, JobState::Available));

    let info = WorkerInfo { pid: 1, scopes: vec!["default".into()], ..WorkerInfo::default() };
    let beat = protocol::api::BeatRequest { session: WORKER, held: Vec::new(), info };
    rig.queue.beat(beat).await.unwrap();
    rig.queue.pause(Pause::Run(run.clone())).await.unwrap();
    assert_eq!(rig.queue.explain(low).await.unwrap().reasons, [Reason::Paused(Pause::Run(run.clone()))]);
    rig.queue.resume(Pause::Run(run)).await.unwrap();

    rig.succeed(&rig.next_of("high").await, "1").await;
    let lease = rig.next_of("low").await;
    assert!(rig.queue.explain(low).await.unwrap().reasons.is_empty(), "it runs");
    rig.settle(&lease, Outcome::Pending { priority: None }).await;
    let reasons = rig.queue.explain(low).await.unwrap().reasons;
    let until = reasons.iter().any(|reason| matches!(reason, Reason::Until { after: After::Pending, .. }));
    assert!(until, "{reasons:?}");
}

async fn what_a_job_waits_for_is_told_by_its_last_attempt(on: On) {
    let long = Duration::from_secs(60);
    let rig = Rig::with(on, |config| {
        (config.policy.pending_first, config.policy.pending_max) = (Duration::from_millis(1), Duration::from_millis(1));
        (config.policy.backoff_first, config.policy.backoff_max) = (Duration::from_millis(1), Duration::from_millis(1));
    })
    .await;
    rig.submit(&script(&["a !retries 5"], "p = | a\np()\n")).await;
    let mut lease = rig.next_of("a").await;
    let job = lease.job;
    let release = Outcome::Release { reason: "the bucket is away".into(), delay_ms: 60_000 };
    let after = async || {
        let reasons = rig.queue.explain(job).await.unwrap().reasons;
        reasons.into_iter().find_map(|reason| if let Reason::Until { after, .. } = reason { Some(after) } else { None })
    };
    // The pauses are over at once, but whoever looks in between is told the truth.
    for (outcome, expected) in
        [(error("ValueError: no"), After::Error), (Outcome::Pending { priority: None }, After::Pending)]
    {
        rig.settle(&lease, outcome).await;
        assert!(after().await.is_none_or(|after| after == expected));
        lease = rig.next_of("a").await;
    }
    rig.settle(&lease, release).await;
    assert_eq!(after().await, Some(After::Release));

    let rig = Rig::with(on, |config| (config.policy.pending_first, config.policy.pending_max) = (long, long)).await;
    rig.submit(&script(&["a !retries 5,!backoff 1ms..1ms"], "p = | a\np()\n")).await;
    rig.settle(&rig.next_of("a").await, error("ValueError: no")).await;
    let lease = rig.next_of("a").await;
    rig.settle(&lease, Outcome::Pending { priority: None }).await;
    let reasons = rig.queue.explain(lease.job).await.unwrap().reasons;
    let pending = reasons.iter().any(|reason| matches!(reason, Reason::Until { after: After::Pending, .. }));
    assert!(pending, "an error before it does not count: {reasons:?}");
}

async fn a_job_whose_workers_are_full_says_so(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let job = rig.jobs(&run).await[0].id;
    let hear = async |free| {
        let scopes = vec!["default".to_owned()];
        let info = WorkerInfo { pid: 1, slots: 4, busy: 4 - free, free, scopes, ..WorkerInfo::default() };
        let beat = protocol::api::BeatRequest { session: WORKER, held: Vec::new(), info };
        rig.queue.beat(beat).await.unwrap();
    };
    hear(0).await;
    let reasons = rig.queue.explain(job).await.unwrap().reasons;
    assert!(reasons.contains(&Reason::WorkersFull { workers: 1 }), "{reasons:?}");
    hear(1).await;
    let reasons = rig.queue.explain(job).await.unwrap().reasons;
    assert!(!reasons.iter().any(|reason| matches!(reason, Reason::WorkersFull { .. })), "{reasons:?}");
}

async fn a_job_whose_worker_lacks_what_it_needs_says_so(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let lease = rig.next_of("a").await;
    let free = std::cell::Cell::new(3);
    let hear = async |trouble: &str| {
        let info = WorkerInfo {
            pid: 1,
            slots: 4,
            free: free.get(),
            scopes: vec!["default".to_owned()],
            trouble: trouble.to_owned(),
            ..WorkerInfo::default()
        };
        let held = vec![HeldLease { job: lease.job, token: lease.token, idle: true }];
        rig.queue.beat(BeatRequest { session: WORKER, held, info }).await.unwrap();
        let of_job = rig.queue.explain(lease.job).await.unwrap().reasons;
        let of_run = rig.queue.explain_run(run.clone()).await.unwrap().open.remove(0).reasons;
        (of_job, of_run)
    };
    let expected = vec![Reason::WorkersWait { workers: 1, trouble: "the bucket is away".to_owned() }];
    assert_eq!(hear("the bucket is away").await, (expected.clone(), expected.clone()));
    assert_eq!(hear("").await, (Vec::new(), Vec::new()));
    free.set(0);
    hear("the bucket is away").await;
    let other = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let of_other = rig.queue.explain_run(other).await.unwrap().open.remove(0).reasons;
    let full = Reason::WorkersFull { workers: 1 };
    assert_eq!(of_other, [full, expected[0].clone()], "the slots wait, too");
    let release = Outcome::Release { reason: "away".to_owned(), delay_ms: 60_000 };
    rig.settle(&lease, release).await;
    let reasons = rig.queue.explain(lease.job).await.unwrap().reasons;
    assert!(reasons.contains(&expected[0]), "{reasons:?}");
    let reasons = rig.queue.explain_run(run).await.unwrap().open.remove(0).reasons;
    assert!(reasons.contains(&expected[0]), "{reasons:?}");
}

/// What is open of a run, as `(state, jobs, name of the example)`.
async fn open_jobs(rig: &Rig, run: &RunId) -> Vec<(JobState, u64, String)> {
    let open = rig.queue.explain_run(run.clone()).await.unwrap().open;
    open.into_iter()
        .map(|open| (open.state, open.jobs, open.example.map_or_else(String::new, |job| job.name)))
        .collect()
}

async fn a_run_that_does_not_get_on_is_explained(on: On) {
    let long = Duration::from_secs(600);
    let rig = Rig::with(on, |config| {
        (config.policy.pending_first, config.policy.pending_max) = (long, long);
    })
    .await;
    let steps =
        ["a", "b", "poll", "tried !retries 3,!backoff 600s..600s", "never !scope nobody", "bad !retries 0", "end"];
    let calls = "p = | a\nq = b | end\npolled = poll | end\ntry = tried | end\nunserved = | never\nwrong = bad | end\n\
        polled()\ntry()\nunserved()\nunserved()\nwrong()\nfor x in p():\n    q(x)\n";
    let run = rig.submit(&script(&steps, calls)).await;
    let beat = async || {
        let info = WorkerInfo { pid: 1, scopes: vec!["default".into()], ..WorkerInfo::default() };
        let beat = protocol::api::BeatRequest { session: WORKER, held: Vec::new(), info };
        rig.queue.beat(beat).await.unwrap();
    };
    rig.settle(&rig.next_of("poll").await, Outcome::Pending { priority: None }).await;
    rig.settle(&rig.next_of("tried").await, error("ValueError: no")).await;
    rig.settle(&rig.next_of("bad").await, error("ValueError: never")).await;
    rig.succeed(&rig.next_of("a").await, "[1, 2, 3, 4]").await;
    let leased = rig.lease(2).await;
    beat().await;

    let explanation = rig.queue.explain_run(run.clone()).await.unwrap();
    let open = &explanation.open;
    assert_eq!(explanation.run.counts, rig.run(&run).await.counts);
    let state = |state, jobs, name: &str| (state, jobs, name.to_owned());
    let (running, available, waiting) = (JobState::Leased, JobState::Available, JobState::Waiting);
    let all = open_jobs(&rig, &run).await;
    let expected = [
        state(running, 2, "b"),
        state(available, 2, "b"),
        state(available, 2, "never"),
        state(available, 1, "poll"),
        state(available, 1, "tried"),
        state(waiting, 7, "end"),
    ];
    assert_eq!(all, expected);
    assert!(open.iter().all(|open| !open.or_more && !open.passes));
    assert_eq!(open[0].example.as_ref().unwrap().job, leased[0].job.min(leased[1].job));
    assert!(open[0].since_ms.is_some() && open[0].reasons.is_empty());
    assert_eq!(open[2].reasons, [Reason::ScopeNotServed { scope: "nobody".into() }]);
    let [Reason::Until { after: After::Pending, .. }] = open[3].reasons[..] else { panic!("{open:?}") };
    let [Reason::Until { after: After::Error, .. }] = open[4].reasons[..] else { panic!("{open:?}") };
    let Reason::Parents(parents) = &open[5].reasons[0] else { panic!("{open:?}") };
    assert_eq!((parents[0].name.as_str(), parents[0].state), ("bad", JobState::Failed));

    rig.queue.pause(Pause::Run(run.clone())).await.unwrap();
    assert_eq!(open_jobs(&rig, &run).await, expected, "what is held back is seen");
    let open = rig.queue.explain_run(run.clone()).await.unwrap().open;
    assert_eq!(open[1].reasons, [Reason::Paused(Pause::Run(run.clone()))]);
    assert!(open[3].reasons.contains(&Reason::Paused(Pause::Run(run))));
    let missing = "r0000000000zz".parse().unwrap();
    assert!(matches!(rig.queue.explain_run(missing).await, Err(QueueError::NotFound { .. })));
}

async fn passes_that_nobody_has_reached_are_told_by_their_loop(on: On) {
    let rig = Rig::new(on).await;
    let text = script(&["a", "b !scope slow", "c"], "p = | a\nq = b | c\nfor x in p():\n    q(x)\n");
    let run = rig.submit(&text).await;
    let source = rig.next_of("a").await;
    assert_eq!(open_jobs(&rig, &run).await, [(JobState::Leased, 1, "a".to_owned())]);
    let items: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    rig.succeed(&source, &format!("[{}]", items.join(","))).await;
    let open = rig.queue.explain_run(run.clone()).await.unwrap().open;
    assert_eq!((open.len(), open[0].state, open[0].jobs, open[0].passes), (1, JobState::Waiting, 2_000, true));
    assert_eq!(open[0].example.as_ref().unwrap().job, source.job);
    assert_eq!(open[0].reasons, [Reason::ScopeNotServed { scope: "slow".into() }]);
    assert_eq!(rig.lease_as(WORKER, &["slow"], 1, Duration::ZERO).await.len(), 1);
    let made =
        [(JobState::Leased, 1), (JobState::Available, 127), (JobState::Waiting, 1_744), (JobState::Waiting, 128)];
    let open = open_jobs(&rig, &run).await;
    assert_eq!(open.iter().map(|(state, jobs, _)| (*state, *jobs)).collect::<Vec<_>>(), made);
}

async fn a_job_is_found_by_its_name_with_its_run(on: On) {
    let rig = Rig::new(on).await;
    let text = script(&["a"], "p = | a\np()\n");
    let (run, other) = (rig.submit(&text).await, rig.submit(&text).await);
    let job = rig.jobs(&run).await[0].id;
    let find = async |run: Option<&RunId>, job| rig.queue.find(JobAddress { run: run.cloned(), job }).await;
    assert_eq!(find(None, job).await.unwrap(), job);
    assert_eq!(find(Some(&run), job).await.unwrap(), job);
    assert!(matches!(find(Some(&other), job).await, Err(QueueError::OfAnotherRun { of, .. }) if of == run));
    assert!(matches!(find(Some(&run), JobId(999)).await, Err(QueueError::NotFound { .. })));
}

async fn a_step_that_names_its_backoff_is_tried_again_within_it(on: On) {
    let rig = Rig::with(on, |config| {
        (config.policy.backoff_first, config.policy.backoff_max) = (Duration::from_secs(600), Duration::from_secs(600));
    })
    .await;
    let run = rig.submit(&script(&["a !retries 2,!backoff 1ms..2ms"], "p = | a\np()\n")).await;
    for _ in 0..2 {
        rig.settle(&rig.next_of("a").await, error("ValueError: no")).await;
    }
    rig.succeed(&rig.next_of("a").await, "1").await;
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
}

async fn jobs_can_be_listed_by_their_state(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b", "c"], "p = a | b\nq = | c\nfor x in p():\n    q(x)\n")).await;
    rig.succeed(&rig.next_of("a").await, "1").await;
    rig.succeed(&rig.next_of("b").await, "[1, 2, 3]").await;
    let leases = rig.lease(3).await;
    rig.settle(&leases[1], error("ValueError: no")).await;
    let names = async |state| {
        let page = rig.queue.jobs(run.clone(), None, Some(state), 10).await.unwrap();
        page.jobs.into_iter().map(|job| job.name).collect::<Vec<_>>()
    };
    assert_eq!(names(JobState::Succeeded).await, ["a", "b"], "items of the loop are left out");
    assert_eq!(names(JobState::Failed).await, ["c"]);
    assert_eq!(names(JobState::Leased).await, ["c", "c"]);
    assert!(names(JobState::Waiting).await.is_empty());
    let first = rig.queue.jobs(run.clone(), None, Some(JobState::Leased), 1).await.unwrap();
    let rest = rig.queue.jobs(run.clone(), first.next, Some(JobState::Leased), 1).await.unwrap();
    assert_eq!((first.jobs[0].id, rest.jobs[0].id, rest.next), (leases[0].job, leases[2].job, None));
}

async fn a_cancelled_run_of_which_a_job_starts_over_is_no_longer_cancelled(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b", "c"], "p = a | b\nq = | c\np()\nq()\n")).await;
    let a = rig.next_of("a").await;
    rig.queue.cancel(run.clone()).await.unwrap();
    assert_eq!(rig.settle(&a, success("1")).await, Settled::Stale);
    assert_eq!(rig.run(&run).await.state, RunState::Cancelled);
    assert_eq!(rig.queue.reset_failed(run.clone()).await.unwrap().jobs, 0);
    assert_eq!(rig.run(&run).await.state, RunState::Cancelled, "nothing starts over, so it stays what it was");
    assert_eq!(rig.queue.reset_job(a.job).await.unwrap().jobs, 2);
    assert_eq!(rig.run(&run).await.state, RunState::Running);
    rig.succeed(&rig.next_of("a").await, "1").await;
    rig.succeed(&rig.next_of("b").await, "2").await;
    let view = rig.run(&run).await;
    assert_eq!((view.state, view.counts.succeeded, view.counts.cancelled), (RunState::Succeeded, 2, 1));
}

on_both_stores! {
    a_step_that_names_its_backoff_is_tried_again_within_it,
    jobs_can_be_listed_by_their_state,
    a_cancelled_run_of_which_a_job_starts_over_is_no_longer_cancelled,
    failed_jobs_of_a_run_start_over_with_all_their_retries,
    who_made_what_failed_jobs_lack_starts_over_with_them,
    one_job_and_what_follows_it_start_over,
    what_is_paused_is_not_leased_and_goes_on_when_it_is_resumed,
    a_run_tells_what_is_paused_of_it,
    a_cancelled_run_leaves_nothing_behind_where_paused_runs_are_held,
    thousands_of_jobs_are_cancelled,
    a_loop_that_has_begun_keeps_its_passes_when_its_source_starts_over,
    thousands_of_failed_jobs_start_over,
    a_job_that_does_not_run_can_be_explained,
    what_a_job_waits_for_is_told_by_its_last_attempt,
    a_job_whose_workers_are_full_says_so,
    a_job_whose_worker_lacks_what_it_needs_says_so,
    a_run_that_does_not_get_on_is_explained,
    passes_that_nobody_has_reached_are_told_by_their_loop,
    a_job_is_found_by_its_name_with_its_run,
}
