//! What an attempt needs of hub and bucket, waited for while they are away.

use std::future::Future;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bucket::BucketError;
use bucket::value::{Accepted, Copied, Effort, ValueError};
use bytes::Bytes;
use protocol::api::{Lease, LogRef};
use protocol::frame::{Input, Output};
use protocol::value::{Place, maker};
use protocol::{Digest, ErrorKind, StepError, ValueRef};

use crate::attempt::{Attempts, End};
use crate::backoff::Backoff;
use crate::bundles::FetchError;
use crate::hub::Hub;
use crate::late_log;
use crate::log::{self, Log};
use crate::outage::Outage;
use crate::trouble::Trouble;

/// Longest time that an attempt waits for a bucket that refuses it: a worker with other rights may do it.
const REFUSED_PATIENCE: Duration = Duration::from_secs(10);

/// How long it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Persistence {
    /// As long as [`Limits::patience`](crate::Limits::patience): nothing is lost when the attempt is handed back.
    Patience,
    /// Until the attempt is stopped: what the step did would be lost. The lease lasts, because its step is noted as idle.
    Lease,
}

/// What to do about a failure.
enum Failure {
    /// Try again.
    Passing(String),
    /// Try again for a while; then somebody with better settings is to have it.
    Misconfigured(String),
    /// Give up.
    Final(Trouble),
}

impl<H: Hub> Attempts<H> {
    /// Something of the hub's.
    pub(crate) async fn fetch<T, F>(&self, end: &End, what: impl Fn() -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, FetchError>>,
    {
        let outage = &self.shared.hub_outage;
        self.insist((outage, |_| true), end, Persistence::Patience, || async {
            what().await.map_err(|error| match error {
                FetchError::Hub(hub) if !hub.is_final() => Failure::Passing(hub.to_string()),
                other => Failure::Final(Trouble::Away(other.to_string())),
            })
        })
        .await
    }

    /// Argument number `number` of a Python step, fit for the start frame.
    pub(crate) async fn input(
        &self,
        number: usize,
        value: &ValueRef,
        folder: &Path,
        end: &End,
    ) -> Result<Input, Trouble> {
        self.input_as(Accepted::Plain, number, value, folder, end).await
    }

    /// Argument number `number`, fit for the start frame of a process that reads such tables.
    pub(crate) async fn input_as(
        &self,
        accepted: Accepted,
        number: usize,
        value: &ValueRef,
        folder: &Path,
        end: &End,
    ) -> Result<Input, Trouble> {
        let outage = &self.shared.bucket_outage;
        // Of a value that is here the bucket was not asked.
        self.insist((outage, |_| is_in_bucket(value)), end, Persistence::Patience, || async {
            match self.values.materialize(value, folder, number, accepted).await {
                Err(ValueError::Bucket(error @ BucketError::NotFound { .. })) => Err(self.missing(error, value).await),
                input => input.map_err(|error| of_input(error, value)),
            }
        })
        .await
    }

    /// An object that is not there: lost, unless what was asked is no bucket of ours at all.
    async fn missing(&self, error: BucketError, value: &ValueRef) -> Failure {
        let found = self.values.bucket().check().await;
        of_input(found.err().unwrap_or(error).into(), value)
    }

    /// A returned value, put where later steps find it.
    pub(crate) async fn store(
        &self,
        lease: &Lease,
        output: &Output,
        folder: &Path,
        (copied, effort): (Option<&Copied>, Effort),
        end: &End,
    ) -> Result<ValueRef, Trouble> {
        let key = key(lease);
        let outage = &self.shared.bucket_outage;
        self.insist((outage, is_in_bucket), end, Persistence::Lease, || async {
            let stored = self.values.store_copied(&key, output, folder, copied, effort).await;
            stored.map_err(|error| classify(error, ErrorKind::Value))
        })
        .await
    }

    /// The log, in the settlement or in the bucket. A bucket that is away costs its middle, not the attempt; and one that is slow,
    /// where the attempt was revoked, does not hold up others.
    pub(crate) async fn keep_log(&self, lease: &Lease, log: Log, end: &End) -> Option<LogRef> {
        let limits = &self.shared.config.limits;
        let text = log.into_text();
        if text.is_empty() {
            return None;
        }
        if text.len() <= limits.log_inline_bytes_max {
            return Some(LogRef::Text(text));
        }
        let key = format!("{}.log", key(lease));
        let bytes = text.len() as u64;
        let put = async {
            let stored = self.values.bucket().put(&key, Bytes::from(text.clone())).await;
            match &stored {
                Ok(_) => self.shared.bucket_outage.worked(),
                Err(error) => self.shared.bucket_outage.failed(error),
            }
            stored.is_ok()
        };
        let is_stored = match end.revoked.is_cancelled() {
            true => tokio::time::timeout(late_log::BUCKET_PATIENCE, put).await.unwrap_or(false),
            false => put.await,
        };
        Some(match is_stored {
            true => LogRef::Object { key, bytes },
            false => LogRef::Text(log::shorten(&text, limits.log_inline_bytes_max)),
        })
    }

    /// Tries until it works; `asked` says of an answer whether what may be away had a part in it.
    async fn insist<T, F>(
        &self,
        (outage, asked): (&Outage, impl Fn(&T) -> bool),
        end: &End,
        persistence: Persistence,
        what: impl Fn() -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let limits = &self.shared.config.limits;
        let mut backoff = Backoff::new(limits.backoff_min, limits.backoff_max);
        let begun = Instant::now();
        loop {
            let answer = tokio::select! {
                answer = what() => answer,
                () = end.wait() => return Err(Trouble::Stopped),
            };
            let (reason, persistence, is_refused) = match answer {
                Ok(value) => {
                    if asked(&value) {
                        outage.worked();
                    }
                    return Ok(value);
                }
                Err(Failure::Final(trouble)) => return Err(trouble),
                Err(Failure::Passing(reason)) => (reason, persistence, false),
                Err(Failure::Misconfigured(reason)) => (reason, Persistence::Patience, true),
            };
            outage.failed(&reason);
            let patience = if is_refused { limits.patience.min(REFUSED_PATIENCE) } else { limits.patience };
            if persistence == Persistence::Patience && begun.elapsed() >= patience {
                self.shared.refused.fetch_or(is_refused, Ordering::Relaxed);
                return Err(Trouble::Away(reason));
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.pause()) => {}
                () = end.wait() => return Err(Trouble::Stopped),
            }
        }
    }
}

