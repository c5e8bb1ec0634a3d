//! The hub as commands of a user see it, over HTTP.
//!
//! One method for each route that a user needs. Each request is sent for a few seconds until somebody answers;
//! [`Patience`] says how long. What a worker asks of a hub is not here but in the crate `worker`.

mod error;
mod logs;
mod secrets;

use std::future::Future;
use std::time::{Duration, Instant};

use protocol::api::{
    ErrorBody, Explanation, JobPage, JobView, MissingFiles, Pause, ResetAnswer, ResultsAnswer, RunExplanation, RunView,
    StatusAnswer, SubmitAnswer, SubmitRequest,
};
use protocol::{Digest, JobAddress, JobId, JobState, Manifest, RunId};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::ClientError;

use crate::address::Address;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time to send or fetch one file or value.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(600);
/// How long the hub is asked to keep a request for news waiting.
const NEWS_WAIT: Duration = Duration::from_secs(20);
/// First pause before another try; doubles up to a second.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Longest pause before another try.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long to go on trying while nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// For this long.
    For(Duration),
    /// Until stopped.
    Endless,
}

impl Patience {
    /// What people wait without wondering.
    pub const OF_PEOPLE: Self = Self::For(Duration::from_secs(5));
}

type TokenSource = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// The hub at an address.
pub struct Client {
    address: Address,
    http: reqwest::Client,
    token: TokenSource,
    patience: Patience,
}

