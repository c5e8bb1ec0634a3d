//! The hub that is reached over HTTP: routes, token, time limits and the names of what can go wrong.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use protocol::api::{
    ApiError, ApiErrorKind, BeatAnswer, BeatRequest, ErrorBody, GoodbyeRequest, Health, LeaseAnswer, LeaseRequest,
    PlanAnswer, SettleAnswer, SettleRequest, Settled,
};
use protocol::log::{LateLogAnswer, LateLogRequest, LogRequest};
use protocol::secret::{SecretsAnswer, SecretsRequest};
use protocol::{Digest, Manifest};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::hub::{Hub, HubError};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an answer that needs no waiting for work.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time to fetch one file.
const FILE_TIMEOUT: Duration = Duration::from_secs(300);

type TokenSource = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// A hub behind an address.
pub struct HttpHub {
    address: String,
    client: reqwest::Client,
    token_source: TokenSource,
    token: Mutex<Option<String>>,
}

impl fmt::Debug for HttpHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpHub").field("address", &self.address).finish_non_exhaustive()
    }
}

impl HttpHub {
    /// A hub at `host:port` or `http[s]://host:port`.
    ///
    /// `token_source` is asked again whenever the hub refuses the token: the hub may make its token after
    /// the worker has started. A TLS provider must have been installed.
    ///
    /// # Errors
    /// When no HTTP client can be made on this machine.
    pub fn new(
        address: &str,
        token_source: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Result<Self, HubError> {
        let address = match address.trim_end_matches('/') {
            url if url.contains("://") => url.to_owned(),
            host => format!("http://{host}"),
        };
        let client = bucket::http_client(&address)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| HubError::Unreachable { address: address.clone(), reason: innermost(&error) })?;
        Ok(Self { address, client, token: Mutex::new(token_source()), token_source: Box::new(token_source) })
    }

    async fn post<Q: Serialize, A: DeserializeOwned>(
        &self,
        route: &str,
        request: &Q,
        timeout: Duration,
    ) -> Result<A, HubError> {
        let body = serde_json::to_vec(request).map_err(|error| self.nonsense(&error))?;
        let body = Bytes::from(body);
        let (status, body) = self
            .send(|| {
                self.request(Method::POST, route)
                    .header("content-type", "application/json")
                    .body(body.clone())
                    .timeout(timeout)
            })
            .await?;
        self.parse(status, &body)
    }

    /// A request whose answer says nothing.
    async fn tell<Q: Serialize>(&self, route: &str, request: &Q) -> Result<(), HubError> {
        let body = Bytes::from(serde_json::to_vec(request).map_err(|error| self.nonsense(&error))?);
        let send = || {
            let request = self.request(Method::POST, route).header("content-type", "application/json");
            request.body(body.clone()).timeout(ANSWER_TIMEOUT)
        };
        let (status, answer) = self.send(send).await?;
        if status.is_success() { Ok(()) } else { Err(self.error(status, &answer)) }
    }

    async fn get<A: DeserializeOwned>(&self, route: &str) -> Result<A, HubError> {
        let (status, body) = self.send(|| self.request(Method::GET, route).timeout(ANSWER_TIMEOUT)).await?;
        self.parse(status, &body)
    }

