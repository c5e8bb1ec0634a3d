//! What a request says in its path and its query; where it cannot be read, that is an error like any other.

use axum::extract::{FromRequestParts, rejection};
use axum::http::request::Parts;
use protocol::api::ApiErrorKind;
use serde::de::DeserializeOwned;

use super::answer::Refusal;

/// The query of a request.
pub(super) struct Query<T>(pub(super) T);

/// The parameters of a path.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read = axum::extract::Query::from_request_parts(parts, state).await;
        let refused = |error: rejection::QueryRejection| Refusal::new(ApiErrorKind::Invalid, error.body_text(), None);
        Ok(Self(read.map_err(refused)?.0))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        let refused = |error: rejection::PathRejection| Refusal::new(ApiErrorKind::Invalid, error.body_text(), None);
        Ok(Self(read.map_err(refused)?.0))
    }
}
