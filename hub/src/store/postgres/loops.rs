//! Reading frames and loops.

use protocol::LoopId;
use tokio_postgres::Row;

use super::rows::{PostgresRows, get, small};
use crate::error::QueueError;
use crate::store::row::{Frame, LoopRow};
use crate::store::rows::{Found, LoopRows};

const SELECT_LOOPS: &str = "SELECT number, run, loop, frame, source, length, next, age, value FROM loops";

fn loop_row(row: &Row) -> Result<LoopRow, QueueError> {
    Ok(LoopRow {
        number: get(row, 0)?,
        run: get(row, 1)?,
        of: LoopId(small(row, 2)?),
        frame: get(row, 3)?,
        source: get(row, 4)?,
        length: get(row, 5)?,
        next: get(row, 6)?,
        age: get(row, 7)?,
        value: get::<Option<&str>>(row, 8)?.map(Into::into),
    })
}

impl LoopRows for PostgresRows<'_> {
    fn frames(&mut self, numbers: &[i64]) -> Found<Vec<Frame>> {
        self.some("SELECT number, run, loop, pass, item FROM frames WHERE number = ANY($1)", numbers, |row| {
            Ok(Frame {
                number: get(row, 0)?,
                run: get(row, 1)?,
                of: get(row, 2)?,
                pass: get(row, 3)?,
                item: get(row, 4)?,
            })
        })
    }

    fn loops(&mut self, numbers: &[i64]) -> Found<Vec<LoopRow>> {
        self.some(&format!("{SELECT_LOOPS} WHERE number = ANY($1)"), numbers, loop_row)
    }

    fn loops_of(&mut self, sources: &[i64]) -> Found<Vec<LoopRow>> {
        self.some(&format!("{SELECT_LOOPS} WHERE source = ANY($1)"), sources, loop_row)
    }

    fn open_loops(&mut self, run: i64) -> Found<Vec<LoopRow>> {
        self.all(&format!("{SELECT_LOOPS} WHERE run = $1 AND next < length ORDER BY number"), &[&run], loop_row)
    }

    fn bindings(&mut self, frame: i64) -> Found<Vec<(u32, i64)>> {
        let sql = "SELECT call, job FROM bindings WHERE frame = $1 ORDER BY call";
        self.all(sql, &[&frame], |row| Ok((small(row, 0)?, get(row, 1)?)))
    }

    fn passes(&mut self, frame: i64, of: u32, limit: i64) -> Found<Vec<i64>> {
        let sql = "SELECT frames.number FROM loops JOIN frames ON frames.loop = loops.number
            WHERE loops.frame = $1 AND loops.loop = $2 ORDER BY frames.pass LIMIT $3";
        self.all(sql, &[&frame, &of.cast_signed(), &limit], |row| get(row, 0))
    }
}
