//! What the queue promises, each promise a test: runs, values, outcomes, loops, leases.

mod rig;

use std::time::{Duration, Instant};

use bue_hub::QueueError;
use protocol::{JobState, Outcome, RunState};
use rig::{OTHER, On, Rig, WORKER, error, script, success, texts};

use protocol::api::{BeatRequest, GoodbyeRequest, Settled, WorkerInfo};

async fn a_chain_runs_step_by_step_and_hands_its_values_on(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b", "c"], "p = a | b | c\np()\n")).await;
    let a = rig.next_of("a").await;
    assert!(a.inputs.is_empty());
    assert!(rig.lease(10).await.is_empty());
    rig.succeed(&a, r#"{"z": 1, "a": 12345678901234567890123}"#).await;
    let b = rig.next_of("b").await;
    assert_eq!(texts(&b), [r#"{"z": 1, "a": 12345678901234567890123}"#]);
    rig.succeed(&b, "2").await;
    let c = rig.next_of("c").await;
    assert_eq!([a.next_job, b.next_job, c.next_job], [Some(b.job), Some(c.job), None]);
    rig.succeed(&c, "3").await;
    let view = rig.run(&run).await;
    assert_eq!(view.state, RunState::Succeeded);
    assert_eq!(view.counts.succeeded, 3);
    assert!(view.finished_ms.is_some());
}

async fn a_script_without_calls_is_over_at_once(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a"], "p = | a\n")).await;
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
}

async fn a_job_with_several_parents_runs_once_with_their_values_in_order(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a", "b", "c"], "p = | a\nq = | b\nr = | c\nv = p()\nw = q()\nr(w, v, w)\n")).await;
    let leases = rig.lease(10).await;
    assert_eq!(leases.len(), 2);
    rig.succeed(&leases[0], "1").await;
    assert!(rig.lease(10).await.is_empty());
    rig.succeed(&leases[1], "2").await;
    assert_eq!(texts(&rig.next_of("c").await), ["2", "1", "2"]);
    assert!(rig.lease(10).await.is_empty());
}

async fn a_pending_job_comes_again_with_its_inputs_and_costs_no_retry(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b"], "p = a | b\np()\n")).await;
    rig.succeed(&rig.next().await, "1").await;
    for attempt in 1..=5 {
        let b = rig.next_of("b").await;
        assert_eq!(b.attempt, attempt);
        assert_eq!(texts(&b), ["1"]);
        rig.settle(&b, Outcome::Pending { priority: None }).await;
        assert!(matches!(rig.run(&run).await.state, RunState::Running));
    }
    rig.succeed(&rig.next_of("b").await, "2").await;
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
}

async fn an_error_is_tried_again_and_then_fails_while_the_rest_goes_on(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a !retries 1", "b", "c"], "p = a | b\nq = | c\np()\nq()\n")).await;
    let first = rig.lease(10).await;
    assert_eq!(first.len(), 2);
    rig.settle(&first[0], error("ValueError: one")).await;
    rig.succeed(&first[1], "1").await;
    let again = rig.next_of("a").await;
    assert_eq!(again.attempt, 2);
    rig.settle(&again, error("ValueError: two")).await;
    let view = rig.run(&run).await;
    assert_eq!(view.state, RunState::Failed);
    let jobs = rig.jobs(&run).await;
    assert_eq!(jobs[0].error.as_ref().unwrap().message, "ValueError: two");
    let states: Vec<JobState> = jobs.iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Failed, JobState::Waiting, JobState::Succeeded]);
}

async fn a_cancelled_job_takes_what_follows_with_it_which_is_no_error(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b", "c"], "p = a | b\nq = | c\nv = p()\nq(v)\n")).await;
    rig.settle(&rig.next_of("a").await, Outcome::Cancel).await;
    let view = rig.run(&run).await;
    assert_eq!((view.state, view.counts.cancelled), (RunState::Succeeded, 3));
    rig.jobs(&run).await;
}

async fn a_reset_starts_ancestors_and_their_descendants_over(on: On) {
    let rig = Rig::new(on).await;
    let text = script(&["a", "b", "c", "d"], "p = a | b\nq = | c\nr = | d\nv = p()\nq(v)\nr()\n");
    let run = rig.submit(&text).await;
    let mut leases = rig.lease(10).await;
    let d = leases.remove(1);
    rig.succeed(&d, "4").await;
    rig.succeed(&leases[0], "1").await;
    rig.succeed(&rig.next_of("b").await, "2").await;
    rig.settle(&rig.next_of("c").await, Outcome::Reset).await;
    let states = rig.states(&run).await;
    assert_eq!(
        states,
        [
            ("a".to_owned(), JobState::Available),
            ("b".to_owned(), JobState::Waiting),
            ("c".to_owned(), JobState::Waiting),
            ("d".to_owned(), JobState::Succeeded),
        ]
    );
    let a = rig.next_of("a").await;
    assert_eq!(a.attempt, 2, "attempts go on counting, so that values of lost attempts are never taken for new ones");
    rig.succeed(&a, "5").await;
    assert_eq!(texts(&rig.next_of("b").await), ["5"]);
}

async fn a_reset_revokes_the_lease_of_a_relative(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a", "b", "c"], "p = | a\nq = | b\nr = | c\nv = p()\nq(v)\nr(v)\n")).await;
    rig.succeed(&rig.next_of("a").await, "1").await;
    let leases = rig.lease(10).await;
    rig.settle(&leases[0], Outcome::Reset).await;
    assert_eq!(rig.beat(WORKER, &[&leases[1]]).await.revoked, [leases[1].token]);
    assert_eq!(rig.settle(&leases[1], success("9")).await, Settled::Stale);
    rig.next_of("a").await;
}

async fn a_returned_priority_is_that_of_the_jobs_that_follow_in_the_chain(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a", "b", "c"], "p = a | b\nq = a | c\np()\nq()\n")).await;
    let leases = rig.lease(10).await;
    rig.succeed(&leases[0], "1").await;
    let outcome = Outcome::Success { value: rig::value("2"), priority: Some(7) };
    rig.settle(&leases[1], outcome).await;
    let c = rig.next_of("c").await;
    assert_eq!(c.priority, 7);
    rig.next_of("b").await;
}

async fn scopes_go_in_the_workers_order_then_priority_then_age(on: On) {
    let text = script(
        &["low !scope x", "high !scope x,!priority 5", "other !scope y", "late !scope x"],
        "a = | low\nb = | high\nc = | other\nd = | late\na()\nb()\nc()\nd()\n",
    );
    let rig = Rig::new(on).await;
    rig.submit(&text).await;
    let mut names = Vec::new();
    for lease in rig.lease_as(WORKER, &["y", "x", "unknown"], 10, Duration::ZERO).await {
        names.push(rig.name(&lease).await);
    }
    assert_eq!(names, ["other", "high", "low", "late"]);

    let rig = Rig::with(on, |config| config.reverse_priority = true).await;
    rig.submit(&text).await;
    let leases = rig.lease_as(WORKER, &["x"], 10, Duration::ZERO).await;
    assert_eq!(rig.name(&leases[2]).await, "high");
}

async fn turning_the_priority_order_round_holds_for_what_is_in_the_queue(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["low", "high !priority 5"], "a = | low\nb = | high\na()\nb()\n")).await;
    let mut rig = rig;
    rig.config.reverse_priority = true;
    let rig = rig.restart().await;
    rig.next_of("low").await;
    rig.next_of("high").await;
}

