//! Writing what a batch came to: each kind of row in one statement, all statements in one round trip.

use tokio_postgres::types::ToSql;

use super::rows::{Batch, PostgresRows, get};
use crate::clock::now_ms;
use crate::error::QueueError;
use crate::store::change::{Changes, JobChange};
use crate::store::effects::Effects;
use crate::store::postgres::listen::{CHANNEL, Notice};
use crate::store::row::{Attempt, Delta, LoopRow, Numbers, ReadyKey, json};
use crate::store::rows::{Found, Rows};

/// Says which time it is: nothing is written under a later one than the other hubs then go by.
pub(super) const TELL_TIME: &str = "UPDATE numbers SET time_ms = $1 WHERE time_ms < $1";

/// One column of some rows.
fn column<R, T>(rows: &[R], read: impl Fn(&R) -> T) -> Box<dyn ToSql + Sync>
where
    Vec<T>: ToSql + Sync + 'static,
{
    Box::new(rows.iter().map(read).collect::<Vec<T>>())
}

fn one(value: impl ToSql + Sync + 'static) -> Box<dyn ToSql + Sync> {
    Box::new(value)
}

impl Rows for PostgresRows<'_> {
    fn numbers(&mut self) -> Found<Numbers> {
        let found = self.own.beginning.as_mut().and_then(|beginning| beginning.numbers.take());
        match found {
            Some((numbers, reverse)) if reverse == self.own.reverse_priority => Ok(numbers),
            Some(_) => Err(QueueError::Conflict(
                "another hub of this database was started with the other order of priorities; give all the same \
                 REVERSE_PRIORITY and start this one again"
                    .to_owned(),
            )),
            None => Err(QueueError::Unreadable("the next numbers are gone".to_owned())),
        }
    }

    fn write(&mut self, changes: &Changes) -> Found<()> {
        let mut batch = Batch::default();
        runs(&mut batch, changes);
        loops(&mut batch, changes);
        insert_jobs(&mut batch, &changes.new_jobs);
        update_jobs(&mut batch, &changes.changed_jobs);
        indexes(&mut batch, changes);
        leases(&mut batch, changes);
        attempts(&mut batch, &changes.attempts, &changes.attempts_out);
        if !batch.is_empty() {
            batch.add(TELL_TIME, vec![one(now_ms())]);
        }
        self.execute_all(batch)
    }

    fn count(&mut self, deltas: &[(i64, Delta)], now_ms: i64) -> Found<()> {
        let sql = "UPDATE runs SET version = version + 1,
                n_waiting = n_waiting + d.waiting, n_ready = n_ready + d.ready, n_parked = n_parked + d.parked,
                n_leased = n_leased + d.leased, n_succeeded = n_succeeded + d.succeeded, n_failed = n_failed + d.failed,
                n_cancelled = n_cancelled + d.cancelled, n_cursors = n_cursors + d.cursors,
                finished_ms = CASE WHEN n_ready + n_parked + n_leased + n_cursors + d.ready + d.parked + d.leased + d.cursors = 0
                    THEN coalesce(finished_ms, $10) END
            FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                    $8::bigint[], $9::bigint[])
                AS d(number, waiting, ready, parked, leased, succeeded, failed, cancelled, cursors)
            WHERE runs.number = d.number";
        let mut columns = vec![column(deltas, |(run, _)| *run)];
        columns.extend((0..7).map(|state| column(deltas, move |(_, delta)| delta.states[state])));
        columns.push(column(deltas, |(_, delta)| delta.cursors));
        columns.push(one(now_ms));
        let mut batch = Batch::default();
        batch.add(sql, columns);
        self.execute_all(batch)
    }

    fn announce(&mut self, effects: &Effects) -> Found<()> {
        let text = json(&Notice::of(self.own.hub, effects))?;
        let sql = "SELECT txid_current() FROM pg_notify($1, $2)";
        self.transaction = self.first(sql, &[&CHANNEL, &text], |row| get(row, 0))?;
        Ok(())
    }
}

