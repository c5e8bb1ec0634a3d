//! Routes of logs.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use protocol::api::{JobPage, LogRef};
use protocol::log::{LateLogAnswer, LateLogRequest, LogNews, LogRequest};
use serde::Deserialize;

use super::answer::Refusal;
use super::extract::{Path, Query};
use super::routes::{Answer, Hub, job_of, json, parse};
use crate::queue_logs::Known;

pub(super) fn routes() -> Router<Hub> {
    Router::new()
        .route("/v1/logs", post(take))
        .route("/v1/logs/late", post(keep_late))
        .route("/v1/runs/{run}/logs", get(logged))
        .route("/v1/jobs/{job}/log", get(kept))
        .route("/v1/jobs/{job}/log/live", get(follow))
}

async fn take(State(hub): State<Hub>, body: Result<Json<LogRequest>, JsonRejection>) -> Result<StatusCode, Refusal> {
    hub.queue.take_log(body?.0);
    Ok(StatusCode::NO_CONTENT)
}

async fn keep_late(State(hub): State<Hub>, body: Result<Json<LateLogRequest>, JsonRejection>) -> Answer<LateLogAnswer> {
    json(hub.queue.keep_late_logs(body?.0).await)
}

#[derive(Deserialize)]
struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

async fn logged(State(hub): State<Hub>, Path(run): Path<String>, Query(page): Query<Page>) -> Answer<JobPage> {
    let after = page.after.as_deref().map(parse).transpose()?;
    json(hub.queue.logged_jobs(parse(&run)?, after, page.limit.unwrap_or(100)).await)
}

#[derive(Deserialize)]
struct Which {
    attempt: Option<u32>,
}

async fn kept(
    State(hub): State<Hub>,
    Path(job): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, Refusal> {
    let job = job_of(&hub, &job).await?;
    let text = match hub.queue.log(job, which.attempt).await? {
        None => Bytes::new(),
        Some(LogRef::Text(text)) => text.into(),
        Some(LogRef::Object { key, .. }) => super::shown::object(&hub.queue, &key).await?,
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Follow {
    attempt: u32,
    running: bool,
    after: u64,
    wait_ms: u64,
}

async fn follow(State(hub): State<Hub>, Path(job): Path<String>, Query(asked): Query<Follow>) -> Answer<LogNews> {
    let job = job_of(&hub, &job).await?;
    let known = Known { attempt: asked.attempt, running: asked.running, bytes: asked.after };
    tokio::select! {
        news = hub.queue.follow_log(job, known, Duration::from_millis(asked.wait_ms)) => json(news),
        () = hub.shutdown.cancelled() => json(hub.queue.follow_log(job, known, Duration::ZERO).await),
    }
}
