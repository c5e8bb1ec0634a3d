//! Leases whose worker is gone, never heard of them, or is at them for too long.

use std::collections::HashSet;

use protocol::api::HeldLease;
use protocol::{ErrorKind, LeaseToken, Outcome, SessionId, StepError};

use super::Store;
use super::change::Change;
use super::job::Job;
use super::lease::time_ms;
use super::settle::{carry_out, cut_short};
use crate::error::QueueError;
use crate::job::{Leased, Next, Rules};

/// Leases that are over by their time, taken in one transaction.
const OVERDUE_AT_ONCE: i64 = 500;

impl Store {
    /// Sessions that hold leases: what a hub must watch after its start.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sessions(&self) -> Result<Vec<SessionId>, QueueError> {
        self.read(|rows| rows.sessions()).await
    }

    /// Takes all leases of a session that was not heard from. Answers with their number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lapse(&self, session: SessionId, now_ms: i64) -> Result<usize, QueueError> {
        self.write(move |change| each_of(change, session, |change, job| lapse(change, job, now_ms))).await
    }

    /// Gives back all leases of a session that its worker has ended in good order: that costs nothing, and is no loss of a worker.
    /// Answers with their number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end_session(&self, session: SessionId, now_ms: i64) -> Result<usize, QueueError> {
        self.write(move |change| {
            each_of(change, session, |change, job| give_back(change, job, "its worker has ended", now_ms))
        })
        .await
    }

    /// Compares what a worker holds with what it was given: answers with the leases that are no longer its own, and those that
    /// it was given before `given_before_ms` and does not know of.
    ///
    /// # Errors
    /// The database failed.
    pub async fn compare(
        &self,
        session: SessionId,
        held: Vec<HeldLease>,
        given_before_ms: i64,
    ) -> Result<(Vec<LeaseToken>, Vec<LeaseToken>), QueueError> {
        self.read(move |rows| {
            let given = rows.leases_of(session)?;
            let own: HashSet<LeaseToken> = given.iter().map(|(_, token, _)| *token).collect();
            let known: HashSet<LeaseToken> = held.iter().map(|lease| lease.token).collect();
            let revoked = held.iter().map(|lease| lease.token).filter(|token| !own.contains(token));
            let unknown = given.iter().filter(|(_, token, since)| *since < given_before_ms && !known.contains(token));
            Ok((revoked.collect(), unknown.map(|(_, token, _)| *token).collect()))
        })
        .await
    }

    /// Begins the time of leases anew whose steps do not run: it is the steps' own, and neither a bucket that is away nor one that
    /// is slow uses it up. Only of those whose time is over before `soon_ms`, because each is written.
    ///
    /// # Errors
    /// The database failed.
    pub async fn begin_anew(
        &self,
        session: SessionId,
        idle: HashSet<LeaseToken>,
        now_ms: i64,
        soon_ms: i64,
    ) -> Result<(), QueueError> {
        let ending = self.read(move |rows| rows.leases_ending(session, soon_ms)).await?;
        let jobs: Vec<i64> = ending.iter().filter(|(_, token)| idle.contains(token)).map(|(job, _)| *job).collect();
        if jobs.is_empty() {
            return Ok(());
        }
        self.write(move |change| {
            change.load_jobs(jobs.iter().copied())?;
            for id in &jobs {
                let Some(job) = change.job(*id)?.and_then(Job::when::<Leased>) else { continue };
                let held = *job.standing().held();
                // Settled meanwhile, or given to somebody else.
                if !idle.contains(&held.token) {
                    continue;
                }
                let time_ms = (now_ms - held.since_ms).saturating_add(time_ms(change, &job)?);
                change.put_job(job.go(|leased| leased.last(time_ms)))?;
            }
            Ok(())
        })
        .await
    }

    /// Takes back leases that their worker never heard of: their answer was lost on the way.
    ///
    /// # Errors
    /// The database failed.
    pub async fn take_back(
        &self,
        session: SessionId,
        tokens: Vec<LeaseToken>,
        now_ms: i64,
    ) -> Result<usize, QueueError> {
        self.write(move |change| {
            change.flush()?;
            let mut taken = 0;
            for (job, token, _) in change.rows.leases_of(session)? {
                if tokens.contains(&token)
                    && let Some(job) = change.job(job)?.and_then(Job::when)
                {
                    give_back(change, job, "the lease was lost on the way", now_ms)?;
                    taken += 1;
                }
            }
            Ok(taken)
        })
        .await
    }

    /// Dates leases back that a clock that was ahead dated after now: else their time would not begin before that. Answers with their
    /// number. What time it is must be asked inside: only there it is known to be no earlier than that of any other hub that wrote.
    ///
    /// # Errors
    /// The database failed.
    pub async fn date_leases_back(&self, now_ms: fn() -> i64) -> Result<u64, QueueError> {
        self.write(move |change| {
            change.flush()?;
            change.edited();
            change.rows.date_leases_back(now_ms())
        })
        .await
    }

    /// Catches up with the time of other hubs, where the queue has any.
    ///
    /// # Errors
    /// The database failed.
    pub async fn meet_time(&self) -> Result<(), QueueError> {
        // Whatever is changed, the time is read first.
        self.write(|_| Ok(())).await
    }

    /// Ends leases whose time, grace included, is over although their worker lives: a timeout, which costs a retry. Time before
    /// `start_ms` does not count. Answers with the jobs, and when the next lease is over.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expire(&self, now_ms: i64, start_ms: i64) -> Result<(Vec<i64>, Option<i64>), QueueError> {
        self.write(move |change| {
            change.flush()?;
            let (overdue, next) = change.rows.overdue(now_ms, start_ms, OVERDUE_AT_ONCE)?;
            change.load_jobs(overdue.iter().copied())?;
            for id in &overdue {
                if let Some(job) = change.job(*id)?.and_then(Job::when) {
                    time_out(change, job, now_ms)?;
                }
            }
            Ok((overdue, next))
        })
        .await
    }
}

