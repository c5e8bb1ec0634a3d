//! A database that a warm program has open before it forks itself for steps.
//!
//! To open one takes ten times as long as to fork: thousands of functions go into its catalog, and its library looks up what it needs
//! as it needs it. So it is opened once, has gone through a small step, and each fork has a copy. It has no threads, which would be
//! missing there, and each fork a connection of its own, so that none draws another's random numbers.

use duckdb::Connection;

use super::database;

/// Tables, texts, sums and a sort: what most steps have.
const STATEMENTS: &str = "CREATE TABLE t (a BIGINT, b VARCHAR, c DOUBLE, d BOOLEAN, e DATE, f TIMESTAMP);\
    INSERT INTO t SELECT range, 'text ' || range, range / 4, range % 2 = 0, DATE '2026-01-01', now() FROM range(100);\
    SELECT t.b, count(*), sum(a), avg(t.c) FROM t JOIN t AS u USING (a) GROUP BY t.b ORDER BY 2 DESC LIMIT 10;\
    DROP TABLE t";

/// The database; `None` where it cannot be opened: each step then says why.
pub(super) fn practised() -> Option<Connection> {
    let connection = database::open().ok()?;
    connection.execute_batch(STATEMENTS).ok()?;
    Some(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_there_that_makes_no_threads_and_has_no_tables() {
        let connection = practised().expect("a database");
        let look = "SELECT (SELECT count(*) FROM duckdb_tables()), current_setting('threads')";
        let found = connection.query_row(look, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).unwrap();
        assert_eq!(found, (0, 1));
    }
}
