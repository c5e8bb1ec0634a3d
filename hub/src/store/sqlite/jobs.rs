//! Reading jobs.

use std::sync::Arc;

use protocol::{LeaseToken, SessionId};
use rusqlite::{Row, params};

use super::SqliteRows;
use crate::error::QueueError;
use crate::job::{Columns, Held, State, Tally};
use crate::store::job::{Facts, Job};
use crate::store::row::{End, Input, Texts, state};
use crate::store::rows::{Found, JobRows};

const SELECT_JOB: &str =
    "SELECT jobs.id, run, frame, call, position, followers, step, priority, state, open_parents, parents,
    attempts, failures, pendings, losses, from_ms, token, session, leases.scope, since_ms, time_ms
    FROM jobs LEFT JOIN leases ON leases.job = jobs.id WHERE jobs.id = ?1";

/// A job whose standing and parents are not read yet.
type Raw = (Facts, Columns, String);

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    let held = match row.get::<_, Option<[u8; 16]>>(16)? {
        Some(token) => Some(Held {
            token: LeaseToken(token),
            session: SessionId(row.get(17)?),
            scope: row.get(18)?,
            since_ms: row.get(19)?,
            time_ms: row.get(20)?,
        }),
        None => None,
    };
    let facts = Facts {
        id: row.get(0)?,
        run: row.get(1)?,
        frame: row.get(2)?,
        call: row.get(3)?,
        position: row.get(4)?,
        followers: row.get(5)?,
        step: row.get(6)?,
        priority: row.get(7)?,
        parents: Arc::default(),
    };
    let columns = Columns {
        state: row.get(8)?,
        open_parents: row.get(9)?,
        attempts: row.get(11)?,
        tally: Tally { failures: row.get(12)?, pendings: row.get(13)?, losses: row.get(14)? },
        from_ms: row.get(15)?,
        held,
    };
    Ok((facts, columns, row.get(10)?))
}

fn parse((facts, columns, parents): Raw) -> Result<Job, QueueError> {
    Job::stored(Facts { parents: parents_of(&parents)?, ..facts }, columns)
}

/// The text form of a list of parents: a JSON list.
pub(super) fn parents_text(ids: &[i64]) -> String {
    let digits: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("[{}]", digits.join(","))
}

fn parents_of(text: &str) -> Result<Arc<[i64]>, QueueError> {
    let inner = text.trim_start_matches('[').trim_end_matches(']');
    let numbers = inner.split(',').filter(|digits| !digits.is_empty()).map(str::parse);
    numbers.collect::<Result<_, _>>().map_err(|error| QueueError::Unreadable(format!("parents of a job: {error}")))
}

/// The condition for jobs (items left out) in one of some states.
fn is_job_in(states: &[State]) -> String {
    let numbers: Vec<String> = states.iter().map(|state| (*state as i64).to_string()).collect();
    format!("call IS NOT NULL AND state IN ({})", numbers.join(","))
}

impl JobRows for SqliteRows<'_> {
    fn jobs(&mut self, ids: &[i64]) -> Found<Vec<Job>> {
        self.each(SELECT_JOB, ids, raw)?.into_iter().map(parse).collect()
    }

    fn texts(&mut self, ids: &[i64]) -> Found<Vec<Texts>> {
        self.each("SELECT id, value, error FROM jobs WHERE id = ?1", ids, |row| {
            Ok(Texts { id: row.get(0)?, value: row.get(1)?, error: row.get(2)? })
        })
    }

    fn inputs(&mut self, ids: &[i64]) -> Found<Vec<(i64, Input)>> {
        let sql = "SELECT jobs.id, jobs.value, frames.loop, frames.pass
            FROM jobs LEFT JOIN frames ON jobs.call IS NULL AND frames.number = jobs.frame WHERE jobs.id = ?1";
        self.each(sql, ids, |row| {
            let input = match row.get::<_, Option<i64>>(2)? {
                Some(of) => Input::Element { of, pass: row.get(3)? },
                None => Input::Value(row.get(1)?),
            };
            Ok((row.get(0)?, input))
        })
    }

    fn children(&mut self, parents: &[i64]) -> Found<Vec<(i64, i64)>> {
        let sql = "SELECT parent, child FROM edges WHERE parent = ?1 ORDER BY child";
        self.each(sql, parents, |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn page(&mut self, run: i64, after: (i64, i64), states: &[State], limit: i64) -> Found<Vec<i64>> {
        let filter = if states.is_empty() { "true".to_owned() } else { is_job_in(states) };
        let sql = format!(
            "SELECT id FROM jobs WHERE run = ?1 AND (frame, id) > (?2, ?3) AND {filter} ORDER BY frame, id LIMIT ?4"
        );
        self.all(&sql, params![run, after.0, after.1, limit], |row| row.get(0))
    }

    fn logged(&mut self, run: i64, after: (i64, i64), limit: i64) -> Found<Vec<i64>> {
        let sql = "SELECT id FROM jobs WHERE run = ?1 AND (frame, id) > (?2, ?3)
            AND EXISTS (SELECT 1 FROM attempts WHERE job = jobs.id AND log IS NOT NULL) ORDER BY frame, id LIMIT ?4";
        self.all(sql, params![run, after.0, after.1, limit], |row| row.get(0))
    }

    fn ends(&mut self, run: i64, frames: &[i64]) -> Found<Vec<End>> {
        let sql = "SELECT frame, call, id, state, value FROM jobs
            WHERE run = ?1 AND frame = ?2 AND call IS NOT NULL AND followers = 0";
        let mut ends = Vec::new();
        for frame in frames {
            let some = self.all(sql, [run, *frame], |row| {
                let end = End {
                    frame: row.get(0)?,
                    call: row.get(1)?,
                    job: row.get(2)?,
                    state: State::Waiting,
                    value: row.get(4)?,
                };
                Ok((end, row.get::<_, i64>(3)?))
            })?;
            for (end, number) in some {
                ends.push(End { state: state(number)?, ..end });
            }
        }
        Ok(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_read_back() {
        for ids in [vec![], vec![7], vec![1, 22, 333]] {
            assert_eq!(*parents_of(&parents_text(&ids)).unwrap(), ids);
        }
        assert!(parents_of("[1,x]").is_err());
    }
}