async fn a_submitted_job_wakes_a_waiting_worker(on: On) {
    let rig = Rig::new(on).await;
    let waiting = rig.lease_as(WORKER, &["default"], 1, Duration::from_secs(20));
    let text = script(&["a"], "p = | a\np()\n");
    let started = std::time::Instant::now();
    let (leases, _) = tokio::join!(waiting, rig.submit(&text));
    assert_eq!(leases.len(), 1);
    assert!(started.elapsed() < Duration::from_secs(10), "woken, not timed out");
}

async fn a_second_submission_with_the_same_key_is_the_same_run(on: On) {
    let rig = Rig::new(on).await;
    let text = script(&["a"], "p = | a\np()\n");
    let first = rig.try_submit(&text, Some("daily-1")).await.unwrap();
    let second = rig.try_submit(&text, Some("daily-1")).await.unwrap();
    assert!(!first.repeated && second.repeated);
    assert_eq!(first.run.id, second.run.id);
    assert_ne!(rig.try_submit(&text, Some("daily-2")).await.unwrap().run.id, first.run.id);
    assert_eq!(rig.lease(10).await.len(), 2);
}

async fn a_key_stands_for_one_script(on: On) {
    let rig = Rig::new(on).await;
    let first = rig.try_submit(&script(&["a"], "p = | a\np()\n"), Some("daily")).await.unwrap();
    let refused = rig.try_submit(&script(&["b"], "p = | b\np()\n"), Some("daily")).await;
    let Err(QueueError::Conflict(message)) = refused else { panic!("{refused:?}") };
    assert!(message.contains("daily") && message.contains(first.run.id.as_str()), "{message}");
    assert_eq!(rig.lease(10).await.len(), 1);
}

