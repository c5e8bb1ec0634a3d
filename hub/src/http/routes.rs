//! The routes. What each takes and gives stands in [`protocol::api`].

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router, middleware};
use protocol::api::{
    ApiErrorKind, BeatRequest, GoodbyeRequest, Health, LeaseAnswer, LeaseRequest, Pause, SettleRequest, Settled,
    SubmitRequest,
};
use protocol::{Digest, JobId, JobState, Manifest, PROTOCOL_VERSION, RunId};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::answer::Refusal;
use super::auth::{Token, require};
use super::extract::{Path, Query};
use super::shown::Part;
use crate::config::Config;
use crate::queue::Queue;

/// What handlers share.
#[derive(Clone)]
pub(super) struct Hub {
    pub(super) queue: Queue,
    pub(super) shutdown: CancellationToken,
}

pub(super) fn router(queue: Queue, config: &Config, shutdown: CancellationToken) -> Router {
    let limits = config.limits;
    let files = Router::new()
        .route("/v1/files/{digest}", put(put_file).get(file))
        .layer(DefaultBodyLimit::max(limits.file_bytes_max));
    let rest = Router::new()
        .route("/v1/bundles", post(missing_files))
        .route("/v1/bundles/{digest}", get(manifest))
        .route("/v1/plans/{digest}", get(plan))
        .route("/v1/runs", post(submit).get(runs))
        .route("/v1/runs/{run}", get(run))
        .route("/v1/runs/{run}/jobs", get(jobs))
        .route("/v1/runs/{run}/results", get(results))
        .route("/v1/runs/{run}/explain", get(explain_run))
        .route("/v1/runs/{run}/cancel", post(cancel))
        .route("/v1/runs/{run}/pin", post(pin))
        .route("/v1/runs/{run}/unpin", post(unpin))
        .route("/v1/runs/{run}/reset", post(reset_failed))
        .route("/v1/runs/{run}/again", post(run_again))
        .route("/v1/pause", post(pause))
        .route("/v1/resume", post(resume))
        .route("/v1/jobs/{job}", get(job))
        .route("/v1/jobs/{job}/reset", post(reset_job))
        .route("/v1/jobs/{job}/explain", get(explain))
        .route("/v1/jobs/{job}/value", get(value))
        .route("/v1/status", get(status))
        .route("/v1/lease", post(lease))
        .route("/v1/settle", post(settle))
        .route("/v1/beat", post(beat))
        .route("/v1/goodbye", post(goodbye))
        .merge(super::logs::routes())
        .merge(super::secrets::routes())
        .layer(DefaultBodyLimit::max(limits.request_bytes_max));
    let closed = files.merge(rest).layer(middleware::from_fn_with_state(Token::new(&config.token), require));
    Router::new()
        .route("/v1/health", get(health))
        .merge(closed)
        .fallback(async || Refusal::new(ApiErrorKind::NotFound, "there is no such route", None))
        .method_not_allowed_fallback(wrong_method)
        .with_state(Hub { queue, shutdown })
}

/// A route that is there, asked by another method.
async fn wrong_method(method: Method) -> (StatusCode, Refusal) {
    let message = format!("this route is not for {method}");
    let hint = Some("the answer's header `Allow` says which methods it has");
    (StatusCode::METHOD_NOT_ALLOWED, Refusal::new(ApiErrorKind::Invalid, message, hint))
}

pub(super) type Answer<T> = Result<Json<T>, Refusal>;

pub(super) fn json<T: Serialize>(answer: Result<T, crate::QueueError>) -> Answer<T> {
    Ok(Json(answer?))
}

/// Reads a part of a path or a query, or says what is wrong with it.
pub(super) fn parse<T: std::str::FromStr>(text: &str) -> Result<T, Refusal>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| Refusal::new(ApiErrorKind::Invalid, error.to_string(), None))
}

