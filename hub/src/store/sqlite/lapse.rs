//! Leases whose worker is gone, or never heard of them.

use protocol::api::HeldLease;
use protocol::{ErrorKind, LeaseToken, Outcome, SessionId, StepError};
use rusqlite::params;

use super::SqliteStore;
use super::change::Change;
use super::settle::{carry_out, row};
use crate::error::QueueError;
use crate::job::{Leased, Next};

impl SqliteStore {
    /// Sessions that hold leases: what a hub must watch after its start.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sessions(&self) -> Result<Vec<SessionId>, QueueError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT DISTINCT session FROM leases")?;
            let sessions = statement.query_map([], |row| Ok(SessionId(row.get(0)?)))?;
            Ok(sessions.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Takes all leases of a session that was not heard from. Answers with their number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lapse(&self, session: SessionId) -> Result<usize, QueueError> {
        self.write(move |change| {
            let jobs: Vec<i64> = change
                .connection
                .prepare_cached("SELECT job FROM leases WHERE session = ?1")?
                .query_map([session.0], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for job in &jobs {
                lapse(change, *job)?;
            }
            Ok(jobs.len())
        })
        .await
    }

    /// Compares what a worker holds with what it was given: answers with the leases that are no longer its own, and the jobs that
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
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT token, since_ms FROM leases WHERE session = ?1")?;
            let given: Vec<(LeaseToken, i64)> = statement
                .query_map([session.0], |row| Ok((LeaseToken(row.get(0)?), row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            let has = |token: LeaseToken| held.iter().any(|lease| lease.token == token);
            let revoked =
                held.iter().map(|lease| lease.token).filter(|token| !given.iter().any(|(own, _)| own == token));
            let unknown = given.iter().filter(|(token, since)| *since < given_before_ms && !has(*token));
            Ok((revoked.collect(), unknown.map(|(token, _)| *token).collect()))
        })
        .await
    }

    /// Takes back leases that their worker never heard of: their answer was lost on the way.
    ///
    /// # Errors
    /// The database failed.
    pub async fn take_back(&self, session: SessionId, tokens: Vec<LeaseToken>) -> Result<usize, QueueError> {
        self.write(move |change| {
            let mut taken = 0;
            for token in tokens {
                let jobs: Vec<i64> = change
                    .connection
                    .prepare_cached("SELECT job FROM leases WHERE session = ?1 AND token = ?2")?
                    .query_map(params![session.0, token.0], |row| row.get(0))?
                    .collect::<Result<_, _>>()?;
                for job in jobs {
                    give_back(change, job)?;
                    taken += 1;
                }
            }
            Ok(taken)
        })
        .await
    }
}

fn lapse(change: &mut Change<'_>, job: i64) -> Result<(), QueueError> {
    let Some(row) = row(change, job)? else { return Ok(()) };
    let leased = Leased { tally: row.tally, retries: 0 };
    let next = leased.lapse(&change.options.policy);
    let outcome = match &next {
        Next::Failed(tally) => Outcome::Error(StepError::new(
            ErrorKind::Lost,
            format!("{} workers in a row were lost while they ran it", tally.losses),
        )),
        _ => Outcome::Release { reason: "the worker was not heard from".to_owned(), delay_ms: 0 },
    };
    end_lease(change, &row, &outcome, next)
}

fn give_back(change: &mut Change<'_>, job: i64) -> Result<(), QueueError> {
    let Some(row) = row(change, job)? else { return Ok(()) };
    let outcome = Outcome::Release { reason: "the lease was lost on the way".to_owned(), delay_ms: 0 };
    let next = Next::Ready(row.tally);
    end_lease(change, &row, &outcome, next)
}

fn end_lease(
    change: &mut Change<'_>,
    row: &super::settle::Row,
    outcome: &Outcome,
    next: Next,
) -> Result<(), QueueError> {
    let run = change.run(row.run)?;
    change.connection.prepare_cached("DELETE FROM leases WHERE job = ?1")?.execute([row.id])?;
    carry_out(change, &run, row, outcome, next)
}