async fn a_wrong_script_is_refused_with_places_and_stores_no_run(on: On) {
    let rig = Rig::new(on).await;
    let refused = rig.try_submit(&script(&["a"], "p = | nothing\np()\n"), None).await;
    let Err(QueueError::Script { diagnostics, rendered }) = refused else { panic!("{refused:?}") };
    let wrong = diagnostics.iter().find(|diagnostic| diagnostic.severity == protocol::Severity::Error).unwrap();
    assert_eq!(wrong.line, 5);
    assert!(rendered.contains("nothing"), "{rendered}");
    assert!(rig.queue.runs(10).await.unwrap().is_empty());
}

async fn a_bundle_with_missing_files_is_refused_by_naming_them(on: On) {
    let rig = Rig::new(on).await;
    let digest = protocol::Digest::of(b"not sent");
    let file = protocol::FileEntry { path: "x.bue".into(), digest, bytes: 8 };
    let manifest = protocol::Manifest::new(vec![file]);
    assert_eq!(rig.queue.missing_files(manifest.clone()).await.unwrap().missing, [digest]);
    let request = protocol::api::SubmitRequest { manifest, script: "x.bue".into(), key: None };
    let refused = rig.queue.submit(request).await;
    assert!(matches!(refused, Err(QueueError::MissingFiles(missing)) if missing == [digest]));
    let wrong = rig.queue.put_file(digest, b"something else".to_vec().into()).await;
    assert!(matches!(wrong, Err(QueueError::Invalid(_))));
}

async fn a_cancelled_run_has_no_job_left_that_can_run(on: On) {
    let rig = Rig::new(on).await;
    let text = script(&["a", "b", "c"], "p = | a\nq = b | c\nfor x in p():\n    q(x)\n");
    let run = rig.submit(&text).await;
    let items: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    rig.succeed(&rig.next_of("a").await, &format!("[{}]", items.join(","))).await;
    let held = rig.lease(3).await;
    let view = rig.queue.cancel(run.clone()).await.unwrap();
    assert_eq!(view.state, RunState::Cancelled);
    assert_eq!((view.counts.cancelled, view.counts.succeeded), (2_000, 1));
    assert_eq!(view.counts.total(), 2_001);
    assert!(rig.lease(10).await.is_empty());
    assert_eq!(rig.settle(&held[0], success("1")).await, Settled::Stale);
    assert_eq!(rig.beat(WORKER, &[&held[1]]).await.revoked.len(), 1);
}

async fn a_stale_token_changes_nothing_and_a_repeated_one_gets_the_same_answer(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b"], "p = a | b\np()\n")).await;
    let a = rig.next_of("a").await;
    let mut forged = a.clone();
    forged.token.0[0] ^= 1;
    assert_eq!(rig.settle(&forged, success("666")).await, Settled::Stale);
    rig.succeed(&a, "1").await;
    assert_eq!(rig.settle(&a, success("2")).await, Settled::Settled);
    let b = rig.next_of("b").await;
    assert_eq!(texts(&b), ["1"], "the repeated settlement changed nothing");
    assert_eq!(rig.settle(&forged, error("late")).await, Settled::Stale);
    assert_eq!(rig.run(&run).await.counts.failed, 0);
}

