//! Deleting what is no longer kept.

use protocol::{Digest, RunId};

use super::rows::{PostgresRows, bytes, get};
use crate::store::row::run_id;
use crate::store::rows::{Ended, Expired, Found, JobRows, KeptRows};

impl KeptRows for PostgresRows<'_> {
    fn expired(&mut self, what: Expired, limit: i64) -> Found<Vec<i64>> {
        let ended = match what.state {
            Ended::Succeeded => "NOT cancelled AND n_failed = 0",
            Ended::Failed => "NOT cancelled AND n_failed > 0",
            Ended::Cancelled => "cancelled",
        };
        let sql = format!(
            "SELECT number FROM (
                 SELECT number, finished_ms, row_number() OVER (ORDER BY finished_ms DESC, number DESC) AS place
                 FROM runs WHERE finished_ms IS NOT NULL AND NOT retired AND NOT pinned AND {ended}) AS ended
             WHERE finished_ms < $1 OR place > $2 ORDER BY number LIMIT $3"
        );
        self.all(&sql, &[&what.finished_before_ms, &what.runs_max, &limit], |row| get(row, 0))
    }

    fn retire(&mut self, run: i64) -> Found<()> {
        self.execute("UPDATE runs SET retired = true, key = NULL WHERE number = $1", &[&run]).map(drop)
    }

    fn retired(&mut self) -> Found<Option<(i64, RunId)>> {
        let sql = "SELECT number, id FROM runs WHERE retired ORDER BY number LIMIT 1";
        self.first(sql, &[], |row| Ok((get(row, 0)?, run_id(get(row, 1)?)?)))
    }

    fn delete_some(&mut self, run: i64, limit: i64) -> Found<bool> {
        let jobs = self.page(run, (0, 0), &[], limit)?;
        let deleted = "DELETE FROM jobs WHERE id = ANY($1) RETURNING frame";
        let mut frames: Vec<i64> = self.all(deleted, &[&jobs], |row| get(row, 0))?;
        frames.sort_unstable();
        frames.dedup();
        self.execute("DELETE FROM edges WHERE parent = ANY($1)", &[&jobs])?;
        self.execute("DELETE FROM attempts WHERE job = ANY($1)", &[&jobs])?;
        let last = (jobs.len() as i64) < limit;
        if last {
            let root = "DELETE FROM runs WHERE number = $1 RETURNING root";
            frames.extend(self.first(root, &[&run], |row| get::<i64>(row, 0))?);
        } else {
            // The last frame may have more jobs.
            frames.pop();
        }
        self.execute("DELETE FROM loops WHERE frame = ANY($1)", &[&frames])?;
        self.execute("DELETE FROM bindings WHERE frame = ANY($1)", &[&frames])?;
        self.execute("DELETE FROM frames WHERE number = ANY($1)", &[&frames])?;
        Ok(last)
    }

    fn delete_unused_plans(&mut self) -> Found<u64> {
        let unused = "DELETE FROM plans WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.plan = plans.digest)";
        let plans = self.execute(unused, &[])?;
        let unused = "DELETE FROM bundles WHERE NOT EXISTS (SELECT 1 FROM plans WHERE plans.bundle = bundles.digest)";
        self.execute(unused, &[])?;
        Ok(plans)
    }

    fn bundles(&mut self) -> Found<Vec<Digest>> {
        self.all("SELECT digest FROM bundles", &[], |row| Ok(Digest(bytes(row, 0)?)))
    }

    fn files_from_before(&mut self, stored_before_ms: i64) -> Found<Vec<Digest>> {
        let old = "SELECT digest FROM files WHERE stored_ms < $1";
        self.all(old, &[&stored_before_ms], |row| Ok(Digest(bytes(row, 0)?)))
    }

    fn delete_files(&mut self, digests: &[Digest], stored_before_ms: i64) -> Found<()> {
        let digests: Vec<&[u8]> = digests.iter().map(|digest| &digest.0[..]).collect();
        let sql = "DELETE FROM files WHERE digest = ANY($1) AND stored_ms < $2";
        self.execute(sql, &[&digests, &stored_before_ms]).map(drop)
    }
}