/// Reads the name of a job, which must be of the run that stands before it.
pub(super) async fn job_of(hub: &Hub, text: &str) -> Result<JobId, Refusal> {
    Ok(hub.queue.find(parse(text)?).await?)
}

async fn health() -> Json<Health> {
    Json(Health {
        service: "bue-hub".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL_VERSION,
    })
}

async fn missing_files(
    State(hub): State<Hub>,
    body: Result<Json<Manifest>, JsonRejection>,
) -> Answer<protocol::api::MissingFiles> {
    json(hub.queue.missing_files(body?.0).await)
}

async fn put_file(
    State(hub): State<Hub>,
    Path(digest): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Refusal> {
    hub.queue.put_file(parse(&digest)?, body?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn file(State(hub): State<Hub>, Path(digest): Path<String>) -> Result<Response, Refusal> {
    let content = hub.queue.file(parse(&digest)?).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], content).into_response())
}

async fn manifest(State(hub): State<Hub>, Path(digest): Path<String>) -> Answer<Manifest> {
    json(hub.queue.manifest(parse(&digest)?).await)
}

async fn plan(State(hub): State<Hub>, Path(digest): Path<String>) -> Answer<protocol::api::PlanAnswer> {
    json(hub.queue.plan(parse::<Digest>(&digest)?).await)
}

async fn submit(
    State(hub): State<Hub>,
    headers: axum::http::HeaderMap,
    body: Result<Json<SubmitRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<protocol::api::SubmitAnswer>), Refusal> {
    let mut request = body?.0;
    if request.key.is_none() {
        request.key = key_of(&headers);
    }
    let answer = hub.queue.submit(request).await?;
    let status = if answer.repeated { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(answer)))
}

fn key_of(headers: &axum::http::HeaderMap) -> Option<String> {
    headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned)
}

#[derive(Deserialize)]
struct Limit {
    limit: Option<usize>,
}

async fn runs(State(hub): State<Hub>, Query(query): Query<Limit>) -> Answer<Vec<protocol::api::RunView>> {
    json(hub.queue.runs(query.limit.unwrap_or(100)).await)
}

#[derive(Deserialize)]
struct Watch {
    version: Option<u64>,
    #[serde(default)]
    wait_ms: u64,
}

async fn run(
    State(hub): State<Hub>,
    Path(run): Path<String>,
    Query(watch): Query<Watch>,
) -> Answer<protocol::api::RunView> {
    let run: RunId = parse(&run)?;
    tokio::select! {
        answer = hub.queue.run(run.clone(), watch.version, Duration::from_millis(watch.wait_ms)) => json(answer),
        () = hub.shutdown.cancelled() => json(hub.queue.run(run.clone(), None, Duration::ZERO).await),
    }
}

#[derive(Deserialize)]
struct Page {
    after: Option<String>,
    state: Option<JobState>,
    limit: Option<usize>,
}

async fn jobs(
    State(hub): State<Hub>,
    Path(run): Path<String>,
    Query(page): Query<Page>,
) -> Answer<protocol::api::JobPage> {
    let after = page.after.as_deref().map(parse).transpose()?;
    json(hub.queue.jobs(parse(&run)?, after, page.state, page.limit.unwrap_or(100)).await)
}

#[derive(Deserialize)]
struct Stretch {
    skip: Option<usize>,
    limit: Option<usize>,
}

async fn results(
    State(hub): State<Hub>,
    Path(run): Path<String>,
    Query(Stretch { skip, limit }): Query<Stretch>,
) -> Answer<protocol::api::ResultsAnswer> {
    json(hub.queue.results(parse(&run)?, skip.unwrap_or(0), limit.unwrap_or(1_000)).await)
}

async fn cancel(State(hub): State<Hub>, Path(run): Path<String>) -> Answer<protocol::api::RunView> {
    json(hub.queue.cancel(parse(&run)?).await)
}

async fn pin(State(hub): State<Hub>, Path(run): Path<String>) -> Answer<protocol::api::RunView> {
    json(hub.queue.pin(parse(&run)?).await)
}