async fn a_settlement_that_stands_twice_in_one_request_frees_a_child_once(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a", "b !scope later", "c"], "p = | a\nq = | b\nr = | c\nv = p()\nw = q()\nr(v, w)\n")).await;
    let a = rig.next_of("a").await;
    let settlement = protocol::api::Settlement {
        job: a.job,
        attempt: a.attempt,
        token: a.token,
        outcome: success("1"),
        log: None,
        sandbox: None,
    };
    let settlements = vec![settlement.clone(), settlement];
    let request = protocol::api::SettleRequest { session: WORKER, settlements };
    assert_eq!(rig.queue.settle(request).await.unwrap().answers, [Settled::Settled, Settled::Settled]);
    assert!(rig.lease(10).await.is_empty(), "the child still waits for its other parent");
}

async fn jobs_of_a_silent_worker_are_available_again_and_it_settles_in_vain(on: On) {
    let rig = Rig::with(on, |config| config.limits.lapse = Duration::from_millis(300)).await;
    rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let lost = rig.next_of("a").await;
    let found = rig.lease_beating(OTHER, &[], Duration::from_secs(10)).await;
    assert_eq!(found[0].job, lost.job);
    assert_eq!(found[0].attempt, 2);
    assert_eq!(rig.settle(&lost, success("1")).await, Settled::Stale);
    assert_eq!(rig.settle_as(OTHER, &found[0], success("2")).await, Settled::Settled);
}

async fn a_job_that_takes_its_workers_down_is_failed_after_some_losses(on: On) {
    let rig = Rig::with(on, |config| config.limits.lapse = Duration::from_millis(400)).await;
    let run = rig.submit(&script(&["a !retries 9"], "p = | a\np()\n")).await;
    for loss in 0..3_u8 {
        let leases = rig.lease_beating(protocol::SessionId([loss; 8]), &[], Duration::from_secs(30)).await;
        assert_eq!(leases.len(), 1);
    }
    let mut version = None;
    let view = loop {
        let view = rig.queue.run(run.clone(), version, Duration::from_secs(10)).await.unwrap();
        if view.state != RunState::Running {
            break view;
        }
        version = Some(view.version);
    };
    assert_eq!(view.counts.failed, 1);
    let jobs = rig.jobs(&run).await;
    assert!(jobs[0].error.as_ref().unwrap().message.contains("3 workers"), "{:?}", jobs[0].error);
}

async fn what_a_worker_held_that_says_goodbye_is_available_at_once_and_it_is_forgotten(on: On) {
    // Nobody is silent for long enough here.
    let rig = Rig::with(on, |config| config.limits.lapse = Duration::from_secs(3_600)).await;
    let run = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let info = WorkerInfo { pid: 7, scopes: vec!["default".to_owned()], ..WorkerInfo::default() };
    let beat = async |session| {
        rig.queue.beat(BeatRequest { session, held: Vec::new(), info: info.clone() }).await.unwrap();
    };
    // More often than workers may be lost with a job.
    for number in 11..16_u8 {
        let session = protocol::SessionId([number; 8]);
        beat(session).await;
        let leases = rig.lease_as(session, &["default"], 1, Duration::ZERO).await;
        assert_eq!(leases.len(), 1, "lease {number}");
        rig.queue.goodbye(GoodbyeRequest { session }).await.unwrap();
        beat(session).await;
        assert!(rig.queue.status().await.unwrap().workers.is_empty(), "it is over, whatever still comes of it");
        assert!(rig.lease_as(session, &["default"], 1, Duration::ZERO).await.is_empty(), "it is given nothing more");
        assert_eq!(rig.settle_as(session, &leases[0], success("1")).await, Settled::Stale);
    }
    let last = rig.next_of("a").await;
    let waiting = rig.lease_as(OTHER, &["default"], 1, Duration::from_secs(60));
    let (found, ended) = tokio::join!(waiting, rig.queue.goodbye(GoodbyeRequest { session: WORKER }));
    ended.unwrap();
    assert_eq!((found[0].job, found[0].attempt), (last.job, last.attempt + 1));
    assert_eq!(rig.settle_as(OTHER, &found[0], success("2")).await, Settled::Settled);
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
    rig.queue.goodbye(GoodbyeRequest { session: OTHER }).await.unwrap();
    rig.queue.goodbye(GoodbyeRequest { session: OTHER }).await.unwrap();
}

