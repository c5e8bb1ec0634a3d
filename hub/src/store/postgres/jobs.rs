//! Reading jobs.

use protocol::{LeaseToken, SessionId};
use tokio_postgres::Row;

use super::rows::{PostgresRows, bytes, get, small};
use crate::error::QueueError;
use crate::job::{Columns, Held, State, Tally};
use crate::store::job::{Facts, Job};
use crate::store::row::{End, Input, Texts, state};
use crate::store::rows::{Found, JobRows};

const SELECT_JOBS: &str =
    "SELECT jobs.id, run, frame, call, position, followers, step, priority, state, open_parents, parents,
    attempts, failures, pendings, losses, from_ms, token, session, leases.scope, since_ms, time_ms
    FROM jobs LEFT JOIN leases ON leases.job = jobs.id WHERE jobs.id = ANY($1)";

fn job(row: &Row) -> Result<Job, QueueError> {
    let held = match get::<Option<&[u8]>>(row, 16)? {
        Some(_) => Some(Held {
            token: LeaseToken(bytes(row, 16)?),
            session: SessionId(bytes(row, 17)?),
            scope: get(row, 18)?,
            since_ms: get(row, 19)?,
            time_ms: get(row, 20)?,
        }),
        None => None,
    };
    let facts = Facts {
        id: get(row, 0)?,
        run: get(row, 1)?,
        frame: get(row, 2)?,
        call: get::<Option<i32>>(row, 3)?.map(|_| small(row, 3)).transpose()?,
        position: small(row, 4)?,
        followers: small(row, 5)?,
        step: small(row, 6)?,
        priority: get(row, 7)?,
        parents: get::<Vec<i64>>(row, 10)?.into(),
    };
    let columns = Columns {
        state: i64::from(get::<i16>(row, 8)?),
        open_parents: small(row, 9)?,
        attempts: small(row, 11)?,
        tally: Tally { failures: small(row, 12)?, pendings: small(row, 13)?, losses: small(row, 14)? },
        from_ms: get(row, 15)?,
        held,
    };
    Job::stored(facts, columns)
}

fn numbers(states: &[State]) -> Vec<i16> {
    states.iter().map(|state| *state as i16).collect()
}

impl JobRows for PostgresRows<'_> {
    fn jobs(&mut self, ids: &[i64]) -> Found<Vec<Job>> {
        self.some(SELECT_JOBS, ids, job)
    }

    fn texts(&mut self, ids: &[i64]) -> Found<Vec<Texts>> {
        self.some("SELECT id, value, error FROM jobs WHERE id = ANY($1)", ids, |row| {
            Ok(Texts { id: get(row, 0)?, value: get(row, 1)?, error: get(row, 2)? })
        })
    }

    fn inputs(&mut self, ids: &[i64]) -> Found<Vec<(i64, Input)>> {
        let sql = "SELECT jobs.id, jobs.value, frames.loop, frames.pass
            FROM jobs LEFT JOIN frames ON jobs.call IS NULL AND frames.number = jobs.frame WHERE jobs.id = ANY($1)";
        self.some(sql, ids, |row| {
            let input = match get::<Option<i64>>(row, 2)? {
                Some(of) => Input::Element { of, pass: get(row, 3)? },
                None => Input::Value(get::<Option<&str>>(row, 1)?.map(Into::into)),
            };
            Ok((get(row, 0)?, input))
        })
    }

    fn children(&mut self, parents: &[i64]) -> Found<Vec<(i64, i64)>> {
        let sql = "SELECT parent, child FROM edges WHERE parent = ANY($1) ORDER BY parent, child";
        self.some(sql, parents, |row| Ok((get(row, 0)?, get(row, 1)?)))
    }

    fn page(&mut self, run: i64, after: (i64, i64), states: &[State], limit: i64) -> Found<Vec<i64>> {
        let sql = "SELECT id FROM jobs WHERE run = $1 AND (frame, id) > ($2, $3)
                AND (cardinality($4::smallint[]) = 0 OR call IS NOT NULL AND state = ANY($4))
            ORDER BY frame, id LIMIT $5";
        self.all(sql, &[&run, &after.0, &after.1, &numbers(states), &limit], |row| get(row, 0))
    }

    fn logged(&mut self, run: i64, after: (i64, i64), limit: i64) -> Found<Vec<i64>> {
        let sql = "SELECT id FROM jobs WHERE run = $1 AND (frame, id) > ($2, $3)
                AND EXISTS (SELECT 1 FROM attempts WHERE job = jobs.id AND log IS NOT NULL)
            ORDER BY frame, id LIMIT $4";
        self.all(sql, &[&run, &after.0, &after.1, &limit], |row| get(row, 0))
    }

    fn ends(&mut self, run: i64, frames: &[i64]) -> Found<Vec<End>> {
        let sql = "SELECT frame, call, id, state, value FROM jobs
            WHERE run = $1 AND frame = ANY($2) AND call IS NOT NULL AND followers = 0";
        self.all(sql, &[&run, &frames], |row| {
            Ok(End {
                frame: get(row, 0)?,
                call: small(row, 1)?,
                job: get(row, 2)?,
                state: state(i64::from(get::<i16>(row, 3)?))?,
                value: get(row, 4)?,
            })
        })
    }
}
