//! What can run, what waits for a time, what is paused.

use protocol::api::Pause;
use tokio_postgres::Row;

use super::rows::{PostgresRows, count, get};
use crate::error::QueueError;
use crate::store::row::ReadyKey;
use crate::store::rows::{Found, IndexRows};

fn key(row: &Row) -> Result<ReadyKey, QueueError> {
    Ok(ReadyKey { rank: get(row, 0)?, run: get(row, 1)?, age: get(row, 2)?, entry: get(row, 3)? })
}

pub(super) const SELECT_PAUSES: &str = "SELECT what FROM pauses ORDER BY what";

fn pause(row: &Row) -> Result<Pause, QueueError> {
    serde_json::from_str(get(row, 0)?).map_err(|error| QueueError::Unreadable(format!("a pause: {error}")))
}

impl PostgresRows<'_> {
    fn counts_by_scope(&self, sql: &str) -> Found<Vec<(String, u64)>> {
        self.all(sql, &[], |row| Ok((get(row, 0)?, count(row, 1)?)))
    }
}

impl IndexRows for PostgresRows<'_> {
    fn pauses(&mut self) -> Found<Vec<Pause>> {
        match self.own.beginning.as_mut().and_then(|beginning| beginning.pauses.take()) {
            Some(pauses) => Ok(pauses),
            None => self.all(SELECT_PAUSES, &[], pause),
        }
    }

    fn set_pause(&mut self, what: &str, paused: bool) -> Found<bool> {
        let sql = if paused {
            "INSERT INTO pauses (what) VALUES ($1) ON CONFLICT DO NOTHING"
        } else {
            "DELETE FROM pauses WHERE what = $1"
        };
        Ok(self.execute(sql, &[&what])? > 0)
    }

    fn scope(&mut self, name: &str) -> Found<Option<i64>> {
        self.first("SELECT number FROM scopes WHERE name = $1", &[&name], |row| get(row, 0))
    }

    fn ready(&mut self, scope: i64, after: Option<ReadyKey>, limit: i64) -> Found<Vec<ReadyKey>> {
        let Some(after) = after else {
            let sql =
                "SELECT rank, run, age, entry FROM ready WHERE scope = $1 ORDER BY rank, run, age, entry LIMIT $2";
            return self.all(sql, &[&scope, &limit], key);
        };
        let sql =
            "SELECT rank, run, age, entry FROM ready WHERE scope = $1 AND (rank, run, age, entry) > ($2, $3, $4, $5)
            ORDER BY rank, run, age, entry LIMIT $6";
        self.all(sql, &[&scope, &after.rank, &after.run, &after.age, &after.entry, &limit], key)
    }

    fn behind(&mut self, scope: i64, key: ReadyKey, bound: i64) -> Found<Option<i64>> {
        let sql = "SELECT (SELECT count(*) FROM (SELECT 1 FROM ready
                WHERE scope = $1 AND (rank, run, age, entry) < ($2, $3, $4, $5) LIMIT $6) AS first)
            FROM ready WHERE scope = $1 AND rank = $2 AND run = $3 AND age = $4 AND entry = $5";
        self.first(sql, &[&scope, &key.rank, &key.run, &key.age, &key.entry, &bound], |row| get(row, 0))
    }

    fn ready_counts(&mut self) -> Found<Vec<(String, u64)>> {
        self.counts_by_scope(
            "SELECT name, entries FROM scopes JOIN (SELECT scope, count(*) AS entries FROM ready GROUP BY scope) AS ready
             ON ready.scope = scopes.number",
        )
    }

    fn lease_counts(&mut self) -> Found<Vec<(String, u64)>> {
        self.counts_by_scope(
            "SELECT name, jobs FROM scopes JOIN (SELECT scope, count(*) AS jobs FROM leases GROUP BY scope) AS leases
             ON leases.scope = scopes.number",
        )
    }

    fn due(&mut self, now_ms: i64, limit: i64) -> Found<Vec<i64>> {
        let sql = "SELECT job FROM parked WHERE from_ms <= $1 ORDER BY from_ms, job LIMIT $2";
        self.all(sql, &[&now_ms, &limit], |row| get(row, 0))
    }

    fn next_due(&mut self) -> Found<Option<i64>> {
        Ok(self.first("SELECT min(from_ms) FROM parked", &[], |row| get(row, 0))?.flatten())
    }

    fn parked(&mut self, (from_ms, job): (i64, i64), limit: i64) -> Found<Vec<(i64, i64)>> {
        let sql = "SELECT from_ms, job FROM parked WHERE (from_ms, job) > ($1, $2) ORDER BY from_ms, job LIMIT $3";
        self.all(sql, &[&from_ms, &job, &limit], |row| Ok((get(row, 0)?, get(row, 1)?)))
    }

    fn hold(&mut self, run: i64) -> Found<()> {
        let sql = "WITH held_now AS (DELETE FROM ready WHERE run = $1 RETURNING run, scope, rank, age, entry)
            INSERT INTO held (run, scope, rank, age, entry) SELECT run, scope, rank, age, entry FROM held_now
            ON CONFLICT DO NOTHING";
        self.execute(sql, &[&run]).map(drop)
    }

    fn release(&mut self, run: i64) -> Found<()> {
        let sql = "WITH released AS (DELETE FROM held WHERE run = $1 RETURNING run, scope, rank, age, entry)
            INSERT INTO ready (run, scope, rank, age, entry) SELECT run, scope, rank, age, entry FROM released
            ON CONFLICT DO NOTHING";
        self.execute(sql, &[&run]).map(drop)
    }
}
