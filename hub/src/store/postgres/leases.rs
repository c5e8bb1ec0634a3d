//! Reading leases and the history of attempts.

use protocol::{LeaseToken, SessionId};

use super::rows::{Parameter, PostgresRows, bytes, get, small};
use crate::store::row::{LateRow, PastAttempt};
use crate::store::rows::{Found, LeaseRows};

impl LeaseRows for PostgresRows<'_> {
    fn sessions(&mut self) -> Found<Vec<SessionId>> {
        self.all("SELECT DISTINCT session FROM leases", &[], |row| Ok(SessionId(bytes(row, 0)?)))
    }

    fn leases_of(&mut self, session: SessionId) -> Found<Vec<(i64, LeaseToken, i64)>> {
        let sql = "SELECT job, token, since_ms FROM leases WHERE session = $1 ORDER BY job";
        self.all(sql, &[&&session.0[..]], |row| Ok((get(row, 0)?, LeaseToken(bytes(row, 1)?), get(row, 2)?)))
    }

    fn leases_ending(&mut self, session: SessionId, soon_ms: i64) -> Found<Vec<(i64, LeaseToken)>> {
        let sql = "SELECT job, token FROM leases WHERE session = $1 AND since_ms + time_ms < $2 ORDER BY job";
        self.all(sql, &[&&session.0[..], &soon_ms], |row| Ok((get(row, 0)?, LeaseToken(bytes(row, 1)?))))
    }

    fn overdue(&mut self, now_ms: i64, start_ms: i64, limit: i64) -> Found<(Vec<i64>, Option<i64>)> {
        let over = "SELECT job FROM leases WHERE greatest(since_ms, $2) + time_ms <= $1 ORDER BY job LIMIT $3";
        let jobs = self.all(over, &[&now_ms, &start_ms, &limit], |row| get(row, 0))?;
        let next =
            "SELECT min(greatest(since_ms, $2) + time_ms) FROM leases WHERE greatest(since_ms, $2) + time_ms > $1";
        Ok((jobs, self.first(next, &[&now_ms, &start_ms], |row| get(row, 0))?.flatten()))
    }

    fn date_leases_back(&mut self, latest_ms: i64) -> Found<u64> {
        self.execute("UPDATE leases SET since_ms = $1 WHERE since_ms > $1", &[&latest_ms])
    }

    fn settled(&mut self, attempts: &[(i64, u32)]) -> Found<Vec<(i64, u32, LeaseToken)>> {
        let sql = "SELECT attempts.job, attempts.number, token FROM attempts
            JOIN unnest($1::bigint[], $2::integer[]) AS asked(job, number)
                ON asked.job = attempts.job AND asked.number = attempts.number";
        let jobs: Vec<i64> = attempts.iter().map(|(job, _)| *job).collect();
        let numbers: Vec<i32> = attempts.iter().map(|(_, number)| number.cast_signed()).collect();
        self.all(sql, &[&jobs, &numbers], |row| Ok((get(row, 0)?, small(row, 1)?, LeaseToken(bytes(row, 2)?))))
    }

    fn last_outcome(&mut self, job: i64) -> Found<Option<String>> {
        let sql = "SELECT outcome FROM attempts WHERE job = $1 ORDER BY number DESC LIMIT 1";
        self.first(sql, &[&job], |row| get(row, 0))
    }

    fn history(&mut self, job: i64) -> Found<Vec<PastAttempt>> {
        let sql = "SELECT number, session, since_ms, settled_ms, outcome, error, sandbox FROM attempts WHERE job = $1
            ORDER BY number";
        self.all(sql, &[&job], |row| {
            Ok(PastAttempt {
                number: small(row, 0)?,
                session: SessionId(bytes(row, 1)?),
                since_ms: get(row, 2)?,
                settled_ms: get(row, 3)?,
                outcome: get(row, 4)?,
                error: get(row, 5)?,
                sandbox: get(row, 6)?,
            })
        })
    }

    fn add_late(&mut self, session: SessionId, late: &[LateRow]) -> Found<Vec<(i64, u32)>> {
        let sql = "UPDATE attempts SET log = coalesce(attempts.log, late.log), sandbox = coalesce(attempts.sandbox, late.sandbox)
            FROM unnest($2::bigint[], $3::integer[], $4::text[], $5::text[]) AS late(job, number, log, sandbox)
            WHERE attempts.job = late.job AND attempts.number = late.number AND session = $1
                AND ((attempts.log IS NULL AND late.log IS NOT NULL)
                    OR (attempts.sandbox IS NULL AND late.sandbox IS NOT NULL))
            RETURNING attempts.job, attempts.number";
        let jobs: Vec<i64> = late.iter().map(|row| row.job).collect();
        let numbers: Vec<i32> = late.iter().map(|row| row.number.cast_signed()).collect();
        let logs: Vec<Option<&str>> = late.iter().map(|row| row.log.as_deref()).collect();
        let sandboxes: Vec<Option<&str>> = late.iter().map(|row| row.sandbox.as_deref()).collect();
        let parameters: [Parameter<'_>; 5] = [&&session.0[..], &jobs, &numbers, &logs, &sandboxes];
        self.all(sql, &parameters, |row| Ok((get(row, 0)?, small(row, 1)?)))
    }

    fn log(&mut self, job: i64, number: Option<u32>) -> Found<Option<String>> {
        let sql = "SELECT log FROM attempts WHERE job = $1 AND log IS NOT NULL AND number = coalesce($2, number)
            ORDER BY number DESC LIMIT 1";
        self.first(sql, &[&job, &number.map(u32::cast_signed)], |row| get(row, 0))
    }
}
