//! Reading runs, plans, bundles and files.

use protocol::api::Counts;
use protocol::{Digest, RunId};
use rusqlite::{Row, params};

use super::SqliteRows;
use crate::error::QueueError;
use crate::store::row::{Run, run_id};
use crate::store::rows::{Found, RunRows};

const SELECT_RUN: &str = "SELECT id, number, plan, root, script, created_ms, finished_ms, cancelled, version,
    n_waiting, n_ready, n_parked, n_leased, n_succeeded, n_failed, n_cancelled, pinned FROM runs WHERE retired = 0";

fn run(row: &Row<'_>) -> rusqlite::Result<Result<Run, QueueError>> {
    let text: String = row.get(0)?;
    let counts = Counts {
        waiting: row.get(9)?,
        available: row.get(10)?,
        pending: row.get(11)?,
        leased: row.get(12)?,
        succeeded: row.get(13)?,
        failed: row.get(14)?,
        cancelled: row.get(15)?,
    };
    let (number, plan, root, script) = (row.get(1)?, Digest(row.get(2)?), row.get(3)?, row.get(4)?);
    let (created_ms, finished_ms, cancelled, version) = (row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?);
    let pinned = row.get(16)?;
    let read = |id| Run { number, id, plan, root, script, created_ms, finished_ms, cancelled, pinned, version, counts };
    Ok(run_id(&text).map(read))
}

impl RunRows for SqliteRows<'_> {
    fn mark_cancelled(&mut self, run: i64, cancelled: bool) -> Found<()> {
        self.execute("UPDATE runs SET cancelled = ?2 WHERE number = ?1", params![run, cancelled]).map(drop)
    }

    fn half_cancelled(&mut self) -> Found<Vec<i64>> {
        let sql = "SELECT number FROM runs WHERE cancelled = 1 AND n_waiting + n_ready + n_parked + n_leased > 0";
        self.all(sql, [], |row| row.get(0))
    }

    fn run(&mut self, number: i64) -> Found<Option<Run>> {
        self.first(&format!("{SELECT_RUN} AND number = ?1"), [number], run)?.transpose()
    }

    fn run_by_id(&mut self, id: &RunId) -> Found<Option<Run>> {
        self.first(&format!("{SELECT_RUN} AND id = ?1"), [id.as_str()], run)?.transpose()
    }

    fn run_of_key(&mut self, key: &str) -> Found<Option<RunId>> {
        let found = self.first("SELECT id FROM runs WHERE key = ?1", [key], |row| row.get::<_, String>(0))?;
        found.map(|text| run_id(&text)).transpose()
    }

    fn newest_runs(&mut self, limit: i64) -> Found<Vec<Run>> {
        self.all(&format!("{SELECT_RUN} ORDER BY number DESC LIMIT ?1"), [limit], run)?.into_iter().collect()
    }

    fn runs_ended(&mut self, from_ms: i64, until_ms: i64) -> Found<Vec<Run>> {
        let sql = format!("{SELECT_RUN} AND finished_ms >= ?1 AND finished_ms < ?2 ORDER BY finished_ms");
        self.all(&sql, [from_ms, until_ms], run)?.into_iter().collect()
    }

    fn pin(&mut self, run: i64, pinned: bool) -> Found<()> {
        self.execute("UPDATE runs SET pinned = ?2 WHERE number = ?1", params![run, pinned]).map(drop)
    }

    fn totals(&mut self) -> Found<Counts> {
        let sql = "SELECT ifnull(sum(n_waiting), 0), ifnull(sum(n_ready), 0), ifnull(sum(n_parked), 0),
            ifnull(sum(n_leased), 0), ifnull(sum(n_succeeded), 0), ifnull(sum(n_failed), 0), ifnull(sum(n_cancelled), 0)
            FROM runs WHERE retired = 0";
        let totals = self.first(sql, [], |row| {
            Ok(Counts {
                waiting: row.get(0)?,
                available: row.get(1)?,
                pending: row.get(2)?,
                leased: row.get(3)?,
                succeeded: row.get(4)?,
                failed: row.get(5)?,
                cancelled: row.get(6)?,
            })
        })?;
        Ok(totals.unwrap_or_default())
    }

    fn plan(&mut self, digest: Digest) -> Found<Option<(Digest, String)>> {
        let sql = "SELECT bundle, body FROM plans WHERE digest = ?1";
        self.first(sql, [digest.0], |row| Ok((Digest(row.get(0)?), row.get(1)?)))
    }

    fn manifest(&mut self, digest: Digest) -> Found<Option<String>> {
        self.first("SELECT manifest FROM bundles WHERE digest = ?1", [digest.0], |row| row.get(0))
    }

    fn file(&mut self, digest: Digest) -> Found<Option<Vec<u8>>> {
        self.first("SELECT content FROM files WHERE digest = ?1", [digest.0], |row| row.get(0))
    }

    fn files_here(&mut self, digests: &[Digest]) -> Found<Vec<Digest>> {
        let mut here = Vec::new();
        for digest in digests {
            let found = self.first("SELECT 1 FROM files WHERE digest = ?1", [digest.0], |_| Ok(()))?;
            here.extend(found.map(|()| *digest));
        }
        Ok(here)
    }

    fn put_file(&mut self, digest: Digest, content: &[u8], now_ms: i64) -> Found<()> {
        let sql = "INSERT INTO files (digest, content, stored_ms) VALUES (?1, ?2, ?3)
            ON CONFLICT (digest) DO UPDATE SET stored_ms = excluded.stored_ms";
        self.execute(sql, params![digest.0, content, now_ms]).map(drop)
    }
}