/// Does something with each lease of a session; answers with their number.
fn each_of(
    change: &mut Change<'_>,
    session: SessionId,
    deed: impl Fn(&mut Change<'_>, Job<Leased>) -> Result<(), QueueError>,
) -> Result<usize, QueueError> {
    change.flush()?;
    let leases = change.rows.leases_of(session)?;
    change.load_jobs(leases.iter().map(|(job, ..)| *job))?;
    for (job, ..) in &leases {
        if let Some(job) = change.job(*job)?.and_then(Job::when) {
            deed(change, job)?;
        }
    }
    Ok(leases.len())
}

fn lapse(change: &mut Change<'_>, job: Job<Leased>, now_ms: i64) -> Result<(), QueueError> {
    let run = change.run(job.run)?;
    let next = job.clone().go(|leased| leased.lapse(&change.options.policy));
    let failed = match next.standing() {
        Next::Failed(failed) => {
            let losses = failed.tally().losses;
            Some(StepError::new(ErrorKind::Lost, format!("{losses} workers in a row were lost while they ran it")))
        }
        _ => None,
    };
    let lost = failed.clone().unwrap_or_else(|| StepError::new(ErrorKind::Lost, "its worker was not heard from"));
    cut_short(change, &job, "lost", lost, now_ms)?;
    let released = || Outcome::Release { reason: "the worker was not heard from".to_owned(), delay_ms: 0 };
    carry_out(change, &run, next, &failed.map_or_else(released, Outcome::Error), now_ms)
}

fn give_back(change: &mut Change<'_>, job: Job<Leased>, reason: &str, now_ms: i64) -> Result<(), QueueError> {
    let outcome = Outcome::Release { reason: reason.to_owned(), delay_ms: 0 };
    let run = change.run(job.run)?;
    let job = job.go(|leased| Next::Ready(leased.give_back()));
    carry_out(change, &run, job, &outcome, now_ms)
}

fn time_out(change: &mut Change<'_>, job: Job<Leased>, now_ms: i64) -> Result<(), QueueError> {
    let run = change.run(job.run)?;
    let settings = &run.plan.step(job.step)?.settings;
    let message = format!("no outcome within its time limit of {} ms", settings.timeout_ms);
    let error = StepError::new(ErrorKind::Timeout, message);
    let random = change.chance.fraction()?;
    cut_short(change, &job, "error", error.clone(), now_ms)?;
    let outcome = Outcome::Error(error);
    let rules = Rules::new(&change.options.policy, settings);
    let job = job.go(|leased| leased.settle(&outcome, &rules, now_ms, random));
    carry_out(change, &run, job, &outcome, now_ms)
}