async fn unpin(State(hub): State<Hub>, Path(run): Path<String>) -> Answer<protocol::api::RunView> {
    json(hub.queue.unpin(parse(&run)?).await)
}

async fn reset_failed(State(hub): State<Hub>, Path(run): Path<String>) -> Answer<protocol::api::ResetAnswer> {
    json(hub.queue.reset_failed(parse(&run)?).await)
}

async fn run_again(
    State(hub): State<Hub>,
    Path(run): Path<String>,
    headers: axum::http::HeaderMap,
) -> Answer<protocol::api::RunView> {
    json(hub.queue.run_again(parse(&run)?, key_of(&headers)).await)
}

async fn reset_job(State(hub): State<Hub>, Path(job): Path<String>) -> Answer<protocol::api::ResetAnswer> {
    json(hub.queue.reset_job(job_of(&hub, &job).await?).await)
}

async fn explain(State(hub): State<Hub>, Path(job): Path<String>) -> Answer<protocol::api::Explanation> {
    json(hub.queue.explain(job_of(&hub, &job).await?).await)
}

async fn explain_run(State(hub): State<Hub>, Path(run): Path<String>) -> Answer<protocol::api::RunExplanation> {
    json(hub.queue.explain_run(parse(&run)?).await)
}

async fn pause(State(hub): State<Hub>, body: Result<Json<Pause>, JsonRejection>) -> Result<StatusCode, Refusal> {
    hub.queue.pause(body?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn resume(State(hub): State<Hub>, body: Result<Json<Pause>, JsonRejection>) -> Result<StatusCode, Refusal> {
    hub.queue.resume(body?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn job(State(hub): State<Hub>, Path(job): Path<String>) -> Answer<protocol::api::JobView> {
    json(hub.queue.job(job_of(&hub, &job).await?).await)
}

async fn status(State(hub): State<Hub>) -> Answer<protocol::api::StatusAnswer> {
    json(hub.queue.status().await)
}

async fn lease(State(hub): State<Hub>, body: Result<Json<LeaseRequest>, JsonRejection>) -> Answer<LeaseAnswer> {
    let mut request = body?.0;
    if hub.shutdown.is_cancelled() {
        request.slots = 0;
    }
    tokio::select! {
        biased;
        answer = hub.queue.lease(request) => json(answer),
        () = hub.shutdown.cancelled() => Ok(Json(LeaseAnswer { leases: Vec::new() })),
    }
}

async fn settle(State(hub): State<Hub>, body: Result<Json<SettleRequest>, JsonRejection>) -> Result<Response, Refusal> {
    let answer = hub.queue.settle(body?.0).await?;
    let all_stale = !answer.answers.is_empty() && answer.answers.iter().all(|answer| *answer == Settled::Stale);
    let status = if all_stale { StatusCode::CONFLICT } else { StatusCode::OK };
    Ok((status, Json(answer)).into_response())
}

async fn beat(
    State(hub): State<Hub>,
    body: Result<Json<BeatRequest>, JsonRejection>,
) -> Answer<protocol::api::BeatAnswer> {
    json(hub.queue.beat(body?.0).await)
}

async fn goodbye(
    State(hub): State<Hub>,
    body: Result<Json<GoodbyeRequest>, JsonRejection>,
) -> Result<StatusCode, Refusal> {
    hub.queue.goodbye(body?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Head {
    head: Option<u64>,
    /// Goes before `head`, which hubs know that do not know it.
    drawn: Option<u64>,
}

async fn value(State(hub): State<Hub>, Path(job): Path<String>, Query(head): Query<Head>) -> Result<Response, Refusal> {
    let job = job_of(&hub, &job).await?;
    let part = match head {
        Head { drawn: Some(count), .. } => Part::Drawn(count),
        Head { head: Some(count), .. } => Part::Head(count),
        Head { .. } => Part::Whole,
    };
    let text = super::shown::value(&hub.queue, job, part).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}