    fn request(&self, method: Method, route: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}/v1/{route}", self.address));
        match self.current_token() {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends it; once more where the token was refused and the source has another one by now.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<(StatusCode, Bytes), HubError> {
        let mut answer = self.send_once(request()).await?;
        if answer.0 == StatusCode::UNAUTHORIZED && self.reread_token() {
            answer = self.send_once(request()).await?;
        }
        if is_foreign(&answer) && !self.is_hub().await? {
            return Err(self.not_a_hub(&format!("HTTP status {}", answer.0)));
        }
        Ok(answer)
    }

    /// Whether a hub answers here, as its health check says.
    async fn is_hub(&self) -> Result<bool, HubError> {
        let (_, body) = self.send_once(self.request(Method::GET, "health").timeout(ANSWER_TIMEOUT)).await?;
        Ok(serde_json::from_slice::<Health>(&body).is_ok_and(|health| health.service == "bue-hub"))
    }

    fn not_a_hub(&self, reason: &str) -> HubError {
        HubError::NotAHub { address: self.address.clone(), reason: reason.to_owned() }
    }

    async fn send_once(&self, request: RequestBuilder) -> Result<(StatusCode, Bytes), HubError> {
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        Ok((status, body))
    }

    fn parse<A: DeserializeOwned>(&self, status: StatusCode, body: &[u8]) -> Result<A, HubError> {
        if !status.is_success() {
            return Err(self.error(status, body));
        }
        serde_json::from_slice(body).map_err(|error| self.nonsense(&error))
    }

    fn error(&self, status: StatusCode, body: &[u8]) -> HubError {
        let address = self.address.clone();
        let error = match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) => body.error,
            Err(_) => ApiError { kind: kind_of(status), message: format!("HTTP status {status}"), hint: None },
        };
        if status == StatusCode::UNAUTHORIZED {
            return HubError::Refused { address, reason: error.message };
        }
        HubError::Answer { address, kind: error.kind, message: error.message }
    }

    fn current_token(&self) -> Option<String> {
        self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn reread_token(&self) -> bool {
        let fresh = (self.token_source)();
        let mut token = self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let changed = fresh != *token;
        *token = fresh;
        changed
    }

    fn unreachable(&self, error: &reqwest::Error) -> HubError {
        HubError::Unreachable { address: self.address.clone(), reason: innermost(error) }
    }

    fn nonsense(&self, error: &serde_json::Error) -> HubError {
        HubError::Answer {
            address: self.address.clone(),
            kind: ApiErrorKind::Internal,
            message: format!("not the JSON of this interface: {error}"),
        }
    }
}

impl Hub for HttpHub {
    async fn lease(&self, request: LeaseRequest) -> Result<LeaseAnswer, HubError> {
        let timeout = ANSWER_TIMEOUT + Duration::from_millis(request.wait_ms);
        self.post("lease", &request, timeout).await
    }

    async fn settle(&self, request: SettleRequest) -> Result<SettleAnswer, HubError> {
        match self.post("settle", &request, ANSWER_TIMEOUT).await {
            // All of them were stale: the status says so, and there is nothing more to learn.
            Err(HubError::Answer { kind: ApiErrorKind::Stale, .. }) => {
                Ok(SettleAnswer { answers: vec![Settled::Stale; request.settlements.len()] })
            }
            answer => answer,
        }
    }

    async fn beat(&self, request: BeatRequest) -> Result<BeatAnswer, HubError> {
        self.post("beat", &request, ANSWER_TIMEOUT).await
    }

    async fn goodbye(&self, request: GoodbyeRequest) -> Result<(), HubError> {
        self.tell("goodbye", &request).await
    }

    async fn plan(&self, plan: Digest) -> Result<PlanAnswer, HubError> {
        self.get(&format!("plans/{plan}")).await
    }

    async fn manifest(&self, bundle: Digest) -> Result<Manifest, HubError> {
        self.get(&format!("bundles/{bundle}")).await
    }

    async fn secrets(&self, request: SecretsRequest) -> Result<SecretsAnswer, HubError> {
        self.post("lease/secrets", &request, ANSWER_TIMEOUT).await
    }

    async fn log(&self, request: LogRequest) -> Result<(), HubError> {
        self.tell("logs", &request).await
    }

    async fn late_logs(&self, request: LateLogRequest) -> Result<LateLogAnswer, HubError> {
        self.post("logs/late", &request, ANSWER_TIMEOUT).await
    }

    async fn file(&self, file: Digest) -> Result<Bytes, HubError> {
        let route = format!("files/{file}");
        let (status, body) = self.send(|| self.request(Method::GET, &route).timeout(FILE_TIMEOUT)).await?;
        if status.is_success() { Ok(body) } else { Err(self.error(status, &body)) }
    }
}

/// Whether a request was refused in other words than those of this interface, as a proxy or a stranger does.
fn is_foreign((status, body): &(StatusCode, Bytes)) -> bool {
    status.is_client_error() && serde_json::from_slice::<ErrorBody>(body).is_err()
}

/// The kind that fits a status without a body of ours, as a proxy in between may send it.
fn kind_of(status: StatusCode) -> ApiErrorKind {
    match status.as_u16() {
        404 => ApiErrorKind::NotFound,
        409 => ApiErrorKind::Stale,
        413 => ApiErrorKind::TooLarge,
        400..=499 => ApiErrorKind::Invalid,
        502..=504 => ApiErrorKind::Unavailable,
        _ => ApiErrorKind::Internal,
    }
}

/// The innermost cause: "connection refused" says more than "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() }
}
