//! The queue of this process, as its worker and its user see it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bucket::value::{ValueError, Values};
use bytes::Bytes;
use hub::{Queue, QueueError};
use protocol::api::{
    BeatAnswer, BeatRequest, GoodbyeRequest, JobPage, LeaseAnswer, LeaseRequest, LogRef, PlanAnswer, ResultsAnswer,
    RunView, SettleAnswer, SettleRequest,
};
use protocol::log::{LateLogAnswer, LateLogRequest, LogRequest};
use protocol::secret::{SecretText, SecretsAnswer, SecretsRequest};
use protocol::{Digest, JobId, JobState, Manifest, RunId, Step, ValueRef};

use worker::HubError;

use crate::error::{Error, Result};
use crate::output;
use crate::runs::{PAGE, Runs};

/// What errors call this hub.
const ADDRESS: &str = "this process";
/// How long one look at a run waits for news.
const NEWS_WAIT: Duration = Duration::from_secs(20);
/// Largest value that is shown.
const SHOWN_BYTES_MAX: u64 = 1 << 30;

/// A queue that is reached by calls.
pub struct Embedded {
    queue: Queue,
    values: Values,
    /// The plan's steps.
    steps: Vec<Step>,
    /// What the user's environment and `.env` have of the secrets they declare.
    secrets: BTreeMap<String, SecretText>,
    /// Indexes of the steps of jobs that run.
    running: Mutex<HashMap<JobId, usize>>,
}

impl Embedded {
    /// The queue, with the values that its jobs refer to, the steps of its only plan, and the secrets of these.
    pub fn new(queue: Queue, values: Values, steps: Vec<Step>, secrets: BTreeMap<String, SecretText>) -> Self {
        Self { queue, values, steps, secrets, running: Mutex::default() }
    }

    /// The queue itself.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// A value as JSON text.
    pub async fn read(&self, value: &ValueRef) -> Result<Box<serde_json::value::RawValue>> {
        self.values.read(value, SHOWN_BYTES_MAX).await.map_err(|error| unreadable(&error))
    }

    fn remember(&self, answer: &LeaseAnswer) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.extend(answer.leases.iter().map(|lease| (lease.job, lease.step as usize)));
    }

    fn forget(&self, job: JobId) -> Option<&str> {
        let step = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&job)?;
        self.steps.get(step).map(|step| step.name.as_str())
    }

    /// The name of a job's step; the job may be running again.
    fn name_of(&self, job: JobId) -> Option<&str> {
        let step = self.running.lock().unwrap_or_else(PoisonError::into_inner).get(&job).copied()?;
        self.steps.get(step).map(|step| step.name.as_str())
    }

    /// Shows what a step printed, each line with the step's name.
    async fn show_log(&self, name: &str, log: Option<&LogRef>) {
        let text = match log {
            None => return,
            Some(LogRef::Text(text)) => text.clone(),
            Some(LogRef::Object { key, .. }) => match self.values.bucket().get(key, SHOWN_BYTES_MAX).await {
                Ok(content) => String::from_utf8_lossy(&content).into_owned(),
                Err(error) => format!("its log is lost: {error}"),
            },
        };
        for line in text.lines() {
            output::note(&format!("{name}: {line}"));
        }
    }
}

fn answer<T>(answer: Result<T, QueueError>) -> Result<T, HubError> {
    answer.map_err(|error| HubError::Answer {
        address: ADDRESS.to_owned(),
        kind: error.kind(),
        message: error.to_string(),
    })
}

impl worker::Hub for Embedded {
    async fn lease(&self, request: LeaseRequest) -> Result<LeaseAnswer, HubError> {
        let leased = answer(self.queue.lease(request).await)?;
        self.remember(&leased);
        Ok(leased)
    }

    async fn settle(&self, request: SettleRequest) -> Result<SettleAnswer, HubError> {
        // Shown first: once the run has ended, this process may end too.
        for settlement in &request.settlements {
            self.show_log(self.forget(settlement.job).unwrap_or("?"), settlement.log.as_ref()).await;
        }
        answer(self.queue.settle(request).await)
    }

