//! Reading frames and loops.

use protocol::LoopId;
use rusqlite::{Row, params};

use super::SqliteRows;
use crate::store::row::{Frame, LoopRow};
use crate::store::rows::{Found, LoopRows};

const SELECT_LOOP: &str = "SELECT number, run, loop, frame, source, length, next, age, value FROM loops";

fn loop_row(row: &Row<'_>) -> rusqlite::Result<LoopRow> {
    Ok(LoopRow {
        number: row.get(0)?,
        run: row.get(1)?,
        of: LoopId(row.get(2)?),
        frame: row.get(3)?,
        source: row.get(4)?,
        length: row.get(5)?,
        next: row.get(6)?,
        age: row.get(7)?,
        value: row.get(8)?,
    })
}

impl LoopRows for SqliteRows<'_> {
    fn frames(&mut self, numbers: &[i64]) -> Found<Vec<Frame>> {
        self.each("SELECT number, run, loop, pass, item FROM frames WHERE number = ?1", numbers, |row| {
            Ok(Frame { number: row.get(0)?, run: row.get(1)?, of: row.get(2)?, pass: row.get(3)?, item: row.get(4)? })
        })
    }

    fn loops(&mut self, numbers: &[i64]) -> Found<Vec<LoopRow>> {
        self.each(&format!("{SELECT_LOOP} WHERE number = ?1"), numbers, loop_row)
    }

    fn loops_of(&mut self, sources: &[i64]) -> Found<Vec<LoopRow>> {
        self.each(&format!("{SELECT_LOOP} WHERE source = ?1"), sources, loop_row)
    }

    fn open_loops(&mut self, run: i64) -> Found<Vec<LoopRow>> {
        self.all(&format!("{SELECT_LOOP} WHERE run = ?1 AND next < length"), [run], loop_row)
    }

    fn bindings(&mut self, frame: i64) -> Found<Vec<(u32, i64)>> {
        self.all("SELECT call, job FROM bindings WHERE frame = ?1", [frame], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn passes(&mut self, frame: i64, of: u32, limit: i64) -> Found<Vec<i64>> {
        let sql = "SELECT frames.number FROM loops JOIN frames ON frames.loop = loops.number
            WHERE loops.frame = ?1 AND loops.loop = ?2 ORDER BY frames.pass LIMIT ?3";
        self.all(sql, params![frame, of, limit], |row| row.get(0))
    }
}
