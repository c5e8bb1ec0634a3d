//! A hub's queue on a folder of its own, scripts written as text, and workers that are just calls.

#![allow(dead_code, missing_docs)]

pub mod postgres;

use std::path::Path;
use std::time::{Duration, Instant};

use bue_hub::{Config, Limits, Policy, Queue, QueueError};
use protocol::api::{
    BeatAnswer, BeatRequest, HeldLease, JobView, Lease, LeaseRequest, RunView, SettleRequest, Settled, Settlement,
    SubmitAnswer, SubmitRequest, WorkerInfo,
};
use protocol::{
    Digest, ErrorKind, FileEntry, JobState, Manifest, Outcome, Place, RunId, SessionId, StepError, ValueKind, ValueRef,
};
use serde_json::value::RawValue;

/// Where a queue is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgres,
}

/// Makes a test of each behaviour on each store.
#[macro_export]
macro_rules! on_both_stores {
    ($($behaviour:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour($crate::rig::On::Sqlite).await;
            })*
        }

        mod on_postgres {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour($crate::rig::On::Postgres).await;
            })*
        }
    };
}

pub struct Rig {
    pub folder: tempfile::TempDir,
    pub config: Config,
    pub queue: Queue,
}

/// A policy without pauses worth waiting for.
pub fn quick() -> Policy {
    Policy {
        backoff_first: Duration::from_millis(1),
        backoff_max: Duration::from_millis(2),
        pending_first: Duration::from_millis(1),
        pending_max: Duration::from_millis(2),
        losses_max: 3,
    }
}

impl Rig {
    pub async fn new(on: On) -> Self {
        Self::with(on, |_| {}).await
    }

