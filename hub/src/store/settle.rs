//! What came of an attempt: guarded by the lease token, carried out once, children freed in the same transaction.

use std::sync::Arc;

use protocol::api::{SettleRequest, Settled, Settlement};
use protocol::{ErrorKind, LeaseToken, Outcome, SessionId, StepError};

use super::Store;
use super::change::{Change, RunEntry};
use super::job::{Facts, Job};
use super::row::{Attempt, job_number, json};
use super::writer::Expectation;
use super::{family, looped, passes};
use crate::error::QueueError;
use crate::job::{Leased, Next, Rules, Waiting};

/// Longest account of a sandbox that is kept.
const SANDBOX_BYTES_MAX: usize = 256;
/// Longest reason of an attempt that is handed back.
const REASON_CHARACTERS_MAX: usize = 1_000;

impl Store {
    /// Hands in what came of some attempts; each counts once, and only while its lease is valid.
    ///
    /// # Errors
    /// The database failed; then none of them counts.
    pub async fn settle(&self, request: SettleRequest, now_ms: i64) -> Result<Vec<Settled>, QueueError> {
        let key = |of: &Settlement| (job_number(of.job), of.attempt, of.token);
        let attempts = request.settlements.iter().map(key).collect();
        self.write_expecting(Expectation::Settlements(attempts), move |change| {
            let settlements = request.settlements.iter();
            settlements.map(|settlement| settle(change, request.session, settlement, now_ms)).collect()
        })
        .await
    }
}

/// Reads at once what settlements of these attempts will need.
pub(super) fn prepare(change: &mut Change<'_>, attempts: &[(i64, u32, LeaseToken)]) -> Result<(), QueueError> {
    change.load_jobs(attempts.iter().map(|(job, ..)| *job))?;
    let (mut parents, mut over) = (Vec::new(), Vec::new());
    for (id, number, token) in attempts {
        let held = change.job(*id)?.and_then(Job::when::<Leased>);
        match held.filter(|job| job.standing().held().token == *token) {
            Some(job) if change.run(job.run)?.plan.has_children(&job) => parents.push(*id),
            Some(_) => {}
            None => over.push((*id, *number)),
        }
    }
    change.load_settled(&over)?;
    change.load_children(&parents)?;
    let mut children = Vec::new();
    for parent in parents {
        children.extend(change.child_jobs(parent)?);
    }
    change.load_jobs(children)
}

fn settle(
    change: &mut Change<'_>,
    session: SessionId,
    settlement: &Settlement,
    now_ms: i64,
) -> Result<Settled, QueueError> {
    let id = job_number(settlement.job);
    let held = change.job(id)?.and_then(Job::when::<Leased>);
    let Some(job) = held.filter(|job| job.standing().held().token == settlement.token) else {
        // A token that holds nothing: either this attempt was settled before with this very token, or it is stale.
        let before = change.was_settled(id, settlement.attempt, settlement.token)?;
        return Ok(if before { Settled::Settled } else { Settled::Stale });
    };
    let run = change.run(job.run)?;
    let refused = looped::refused(change, &run, &job, &settlement.outcome)?;
    let outcome = refused.as_ref().unwrap_or(&settlement.outcome);
    let random = change.chance.fraction()?;
    let attempt = attempt(&job, settlement.token, session, outcome, now_ms)?;
    let log = settlement.log.as_ref().map(json).transpose()?;
    change.add_attempt(Attempt { log, sandbox: sandbox(settlement.sandbox.as_deref()), ..attempt });
    let rules = Rules::new(&change.options.policy, &run.plan.step(job.step)?.settings);
    let job = job.go(|leased| leased.settle(outcome, &rules, now_ms, random));
    carry_out(change, &run, job, outcome, now_ms)?;
    change.handed_in.insert(session);
    Ok(Settled::Settled)
}

/// The attempt that a lease stood for, now that it is over.
fn attempt(
    job: &Job<Leased>,
    token: LeaseToken,
    session: SessionId,
    outcome: &Outcome,
    now_ms: i64,
) -> Result<Attempt, QueueError> {
    let error = match outcome {
        Outcome::Error(error) => Some(json(error)?),
        // Whoever asks why a job does not run is told what is missing.
        Outcome::Release { reason, .. } => Some(json(&StepError::new(ErrorKind::Away, shortened(reason)))?),
        _ => None,
    };
    Ok(Attempt {
        job: job.id,
        number: job.standing().attempt(),
        token,
        session,
        since_ms: job.standing().held().since_ms,
        settled_ms: now_ms,
        outcome: word(outcome),
        error,
        log: None,
        sandbox: None,
    })
}

