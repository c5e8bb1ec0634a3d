//! Writing what a batch came to. Each statement is prepared once and carried out for each row.

use rusqlite::{CachedStatement, params};

use super::SqliteRows;
use super::jobs::parents_text;
use crate::error::QueueError;
use crate::store::change::{Changes, JobChange};
use crate::store::effects::Effects;
use crate::store::row::{Attempt, Delta, LoopRow, Numbers, ReadyKey};
use crate::store::rows::{Found, Rows};

impl Rows for SqliteRows<'_> {
    fn numbers(&mut self) -> Found<Numbers> {
        let found = self.first("SELECT job, frame, loop, run, scope FROM numbers", [], |row| {
            Ok(Numbers {
                job: row.get(0)?,
                frame: row.get(1)?,
                of_loop: row.get(2)?,
                run: row.get(3)?,
                scope: row.get(4)?,
            })
        })?;
        found.ok_or_else(|| QueueError::Unreadable("the next numbers are gone".to_owned()))
    }

    fn write(&mut self, changes: &Changes) -> Found<()> {
        self.write_runs(changes)?;
        self.write_loops(changes)?;
        self.insert_jobs(&changes.new_jobs)?;
        self.update_jobs(&changes.changed_jobs)?;
        self.write_indexes(changes)?;
        self.write_leases(changes)?;
        self.write_attempts(&changes.attempts, &changes.attempts_out)
    }

    fn count(&mut self, deltas: &[(i64, Delta)], now_ms: i64) -> Found<()> {
        let mut statement = self.connection.prepare_cached(
            "UPDATE runs SET version = version + 1,
                 n_waiting = n_waiting + ?2, n_ready = n_ready + ?3, n_parked = n_parked + ?4, n_leased = n_leased + ?5,
                 n_succeeded = n_succeeded + ?6, n_failed = n_failed + ?7, n_cancelled = n_cancelled + ?8,
                 n_cursors = n_cursors + ?9,
                 finished_ms = CASE WHEN n_ready + n_parked + n_leased + n_cursors + ?3 + ?4 + ?5 + ?9 = 0
                     THEN ifnull(finished_ms, ?10) END
             WHERE number = ?1",
        )?;
        for (run, delta) in deltas {
            let [waiting, ready, parked, leased, succeeded, failed, cancelled] = delta.states;
            statement.execute(params![
                run,
                waiting,
                ready,
                parked,
                leased,
                succeeded,
                failed,
                cancelled,
                delta.cursors,
                now_ms
            ])?;
        }
        Ok(())
    }

    /// There is no other hub on this database.
    fn announce(&mut self, _: &Effects) -> Found<()> {
        Ok(())
    }
}

