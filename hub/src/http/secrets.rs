//! Routes of secrets. No answer to a user holds a value.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use protocol::secret::{SecretRequest, SecretView, SecretsAnswer, SecretsRequest};

use super::answer::Refusal;
use super::extract::Path;
use super::routes::{Answer, Hub, json};

pub(super) fn routes() -> Router<Hub> {
    Router::new()
        .route("/v1/secrets", get(list))
        .route("/v1/secrets/{name}", put(set).delete(remove))
        .route("/v1/lease/secrets", post(of_lease))
}

async fn list(State(hub): State<Hub>) -> Answer<Vec<SecretView>> {
    json(hub.queue.secrets().await)
}

async fn set(
    State(hub): State<Hub>,
    Path(name): Path<String>,
    body: Result<Json<SecretRequest>, JsonRejection>,
) -> Result<StatusCode, Refusal> {
    hub.queue.set_secret(name, body?.0.value).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(State(hub): State<Hub>, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    hub.queue.remove_secret(name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn of_lease(State(hub): State<Hub>, body: Result<Json<SecretsRequest>, JsonRejection>) -> Answer<SecretsAnswer> {
    json(hub.queue.secrets_of_lease(body?.0).await)
}
