//! What several hubs over one PostgreSQL database promise, and what they survive.

mod rig;

use std::time::Duration;

use bue_hub::{Config, HubError, Queue};
use protocol::api::{BeatRequest, LeaseRequest, Pause, WorkerInfo};
use protocol::{Outcome, RunState};
use rig::{On, Rig, WORKER, postgres, script, success};

/// A second hub over the same database.
async fn second(rig: &Rig) -> Queue {
    let folder = rig.folder.path().join("second");
    Queue::open(&Config { data_dir: folder, ..rig.config.clone() }).await.unwrap()
}

fn request(slots: u32, wait: Duration) -> LeaseRequest {
    let info = WorkerInfo { pid: 7, scopes: vec!["default".into()], ..WorkerInfo::default() };
    LeaseRequest {
        session: WORKER,
        scopes: info.scopes.clone(),
        slots,
        shared_slots: 0,
        wait_ms: wait.as_millis() as u64,
        info,
    }
}

const CHAIN: &str = "p = a | b\np()\n";

#[tokio::test]
async fn a_job_submitted_to_one_hub_wakes_a_worker_that_waits_at_another() {
    let rig = Rig::new(On::Postgres).await;
    let other = second(&rig).await;
    let started = std::time::Instant::now();
    let waiting = other.lease(request(1, Duration::from_secs(20)));
    let text = script(&["a", "b"], CHAIN);
    let (answer, run) = tokio::join!(waiting, rig.submit(&text));
    assert_eq!(answer.unwrap().leases.len(), 1);
    assert!(started.elapsed() < Duration::from_secs(10), "woken, not timed out");
    let before = other.run(run.clone(), None, Duration::ZERO).await.unwrap();
    let watching = other.run(run.clone(), Some(before.version), Duration::from_secs(20));
    let (after, _) = tokio::join!(watching, rig.queue.cancel(run));
    assert_eq!(after.unwrap().state, RunState::Cancelled);
}

#[tokio::test]
async fn what_one_hub_leased_is_settled_at_another_and_counts_once() {
    let rig = Rig::new(On::Postgres).await;
    let other = second(&rig).await;
    let run = rig.submit(&script(&["a", "b"], CHAIN)).await;
    let a = other.lease(request(1, Duration::from_secs(5))).await.unwrap().leases.remove(0);
    rig.succeed(&a, "1").await;
    assert_eq!(rig.settle(&a, success("2")).await, protocol::api::Settled::Settled);
    rig.succeed(&rig.next_of("b").await, "3").await;
    assert_eq!(other.run(run, None, Duration::ZERO).await.unwrap().counts.succeeded, 2);
}

#[tokio::test]
async fn many_requests_to_two_hubs_at_once_lose_nothing_and_give_nothing_twice() {
    let rig = Rig::new(On::Postgres).await;
    let other = second(&rig).await;
    let run = rig.submit(&script(&["a", "b", "c"], "p = | a\nq = b | c\nfor x in p():\n    q(x)\n")).await;
    let items: Vec<String> = (0..150).map(|number| number.to_string()).collect();
    rig.succeed(&rig.next_of("a").await, &format!("[{}]", items.join(","))).await;
    let mut workers = tokio::task::JoinSet::new();
    for queue in [rig.queue.clone(), other.clone(), rig.queue.clone(), other.clone()] {
        workers.spawn(async move {
            let mut tokens = Vec::new();
            loop {
                let leases = queue.lease(request(3, Duration::from_millis(300))).await.unwrap().leases;
                if leases.is_empty() {
                    return tokens;
                }
                for lease in leases {
                    let outcome = success("1");
                    let (job, attempt, token) = (lease.job, lease.attempt, lease.token);
                    let settlement =
                        protocol::api::Settlement { job, attempt, token, outcome, log: None, sandbox: None };
                    let request = protocol::api::SettleRequest { session: WORKER, settlements: vec![settlement] };
                    assert_eq!(queue.settle(request).await.unwrap().answers, [protocol::api::Settled::Settled]);
                    tokens.push((lease.job, lease.token));
                }
            }
        });
    }
    let done: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    let distinct: std::collections::HashSet<_> = done.iter().map(|(job, _)| *job).collect();
    assert_eq!((done.len(), distinct.len()), (300, 300));
    let view = rig.run(&run).await;
    assert_eq!((view.state, view.counts.succeeded), (RunState::Succeeded, 301));
    rig.jobs(&run).await;
}

#[tokio::test]
async fn a_worker_that_beats_at_one_hub_is_alive_for_all() {
    let rig = Rig::with(On::Postgres, |config| config.limits.lapse = Duration::from_millis(600)).await;
    let other = second(&rig).await;
    rig.submit(&script(&["a", "b"], CHAIN)).await;
    let a = other.lease(request(1, Duration::from_secs(5))).await.unwrap().leases.remove(0);
    let info = request(0, Duration::ZERO).info;
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        let beat = BeatRequest { session: WORKER, held: rig::held(&[&a]), info: info.clone() };
        assert!(other.beat(beat).await.unwrap().revoked.is_empty());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seen = rig.queue.status().await.unwrap();
    assert!(
        seen.workers.iter().any(|worker| worker.session == WORKER),
        "the hub that was not spoken to knows the worker"
    );
    assert!(seen.scopes.iter().all(|scope| scope.served));
    drop(other);
    // Now nobody hears the worker: the hub that is left gives its job to another.
    let found = rig.lease_beating(rig::OTHER, &[], Duration::from_secs(10)).await;
    assert_eq!((found[0].job, found[0].attempt), (a.job, 2));
}

