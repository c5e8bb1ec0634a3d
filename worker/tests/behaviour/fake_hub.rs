//! A hub in memory and a worker over it: jobs are put in, outcomes are waited for.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bucket::{Bucket, BucketUrl};
use bue_worker::{Config, Hub, HubError, Summary, WorkerError, find_python};
use bytes::Bytes;
use protocol::api::{
    ApiErrorKind, BeatAnswer, BeatRequest, GoodbyeRequest, Lease, LeaseAnswer, LeaseRequest, LogRef, PlanAnswer,
    SettleAnswer, SettleRequest, Settled, Settlement,
};
use protocol::log::{LateLog, LateLogAnswer, LateLogRequest, LogRequest};
use protocol::plan::Settings;
use protocol::secret::{SecretText, SecretsAnswer, SecretsRequest};
use protocol::{
    Digest, FileEntry, JobId, Language, LeaseToken, Manifest, Outcome, Place, RunId, Source, Step, StepError,
    ValueKind, ValueRef,
};
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything in a test.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A hub in memory.
#[derive(Default)]
pub struct FakeHub {
    available: Mutex<VecDeque<Lease>>,
    arrived: Notify,
    settled: Mutex<HashMap<JobId, Settlement>>,
    changed: Notify,
    plans: Mutex<HashMap<Digest, PlanAnswer>>,
    manifests: Mutex<HashMap<Digest, Manifest>>,
    files: Mutex<HashMap<Digest, Bytes>>,
    revoked: Mutex<Vec<LeaseToken>>,
    /// How many more requests are answered as if nobody were there.
    pub outage: AtomicU32,
    /// How many more settlements are kept, and their answers lost.
    pub lost_answers: AtomicU32,
    /// What attempts have printed, as it was told while they ran.
    pub told: Mutex<String>,
    /// What was handed in of attempts whose leases were taken.
    pub late: Mutex<Vec<LateLog>>,
    /// How many more requests with late logs are answered as if nobody were there.
    pub late_outage: AtomicU32,
    /// Leases that were still open at each goodbye.
    pub goodbyes: Mutex<Vec<usize>>,
    /// Whether it is a hub that knows neither late logs nor goodbyes.
    pub is_old: AtomicBool,
    /// Secrets that are set, by name.
    pub secrets: Mutex<BTreeMap<String, String>>,
    /// Leases given and not settled, and the most there ever were.
    open: AtomicUsize,
    pub open_max: AtomicUsize,
    jobs: AtomicU32,
}

impl FakeHub {
    fn is_away(&self) -> Result<(), HubError> {
        Self::counts_down(&self.outage)
    }

    /// As if nobody were there while `requests` are left.
    fn counts_down(requests: &AtomicU32) -> Result<(), HubError> {
        let count_down = |count: u32| count.checked_sub(1);
        match requests.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down) {
            Ok(_) => Err(HubError::Unreachable { address: "fake".to_owned(), reason: "connection refused".to_owned() }),
            Err(_) => Ok(()),
        }
    }

    fn knows_route(&self) -> Result<(), HubError> {
        let answer = || HubError::Answer {
            address: "fake".to_owned(),
            kind: ApiErrorKind::NotFound,
            message: "there is no such route".to_owned(),
        };
        if self.is_old.load(Ordering::SeqCst) { Err(answer()) } else { Ok(()) }
    }

    /// The hub takes a lease back at the next beat.
    pub fn revoke(&self, token: LeaseToken) {
        self.revoked.lock().unwrap().push(token);
    }

    /// Waits until the job is settled.
    pub async fn settlement(&self, job: JobId) -> Settlement {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if let Some(settlement) = self.settled.lock().unwrap().get(&job) {
                    return settlement.clone();
                }
                changed.await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("the job is not settled in time")
    }

    /// Whether the job was settled.
    pub fn is_settled(&self, job: JobId) -> bool {
        self.settled.lock().unwrap().contains_key(&job)
    }

    /// Jobs that no worker has taken.
    pub fn available(&self) -> usize {
        self.available.lock().unwrap().len()
    }
}

impl Hub for FakeHub {
    async fn lease(&self, request: LeaseRequest) -> Result<LeaseAnswer, HubError> {
        self.is_away()?;
        let take = async {
            loop {
                let arrived = self.arrived.notified();
                {
                    let mut available = self.available.lock().unwrap();
                    let count = available.len().min(request.slots as usize);
                    let leases: Vec<Lease> = available.drain(..count).collect();
                    if !leases.is_empty() {
                        let open = self.open.fetch_add(leases.len(), Ordering::SeqCst) + leases.len();
                        self.open_max.fetch_max(open, Ordering::SeqCst);
                        return LeaseAnswer { leases };
                    }
                }
                arrived.await;
            }
        };
        let answer = tokio::time::timeout(Duration::from_millis(request.wait_ms), take).await;
        Ok(answer.unwrap_or(LeaseAnswer { leases: Vec::new() }))
    }

