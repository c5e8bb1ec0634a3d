//! Reading runs, plans, bundles and files.

use protocol::api::Counts;
use protocol::{Digest, RunId};
use tokio_postgres::Row;

use super::rows::{PostgresRows, bytes, count, get};
use crate::error::QueueError;
use crate::store::row::{Run, run_id};
use crate::store::rows::{Found, RunRows};

const SELECT_RUN: &str = "SELECT id, number, plan, root, script, created_ms, finished_ms, cancelled, version,
    n_waiting, n_ready, n_parked, n_leased, n_succeeded, n_failed, n_cancelled, pinned FROM runs WHERE NOT retired";

fn counts(row: &Row, first: usize) -> Result<Counts, QueueError> {
    Ok(Counts {
        waiting: count(row, first)?,
        available: count(row, first + 1)?,
        pending: count(row, first + 2)?,
        leased: count(row, first + 3)?,
        succeeded: count(row, first + 4)?,
        failed: count(row, first + 5)?,
        cancelled: count(row, first + 6)?,
    })
}

fn run(row: &Row) -> Result<Run, QueueError> {
    Ok(Run {
        id: run_id(get(row, 0)?)?,
        number: get(row, 1)?,
        plan: Digest(bytes(row, 2)?),
        root: get(row, 3)?,
        script: get(row, 4)?,
        created_ms: get(row, 5)?,
        finished_ms: get(row, 6)?,
        cancelled: get(row, 7)?,
        version: count(row, 8)?,
        counts: counts(row, 9)?,
        pinned: get(row, 16)?,
    })
}

impl RunRows for PostgresRows<'_> {
    fn mark_cancelled(&mut self, run: i64, cancelled: bool) -> Found<()> {
        self.execute("UPDATE runs SET cancelled = $2 WHERE number = $1", &[&run, &cancelled]).map(drop)
    }

    fn half_cancelled(&mut self) -> Found<Vec<i64>> {
        let sql = "SELECT number FROM runs WHERE cancelled AND n_waiting + n_ready + n_parked + n_leased > 0";
        self.all(sql, &[], |row| get(row, 0))
    }

    fn run(&mut self, number: i64) -> Found<Option<Run>> {
        self.first(&format!("{SELECT_RUN} AND number = $1"), &[&number], run)
    }

    fn run_by_id(&mut self, id: &RunId) -> Found<Option<Run>> {
        self.first(&format!("{SELECT_RUN} AND id = $1"), &[&id.as_str()], run)
    }

    fn run_of_key(&mut self, key: &str) -> Found<Option<RunId>> {
        self.first("SELECT id FROM runs WHERE key = $1", &[&key], |row| run_id(get(row, 0)?))
    }

    fn newest_runs(&mut self, limit: i64) -> Found<Vec<Run>> {
        self.all(&format!("{SELECT_RUN} ORDER BY number DESC LIMIT $1"), &[&limit], run)
    }

    fn runs_ended(&mut self, from_ms: i64, until_ms: i64) -> Found<Vec<Run>> {
        let sql = format!("{SELECT_RUN} AND finished_ms >= $1 AND finished_ms < $2 ORDER BY finished_ms");
        self.all(&sql, &[&from_ms, &until_ms], run)
    }

    fn pin(&mut self, run: i64, pinned: bool) -> Found<()> {
        self.execute("UPDATE runs SET pinned = $2 WHERE number = $1", &[&run, &pinned]).map(drop)
    }

    fn totals(&mut self) -> Found<Counts> {
        let sum = |name: &str| format!("coalesce(sum({name}), 0)::bigint");
        let names = ["n_waiting", "n_ready", "n_parked", "n_leased", "n_succeeded", "n_failed", "n_cancelled"];
        let sql = format!("SELECT {} FROM runs WHERE NOT retired", names.map(sum).join(", "));
        Ok(self.first(&sql, &[], |row| counts(row, 0))?.unwrap_or_default())
    }

    fn plan(&mut self, digest: Digest) -> Found<Option<(Digest, String)>> {
        let sql = "SELECT bundle, body FROM plans WHERE digest = $1";
        self.first(sql, &[&&digest.0[..]], |row| Ok((Digest(bytes(row, 0)?), get(row, 1)?)))
    }

    fn manifest(&mut self, digest: Digest) -> Found<Option<String>> {
        self.first("SELECT manifest FROM bundles WHERE digest = $1", &[&&digest.0[..]], |row| get(row, 0))
    }

    fn file(&mut self, digest: Digest) -> Found<Option<Vec<u8>>> {
        self.first("SELECT content FROM files WHERE digest = $1", &[&&digest.0[..]], |row| get(row, 0))
    }

    fn files_here(&mut self, digests: &[Digest]) -> Found<Vec<Digest>> {
        let digests: Vec<&[u8]> = digests.iter().map(|digest| &digest.0[..]).collect();
        let sql = "SELECT digest FROM files WHERE digest = ANY($1)";
        self.all(sql, &[&digests], |row| Ok(Digest(bytes(row, 0)?)))
    }

    fn put_file(&mut self, digest: Digest, content: &[u8], now_ms: i64) -> Found<()> {
        let sql = "INSERT INTO files (digest, content, stored_ms) VALUES ($1, $2, $3)
            ON CONFLICT (digest) DO UPDATE SET stored_ms = excluded.stored_ms";
        self.execute(sql, &[&&digest.0[..], &content, &now_ms]).map(drop)
    }
}