impl SqliteRows<'_> {
    /// A statement to be carried out for each of some rows; `None` when there are none.
    fn for_rows<T>(&self, rows: &[T], sql: &str) -> Found<Option<CachedStatement<'_>>> {
        if rows.is_empty() { Ok(None) } else { Ok(Some(self.connection.prepare_cached(sql)?)) }
    }

    fn write_runs(&self, changes: &Changes) -> Found<()> {
        if let Some(numbers) = changes.numbers {
            self.execute(
                "UPDATE numbers SET job = ?1, frame = ?2, loop = ?3, run = ?4, scope = ?5",
                [numbers.job, numbers.frame, numbers.of_loop, numbers.run, numbers.scope],
            )?;
        }
        for (number, name) in &changes.scopes {
            self.execute("INSERT INTO scopes (number, name) VALUES (?1, ?2)", params![number, name])?;
        }
        for plan in &changes.plans {
            self.execute(
                "INSERT OR IGNORE INTO bundles (digest, manifest) VALUES (?1, ?2)",
                params![plan.bundle.0, plan.manifest],
            )?;
            self.execute(
                "INSERT OR IGNORE INTO plans (digest, bundle, body) VALUES (?1, ?2, ?3)",
                params![plan.digest.0, plan.bundle.0, plan.body],
            )?;
        }
        for run in &changes.runs {
            self.execute(
                "INSERT INTO runs (number, id, key, plan, root, script, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![run.number, run.id.as_str(), run.key, run.plan.0, run.root, run.script, run.created_ms],
            )?;
        }
        Ok(())
    }

    fn write_loops(&self, changes: &Changes) -> Found<()> {
        let insert = "INSERT INTO frames (number, run, loop, pass, item) VALUES (?1, ?2, ?3, ?4, ?5)";
        if let Some(mut statement) = self.for_rows(&changes.frames, insert)? {
            for frame in &changes.frames {
                statement.execute(params![frame.number, frame.run, frame.of, frame.pass, frame.item])?;
            }
        }
        for row in &changes.new_loops {
            self.insert_loop(row)?;
        }
        for row in &changes.changed_loops {
            self.execute(
                "UPDATE loops SET length = ?2, next = ?3, age = ?4, value = ?5 WHERE number = ?1",
                params![row.number, row.length, row.next, row.age, row.value],
            )?;
        }
        for (frame, call, job) in &changes.bindings {
            self.execute("INSERT INTO bindings (frame, call, job) VALUES (?1, ?2, ?3)", params![frame, call, job])?;
        }
        Ok(())
    }

    fn insert_loop(&self, row: &LoopRow) -> Found<()> {
        let sql = "INSERT INTO loops (number, run, loop, frame, source, length, next, age, value)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let of = row.of.0;
        let places = params![row.number, row.run, of, row.frame, row.source, row.length, row.next, row.age, row.value];
        self.execute(sql, places).map(drop)
    }

    fn insert_jobs(&self, jobs: &[JobChange]) -> Found<()> {
        let insert =
            "INSERT INTO jobs (id, run, frame, call, position, followers, step, priority, state, open_parents, parents,
                attempts, failures, pendings, losses, from_ms, value, error)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";
        let Some(mut statement) = self.for_rows(jobs, insert)? else { return Ok(()) };
        for JobChange { job, value, error } in jobs {
            statement.execute(params![
                job.id,
                job.run,
                job.frame,
                job.call,
                job.position,
                job.followers,
                job.step,
                job.priority,
                job.state() as i64,
                job.standing().open_parents(),
                parents_text(&job.parents),
                job.standing().attempts(),
                job.standing().tally().failures,
                job.standing().tally().pendings,
                job.standing().tally().losses,
                job.standing().from_ms(),
                value.as_ref().and_then(Option::as_ref),
                error.as_ref().and_then(Option::as_ref),
            ])?;
        }
        Ok(())
    }

    fn update_jobs(&self, jobs: &[JobChange]) -> Found<()> {
        let update =
            "UPDATE jobs SET priority = ?2, state = ?3, open_parents = ?4, attempts = ?5, failures = ?6, pendings = ?7,
                losses = ?8, from_ms = ?9, value = CASE WHEN ?10 THEN ?11 ELSE value END,
                error = CASE WHEN ?12 THEN ?13 ELSE error END
            WHERE id = ?1";
        let Some(mut statement) = self.for_rows(jobs, update)? else { return Ok(()) };
        for JobChange { job, value, error } in jobs {
            statement.execute(params![
                job.id,
                job.priority,
                job.state() as i64,
                job.standing().open_parents(),
                job.standing().attempts(),
                job.standing().tally().failures,
                job.standing().tally().pendings,
                job.standing().tally().losses,
                job.standing().from_ms(),
                value.is_some(),
                value.as_ref().and_then(Option::as_ref),
                error.is_some(),
                error.as_ref().and_then(Option::as_ref),
            ])?;
        }
        Ok(())
    }

    fn write_indexes(&self, changes: &Changes) -> Found<()> {
        let edges = "INSERT OR IGNORE INTO edges (parent, child) VALUES (?1, ?2)";
        self.pairs(&changes.edges, edges)?;
        let delete = "DELETE FROM ready WHERE scope = ?1 AND rank = ?2 AND run = ?3 AND age = ?4 AND entry = ?5";
        self.keys(&changes.ready_out, delete)?;
        let insert = "INSERT OR IGNORE INTO ready (scope, rank, run, age, entry) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.keys(&changes.ready_in, insert)?;
        let delete = "DELETE FROM held WHERE scope = ?1 AND rank = ?2 AND run = ?3 AND age = ?4 AND entry = ?5";
        self.keys(&changes.held_out, delete)?;
        let insert = "INSERT OR IGNORE INTO held (scope, rank, run, age, entry) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.keys(&changes.held_in, insert)?;
        self.pairs(&changes.parked_out, "DELETE FROM parked WHERE from_ms = ?1 AND job = ?2")?;
        self.pairs(&changes.parked_in, "INSERT OR IGNORE INTO parked (from_ms, job) VALUES (?1, ?2)")
    }

    fn pairs(&self, pairs: &[(i64, i64)], sql: &str) -> Found<()> {
        let Some(mut statement) = self.for_rows(pairs, sql)? else { return Ok(()) };
        for (first, second) in pairs {
            statement.execute([first, second])?;
        }
        Ok(())
    }

    fn keys(&self, keys: &[(i64, ReadyKey)], sql: &str) -> Found<()> {
        let Some(mut statement) = self.for_rows(keys, sql)? else { return Ok(()) };
        for (scope, key) in keys {
            statement.execute([*scope, key.rank, key.run, key.age, key.entry])?;
        }
        Ok(())
    }

    fn write_leases(&self, changes: &Changes) -> Found<()> {
        if let Some(mut statement) = self.for_rows(&changes.leases_out, "DELETE FROM leases WHERE job = ?1")? {
            for job in &changes.leases_out {
                statement.execute([job])?;
            }
        }
        let insert =
            "INSERT INTO leases (job, token, session, scope, since_ms, time_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let Some(mut statement) = self.for_rows(&changes.leases_in, insert)? else { return Ok(()) };
        for (job, held) in &changes.leases_in {
            statement.execute(params![job, held.token.0, held.session.0, held.scope, held.since_ms, held.time_ms])?;
        }
        Ok(())
    }

    fn write_attempts(&self, attempts: &[Attempt], out: &[(i64, i64)]) -> Found<()> {
        let insert =
            "INSERT OR REPLACE INTO attempts (job, number, token, session, since_ms, settled_ms, outcome, error, log, sandbox)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let Some(mut statement) = self.for_rows(attempts, insert)? else { return Ok(()) };
        for attempt in attempts {
            statement.execute(params![
                attempt.job,
                attempt.number,
                attempt.token.0,
                attempt.session.0,
                attempt.since_ms,
                attempt.settled_ms,
                attempt.outcome,
                attempt.error,
                attempt.log,
                attempt.sandbox,
            ])?;
        }
        self.pairs(out, "DELETE FROM attempts WHERE job = ?1 AND number <= ?2")
    }
}
