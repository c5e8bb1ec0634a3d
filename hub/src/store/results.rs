//! What the calls of a run came to: in the order of the script, loops pass by pass.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::api::{ResultView, ResultsAnswer};
use protocol::{Call, Loop, RunId, Statement};

use super::Store;
use super::row::{End, job_id, value};
use super::rows::Rows;
use super::views::find_run;
use crate::error::QueueError;

/// Passes whose ends are read at once.
const PASSES_AT_ONCE: usize = 256;

impl Store {
    /// One entry for each call of a run so far, loop sources excepted: at most `limit` of those after the first `skip`.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn results(&self, run: RunId, skip: usize, limit: usize) -> Result<ResultsAnswer, QueueError> {
        let plans = Arc::clone(&self.plans);
        self.read(move |rows| {
            let run = find_run(rows, &run)?;
            let plan = plans.get(rows, run.plan)?;
            let mut walk = Walk { rows, run: run.number, skip, limit, results: Vec::new(), truncated: false };
            walk.frames(&plan.plan.body, &[run.root])?;
            Ok(ResultsAnswer { results: walk.results, truncated: walk.truncated })
        })
        .await
    }
}

/// The ends of some frames, by frame and call.
type Ends = HashMap<(i64, u32), End>;

struct Walk<'a> {
    rows: &'a mut dyn Rows,
    run: i64,
    /// Entries that are still to be left out.
    skip: usize,
    limit: usize,
    results: Vec<ResultView>,
    truncated: bool,
}

impl Walk<'_> {
    /// Walks through frames of the same block, one after the other.
    fn frames(&mut self, statements: &[Statement], frames: &[i64]) -> Result<(), QueueError> {
        for some in frames.chunks(PASSES_AT_ONCE) {
            let ends = self.rows.ends(self.run, some)?;
            let ends: Ends = ends.into_iter().map(|end| ((end.frame, end.call), end)).collect();
            for frame in some {
                self.block(statements, *frame, &ends)?;
                if self.truncated {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn block(&mut self, statements: &[Statement], frame: i64, ends: &Ends) -> Result<(), QueueError> {
        for statement in statements {
            if self.truncated {
                break;
            }
            match statement {
                Statement::Call(call) => self.call(call, frame, ends)?,
                Statement::Loop(of) => self.passes(of, frame)?,
            }
        }
        Ok(())
    }

    fn call(&mut self, call: &Call, frame: i64, ends: &Ends) -> Result<(), QueueError> {
        let Some(end) = ends.get(&(frame, call.id.0)) else { return Ok(()) };
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(());
        }
        if self.results.len() >= self.limit {
            self.truncated = true;
            return Ok(());
        }
        self.results.push(ResultView {
            pipe: call.pipe.clone(),
            variable: call.variable.clone(),
            job: job_id(end.job),
            state: end.state.on_the_wire(),
            value: end.value.as_deref().map(value).transpose()?,
        });
        Ok(())
    }

    fn passes(&mut self, of: &Loop, frame: i64) -> Result<(), QueueError> {
        let most = i64::try_from(self.skip.saturating_add(self.limit)).unwrap_or(i64::MAX - 1) + 1;
        let frames = self.rows.passes(frame, of.id.0, most)?;
        self.frames(&of.body, &frames)
    }
}
