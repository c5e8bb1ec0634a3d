//! Who may come in: the holder of the token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::Digest;
use protocol::api::ApiErrorKind;

use super::answer::Refusal;

/// The token's digest: comparing digests tells nothing about the token by its timing.
#[derive(Clone)]
pub(super) struct Token(Arc<Digest>);

impl Token {
    pub(super) fn new(token: &str) -> Self {
        Self(Arc::new(Digest::of(token.trim().as_bytes())))
    }
}

/// Lets a request through that brings `Authorization: Bearer <token>`.
pub(super) async fn require(State(token): State<Token>, request: Request, next: Next) -> Response {
    let brought = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match brought {
        Some(brought) if Digest::of(brought.trim().as_bytes()) == *token.0 => next.run(request).await,
        brought => refuse(brought.is_some()).into_response(),
    }
}

fn refuse(brought: bool) -> Refusal {
    let message = if brought { "the token is not this hub's" } else { "this hub wants a token" };
    let hint = "set BUE_TOKEN to the token that the hub keeps in its data folder (hub/token), or use the hub's own data folder";
    Refusal::new(ApiErrorKind::Unauthorized, message, Some(hint))
}
