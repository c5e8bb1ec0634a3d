//! What a worker asks of a hub. The hub may be far away or in the same process.

use std::future::Future;

use bytes::Bytes;
use protocol::api::{
    ApiErrorKind, BeatAnswer, BeatRequest, GoodbyeRequest, LeaseAnswer, LeaseRequest, PlanAnswer, SettleAnswer,
    SettleRequest,
};
use protocol::log::{LateLogAnswer, LateLogRequest, LogRequest};
use protocol::secret::{SecretsAnswer, SecretsRequest};
use protocol::{Digest, Manifest};

/// A hub as a worker sees it. Every method may be called again after any error.
pub trait Hub: Send + Sync + 'static {
    /// Asks for jobs; the answer may take as long as the request's `wait_ms`.
    fn lease(&self, request: LeaseRequest) -> impl Future<Output = Result<LeaseAnswer, HubError>> + Send;
    /// Hands in outcomes; stale ones are answers, not errors.
    fn settle(&self, request: SettleRequest) -> impl Future<Output = Result<SettleAnswer, HubError>> + Send;
    /// Says which leases are held.
    fn beat(&self, request: BeatRequest) -> impl Future<Output = Result<BeatAnswer, HubError>> + Send;
    /// Says that this session is over; nothing is lost where it fails.
    fn goodbye(&self, request: GoodbyeRequest) -> impl Future<Output = Result<(), HubError>> + Send;
    /// The part of a plan that a worker needs.
    fn plan(&self, plan: Digest) -> impl Future<Output = Result<PlanAnswer, HubError>> + Send;
    /// The list of a bundle's files.
    fn manifest(&self, bundle: Digest) -> impl Future<Output = Result<Manifest, HubError>> + Send;
    /// What the step of a lease declares of secrets; never kept.
    fn secrets(&self, request: SecretsRequest) -> impl Future<Output = Result<SecretsAnswer, HubError>> + Send;
    /// Tells what attempts that run have printed; nothing is lost where it fails.
    fn log(&self, request: LogRequest) -> impl Future<Output = Result<(), HubError>> + Send;
    /// Hands in what attempts had printed when their leases were taken.
    fn late_logs(&self, request: LateLogRequest) -> impl Future<Output = Result<LateLogAnswer, HubError>> + Send;
    /// The content of one file; the caller verifies its digest.
    fn file(&self, file: Digest) -> impl Future<Output = Result<Bytes, HubError>> + Send;
}

/// Why a hub gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Nobody answers there, or the answer broke off. Worth trying again.
    #[error("hub at {address} cannot be reached: {reason}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What the connection failed with.
        reason: String,
    },
    /// The hub does not accept the token. Worth trying again: the token may be made or changed.
    #[error(
        "hub at {address} refuses this worker: {reason}; set BUE_TOKEN to what the hub keeps in hub/token of its data folder"
    )]
    Refused {
        /// The hub.
        address: String,
        /// No token, or a wrong one.
        reason: String,
    },
    /// Something answers there, and it is no hub.
    #[error(
        "what answers at {address} is not a hub: {reason}; -b, or PIPE_WORKER_HOST and PIPE_WORKER_PORT, name the hub"
    )]
    NotAHub {
        /// The place.
        address: String,
        /// What it answered.
        reason: String,
    },
    /// The hub answered with an error.
    #[error("hub at {address} answered {kind:?}: {message}")]
    Answer {
        /// The hub.
        address: String,
        /// For programs.
        kind: ApiErrorKind,
        /// For people.
        message: String,
    },
}

impl HubError {
    /// Whether the same request, sent again, can only get the same answer.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Refused { .. } | Self::NotAHub { .. } => false,
            Self::Answer { kind, .. } => {
                matches!(kind, ApiErrorKind::NotFound | ApiErrorKind::Invalid | ApiErrorKind::TooLarge)
            }
        }
    }
}
