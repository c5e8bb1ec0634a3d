//! What of a run has not ended.

use rusqlite::params;

use super::SqliteRows;
use crate::store::rows::{Found, OpenEntry, OpenParked, OpenRows};

/// Goes from rank to rank, so that entries of other runs are not walked over; there are few ranks, but for jobs that set their own.
const ENTRIES: &str = "WITH RECURSIVE ranks(rank, number) AS (
        SELECT (SELECT rank FROM ready WHERE scope = ?2 ORDER BY rank LIMIT 1), 1
        UNION ALL
        SELECT (SELECT ready.rank FROM ready WHERE ready.scope = ?2 AND ready.rank > ranks.rank ORDER BY ready.rank LIMIT 1),
            number + 1
        FROM ranks WHERE ranks.rank IS NOT NULL AND number < 1000
    ), entries(entry) AS (
        SELECT entry FROM (SELECT ready.entry FROM ranks CROSS JOIN ready
            WHERE ready.scope = ?2 AND ready.rank = ranks.rank AND ready.run = ?1 LIMIT ?3) AS standing
        UNION ALL
        SELECT entry FROM (SELECT entry FROM held WHERE run = ?1 AND scope = ?2 LIMIT ?3) AS held_back
    )
    SELECT entry, jobs.step FROM entries LEFT JOIN jobs ON jobs.id = entry";

impl OpenRows for SqliteRows<'_> {
    fn entries_of(&mut self, run: i64, scope: i64, bound: i64) -> Found<Vec<OpenEntry>> {
        self.all(ENTRIES, params![run, scope, bound], |row| Ok(OpenEntry { entry: row.get(0)?, step: row.get(1)? }))
    }

    fn longest_leased(&mut self, run: i64, bound: i64) -> Found<Option<(i64, i64)>> {
        let sql = "SELECT seen.job, seen.since_ms FROM (SELECT job, since_ms FROM leases LIMIT ?2) AS seen
            JOIN jobs ON jobs.id = seen.job WHERE jobs.run = ?1 ORDER BY seen.since_ms, seen.job LIMIT 1";
        self.first(sql, [run, bound], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn parked_of(&mut self, run: i64, bound: i64) -> Found<Vec<OpenParked>> {
        let sql = "SELECT soon.job, jobs.step, soon.from_ms,
                (SELECT outcome FROM attempts WHERE attempts.job = soon.job ORDER BY number DESC LIMIT 1)
            FROM (SELECT from_ms, job FROM parked ORDER BY from_ms, job LIMIT ?2) AS soon
            JOIN jobs ON jobs.id = soon.job WHERE jobs.run = ?1 ORDER BY soon.from_ms, soon.job";
        self.all(sql, [run, bound], |row| {
            Ok(OpenParked { job: row.get(0)?, step: row.get(1)?, from_ms: row.get(2)?, outcome: row.get(3)? })
        })
    }

    fn waiting_of(&mut self, run: i64, bound: i64) -> Found<Vec<i64>> {
        let sql = "SELECT id FROM (SELECT id, state, call FROM jobs WHERE run = ?1 ORDER BY frame, id LIMIT ?2) AS oldest
                WHERE call IS NOT NULL AND state = 0
            UNION
            SELECT id FROM (SELECT id, state, call FROM jobs WHERE run = ?1 ORDER BY frame DESC, id DESC LIMIT ?2) AS newest
                WHERE call IS NOT NULL AND state = 0
            ORDER BY id";
        self.all(sql, [run, bound], |row| row.get(0))
    }
}
