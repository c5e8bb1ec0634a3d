//! Deleting what is no longer kept.

use std::collections::BTreeSet;

use protocol::{Digest, RunId};
use rusqlite::params;

use super::SqliteRows;
use crate::store::row::run_id;
use crate::store::rows::{Ended, Expired, Found, JobRows, KeptRows};

impl KeptRows for SqliteRows<'_> {
    fn expired(&mut self, what: Expired, limit: i64) -> Found<Vec<i64>> {
        let ended = match what.state {
            Ended::Succeeded => "cancelled = 0 AND n_failed = 0",
            Ended::Failed => "cancelled = 0 AND n_failed > 0",
            Ended::Cancelled => "cancelled = 1",
        };
        let sql = format!(
            "SELECT number FROM (
                 SELECT number, finished_ms, row_number() OVER (ORDER BY finished_ms DESC, number DESC) AS place
                 FROM runs WHERE finished_ms IS NOT NULL AND retired = 0 AND pinned = 0 AND {ended})
             WHERE finished_ms < ?1 OR place > ?2 ORDER BY number LIMIT ?3"
        );
        self.all(&sql, params![what.finished_before_ms, what.runs_max, limit], |row| row.get(0))
    }

    fn retire(&mut self, run: i64) -> Found<()> {
        self.execute("UPDATE runs SET retired = 1, key = NULL WHERE number = ?1", [run]).map(drop)
    }

    fn retired(&mut self) -> Found<Option<(i64, RunId)>> {
        let sql = "SELECT number, id FROM runs WHERE retired = 1 ORDER BY number LIMIT 1";
        let found = self.first(sql, [], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        found.map(|(number, text)| Ok((number, run_id(&text)?))).transpose()
    }

    fn delete_some(&mut self, run: i64, limit: i64) -> Found<bool> {
        let jobs = self.page(run, (0, 0), &[], limit)?;
        let mut frames: BTreeSet<i64> = BTreeSet::new();
        for id in &jobs {
            frames.extend(
                self.first("DELETE FROM jobs WHERE id = ?1 RETURNING frame", [id], |row| row.get::<_, i64>(0))?,
            );
            self.execute("DELETE FROM edges WHERE parent = ?1", [id])?;
            self.execute("DELETE FROM attempts WHERE job = ?1", [id])?;
        }
        let last = (jobs.len() as i64) < limit;
        if !last {
            // The last frame may have more jobs.
            frames.pop_last();
        }
        if last {
            frames.extend(self.first("SELECT root FROM runs WHERE number = ?1", [run], |row| row.get::<_, i64>(0))?);
            self.execute("DELETE FROM runs WHERE number = ?1", [run])?;
        }
        for frame in frames {
            self.execute("DELETE FROM loops WHERE frame = ?1", [frame])?;
            self.execute("DELETE FROM bindings WHERE frame = ?1", [frame])?;
            self.execute("DELETE FROM frames WHERE number = ?1", [frame])?;
        }
        Ok(last)
    }

    fn delete_unused_plans(&mut self) -> Found<u64> {
        let plans = self.execute("DELETE FROM plans WHERE digest NOT IN (SELECT plan FROM runs)", [])?;
        self.execute("DELETE FROM bundles WHERE digest NOT IN (SELECT bundle FROM plans)", [])?;
        Ok(plans as u64)
    }

    fn bundles(&mut self) -> Found<Vec<Digest>> {
        self.all("SELECT digest FROM bundles", [], |row| Ok(Digest(row.get(0)?)))
    }

    fn files_from_before(&mut self, stored_before_ms: i64) -> Found<Vec<Digest>> {
        self.all("SELECT digest FROM files WHERE stored_ms < ?1", [stored_before_ms], |row| Ok(Digest(row.get(0)?)))
    }

    fn delete_files(&mut self, digests: &[Digest], stored_before_ms: i64) -> Found<()> {
        for digest in digests {
            self.execute(
                "DELETE FROM files WHERE digest = ?1 AND stored_ms < ?2",
                params![digest.0, stored_before_ms],
            )?;
        }
        Ok(())
    }
}