async fn a_lease_that_was_lost_on_the_way_is_taken_back_by_the_workers_beat(on: On) {
    let rig = Rig::with(on, |config| config.limits.lost_on_the_way = Duration::ZERO).await;
    rig.submit(&script(&["a", "b"], "p = | a\nq = | b\np()\nq()\n")).await;
    let leases = rig.lease(2).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    // A lease is taken back once the clock has gone on since it was given.
    let again = loop {
        assert!(rig.beat(WORKER, &[&leases[0]]).await.revoked.is_empty());
        if let Some(lease) = rig.lease(1).await.pop() {
            break lease;
        }
        assert!(Instant::now() < deadline, "the lost lease is not taken back");
    };
    assert_eq!(again.job, leases[1].job);
    assert_ne!(again.token, leases[1].token);
}

async fn a_released_lease_costs_nothing_and_comes_again(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    for delay_ms in [0, 5] {
        let a = rig.next_of("a").await;
        rig.settle(&a, Outcome::Release { reason: "the worker stops".into(), delay_ms }).await;
    }
    rig.succeed(&rig.next_of("a").await, "1").await;
}

async fn a_restart_keeps_every_job_and_every_lease(on: On) {
    let rig = Rig::new(on).await;
    let text = script(&["a", "b", "c"], "p = | a\nq = b | c\nfor x in p():\n    q(x)\n");
    let run = rig.submit(&text).await;
    rig.succeed(&rig.next_of("a").await, "[1,2,3]").await;
    let held = rig.lease(2).await;
    let before = rig.run(&run).await;
    let rig = rig.restart().await;
    assert_eq!(rig.run(&run).await.counts, before.counts);
    assert!(rig.beat(WORKER, &[&held[0], &held[1]]).await.revoked.is_empty());
    for lease in &held {
        rig.succeed(lease, "1").await;
    }
    for _ in 0..4 {
        rig.succeed(&rig.next().await, "1").await;
    }
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
    rig.jobs(&run).await;
}

#[tokio::test]
async fn a_second_hub_on_the_same_queue_is_refused() {
    let rig = Rig::new(On::Sqlite).await;
    let second = bue_hub::Queue::open(&rig.config).await;
    assert!(matches!(second.err(), Some(bue_hub::HubError::InUse { .. })));
}

on_both_stores! {
    what_a_worker_held_that_says_goodbye_is_available_at_once_and_it_is_forgotten,
    a_chain_runs_step_by_step_and_hands_its_values_on,
    a_script_without_calls_is_over_at_once,
    a_job_with_several_parents_runs_once_with_their_values_in_order,
    a_pending_job_comes_again_with_its_inputs_and_costs_no_retry,
    an_error_is_tried_again_and_then_fails_while_the_rest_goes_on,
    a_cancelled_job_takes_what_follows_with_it_which_is_no_error,
    a_reset_starts_ancestors_and_their_descendants_over,
    a_reset_revokes_the_lease_of_a_relative,
    a_returned_priority_is_that_of_the_jobs_that_follow_in_the_chain,
    scopes_go_in_the_workers_order_then_priority_then_age,
    turning_the_priority_order_round_holds_for_what_is_in_the_queue,
    a_submitted_job_wakes_a_waiting_worker,
    a_second_submission_with_the_same_key_is_the_same_run,
    a_key_stands_for_one_script,
    a_wrong_script_is_refused_with_places_and_stores_no_run,
    a_bundle_with_missing_files_is_refused_by_naming_them,
    a_cancelled_run_has_no_job_left_that_can_run,
    a_stale_token_changes_nothing_and_a_repeated_one_gets_the_same_answer,
    a_settlement_that_stands_twice_in_one_request_frees_a_child_once,
    jobs_of_a_silent_worker_are_available_again_and_it_settles_in_vain,
    a_job_that_takes_its_workers_down_is_failed_after_some_losses,
    a_lease_that_was_lost_on_the_way_is_taken_back_by_the_workers_beat,
    a_released_lease_costs_nothing_and_comes_again,
    a_restart_keeps_every_job_and_every_lease,
}
