//! Why a hub gave no answer that can be used, in the terms of who asked.

use protocol::Diagnostic;
use protocol::Digest;
use protocol::api::{ApiErrorKind, ErrorBody};

use crate::address::Address;
use crate::error::{Error, Kind};

/// Why a request to the hub came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("hub at {address} cannot be reached: {reason}")]
    Unreachable {
        /// Where it was looked for.
        address: Address,
        /// What the connection failed with.
        reason: String,
    },
    /// It answers, but cannot serve at the moment.
    #[error("hub at {address} cannot answer now: {message}")]
    Unavailable {
        /// The hub.
        address: Address,
        /// Why.
        message: String,
        /// The way out.
        hint: Option<String>,
    },
    /// It wants a token and none is known here; the hub may be about to make it.
    #[error("hub at {address} wants a token, and none is known here")]
    NoToken {
        /// The hub.
        address: Address,
    },
    /// It does not accept the token.
    #[error("hub at {address} refuses the token")]
    Refused {
        /// The hub.
        address: Address,
    },
    /// The script is wrong.
    #[error("the script has errors")]
    Script {
        /// What is wrong with it.
        diagnostics: Vec<Diagnostic>,
        /// The same for people.
        rendered: Option<String>,
    },
    /// Files of the bundle must be sent first.
    #[error("hub at {address} does not have {} files of the bundle", missing.len())]
    MissingFiles {
        /// The hub.
        address: Address,
        /// The files.
        missing: Vec<Digest>,
    },
    /// Another error, as the hub tells it.
    #[error("{message}")]
    Answer {
        /// For programs.
        kind: ApiErrorKind,
        /// For people.
        message: String,
        /// The way out.
        hint: Option<String>,
    },
    /// Something answers there that is no hub, or a hub of another version.
    #[error("what answers at {address} is not a hub, or one of another version: {reason}")]
    Nonsense {
        /// The place.
        address: Address,
        /// What was wrong with the answer.
        reason: String,
    },
}

impl ClientError {
    pub(super) fn unreachable(address: &Address, error: &reqwest::Error) -> Self {
        Self::Unreachable { address: address.clone(), reason: innermost(error) }
    }

    pub(super) fn from_answer(address: Address, body: ErrorBody, token_sent: bool) -> Self {
        let error = body.error;
        match error.kind {
            ApiErrorKind::Unauthorized if token_sent => Self::Refused { address },
            ApiErrorKind::Unauthorized => Self::NoToken { address },
            ApiErrorKind::Unavailable => Self::Unavailable { address, message: error.message, hint: error.hint },
            ApiErrorKind::Script => Self::Script { diagnostics: body.diagnostics, rendered: body.rendered },
            ApiErrorKind::MissingFiles => Self::MissingFiles { address, missing: body.missing },
            kind => Self::Answer { kind, message: error.message, hint: error.hint },
        }
    }

    /// Whether the same request may be answered a moment later.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unavailable { .. } | Self::NoToken { .. })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Unreachable { .. } | Self::Unavailable { .. } | Self::Nonsense { .. } => Kind::Unreachable,
            Self::NoToken { .. } | Self::Refused { .. } => Kind::Refused,
            Self::Script { .. } | Self::MissingFiles { .. } => Kind::Usage,
            Self::Answer { kind: ApiErrorKind::Internal, .. } => Kind::Internal,
            Self::Answer { kind: ApiErrorKind::Lost, .. } => Kind::Failed,
            Self::Answer { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unreachable { address, .. } => format!(
                "is it running? `bue hub -b {address}` starts one; -b, or PIPELINE_HOST and PIPELINE_PORT, name another place"
            ),
            Self::NoToken { .. } | Self::Refused { .. } => {
                "set BUE_TOKEN to what the hub keeps in hub/token of its data folder, or name that folder with --data-dir"
                    .to_owned()
            }
            Self::Nonsense { .. } => "is the port right? -b names another place".to_owned(),
            Self::Answer { hint, .. } | Self::Unavailable { hint, .. } => return hint.clone(),
            _ => return None,
        };
        Some(hint)
    }
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        let told = Self::new(error.kind(), &error);
        match error.hint() {
            Some(hint) => told.hint(hint),
            None => told,
        }
    }
}

/// The innermost cause: "connection refused" says more than "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