#[tokio::test]
async fn parked_jobs_of_a_hub_that_is_gone_become_ready_at_another() {
    let rig = Rig::with(On::Postgres, |config| {
        let pause = Duration::from_millis(700);
        (config.policy.pending_first, config.policy.pending_max) = (pause, pause);
    })
    .await;
    let other = second(&rig).await;
    rig.submit(&script(&["a", "b"], CHAIN)).await;
    rig.settle(&rig.next_of("a").await, Outcome::Pending { priority: None }).await;
    drop(rig.queue);
    let again = other.lease(request(1, Duration::from_secs(10))).await.unwrap();
    assert_eq!(again.leases[0].attempt, 2);
}

#[tokio::test]
async fn a_pause_holds_at_all_hubs() {
    let rig = Rig::new(On::Postgres).await;
    let other = second(&rig).await;
    rig.submit(&script(&["a", "b"], CHAIN)).await;
    rig.queue.pause(Pause::Everything).await.unwrap();
    assert!(other.lease(request(1, Duration::ZERO)).await.unwrap().leases.is_empty());
    let waiting = other.lease(request(1, Duration::from_secs(20)));
    let (answer, resumed) = tokio::join!(waiting, rig.queue.resume(Pause::Everything));
    resumed.unwrap();
    assert_eq!(answer.unwrap().leases.len(), 1);
}

#[tokio::test]
async fn cut_connections_cost_no_request_and_no_wake_up() {
    let rig = Rig::new(On::Postgres).await;
    let other = second(&rig).await;
    let url = rig.config.postgres.clone().unwrap();
    for round in 0..3 {
        let waiting = other.lease(request(2, Duration::from_secs(30)));
        let working = async {
            postgres::cut_connections(&url).await;
            let run = rig.submit(&script(&["a", "b"], CHAIN)).await;
            postgres::cut_connections(&url).await;
            run
        };
        let (answer, run) = tokio::join!(waiting, working);
        // A lease whose answer was lost in the cut would be found by the beat; here it came through.
        let a = answer.unwrap_or_else(|error| panic!("round {round}: {error}")).leases.remove(0);
        postgres::cut_connections(&url).await;
        rig.succeed(&a, "1").await;
        postgres::cut_connections(&url).await;
        rig.succeed(&rig.next_of("b").await, "2").await;
        assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
    }
}

#[tokio::test]
async fn a_hub_that_would_have_another_order_of_priorities_than_those_that_run_does_not_start() {
    let rig = Rig::new(On::Postgres).await;
    let run = rig.submit(&script(&["low", "high !priority 5"], "a = | low\nb = | high\na()\nb()\n")).await;
    let config = Config { reverse_priority: true, ..rig.config.clone() };
    let refused = Queue::open(&config).await.err();
    assert!(matches!(&refused, Some(HubError::OtherOrder { .. })), "{refused:?}");
    // The one that runs goes on as it did.
    let first = rig.next_of("high").await;
    rig.succeed(&first, "1").await;
    rig.succeed(&rig.next_of("low").await, "1").await;
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_named_without_its_password() {
    let mut rig = Rig::new(On::Sqlite).await;
    for (url, word) in [
        ("postgres://me:hush@127.0.0.1:1/db", "127.0.0.1:1/db"),
        ("postgres://me:hush@/db", "names no host"),
        ("nonsense", "PostgreSQL address"),
    ] {
        rig.config.postgres = Some(url.to_owned());
        let error = Queue::open(&rig.config).await.err().unwrap().to_string();
        assert!(error.contains(word) && !error.contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_no_silence_of_the_workers_of_other_hubs() {
    let lapse = Duration::from_millis(1_200);
    let rig = Rig::with(On::Postgres, |config| config.limits.lapse = lapse).await;
    let other = second(&rig).await;
    let run = rig.submit(&script(&["a", "b"], CHAIN)).await;
    let info = request(1, Duration::ZERO).info;
    let leases = other.lease(request(1, Duration::from_secs(5))).await.unwrap().leases;
    let held = vec![protocol::api::HeldLease { job: leases[0].job, token: leases[0].token, idle: false }];
    let beats = async {
        loop {
            other.beat(BeatRequest { session: WORKER, held: held.clone(), info: info.clone() }).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let url = rig.config.postgres.clone().unwrap();
    let outage = async {
        // Both have told each other of it.
        tokio::time::sleep(lapse).await;
        for _ in 0..3 {
            postgres::change(&url, "ALTER TABLE bue.sessions RENAME TO away").await;
            tokio::time::sleep(2 * lapse).await;
            postgres::change(&url, "ALTER TABLE bue.away RENAME TO sessions").await;
            tokio::time::sleep(lapse).await;
        }
    };
    tokio::select! {
        never = beats => match never {},
        () = outage => {}
    }
    assert_eq!(rig.run(&run).await.counts.leased, 1);
    assert_eq!(rig.settle(&leases[0], success("1")).await, protocol::api::Settled::Settled);
}