impl Client {
    /// The hub at `address`; `token` is asked for each request, for the hub may make it later.
    pub fn new(
        address: Address,
        token: impl Fn() -> Option<String> + Send + Sync + 'static,
        patience: Patience,
    ) -> Result<Self, ClientError> {
        let http = bucket::http_client(&address.url()).connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).build();
        let http = http.map_err(|error| ClientError::unreachable(&address, &error))?;
        Ok(Self { address, http, token: Box::new(token), patience })
    }

    /// The same hub, with another patience.
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Where the hub is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Which files of a bundle the hub does not have.
    pub async fn missing_files(&self, manifest: &Manifest) -> Result<Vec<Digest>, ClientError> {
        Ok(self.post::<_, MissingFiles>("bundles", manifest).await?.missing)
    }

    /// Sends one file of a bundle.
    pub async fn put_file(&self, digest: Digest, content: Vec<u8>) -> Result<(), ClientError> {
        let content = bytes::Bytes::from(content);
        let route = format!("files/{digest}");
        let request = || self.request(Method::PUT, &route).body(content.clone()).timeout(TRANSFER_TIMEOUT);
        self.send(request).await.map(drop)
    }

    /// Asks for a run. Safe to repeat when the request has a key.
    pub async fn submit(&self, request: &SubmitRequest) -> Result<SubmitAnswer, ClientError> {
        self.post("runs", request).await
    }

    /// One run, at once.
    pub async fn run(&self, run: &RunId) -> Result<RunView, ClientError> {
        self.get(&format!("runs/{run}"), ANSWER_TIMEOUT).await
    }

    /// One run, when something of it has changed since `version`, or after a while.
    pub async fn run_after(&self, run: &RunId, version: u64) -> Result<RunView, ClientError> {
        let route = format!("runs/{run}?version={version}&wait_ms={}", NEWS_WAIT.as_millis());
        self.get(&route, NEWS_WAIT + ANSWER_TIMEOUT).await
    }

    /// The next jobs of a run, block by block: all, or those in one state.
    pub async fn jobs(
        &self,
        run: &RunId,
        after: Option<JobId>,
        state: Option<JobState>,
        limit: usize,
    ) -> Result<JobPage, ClientError> {
        let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let state = state.map(|state| format!("&state={state}")).unwrap_or_default();
        self.get(&format!("runs/{run}/jobs?limit={limit}{after}{state}"), ANSWER_TIMEOUT).await
    }

    /// What the calls of a run's script came to: `limit` of them after the first `skip`, or fewer where the hub gives no more at once.
    pub async fn results(&self, run: &RunId, skip: usize, limit: usize) -> Result<ResultsAnswer, ClientError> {
        self.get(&format!("runs/{run}/results?skip={skip}&limit={limit}"), ANSWER_TIMEOUT).await
    }

    /// Cancels what is left of a run.
    pub async fn cancel(&self, run: &RunId) -> Result<RunView, ClientError> {
        self.post(&format!("runs/{run}/cancel"), &()).await
    }

    /// Keeps a run with its values whatever the bounds.
    pub async fn pin(&self, run: &RunId) -> Result<RunView, ClientError> {
        self.post(&format!("runs/{run}/pin"), &()).await
    }

    /// Has the bounds hold for a run again.
    pub async fn unpin(&self, run: &RunId) -> Result<RunView, ClientError> {
        self.post(&format!("runs/{run}/unpin"), &()).await
    }

    /// A new run of the script and files of another one. Safe to repeat with the same key.
    pub async fn run_again(&self, run: &RunId, key: &str) -> Result<RunView, ClientError> {
        let route = format!("runs/{run}/again");
        let request = || self.request(Method::POST, &route).header("idempotency-key", key).timeout(ANSWER_TIMEOUT);
        let body = self.send(request).await?;
        self.parse(&body)
    }

    /// Has the failed jobs of a run start over; tells how many there are.
    pub async fn reset_failed(&self, run: &RunId) -> Result<ResetAnswer, ClientError> {
        self.post(&format!("runs/{run}/reset"), &()).await
    }

    /// Has a job and what follows it start over; tells how many jobs that are.
    pub async fn reset_job(&self, job: JobId) -> Result<ResetAnswer, ClientError> {
        self.post(&format!("jobs/{job}/reset"), &()).await
    }

    /// Has no further jobs started, of all or of some.
    pub async fn pause(&self, what: &Pause) -> Result<(), ClientError> {
        self.send_json("pause", what).await.map(drop)
    }

    /// Ends a pause.
    pub async fn resume(&self, what: &Pause) -> Result<(), ClientError> {
        self.send_json("resume", what).await.map(drop)
    }

    /// The job of a name; one with a run is asked for, since it must be of that run.
    pub async fn find(&self, address: &JobAddress) -> Result<JobId, ClientError> {
        match &address.run {
            None => Ok(address.job),
            Some(run) => {
                let view: JobView = self.get(&format!("jobs/{run}%2F{}", address.job), ANSWER_TIMEOUT).await?;
                Ok(view.id)
            }
        }
    }

    /// Why a run is, or is not, getting on.
    pub async fn explain_run(&self, run: &RunId) -> Result<RunExplanation, ClientError> {
        self.get(&format!("runs/{run}/explain"), ANSWER_TIMEOUT).await
    }

    /// Why a job is, or is not, running.
    pub async fn explain(&self, job: JobId) -> Result<Explanation, ClientError> {
        self.get(&format!("jobs/{job}/explain"), ANSWER_TIMEOUT).await
    }

    /// The value of a job, as JSON text.
    pub async fn value(&self, job: JobId) -> Result<String, ClientError> {
        self.shown(&format!("jobs/{job}/value")).await
    }

    /// The value of a job, as JSON text for being drawn; of a list or table the first `count` elements.
    pub async fn head(&self, job: JobId, count: u64) -> Result<String, ClientError> {
        self.shown(&format!("jobs/{job}/value?head={count}&drawn={count}")).await
    }

    /// Whether the hub accepts the token, by a request that costs it nothing.
    pub async fn check_token(&self) -> Result<(), ClientError> {
        self.get::<Vec<RunView>>("runs?limit=0", ANSWER_TIMEOUT).await.map(drop)
    }

    /// The hub at a glance.
    pub async fn status(&self) -> Result<StatusAnswer, ClientError> {
        self.get("status", ANSWER_TIMEOUT).await
    }

    /// A value, which nobody waits for without end: the hub may be there, and the bucket away.
    async fn shown(&self, route: &str) -> Result<String, ClientError> {
        let patience = match self.patience {
            Patience::Endless => Patience::OF_PEOPLE,
            patience => patience,
        };
        let request = || self.request(Method::GET, route).timeout(TRANSFER_TIMEOUT);
        let body = persist(patience, &self.address, || self.send_once(request())).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn text(&self, route: &str) -> Result<String, ClientError> {
        let body = self.send(|| self.request(Method::GET, route).timeout(TRANSFER_TIMEOUT)).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn get<A: DeserializeOwned>(&self, route: &str, timeout: Duration) -> Result<A, ClientError> {
        let body = self.send(|| self.request(Method::GET, route).timeout(timeout)).await?;
        self.parse(&body)
    }

    async fn post<Q: Serialize, A: DeserializeOwned>(&self, route: &str, question: &Q) -> Result<A, ClientError> {
        let body = self.send_json(route, question).await?;
        self.parse(&body)
    }

    async fn send_json<Q: Serialize>(&self, route: &str, question: &Q) -> Result<Vec<u8>, ClientError> {
        self.send(|| self.request(Method::POST, route).json(question).timeout(ANSWER_TIMEOUT)).await
    }

    fn request(&self, method: Method, route: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}/v1/{route}", self.address.url()));
        match (self.token)() {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn parse<A: DeserializeOwned>(&self, body: &[u8]) -> Result<A, ClientError> {
        serde_json::from_slice(body)
            .map_err(|error| ClientError::Nonsense { address: self.address.clone(), reason: error.to_string() })
    }

    /// Sends a request until somebody answers or patience ends.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Vec<u8>, ClientError> {
        persist(self.patience, &self.address, || self.send_once(request())).await
    }

    async fn send_once(&self, request: RequestBuilder) -> Result<Vec<u8>, ClientError> {
        let unreachable = |error| ClientError::unreachable(&self.address, &error);
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() { Ok(body.into()) } else { Err(self.error(status, &body)) }
    }

    fn error(&self, status: StatusCode, body: &[u8]) -> ClientError {
        let address = self.address.clone();
        let Ok(body) = serde_json::from_slice::<ErrorBody>(body) else {
            return ClientError::Nonsense { address, reason: format!("HTTP status {status}") };
        };
        ClientError::from_answer(address, body, (self.token)().is_some())
    }
}

/// Tries again while the hub is away; tells once when that takes long, and when it is over.
async fn persist<T, F: Future<Output = Result<T, ClientError>>>(
    patience: Patience,
    address: &Address,
    attempt: impl Fn() -> F,
) -> Result<T, ClientError> {
    let begin = Instant::now();
    let mut pause = PAUSE_FIRST;
    let mut told = false;
    loop {
        let error = match attempt().await {
            Err(error) if error.is_passing() => error,
            answer => {
                if told {
                    crate::output::note(&format!("hub at {address} is back"));
                }
                return answer;
            }
        };
        if matches!(patience, Patience::For(limit) if begin.elapsed() + pause > limit) {
            return Err(error);
        }
        if patience == Patience::Endless && !told && begin.elapsed() > PAUSE_MAX {
            told = true;
            crate::output::note(&format!("{error}; trying again"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
