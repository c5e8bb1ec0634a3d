//! Values and logs out of the bucket, for people to look at. Bounded; jobs never read through here.

use axum::body::Bytes;
use bucket::BucketError;
use bucket::value::{ValueError, Values};
use protocol::api::{ApiErrorKind, JobView};
use protocol::{JobId, JobState, Place};

use super::answer::Refusal;
use crate::queue::Queue;

/// Most elements that are read one by one.
const HEAD_MAX: u64 = 1_000;

/// How much of a value is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// Of a list or table so many elements.
    Head(u64),
    /// The same for being drawn: words stand for NaN and infinities of a table.
    Drawn(u64),
}

/// The value of a job, or a part of it, as JSON text.
pub(super) async fn value(queue: &Queue, job: JobId, part: Part) -> Result<Bytes, Refusal> {
    let view = queue.job(job).await?;
    let Some(value) = &view.value else {
        let message = format!("job {job} (`{}`) has no value: it {}", view.name, word(view.state));
        return Err(Refusal::new(ApiErrorKind::NotFound, message, None));
    };
    if let (Place::Json(text), Part::Whole) = (&value.place, part) {
        return Ok(Bytes::copy_from_slice(text.get().as_bytes()));
    }
    let limit = queue.limits().shown_value_bytes_max;
    let read = match part {
        Part::Head(count) | Part::Drawn(count) if count > HEAD_MAX => return Err(too_many(count)),
        Part::Head(count) => values(queue)?.head(value, count, limit).await,
        Part::Drawn(count) => values(queue)?.drawn(value, count, limit).await,
        Part::Whole => values(queue)?.read(value, limit).await,
    };
    let text = read.map_err(|error| match error {
        ValueError::Bucket(BucketError::NotFound { .. } | BucketError::Corrupt { .. }) => lost(&view, &error),
        ValueError::TooLarge { .. } => Refusal::new(
            ApiErrorKind::TooLarge,
            format!("cannot show the value of job {job}: {error}"),
            Some(&format!("`bue value {job} --head 20` shows its first rows, `--arrow FILE` fetches all of it")),
        ),
        ValueError::Table(_) => Refusal::new(
            ApiErrorKind::Invalid,
            format!("cannot show the value of job {job}: {error}"),
            Some(&format!("`bue value {job} --arrow FILE` fetches it as it is")),
        ),
        error => refusal(&error),
    })?;
    Ok(Bytes::from(String::from(Box::<str>::from(text))))
}

fn too_many(count: u64) -> Refusal {
    let message = format!("head={count} is over the limit of {HEAD_MAX} elements");
    Refusal::new(ApiErrorKind::Invalid, message, Some("leave it out for the whole value"))
}

/// An object of the bucket.
pub(super) async fn object(queue: &Queue, key: &str) -> Result<Bytes, Refusal> {
    let limit = queue.limits().shown_value_bytes_max;
    values(queue)?.bucket().get(key, limit).await.map_err(|error| refusal(&error))
}

fn word(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "waits for others",
        JobState::Available => "has not run yet, or is to run again",
        JobState::Leased => "is running",
        JobState::Succeeded => "has succeeded",
        JobState::Failed => "has failed",
        JobState::Cancelled => "was cancelled",
    }
}

/// Waiting brings nothing back that was removed or spoiled.
fn lost(job: &JobView, error: &ValueError) -> Refusal {
    let JobView { id, run, .. } = job;
    let message = format!("the value of job {id} is lost: {error}");
    let way = match job.item {
        true => format!("a loop's items stay what they were: `bue again {run}` makes a new run"),
        false => format!("`bue reset {id}` has it made again"),
    };
    Refusal::new(ApiErrorKind::Lost, message, Some(&way))
}

fn values(queue: &Queue) -> Result<&Values, Refusal> {
    queue.values().ok_or_else(|| {
        Refusal::new(
            ApiErrorKind::Unavailable,
            "this hub was started without a bucket, so it can show only small values",
            Some("start it with -k and the bucket's address"),
        )
    })
}

fn refusal(error: &dyn std::error::Error) -> Refusal {
    let message = format!("cannot show it: {error}");
    let way =
        "its -k, or BUE_BUCKET, names its bucket; `bue query`, and `bue value` with a file, ask the bucket themselves";
    Refusal::new(ApiErrorKind::Unavailable, message, Some(way))
}