fn runs(batch: &mut Batch, changes: &Changes) {
    if let Some(numbers) = changes.numbers {
        let sql = "UPDATE numbers SET job = $1, frame = $2, loop = $3, run = $4, scope = $5";
        let Numbers { job, frame, of_loop, run, scope } = numbers;
        batch.add(sql, vec![one(job), one(frame), one(of_loop), one(run), one(scope)]);
    }
    for (number, name) in &changes.scopes {
        batch.add("INSERT INTO scopes (number, name) VALUES ($1, $2)", vec![one(*number), one(name.clone())]);
    }
    for plan in &changes.plans {
        let sql = "INSERT INTO bundles (digest, manifest) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        batch.add(sql, vec![one(plan.bundle.0.to_vec()), one(plan.manifest.clone())]);
        let sql = "INSERT INTO plans (digest, bundle, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        batch.add(sql, vec![one(plan.digest.0.to_vec()), one(plan.bundle.0.to_vec()), one(plan.body.clone())]);
    }
    let runs = &changes.runs;
    if !runs.is_empty() {
        let sql = "INSERT INTO runs (number, id, key, plan, root, script, created_ms)
            SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::text[], $7::bigint[])";
        let columns = vec![
            column(runs, |run| run.number),
            column(runs, |run| run.id.as_str().to_owned()),
            column(runs, |run| run.key.clone()),
            column(runs, |run| run.plan.0.to_vec()),
            column(runs, |run| run.root),
            column(runs, |run| run.script.clone()),
            column(runs, |run| run.created_ms),
        ];
        batch.add(sql, columns);
    }
}

fn loops(batch: &mut Batch, changes: &Changes) {
    let frames = &changes.frames;
    if !frames.is_empty() {
        let sql = "INSERT INTO frames (number, run, loop, pass, item)
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])";
        let columns = vec![
            column(frames, |frame| frame.number),
            column(frames, |frame| frame.run),
            column(frames, |frame| frame.of),
            column(frames, |frame| frame.pass),
            column(frames, |frame| frame.item),
        ];
        batch.add(sql, columns);
    }
    new_loops(batch, &changes.new_loops);
    changed_loops(batch, &changes.changed_loops);
    let bindings = &changes.bindings;
    if !bindings.is_empty() {
        let sql =
            "INSERT INTO bindings (frame, call, job) SELECT * FROM unnest($1::bigint[], $2::integer[], $3::bigint[])";
        let call = column(bindings, |(_, call, _)| call.cast_signed());
        batch.add(sql, vec![column(bindings, |(frame, ..)| *frame), call, column(bindings, |(.., job)| *job)]);
    }
}

fn new_loops(batch: &mut Batch, rows: &[LoopRow]) {
    if rows.is_empty() {
        return;
    }
    let sql = "INSERT INTO loops (number, run, loop, frame, source, length, next, age, value)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::text[])";
    let columns = vec![
        column(rows, |row| row.number),
        column(rows, |row| row.run),
        column(rows, |row| row.of.0.cast_signed()),
        column(rows, |row| row.frame),
        column(rows, |row| row.source),
        column(rows, |row| row.length),
        column(rows, |row| row.next),
        column(rows, |row| row.age),
        column(rows, |row| row.value.as_deref().map(str::to_owned)),
    ];
    batch.add(sql, columns);
}

fn changed_loops(batch: &mut Batch, rows: &[LoopRow]) {
    if rows.is_empty() {
        return;
    }
    let sql = "UPDATE loops SET length = new.length, next = new.next, age = new.age, value = new.value
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[]) AS new(number, length, next, age, value)
        WHERE loops.number = new.number";
    let columns = vec![
        column(rows, |row| row.number),
        column(rows, |row| row.length),
        column(rows, |row| row.next),
        column(rows, |row| row.age),
        column(rows, |row| row.value.as_deref().map(str::to_owned)),
    ];
    batch.add(sql, columns);
}

/// A text that a change sets.
fn text(set: &Option<Option<std::sync::Arc<str>>>) -> Option<String> {
    set.as_ref().and_then(|text| text.as_deref().map(str::to_owned))
}

