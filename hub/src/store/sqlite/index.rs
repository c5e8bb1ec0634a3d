//! What can run, what waits for a time, what is paused.

use protocol::api::Pause;
use rusqlite::{Row, params};

use super::SqliteRows;
use crate::error::QueueError;
use crate::store::row::ReadyKey;
use crate::store::rows::{Found, IndexRows};

fn key(row: &Row<'_>) -> rusqlite::Result<ReadyKey> {
    Ok(ReadyKey { rank: row.get(0)?, run: row.get(1)?, age: row.get(2)?, entry: row.get(3)? })
}

impl SqliteRows<'_> {
    fn counts_by_scope(&self, table: &str) -> Found<Vec<(String, u64)>> {
        let sql = format!(
            "SELECT scopes.name, count(*) FROM {table} JOIN scopes ON scopes.number = {table}.scope GROUP BY {table}.scope"
        );
        self.all(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn is_ready(&self, scope: i64, key: ReadyKey) -> Found<bool> {
        let sql = "SELECT 1 FROM ready WHERE scope = ?1 AND rank = ?2 AND run = ?3 AND age = ?4 AND entry = ?5";
        Ok(self.first(sql, params![scope, key.rank, key.run, key.age, key.entry], |_| Ok(()))?.is_some())
    }
}

impl IndexRows for SqliteRows<'_> {
    fn pauses(&mut self) -> Found<Vec<Pause>> {
        let texts = self.all("SELECT what FROM pauses ORDER BY what", [], |row| row.get::<_, String>(0))?;
        let read = |text: &String| {
            serde_json::from_str(text).map_err(|error| QueueError::Unreadable(format!("a pause: {error}")))
        };
        texts.iter().map(read).collect()
    }

    fn set_pause(&mut self, what: &str, paused: bool) -> Found<bool> {
        let sql = if paused {
            "INSERT OR IGNORE INTO pauses (what) VALUES (?1)"
        } else {
            "DELETE FROM pauses WHERE what = ?1"
        };
        Ok(self.execute(sql, [what])? > 0)
    }

    fn scope(&mut self, name: &str) -> Found<Option<i64>> {
        self.first("SELECT number FROM scopes WHERE name = ?1", [name], |row| row.get(0))
    }

    fn ready(&mut self, scope: i64, after: Option<ReadyKey>, limit: i64) -> Found<Vec<ReadyKey>> {
        let Some(after) = after else {
            let sql =
                "SELECT rank, run, age, entry FROM ready WHERE scope = ?1 ORDER BY rank, run, age, entry LIMIT ?2";
            return self.all(sql, [scope, limit], key);
        };
        let sql =
            "SELECT rank, run, age, entry FROM ready WHERE scope = ?1 AND (rank, run, age, entry) > (?2, ?3, ?4, ?5)
            ORDER BY rank, run, age, entry LIMIT ?6";
        self.all(sql, params![scope, after.rank, after.run, after.age, after.entry, limit], key)
    }

    fn behind(&mut self, scope: i64, key: ReadyKey, bound: i64) -> Found<Option<i64>> {
        if !self.is_ready(scope, key)? {
            return Ok(None);
        }
        let sql = "SELECT count(*) FROM (SELECT 1 FROM ready
            WHERE scope = ?1 AND (rank, run, age, entry) < (?2, ?3, ?4, ?5) LIMIT ?6)";
        self.first(sql, params![scope, key.rank, key.run, key.age, key.entry, bound], |row| row.get(0))
    }

    fn ready_counts(&mut self) -> Found<Vec<(String, u64)>> {
        self.counts_by_scope("ready")
    }

    fn lease_counts(&mut self) -> Found<Vec<(String, u64)>> {
        self.counts_by_scope("leases")
    }

    fn due(&mut self, now_ms: i64, limit: i64) -> Found<Vec<i64>> {
        let sql = "SELECT job FROM parked WHERE from_ms <= ?1 ORDER BY from_ms, job LIMIT ?2";
        self.all(sql, [now_ms, limit], |row| row.get(0))
    }

    fn next_due(&mut self) -> Found<Option<i64>> {
        Ok(self.first("SELECT min(from_ms) FROM parked", [], |row| row.get(0))?.flatten())
    }

    fn parked(&mut self, (from_ms, job): (i64, i64), limit: i64) -> Found<Vec<(i64, i64)>> {
        let sql = "SELECT from_ms, job FROM parked WHERE (from_ms, job) > (?1, ?2) ORDER BY from_ms, job LIMIT ?3";
        self.all(sql, [from_ms, job, limit], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn hold(&mut self, run: i64) -> Found<()> {
        self.execute(
            "INSERT OR IGNORE INTO held (run, scope, rank, age, entry) SELECT run, scope, rank, age, entry FROM ready WHERE run = ?1",
            [run],
        )?;
        self.execute("DELETE FROM ready WHERE run = ?1", [run]).map(drop)
    }

    fn release(&mut self, run: i64) -> Found<()> {
        self.execute(
            "INSERT OR IGNORE INTO ready (scope, rank, run, age, entry) SELECT scope, rank, run, age, entry FROM held WHERE run = ?1",
            [run],
        )?;
        self.execute("DELETE FROM held WHERE run = ?1", [run]).map(drop)
    }
}