/// Whether a value is not in its reference itself.
fn is_in_bucket(value: &ValueRef) -> bool {
    !matches!(value.place, Place::Json(_))
}

/// A bucket that is away, will not let us in or is none is waited for: nothing of that is the job's fault.
fn classify(error: ValueError, kind: ErrorKind) -> Failure {
    if error.is_transient() {
        Failure::Passing(error.to_string())
    } else if error.is_misconfigured() {
        Failure::Misconfigured(error.to_string())
    } else {
        Failure::Final(Trouble::Step(StepError::new(kind, error.to_string())))
    }
}

/// The same of an input, where one that is lost is made again by the job that made it.
fn of_input(error: ValueError, value: &ValueRef) -> Failure {
    let Some((run, job)) = lost(&error).and_then(maker) else { return classify(error, ErrorKind::Input) };
    let (way, lost) = match value.place {
        Place::Element { .. } => {
            (format!("a loop's items stay what they were, so only a new run has them: `bue again {run}`"), None)
        }
        _ => (format!("no retry brings it back, `bue reset {job}` has it made again"), Some(job)),
    };
    Failure::Final(Trouble::Step(StepError { lost, ..StepError::new(ErrorKind::Input, format!("{error}; {way}")) }))
}

/// The object that is not what it was, or not there.
fn lost(error: &ValueError) -> Option<&str> {
    match error {
        ValueError::Bucket(BucketError::NotFound { key } | BucketError::Corrupt { key, .. }) => Some(key),
        _ => None,
    }
}

/// Where the value of an attempt goes. A queue that was restored counts attempts anew, so the number alone would not tell one from an
/// older one; the token does, of which no more is shown than that takes.
pub(crate) fn key(lease: &Lease) -> String {
    let mark = Digest::of(&lease.token.0).to_string();
    format!("runs/{}/{}/{}-{}", lease.run, lease.job, lease.attempt, &mark[..8])
}