/// Columns of jobs that can change.
fn job_columns(jobs: &[JobChange]) -> Vec<Box<dyn ToSql + Sync>> {
    vec![
        column(jobs, |change| change.job.id),
        column(jobs, |change| change.job.priority),
        column(jobs, |change| change.job.state() as i16),
        column(jobs, |change| change.job.standing().open_parents().cast_signed()),
        column(jobs, |change| change.job.standing().attempts().cast_signed()),
        column(jobs, |change| change.job.standing().tally().failures.cast_signed()),
        column(jobs, |change| change.job.standing().tally().pendings.cast_signed()),
        column(jobs, |change| change.job.standing().tally().losses.cast_signed()),
        column(jobs, |change| change.job.standing().from_ms()),
        column(jobs, |change| text(&change.value)),
        column(jobs, |change| text(&change.error)),
    ]
}

fn insert_jobs(batch: &mut Batch, jobs: &[JobChange]) {
    if jobs.is_empty() {
        return;
    }
    let sql = "INSERT INTO jobs (id, priority, state, open_parents, attempts, failures, pendings, losses, from_ms, value, error,
            run, frame, call, position, followers, step, parents)
        SELECT id, priority, state, open_parents, attempts, failures, pendings, losses, from_ms, value, error,
            run, frame, call, position, followers, step, parents::bigint[]
        FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::integer[], $5::integer[], $6::integer[], $7::integer[],
                $8::integer[], $9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::integer[], $15::integer[],
                $16::integer[], $17::integer[], $18::text[])
            AS new(id, priority, state, open_parents, attempts, failures, pendings, losses, from_ms, value, error,
                run, frame, call, position, followers, step, parents)";
    let mut columns = job_columns(jobs);
    columns.push(column(jobs, |change| change.job.run));
    columns.push(column(jobs, |change| change.job.frame));
    columns.push(column(jobs, |change| change.job.call.map(u32::cast_signed)));
    columns.push(column(jobs, |change| change.job.position.cast_signed()));
    columns.push(column(jobs, |change| change.job.followers.cast_signed()));
    columns.push(column(jobs, |change| change.job.step.cast_signed()));
    columns.push(column(jobs, |change| parents_text(&change.job.parents)));
    batch.add(sql, columns);
}

/// A list of parents as PostgreSQL writes an array.
fn parents_text(ids: &[i64]) -> String {
    let digits: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("{{{}}}", digits.join(","))
}

fn update_jobs(batch: &mut Batch, jobs: &[JobChange]) {
    if jobs.is_empty() {
        return;
    }
    let sql = "UPDATE jobs SET priority = new.priority, state = new.state, open_parents = new.open_parents,
            attempts = new.attempts, failures = new.failures, pendings = new.pendings, losses = new.losses,
            from_ms = new.from_ms, value = CASE WHEN new.sets_value THEN new.value ELSE jobs.value END,
            error = CASE WHEN new.sets_error THEN new.error ELSE jobs.error END
        FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::integer[], $5::integer[], $6::integer[], $7::integer[],
                $8::integer[], $9::bigint[], $10::text[], $11::text[], $12::boolean[], $13::boolean[])
            AS new(id, priority, state, open_parents, attempts, failures, pendings, losses, from_ms, value, error,
                sets_value, sets_error)
        WHERE jobs.id = new.id";
    let mut columns = job_columns(jobs);
    columns.push(column(jobs, |change| change.value.is_some()));
    columns.push(column(jobs, |change| change.error.is_some()));
    batch.add(sql, columns);
}

