//! What the calls of a run came to: in the order of the script, loops pass by pass.

use std::sync::Arc;

use protocol::api::{ResultView, ResultsAnswer};
use protocol::{Call, Loop, RunId, Statement};
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::lease::{job_id, parse_value};
use super::settle::state;
use super::views::run_plan;
use crate::error::QueueError;

impl SqliteStore {
    /// One entry for each call of a run so far, loop sources excepted, at most `limit`.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn results(&self, run: RunId, limit: usize) -> Result<ResultsAnswer, QueueError> {
        let plans = Arc::clone(&self.plans);
        self.read(move |connection| {
            let (number, plan) = run_plan(connection, &plans, &run)?;
            let root: i64 =
                connection.query_row("SELECT root FROM runs WHERE number = ?1", [number], |row| row.get(0))?;
            let mut walk = Walk { connection, run: number, limit, results: Vec::new(), truncated: false };
            walk.block(&plan.plan.body, root)?;
            Ok(ResultsAnswer { results: walk.results, truncated: walk.truncated })
        })
        .await
    }
}

struct Walk<'a> {
    connection: &'a Connection,
    run: i64,
    limit: usize,
    results: Vec<ResultView>,
    truncated: bool,
}

impl Walk<'_> {
    fn block(&mut self, statements: &[Statement], frame: i64) -> Result<(), QueueError> {
        for statement in statements {
            if self.truncated {
                break;
            }
            match statement {
                Statement::Call(call) => self.call(call, frame)?,
                Statement::Loop(of) => self.passes(of, frame)?,
            }
        }
        Ok(())
    }

    fn call(&mut self, call: &Call, frame: i64) -> Result<(), QueueError> {
        let found: Option<(i64, i64, Option<String>)> = self
            .connection
            .prepare_cached(
                "SELECT id, state, value FROM jobs WHERE run = ?1 AND frame = ?2 AND call = ?3 AND followers = 0",
            )?
            .query_row(params![self.run, frame, call.id.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((job, number, value)) = found else { return Ok(()) };
        if self.results.len() >= self.limit {
            self.truncated = true;
            return Ok(());
        }
        self.results.push(ResultView {
            pipe: call.pipe.clone(),
            variable: call.variable.clone(),
            job: job_id(job),
            state: state(number)?.on_the_wire(),
            value: value.as_deref().map(parse_value).transpose()?,
        });
        Ok(())
    }

    fn passes(&mut self, of: &Loop, frame: i64) -> Result<(), QueueError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT frames.number FROM loops JOIN frames ON frames.loop = loops.number
             WHERE loops.frame = ?1 AND loops.loop = ?2 ORDER BY frames.pass LIMIT ?3",
        )?;
        let most = i64::try_from(self.limit).unwrap_or(i64::MAX - 1) + 1;
        let frames: Vec<i64> =
            statement.query_map(params![frame, of.id.0, most], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for pass in frames {
            self.block(&of.body, pass)?;
            if self.truncated {
                break;
            }
        }
        Ok(())
    }
}
