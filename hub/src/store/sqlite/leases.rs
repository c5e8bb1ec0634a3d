//! Reading leases and the history of attempts.

use protocol::{LeaseToken, SessionId};
use rusqlite::params;

use super::SqliteRows;
use crate::store::row::{LateRow, PastAttempt};
use crate::store::rows::{Found, LeaseRows};

impl LeaseRows for SqliteRows<'_> {
    fn sessions(&mut self) -> Found<Vec<SessionId>> {
        self.all("SELECT DISTINCT session FROM leases", [], |row| Ok(SessionId(row.get(0)?)))
    }

    fn leases_of(&mut self, session: SessionId) -> Found<Vec<(i64, LeaseToken, i64)>> {
        let sql = "SELECT job, token, since_ms FROM leases WHERE session = ?1 ORDER BY job";
        self.all(sql, [session.0], |row| Ok((row.get(0)?, LeaseToken(row.get(1)?), row.get(2)?)))
    }

    fn leases_ending(&mut self, session: SessionId, soon_ms: i64) -> Found<Vec<(i64, LeaseToken)>> {
        let sql = "SELECT job, token FROM leases WHERE session = ?1 AND since_ms + time_ms < ?2 ORDER BY job";
        self.all(sql, params![session.0, soon_ms], |row| Ok((row.get(0)?, LeaseToken(row.get(1)?))))
    }

    fn overdue(&mut self, now_ms: i64, start_ms: i64, limit: i64) -> Found<(Vec<i64>, Option<i64>)> {
        let over = "SELECT job FROM leases WHERE max(since_ms, ?2) + time_ms <= ?1 ORDER BY job LIMIT ?3";
        let jobs = self.all(over, [now_ms, start_ms, limit], |row| row.get(0))?;
        let next = "SELECT min(max(since_ms, ?2) + time_ms) FROM leases WHERE max(since_ms, ?2) + time_ms > ?1";
        Ok((jobs, self.first(next, [now_ms, start_ms], |row| row.get(0))?.flatten()))
    }

    fn date_leases_back(&mut self, latest_ms: i64) -> Found<u64> {
        Ok(self.execute("UPDATE leases SET since_ms = ?1 WHERE since_ms > ?1", [latest_ms])? as u64)
    }

    fn settled(&mut self, attempts: &[(i64, u32)]) -> Found<Vec<(i64, u32, LeaseToken)>> {
        let sql = "SELECT token FROM attempts WHERE job = ?1 AND number = ?2";
        let mut settled = Vec::new();
        for (job, number) in attempts {
            let found = self.first(sql, params![job, number], |row| Ok(LeaseToken(row.get(0)?)))?;
            settled.extend(found.map(|token| (*job, *number, token)));
        }
        Ok(settled)
    }

    fn last_outcome(&mut self, job: i64) -> Found<Option<String>> {
        let sql = "SELECT outcome FROM attempts WHERE job = ?1 ORDER BY number DESC LIMIT 1";
        self.first(sql, [job], |row| row.get(0))
    }

    fn history(&mut self, job: i64) -> Found<Vec<PastAttempt>> {
        let sql = "SELECT number, session, since_ms, settled_ms, outcome, error, sandbox FROM attempts WHERE job = ?1
            ORDER BY number";
        self.all(sql, [job], |row| {
            Ok(PastAttempt {
                number: row.get(0)?,
                session: SessionId(row.get(1)?),
                since_ms: row.get(2)?,
                settled_ms: row.get(3)?,
                outcome: row.get(4)?,
                error: row.get(5)?,
                sandbox: row.get(6)?,
            })
        })
    }

    fn add_late(&mut self, session: SessionId, late: &[LateRow]) -> Found<Vec<(i64, u32)>> {
        let sql = "UPDATE attempts SET log = ifnull(log, ?4), sandbox = ifnull(sandbox, ?5)
            WHERE job = ?1 AND number = ?2 AND session = ?3
                AND ((log IS NULL AND ?4 IS NOT NULL) OR (sandbox IS NULL AND ?5 IS NOT NULL))";
        let mut added = Vec::new();
        for row in late {
            if self.execute(sql, params![row.job, row.number, session.0, row.log, row.sandbox])? > 0 {
                added.push((row.job, row.number));
            }
        }
        Ok(added)
    }

    fn log(&mut self, job: i64, number: Option<u32>) -> Found<Option<String>> {
        let sql = "SELECT log FROM attempts WHERE job = ?1 AND log IS NOT NULL AND number = ifnull(?2, number)
            ORDER BY number DESC LIMIT 1";
        self.first(sql, params![job, number], |row| row.get(0))
    }
}
