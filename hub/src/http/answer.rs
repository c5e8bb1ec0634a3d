//! Answers: JSON with a status code that fits the kind of error.

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use protocol::api::{ApiError, ApiErrorKind, ErrorBody};

use crate::error::QueueError;

/// An error on its way out.
pub(super) struct Refusal(Box<ErrorBody>);

impl Refusal {
    pub(super) fn new(kind: ApiErrorKind, message: impl Into<String>, hint: Option<&str>) -> Self {
        Self(Box::new(ErrorBody {
            error: ApiError { kind, message: message.into(), hint: hint.map(str::to_owned) },
            diagnostics: Vec::new(),
            rendered: None,
            missing: Vec::new(),
        }))
    }
}

impl From<QueueError> for Refusal {
    fn from(error: QueueError) -> Self {
        if matches!(error.kind(), ApiErrorKind::Internal | ApiErrorKind::Unavailable) {
            tracing::error!(%error, "a request failed");
        }
        Self(Box::new(error.body()))
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return too_large();
        }
        Self::new(ApiErrorKind::Invalid, rejection.body_text(), None)
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return too_large();
        }
        Self::new(ApiErrorKind::Invalid, rejection.body_text(), None)
    }
}

fn too_large() -> Refusal {
    Refusal::new(
        ApiErrorKind::TooLarge,
        "the request is over the hub's limit",
        Some("BUE_REQUEST_BYTES_MAX and BUE_FILE_BYTES_MAX on the hub raise the limits"),
    )
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (status(self.0.error.kind), Json(self.0)).into_response()
    }
}

fn status(kind: ApiErrorKind) -> StatusCode {
    match kind {
        ApiErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ApiErrorKind::NotFound => StatusCode::NOT_FOUND,
        ApiErrorKind::Lost => StatusCode::GONE,
        ApiErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ApiErrorKind::Script => StatusCode::UNPROCESSABLE_ENTITY,
        ApiErrorKind::MissingFiles | ApiErrorKind::Conflict | ApiErrorKind::Stale => StatusCode::CONFLICT,
        ApiErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ApiErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ApiErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