/// As much of a reason as a person reads.
fn shortened(reason: &str) -> String {
    reason.chars().take(REASON_CHARACTERS_MAX).collect()
}

/// Adds an attempt to the history that its worker does not hand in: its lease is about to be taken. `word` is what it says of the
/// outcome.
pub(super) fn cut_short(
    change: &mut Change<'_>,
    job: &Job<Leased>,
    word: &'static str,
    error: StepError,
    now_ms: i64,
) -> Result<(), QueueError> {
    // Under no token: what the worker hands in later is stale, not a repetition.
    let token = LeaseToken([0; 16]);
    let attempt = attempt(job, token, job.standing().held().session, &Outcome::Error(error), now_ms)?;
    change.add_attempt(Attempt { outcome: word, ..attempt });
    Ok(())
}

/// What a worker tells of a sandbox, where it is fit to be kept: a word or a short list.
pub(super) fn sandbox(told: Option<&str>) -> Option<String> {
    let is_fit = |told: &&str| told.len() <= SANDBOX_BYTES_MAX && !told.contains('\0');
    told.filter(is_fit).map(str::to_owned)
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Success { .. } => "success",
        Outcome::Pending { .. } => "pending",
        Outcome::Reset => "reset",
        Outcome::Cancel => "cancel",
        Outcome::Error(_) => "error",
        Outcome::Release { .. } => "release",
    }
}

/// Takes a job that loses its lease where the state machine says.
pub(super) fn carry_out(
    change: &mut Change<'_>,
    run: &RunEntry,
    mut job: Job<Next>,
    outcome: &Outcome,
    now_ms: i64,
) -> Result<(), QueueError> {
    if let Outcome::Success { priority: Some(priority), .. } | Outcome::Pending { priority: Some(priority) } = outcome {
        set_priority_of_followers(change, &job, *priority)?;
    }
    if let Outcome::Pending { priority: Some(priority) } = outcome {
        job.priority = *priority;
    }
    let id = job.id;
    match job.standing() {
        Next::Succeeded(_) => return succeed(change, run, job, outcome),
        Next::Ready(_) | Next::Parked(_) | Next::Failed(_) => change.put_job(job)?,
        Next::Cancelled(_) => {
            change.put_job(job)?;
            return family::cancel_descendants(change, id, now_ms);
        }
        Next::Reset(_) => return family::reset(change, id, now_ms),
    }
    // An earlier error stays until the job succeeds or starts over.
    if let Outcome::Error(error) = outcome {
        change.set_error(id, Some(json(error)?))?;
    }
    Ok(())
}

fn set_priority_of_followers(change: &mut Change<'_>, job: &Facts, priority: i64) -> Result<(), QueueError> {
    // A chain's jobs have ids in a row, and those that follow an open job are all waiting: none is in the ready index.
    let followers = job.id + 1..=job.id + i64::from(job.followers);
    change.load_jobs(followers.clone())?;
    for id in followers {
        if let Some(mut follower) = change.job(id)? {
            follower.priority = priority;
            change.put_job(follower)?;
        }
    }
    Ok(())
}

fn succeed(change: &mut Change<'_>, run: &RunEntry, job: Job<Next>, outcome: &Outcome) -> Result<(), QueueError> {
    let Outcome::Success { value, .. } = outcome else { return Ok(()) };
    let text: Arc<str> = json(value)?.into();
    change.put_job(job.clone())?;
    change.set_value(job.id, Some(Arc::clone(&text)))?;
    change.set_error(job.id, None)?;
    if run.plan.has_children(&job) {
        free_children(change, job.id)?;
    }
    if run.plan.feeds_loop(&job)
        && let Some(of) = change.loop_of(job.id)?
    {
        passes::fan_out(change, run, of, value, &text)?;
    }
    Ok(())
}

fn free_children(change: &mut Change<'_>, parent: i64) -> Result<(), QueueError> {
    let children = change.child_jobs(parent)?;
    change.load_jobs(children.iter().copied())?;
    for id in children {
        if let Some(child) = change.job(id)?.and_then(Job::when::<Waiting>) {
            change.put_job(child.go(Waiting::parent_succeeded))?;
        }
    }
    passes::go_on(change, parent)
}
