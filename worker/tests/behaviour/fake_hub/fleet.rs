//! A worker over a hub in memory: jobs are put in, outcomes are waited for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bucket::{Bucket, BucketUrl};
use bue_worker::{Config, Summary, WorkerError, find_python};
use bytes::Bytes;
use protocol::api::{Lease, LogRef, PlanAnswer, Settlement};
use protocol::{
    Digest, FileEntry, JobId, LeaseToken, Manifest, Outcome, Place, RunId, Step, StepError, ValueKind, ValueRef,
};
use serde_json::value::RawValue;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{DEADLINE, FakeHub, Work};

/// A worker that runs over a fake hub.
pub struct Fleet {
    pub hub: Arc<FakeHub>,
    pub bucket: Bucket,
    pub shutdown: CancellationToken,
    pub folder: tempfile::TempDir,
    worker: JoinHandle<Result<Summary, WorkerError>>,
}

impl Fleet {
    /// A worker with two slots and a bucket in a folder.
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// A worker whose settings `change` has changed.
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bucket = open_bucket(&format!("file://{}", folder.path().join("bucket").display()));
        Self::over(folder, bucket, change)
    }

    /// A worker over this bucket.
    pub fn over(folder: tempfile::TempDir, bucket: Bucket, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(folder.path().join("worker"), find_python(None).unwrap()).unwrap();
        config.slots = 2;
        config.program = env!("CARGO_BIN_EXE_bue-sql-step").into();
        config.limits.beat = Duration::from_millis(50);
        config.limits.backoff_min = Duration::from_millis(10);
        config.limits.backoff_max = Duration::from_millis(50);
        config.limits.live_log_pause = Duration::from_millis(20);
        config.limits.stop_grace = Duration::from_millis(500);
        change(&mut config);
        let (hub, shutdown) = (Arc::new(FakeHub::default()), CancellationToken::new());
        let worker = tokio::spawn(bue_worker::run(config, Arc::clone(&hub), bucket.clone(), shutdown.clone()));
        Self { hub, bucket, shutdown, folder, worker }
    }

    /// Makes a step available; it has the number that comes back.
    pub fn add(&self, work: Work) -> Lease {
        let lease = self.add_held(work);
        self.give(lease.clone());
        lease
    }

    /// A lease with its plan, which nobody is given.
    fn add_held(&self, work: Work) -> Lease {
        let number = self.hub.jobs.fetch_add(1, Ordering::SeqCst) + 1;
        let mut files = work.files;
        let script = if work.is_of_one_bundle { 0 } else { number };
        files.push(("script.bue".to_owned(), format!("# script {script}")));
        let entry = |(path, content): &(String, String)| FileEntry {
            path: path.clone(),
            digest: Digest::of(content.as_bytes()),
            bytes: content.len() as u64,
        };
        let manifest = Manifest::new(files.iter().map(entry).collect());
        for (_, content) in files {
            self.hub.files.lock().unwrap().insert(Digest::of(content.as_bytes()), Bytes::from(content));
        }
        let step = Step {
            name: "work".to_owned(),
            language: work.language,
            function: work.function,
            source: 0,
            settings: work.settings,
            line: 1,
        };
        let bundle = manifest.digest();
        self.hub.manifests.lock().unwrap().insert(bundle, manifest);
        let script = "script.bue".to_owned();
        let plan = PlanAnswer { bundle, script, sources: vec![work.source], steps: vec![step], next: Vec::new() };
        let digest = Digest::of(&number.to_le_bytes());
        self.hub.plans.lock().unwrap().insert(digest, plan);
        let mut token = [0; 16];
        token[..4].copy_from_slice(&number.to_le_bytes());
        // Marks of attempts are unique in a process, and all tests of a file share one.
        token[8..].copy_from_slice(&(Arc::as_ptr(&self.hub) as u64).to_le_bytes());
        Lease {
            token: LeaseToken(token),
            job: JobId(u64::from(number)),
            run: RunId::new(1, 0),
            attempt: 1,
            plan: digest,
            step: 0,
            priority: 0,
            inputs: work.inputs,
            shared: false,
            next_job: None,
        }
    }

    /// Makes the first step of a chain available; the leases of the others come back too, which nobody is given.
    pub fn add_chain<const N: usize>(&self, works: [Work; N]) -> [Lease; N] {
        let leases = works.map(|work| self.add_held(work));
        let jobs: Vec<JobId> = leases.iter().map(|lease| lease.job).collect();
        let mut plans = self.hub.plans.lock().unwrap();
        let mut chain = plans[&leases[0].plan].clone();
        for (number, lease) in (0..).zip(&leases).skip(1) {
            let PlanAnswer { sources, steps, .. } = plans[&lease.plan].clone();
            chain.sources.extend(sources);
            chain.steps.extend(steps.into_iter().map(|step| Step {
                name: format!("next {number}"),
                source: number,
                ..step
            }));
        }
        chain.next = (1..N as u32).map(Some).chain([None]).collect();
        let plan = leases[0].plan;
        plans.insert(plan, chain);
        drop(plans);
        let mut steps = 0..;
        let leases = leases.map(|lease| {
            let step = steps.next().unwrap();
            Lease { plan, step, next_job: jobs.get(step as usize + 1).copied(), ..lease }
        });
        self.give(leases[0].clone());
        leases
    }

    /// Makes a lease available.
    pub fn give(&self, lease: Lease) {
        self.hub.available.lock().unwrap().push_back(lease);
        self.hub.arrived.notify_waiters();
    }

    /// Makes jobs of one plan available, one for each input.
    pub fn add_many(&self, work: Work, inputs: &[&str]) -> Vec<Lease> {
        let first = self.add_held(work);
        let mut leases = Vec::new();
        for input in inputs {
            let number = self.hub.jobs.fetch_add(1, Ordering::SeqCst) + 1;
            let mut token = first.token;
            token.0[..4].copy_from_slice(&number.to_le_bytes());
            let place = Place::Json(RawValue::from_string((*input).to_owned()).unwrap());
            let inputs = vec![ValueRef { kind: ValueKind::List, length: None, place }];
            leases.push(Lease { token, job: JobId(u64::from(number)), inputs, ..first.clone() });
        }
        self.hub.available.lock().unwrap().extend(leases.iter().cloned());
        self.hub.arrived.notify_waiters();
        leases
    }

    /// Runs a step to its end.
    pub async fn run(&self, work: Work) -> Settlement {
        let lease = self.add(work);
        self.hub.settlement(lease.job).await
    }

    /// Runs a step that succeeds; its value as JSON.
    pub async fn value(&self, work: Work) -> String {
        let value = self.stored(work).await;
        let values = bucket::value::Values::new(self.bucket.clone(), self.folder.path(), Default::default());
        values.read(&value, 1 << 30).await.unwrap().get().to_owned()
    }

    /// Runs a step that succeeds; where its value is.
    pub async fn stored(&self, work: Work) -> ValueRef {
        match self.run(work).await.outcome {
            Outcome::Success { value, .. } => value,
            other => panic!("not a success: {other:?}"),
        }
    }

    /// Runs a step that fails.
    pub async fn error(&self, work: Work) -> StepError {
        match self.run(work).await.outcome {
            Outcome::Error(error) => error,
            other => panic!("not an error: {other:?}"),
        }
    }

    /// Shuts the worker down and waits for its end.
    pub async fn stop(self) -> Summary {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.worker).await.expect("the worker does not end").unwrap().unwrap()
    }
}

pub fn open_bucket(url: &str) -> Bucket {
    bucket::install_tls();
    let credentials = bucket::Credentials::new("key", "secret");
    Bucket::open(&url.parse::<BucketUrl>().unwrap(), Some(&credentials)).unwrap()
}

/// The text of a log that is inside the settlement.
pub fn log_text(settlement: &Settlement) -> &str {
    match &settlement.log {
        Some(LogRef::Text(text)) => text,
        other => panic!("no log inside: {other:?}"),
    }
}

/// Waits until a condition holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// Waits until a step has written a file outside of its scratch folder; its content.
pub async fn written(path: &Path) -> String {
    until("a file written by a step", || std::fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n'))).await;
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}