    async fn beat(&self, request: BeatRequest) -> Result<BeatAnswer, HubError> {
        answer(self.queue.beat(request).await)
    }

    async fn goodbye(&self, request: GoodbyeRequest) -> Result<(), HubError> {
        answer(self.queue.goodbye(request).await)
    }

    async fn plan(&self, plan: Digest) -> Result<PlanAnswer, HubError> {
        answer(self.queue.plan(plan).await)
    }

    async fn manifest(&self, bundle: Digest) -> Result<Manifest, HubError> {
        answer(self.queue.manifest(bundle).await)
    }

    async fn secrets(&self, request: SecretsRequest) -> Result<SecretsAnswer, HubError> {
        let step = self.running.lock().unwrap_or_else(PoisonError::into_inner).get(&request.job).copied();
        let declared = step.and_then(|step| self.steps.get(step)).map(|step| &step.settings.runtime.secrets);
        let mut answer = SecretsAnswer::default();
        for name in declared.into_iter().flatten() {
            match self.secrets.get(name) {
                Some(value) => drop(answer.secrets.insert(name.clone(), value.clone())),
                None => answer.missing.push(name.clone()),
            }
        }
        Ok(answer)
    }

    async fn log(&self, request: LogRequest) -> Result<(), HubError> {
        self.queue.take_log(request);
        Ok(())
    }

    async fn late_logs(&self, request: LateLogRequest) -> Result<LateLogAnswer, HubError> {
        for late in &request.logs {
            // That of a job of which nothing runs was shown with its settlement.
            if let Some(name) = self.name_of(late.job) {
                self.show_log(name, late.log.as_ref()).await;
            }
        }
        answer(self.queue.keep_late_logs(request).await)
    }

    async fn file(&self, file: Digest) -> Result<Bytes, HubError> {
        answer(self.queue.file(file).await).map(Bytes::from)
    }
}

/// A value that has no form as JSON, or too long a one, is nobody's fault but that of who wants to see it so.
fn unreadable(error: &ValueError) -> Error {
    match error {
        ValueError::Table(_) | ValueError::TooLarge { .. } => Error::usage(error),
        _ => Error::machine(error),
    }
}

impl Runs for Embedded {
    async fn run_after(&self, run: &RunId, version: u64) -> Result<RunView> {
        self.queue.run(run.clone(), Some(version), NEWS_WAIT).await.map_err(Error::internal)
    }

    async fn jobs(&self, run: &RunId, after: Option<JobId>, state: Option<JobState>) -> Result<JobPage> {
        self.queue.jobs(run.clone(), after, state, PAGE).await.map_err(Error::internal)
    }

    async fn results(&self, run: &RunId, limit: usize) -> Result<ResultsAnswer> {
        self.queue.results(run.clone(), 0, limit).await.map_err(Error::internal)
    }

    async fn value(&self, job: JobId) -> Result<String> {
        let view = self.queue.job(job).await.map_err(Error::internal)?;
        match view.value {
            Some(value) => Ok(self.read(&value).await?.get().to_owned()),
            None => Err(Error::internal(format_args!("job {job} has no value"))),
        }
    }

    async fn head(&self, job: JobId, count: u64) -> Result<String> {
        let view = self.queue.job(job).await.map_err(Error::internal)?;
        let value = view.value.ok_or_else(|| Error::internal(format_args!("job {job} has no value")))?;
        let head = self.values.drawn(&value, count, SHOWN_BYTES_MAX).await;
        let head = head.map_err(|error| unreadable(&error))?;
        Ok(head.get().to_owned())
    }

    fn way_to_value(&self, _: JobId) -> String {
        // Values are gone with this process, which prints them all when it is asked to.
        "whole with --json".to_owned()
    }

    fn way_to_results(&self, _: &RunId) -> String {
        "values are not kept after a run without a hub; `bue run --json` prints all".to_owned()
    }

    fn way_to_log(&self, _: JobId) -> Option<String> {
        // It was shown as the job ended, and is gone with this process.
        None
    }

    fn way_to_failed(&self, _: &RunId) -> Option<String> {
        None
    }

    fn way_to_reasons(&self, _: &RunId) -> Option<String> {
        // Nobody else can ask this process.
        None
    }
}