fn indexes(batch: &mut Batch, changes: &Changes) {
    let insert =
        "INSERT INTO edges (parent, child) SELECT * FROM unnest($1::bigint[], $2::bigint[]) ON CONFLICT DO NOTHING";
    pairs(batch, &changes.edges, insert);
    let delete = "DELETE FROM ready USING unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
            AS gone(scope, rank, run, age, entry)
        WHERE ready.scope = gone.scope AND ready.rank = gone.rank AND ready.run = gone.run AND ready.age = gone.age
            AND ready.entry = gone.entry";
    keys(batch, &changes.ready_out, delete);
    let insert = "INSERT INTO ready (scope, rank, run, age, entry)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) ON CONFLICT DO NOTHING";
    keys(batch, &changes.ready_in, insert);
    let delete = "DELETE FROM held USING unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
            AS gone(scope, rank, run, age, entry)
        WHERE held.scope = gone.scope AND held.rank = gone.rank AND held.run = gone.run AND held.age = gone.age
            AND held.entry = gone.entry";
    keys(batch, &changes.held_out, delete);
    let insert = "INSERT INTO held (scope, rank, run, age, entry)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) ON CONFLICT DO NOTHING";
    keys(batch, &changes.held_in, insert);
    let delete = "DELETE FROM parked USING unnest($1::bigint[], $2::bigint[]) AS gone(from_ms, job)
        WHERE parked.from_ms = gone.from_ms AND parked.job = gone.job";
    pairs(batch, &changes.parked_out, delete);
    let insert =
        "INSERT INTO parked (from_ms, job) SELECT * FROM unnest($1::bigint[], $2::bigint[]) ON CONFLICT DO NOTHING";
    pairs(batch, &changes.parked_in, insert);
}

fn pairs(batch: &mut Batch, pairs: &[(i64, i64)], sql: &'static str) {
    if !pairs.is_empty() {
        batch.add(sql, vec![column(pairs, |(first, _)| *first), column(pairs, |(_, second)| *second)]);
    }
}

fn keys(batch: &mut Batch, keys: &[(i64, ReadyKey)], sql: &'static str) {
    if !keys.is_empty() {
        let columns = vec![
            column(keys, |(scope, _)| *scope),
            column(keys, |(_, key)| key.rank),
            column(keys, |(_, key)| key.run),
            column(keys, |(_, key)| key.age),
            column(keys, |(_, key)| key.entry),
        ];
        batch.add(sql, columns);
    }
}

fn leases(batch: &mut Batch, changes: &Changes) {
    let out = &changes.leases_out;
    if !out.is_empty() {
        batch.add("DELETE FROM leases WHERE job = ANY($1)", vec![column(out, |job| *job)]);
    }
    let new = &changes.leases_in;
    if !new.is_empty() {
        let sql = "INSERT INTO leases (job, token, session, scope, since_ms, time_ms)
            SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[])";
        let columns = vec![
            column(new, |(job, _)| *job),
            column(new, |(_, held)| held.token.0.to_vec()),
            column(new, |(_, held)| held.session.0.to_vec()),
            column(new, |(_, held)| held.scope),
            column(new, |(_, held)| held.since_ms),
            column(new, |(_, held)| held.time_ms),
        ];
        batch.add(sql, columns);
    }
}

fn attempts(batch: &mut Batch, attempts: &[Attempt], out: &[(i64, i64)]) {
    if !attempts.is_empty() {
        let sql = "INSERT INTO attempts (job, number, token, session, since_ms, settled_ms, outcome, error, log, sandbox)
            SELECT * FROM unnest($1::bigint[], $2::integer[], $3::bytea[], $4::bytea[], $5::bigint[], $6::bigint[], $7::text[],
                $8::text[], $9::text[], $10::text[])
            ON CONFLICT (job, number) DO UPDATE SET token = excluded.token, session = excluded.session,
                since_ms = excluded.since_ms, settled_ms = excluded.settled_ms, outcome = excluded.outcome,
                error = excluded.error, log = excluded.log, sandbox = excluded.sandbox";
        let columns = vec![
            column(attempts, |attempt| attempt.job),
            column(attempts, |attempt| attempt.number.cast_signed()),
            column(attempts, |attempt| attempt.token.0.to_vec()),
            column(attempts, |attempt| attempt.session.0.to_vec()),
            column(attempts, |attempt| attempt.since_ms),
            column(attempts, |attempt| attempt.settled_ms),
            column(attempts, |attempt| attempt.outcome),
            column(attempts, |attempt| attempt.error.clone()),
            column(attempts, |attempt| attempt.log.clone()),
            column(attempts, |attempt| attempt.sandbox.clone()),
        ];
        batch.add(sql, columns);
    }
    let delete = "DELETE FROM attempts USING unnest($1::bigint[], $2::bigint[]) AS gone(job, number)
        WHERE attempts.job = gone.job AND attempts.number <= gone.number";
    pairs(batch, out, delete);
}