    pub async fn with(on: On, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            data_dir: folder.path().to_owned(),
            token: "secret".to_owned(),
            keyring: Some(bue_hub::Keyring::parse(&"07".repeat(32)).unwrap()),
            postgres: match on {
                On::Sqlite => None,
                On::Postgres => Some(postgres::database().await),
            },
            bucket: None,
            policy: quick(),
            reverse_priority: false,
            limits: Limits::default(),
        };
        change(&mut config);
        let queue = Queue::open(&config).await.unwrap();
        Self { folder, config, queue }
    }

    /// Closes the queue and opens it again, as a restart of the hub does.
    pub async fn restart(self) -> Self {
        self.restart_after(|_| Ok(())).await
    }

    /// Closes the queue, does something to its folder, and opens it again.
    pub async fn restart_after(self, action: impl Fn(&Path) -> Result<(), bue_hub::HubError>) -> Self {
        let Self { folder, config, queue } = self;
        drop(queue);
        // The timers let go of the store a moment after the queue itself.
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        loop {
            let opened = match action(&config.data_dir) {
                Ok(()) => Queue::open(&config).await,
                Err(error) => Err(error),
            };
            match opened {
                Ok(queue) => return Self { folder, config, queue },
                Err(bue_hub::HubError::InUse { .. }) if std::time::Instant::now() < deadline => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub async fn try_submit(&self, text: &str, key: Option<&str>) -> Result<SubmitAnswer, QueueError> {
        let digest = Digest::of(text.as_bytes());
        self.queue.put_file(digest, text.as_bytes().to_vec().into()).await?;
        let file = FileEntry { path: "test.bue".into(), digest, bytes: text.len() as u64 };
        let manifest = Manifest::new(vec![file]);
        self.queue.submit(SubmitRequest { manifest, script: "test.bue".into(), key: key.map(str::to_owned) }).await
    }

    pub async fn submit(&self, text: &str) -> RunId {
        match self.try_submit(text, None).await {
            Ok(answer) => answer.run.id,
            Err(QueueError::Script { rendered, .. }) => panic!("{rendered}"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits for work as a worker does: it beats meanwhile, with these leases, and asks again where it was missed all the same.
    pub async fn lease_beating(&self, session: SessionId, held: &[&Lease], wait: Duration) -> Vec<Lease> {
        let beats = async {
            loop {
                self.beat(session, held).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let deadline = Instant::now() + wait;
        let asks = async {
            loop {
                let given = self.lease_as(session, &["default"], 1, deadline.duration_since(Instant::now())).await;
                if !given.is_empty() || Instant::now() >= deadline {
                    return given;
                }
            }
        };
        tokio::select! {
            given = asks => given,
            never = beats => never,
        }
    }

    pub async fn lease_as(&self, session: SessionId, scopes: &[&str], slots: u32, wait: Duration) -> Vec<Lease> {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let wait_ms = u64::try_from(wait.as_millis()).unwrap();
        let request = LeaseRequest { session, scopes, slots, shared_slots: 0, wait_ms, info: WorkerInfo::default() };
        self.queue.lease(request).await.unwrap().leases
    }

    /// Leases what is ready at once.
    pub async fn lease(&self, slots: u32) -> Vec<Lease> {
        self.lease_as(WORKER, &["default"], slots, Duration::ZERO).await
    }

    /// Leases one job, waiting for it.
    pub async fn next(&self) -> Lease {
        let leases = self.lease_as(WORKER, &["default"], 1, Duration::from_secs(10)).await;
        leases.into_iter().next().expect("a job within ten seconds")
    }

    /// Leases one job, which must be one of this step.
    pub async fn next_of(&self, step: &str) -> Lease {
        let lease = self.next().await;
        assert_eq!(self.name(&lease).await, step);
        lease
    }

    pub async fn name(&self, lease: &Lease) -> String {
        self.queue.job(lease.job).await.unwrap().name
    }

    pub async fn settle(&self, lease: &Lease, outcome: Outcome) -> Settled {
        self.settle_as(WORKER, lease, outcome).await
    }

    pub async fn settle_as(&self, session: SessionId, lease: &Lease, outcome: Outcome) -> Settled {
        let settlement = Settlement {
            job: lease.job,
            attempt: lease.attempt,
            token: lease.token,
            outcome,
            log: None,
            sandbox: None,
        };
        let answer = self.queue.settle(SettleRequest { session, settlements: vec![settlement] }).await.unwrap();
        answer.answers[0]
    }

    pub async fn succeed(&self, lease: &Lease, json: &str) {
        assert_eq!(self.settle(lease, success(json)).await, Settled::Settled);
    }

    pub async fn beat(&self, session: SessionId, held: &[&Lease]) -> BeatAnswer {
        self.queue.beat(BeatRequest { session, held: self::held(held), info: WorkerInfo::default() }).await.unwrap()
    }

    /// A beat for leases whose steps do not run.
    pub async fn beat_idle(&self, session: SessionId, held: &[&Lease]) -> BeatAnswer {
        let held = self::held(held).into_iter().map(|lease| HeldLease { idle: true, ..lease }).collect();
        self.queue.beat(BeatRequest { session, held, info: WorkerInfo::default() }).await.unwrap()
    }

    pub async fn run(&self, run: &RunId) -> RunView {
        self.queue.run(run.clone(), None, Duration::ZERO).await.unwrap()
    }

    pub async fn jobs(&self, run: &RunId) -> Vec<JobView> {
        let mut jobs = Vec::new();
        let mut after = None;
        loop {
            let page = self.queue.jobs(run.clone(), after, None, 100).await.unwrap();
            jobs.extend(page.jobs);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.counts_agree(run, &jobs).await;
        jobs
    }

    /// The counts of a run must be those of its jobs, plus the waiting ones of passes still to be made.
    async fn counts_agree(&self, run: &RunId, jobs: &[JobView]) {
        let counts = self.run(run).await.counts;
        let count = |state| jobs.iter().filter(|job| !job.item && job.state == state).count() as u64;
        assert_eq!(counts.leased, count(JobState::Leased), "leased");
        assert_eq!(counts.succeeded, count(JobState::Succeeded), "succeeded");
        assert_eq!(counts.failed, count(JobState::Failed), "failed");
        assert_eq!(counts.available + counts.pending, count(JobState::Available), "available and pending");
        assert!(counts.waiting >= count(JobState::Waiting), "waiting");
        assert!(counts.cancelled >= count(JobState::Cancelled), "cancelled");
    }

    /// Job states by name, in listing order.
    pub async fn states(&self, run: &RunId) -> Vec<(String, JobState)> {
        self.jobs(run).await.into_iter().filter(|job| !job.item).map(|job| (job.name, job.state)).collect()
    }
}

/// What a worker says that it holds.
pub fn held(leases: &[&Lease]) -> Vec<HeldLease> {
    leases.iter().map(|lease| HeldLease { job: lease.job, token: lease.token, idle: false }).collect()
}

pub const WORKER: SessionId = SessionId([1; 8]);
pub const OTHER: SessionId = SessionId([2; 8]);

pub fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

pub fn value(text: &str) -> ValueRef {
    let elements = serde_json::from_str::<Vec<serde_json::Value>>(text).ok();
    let kind = match text.as_bytes()[0] {
        b'[' => ValueKind::List,
        b'{' => ValueKind::Dict,
        b'"' => ValueKind::String,
        b'n' => ValueKind::Null,
        _ => ValueKind::Number,
    };
    ValueRef { kind, length: elements.map(|elements| elements.len() as u64), place: Place::Json(json(text)) }
}

pub fn success(text: &str) -> Outcome {
    Outcome::Success { value: value(text), priority: None }
}

pub fn error(message: &str) -> Outcome {
    Outcome::Error(StepError::new(ErrorKind::Exception, message))
}

/// The JSON of an inline value.
pub fn text(value: &ValueRef) -> String {
    match &value.place {
        Place::Json(text) => text.get().to_owned(),
        other => panic!("not inline: {other:?}"),
    }
}

pub fn texts(lease: &Lease) -> Vec<String> {
    lease.inputs.iter().map(text).collect()
}

/// A script with steps of these names (each may bring settings after a blank), then `rest`.
pub fn script(steps: &[&str], rest: &str) -> String {
    let mut text = String::new();
    for step in steps {
        let (name, settings) = step.split_once(' ').unwrap_or((step, ""));
        text.push_str(&format!("{name}:\n    python\n"));
        for setting in settings.split(',').filter(|setting| !setting.is_empty()) {
            text.push_str(&format!("    {}\n", setting.trim()));
        }
        text.push_str("    f\n    `def f(*a): return a`\n");
    }
    text.push_str(rest);
    text
}

/// Whether a folder holds a file.
pub fn has(folder: &Path, name: &str) -> bool {
    folder.join(name).exists()
}