    async fn settle(&self, request: SettleRequest) -> Result<SettleAnswer, HubError> {
        self.is_away()?;
        let count = request.settlements.len();
        for settlement in request.settlements {
            if self.settled.lock().unwrap().insert(settlement.job, settlement).is_none() {
                self.open.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.changed.notify_waiters();
        let count_down = |count: u32| count.checked_sub(1);
        if self.lost_answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down).is_ok() {
            return Err(HubError::Unreachable { address: "fake".to_owned(), reason: "broken off".to_owned() });
        }
        Ok(SettleAnswer { answers: vec![Settled::Settled; count] })
    }

    async fn beat(&self, _request: BeatRequest) -> Result<BeatAnswer, HubError> {
        self.is_away()?;
        Ok(BeatAnswer { revoked: self.revoked.lock().unwrap().clone(), beat_ms: 50 })
    }

    async fn goodbye(&self, _request: GoodbyeRequest) -> Result<(), HubError> {
        self.is_away()?;
        self.knows_route()?;
        let open = self.open.load(Ordering::SeqCst);
        self.goodbyes.lock().unwrap().push(open);
        Ok(())
    }

    async fn plan(&self, plan: Digest) -> Result<PlanAnswer, HubError> {
        self.is_away()?;
        Ok(self.plans.lock().unwrap()[&plan].clone())
    }

    async fn manifest(&self, bundle: Digest) -> Result<Manifest, HubError> {
        self.is_away()?;
        Ok(self.manifests.lock().unwrap()[&bundle].clone())
    }

    async fn secrets(&self, request: SecretsRequest) -> Result<SecretsAnswer, HubError> {
        self.is_away()?;
        let plan = Digest::of(&(request.job.0 as u32).to_le_bytes());
        let declared = self.plans.lock().unwrap()[&plan].steps[0].settings.runtime.secrets.clone();
        let kept = self.secrets.lock().unwrap();
        let mut answer = SecretsAnswer::default();
        for name in declared {
            match kept.get(&name) {
                Some(value) => drop(answer.secrets.insert(name, SecretText(value.clone()))),
                None => answer.missing.push(name),
            }
        }
        Ok(answer)
    }

    async fn log(&self, request: LogRequest) -> Result<(), HubError> {
        self.is_away()?;
        self.told.lock().unwrap().extend(request.parts.into_iter().map(|part| part.text));
        Ok(())
    }

    async fn late_logs(&self, request: LateLogRequest) -> Result<LateLogAnswer, HubError> {
        self.is_away()?;
        Self::counts_down(&self.late_outage)?;
        self.knows_route()?;
        let kept = request.logs.len() as u64;
        self.late.lock().unwrap().extend(request.logs);
        self.changed.notify_waiters();
        Ok(LateLogAnswer { kept })
    }

    async fn file(&self, file: Digest) -> Result<Bytes, HubError> {
        self.is_away()?;
        Ok(self.files.lock().unwrap()[&file].clone())
    }
}

/// One step to be run.
pub struct Work {
    language: Language,
    function: String,
    source: Source,
    files: Vec<(String, String)>,
    settings: Settings,
    inputs: Vec<ValueRef>,
    is_of_one_bundle: bool,
}

/// A Python step with its code on line 5 of the script.
pub fn python(code: &str) -> Work {
    Work {
        language: Language::Python,
        function: "step".to_owned(),
        source: Source::Code { text: code.to_owned(), line: 5 },
        files: Vec::new(),
        settings: Settings::default(),
        inputs: Vec::new(),
        is_of_one_bundle: false,
    }
}

/// A SQLite step with its code on line 5 of the script, and `orders` as its first input.
pub fn sqlite(code: &str) -> Work {
    Work { language: Language::Sqlite3, function: "orders".to_owned(), ..python(code) }
}

impl Work {
    /// As if all such steps were of one upload.
    pub fn of_one_bundle(self) -> Self {
        Self { is_of_one_bundle: true, ..self }
    }

    pub fn language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    pub fn in_file(mut self, path: &str) -> Self {
        self.source = Source::File(path.to_owned());
        self
    }

    pub fn function(&mut self, name: &str) {
        name.clone_into(&mut self.function);
    }

    /// Code on line 5 of the script, in the place of a file.
    pub fn code(&mut self, code: &str) {
        self.source = Source::Code { text: code.to_owned(), line: 5 };
    }

    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout_ms = timeout.as_millis() as u64;
        self
    }

    /// Changes the settings of the step.
    pub fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub fn input(mut self, json: &str) -> Self {
        let place = Place::Json(RawValue::from_string(json.to_owned()).unwrap());
        // The kind is for the hub; workers go by the bytes.
        self.inputs.push(ValueRef { kind: ValueKind::List, length: None, place });
        self
    }

    pub fn value(mut self, value: ValueRef) -> Self {
        self.inputs.push(value);
        self
    }
}

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
