//! SQLite, in memory: inputs become real tables, the last statement's rows the value.

use std::collections::HashSet;

use protocol::ErrorKind;
use protocol::frame::{ErrorFrame, Input, Output, StartFrame};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Batch, Connection, Statement};

use super::column::{NotText, PIECE_ROWS, Values};
use super::draft::Draft;
use super::input::{self, Shape, Sink};
use super::result::{self, Column};
use super::sqlite_guard::Guard;
use super::{Engine, Sql, failure, sqlite_fault as fault, sqlite_scan as scan, too_large};

/// The engine for steps in SQLite's language.
pub(super) struct Sqlite;

impl Engine for Sqlite {
    fn run(&self, frame: &StartFrame, sql: &Sql<'_>) -> Result<Output, ErrorFrame> {
        let Rows { columns, count, draft } = match scanned(frame, sql) {
            Some(result) => result?,
            None => loaded(frame, sql)?,
        };
        result::write(columns, count, &frame.values, draft)
    }
}

/// The result of a query over inputs that are read as it goes; `None` where the inputs must be made tables.
fn scanned(frame: &StartFrame, sql: &Sql<'_>) -> Option<Result<Rows, ErrorFrame>> {
    let tables = scan::tables(named(frame))?;
    let mut connection = Connection::open_in_memory().ok()?;
    scan::register(&connection, &tables).ok()?;
    let guard = Guard::default();
    guard.set(&mut connection).ok()?;
    if !scan::is_single_pass(&connection, sql.text) {
        return None;
    }
    let result = execute(&connection, sql, &guard, frame);
    tables.iter().for_each(|table| table.warn());
    Some(match tables.iter().find_map(|table| table.fault()) {
        Some(fault) => Err(fault),
        None => result,
    })
}

/// The result of statements over inputs that are made tables.
fn loaded(frame: &StartFrame, sql: &Sql<'_>) -> Result<Rows, ErrorFrame> {
    let mut connection = Connection::open_in_memory().map_err(|error| fault::of_step(&error, sql))?;
    let unknown = load(&mut connection, named(frame))?;
    let guard = Guard::default();
    guard.set(&mut connection).map_err(|error| fault::of_step(&error, sql))?;
    // With its end goes what the result was made from.
    execute(&connection, sql, &guard, frame).map_err(|error| fault::explain(error, &unknown))
}

/// The inputs, and the names of their tables.
fn named(frame: &StartFrame) -> impl Iterator<Item = (String, &Input)> {
    frame.inputs.iter().enumerate().map(|(number, input)| match number {
        0 => (frame.function.clone(), input),
        number => (format!("pipe{number}"), input),
    })
}

/// Makes a table of each input; returns the names of those whose columns nobody knows.
pub(super) fn load<'input>(
    connection: &mut Connection,
    inputs: impl Iterator<Item = (String, &'input Input)>,
) -> Result<Vec<String>, ErrorFrame> {
    let mut unknown = Vec::new();
    for (name, input) in inputs {
        let refused = |error: rusqlite::Error| fault::of_input(&name, &error);
        let transaction = connection.transaction().map_err(refused)?;
        let mut loader = Loader { connection: &transaction, table: &name, columns: 0, several: None, single: None };
        if input::read(&name, input, &mut loader)? == Shape::Unknown {
            unknown.push(name.clone());
        }
        drop(loader);
        transaction.commit().map_err(refused)?;
    }
    Ok(unknown)
}

/// Rows that one statement puts into a table: half of what a row takes is the statement's, whatever it has in it.
const ROWS_AT_ONCE: usize = 32;
/// Values of one statement, well below what SQLite takes.
const VALUES_AT_ONCE: usize = 4_096;

/// Fills one table.
struct Loader<'database> {
    connection: &'database Connection,
    table: &'database str,
    columns: usize,
    /// What puts several rows into it, and what puts in one.
    several: Option<Statement<'database>>,
    single: Option<Statement<'database>>,
}

impl<'database> Loader<'database> {
    fn insert(&self, rows: usize) -> Result<Statement<'database>, ErrorFrame> {
        let row = format!("({})", vec!["?"; self.columns].join(", "));
        let sql = format!("INSERT INTO {} VALUES {}", quoted(self.table), vec![row; rows].join(", "));
        self.connection.prepare(&sql).map_err(|error| fault::of_input(self.table, &error))
    }

    /// Puts the rows from `start` on into the table, as many as `insert` takes.
    fn put(
        &self,
        insert: &mut Statement<'_>,
        rows: &impl input::Rows,
        start: usize,
        count: usize,
    ) -> Result<(), ErrorFrame> {
        let refused = |error: rusqlite::Error| fault::of_input(self.table, &error);
        let mut place = 0;
        for row in start..start + count {
            for column in 0..self.columns {
                place += 1;
                insert.raw_bind_parameter(place, Bound(rows.value(row, column)?)).map_err(refused)?;
            }
        }
        insert.raw_execute().map(drop).map_err(refused)
    }
}

impl Sink for Loader<'_> {
    fn columns(&mut self, columns: &[input::Column]) -> Result<(), ErrorFrame> {
        if let Some(name) = equal_without_case(columns) {
            let message = format!("input `{}` has columns that differ only in case from `{name}`", self.table);
            return Err(failure(ErrorKind::Input, format!("{message}; SQLite cannot tell them apart")));
        }
        if let Some(column) = columns.iter().find(|column| column.name.contains('\0')) {
            let message = format!("input `{}` cannot be made a table: the name {:?}", self.table, column.name);
            return Err(failure(
                ErrorKind::Input,
                format!("{message} has a NUL character, which SQLite does not take"),
            ));
        }
        let refused = |error: rusqlite::Error| fault::of_input(self.table, &error);
        let table = quoted(self.table);
        let definitions: Vec<String> =
            columns.iter().map(|column| format!("{} {}", quoted(&column.name), column.declared)).collect();
        self.connection
            .execute_batch(&format!("CREATE TABLE {table} ({})", definitions.join(", ")))
            .map_err(refused)?;
        self.columns = columns.len();
        Ok(())
    }

    fn rows(&mut self, rows: &impl input::Rows) -> Result<(), ErrorFrame> {
        let at_once = ROWS_AT_ONCE.min(VALUES_AT_ONCE / self.columns.max(1)).max(1);
        let mut start = 0;
        if rows.count() >= at_once {
            let mut several = match self.several.take() {
                Some(several) => several,
                None => self.insert(at_once)?,
            };
            while start + at_once <= rows.count() {
                self.put(&mut several, rows, start, at_once)?;
                start += at_once;
            }
            self.several = Some(several);
        }
        if start < rows.count() {
            let mut single = match self.single.take() {
                Some(single) => single,
                None => self.insert(1)?,
            };
            for row in start..rows.count() {
                self.put(&mut single, rows, row, 1)?;
            }
            self.single = Some(single);
        }
        Ok(())
    }
}

/// A value as a parameter, without a copy.
pub(super) struct Bound<'value>(pub(super) ValueRef<'value>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

/// The first name that another one has before it, but for its case.
pub(super) fn equal_without_case(columns: &[input::Column]) -> Option<&str> {
    let mut seen = HashSet::new();
    columns.iter().map(|column| column.name.as_str()).find(|name| !seen.insert(name.to_ascii_lowercase()))
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What a statement returned.
struct Rows {
    columns: Vec<Column>,
    count: usize,
    draft: Draft,
}

/// Runs all statements; what the last one returned.
fn execute(connection: &Connection, sql: &Sql<'_>, guard: &Guard, frame: &StartFrame) -> Result<Rows, ErrorFrame> {
    let bytes_max = frame.value_bytes_max;
    let mut batch = Batch::new(connection, sql.text);
    let (mut last, mut count, mut draft) = (Vec::new(), 0, Draft::new(&frame.values));
    for number in 0.. {
        let refused = |error: rusqlite::Error| fault::of_guarded(&error, sql, guard, number);
        let Some(mut statement) = batch.next().map_err(refused)? else { break };
        if statement.parameter_count() > 0 {
            return Err(with_parameter(&statement, sql));
        }
        last = columns(&statement);
        count = 0;
        draft = Draft::new(&frame.values);
        let mut bytes = 0;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(refused)? {
            for (place, column) in last.iter_mut().enumerate() {
                let value = row.get_ref(place).map_err(refused)?;
                bytes += size(value);
                column.has_infinity |= matches!(value, ValueRef::Real(number) if !number.is_finite());
                column.values.push(value).map_err(|NotText| not_text(&column.name, count))?;
            }
            count += 1;
            if bytes > bytes_max {
                return Err(too_large(bytes_max));
            }
            if count % PIECE_ROWS == 0 {
                draft.add(&last);
            }
        }
    }
    check_names(&last)?;
    Ok(Rows { columns: last, count, draft })
}

/// The error of a `?` or `:name` that nobody gives a value.
fn with_parameter(statement: &Statement<'_>, sql: &Sql<'_>) -> ErrorFrame {
    let name = statement.parameter_name(1).unwrap_or("?");
    let message = format!("a statement has the parameter {name}, and a step has no values for any ({})", sql.script);
    failure(ErrorKind::Sql, format!("{message}; write the value itself, or take it from a column of an input"))
}

fn not_text(column: &str, row: usize) -> ErrorFrame {
    let message = format!("column `{column}` of the result holds text that is no UTF-8, in [{row}]");
    failure(ErrorKind::Value, format!("{message}; return it as a blob, or hex(…) of it"))
}

fn columns(statement: &Statement<'_>) -> Vec<Column> {
    let column = |column: rusqlite::Column<'_>| Column {
        name: column.name().to_owned(),
        declared: column.decl_type().map(str::to_owned),
        values: Values::default(),
        has_infinity: false,
    };
    statement.columns().map(column).collect()
}

fn size(value: ValueRef<'_>) -> u64 {
    match value {
        ValueRef::Null => 1,
        ValueRef::Integer(_) | ValueRef::Real(_) => 8,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() as u64,
    }
}

fn check_names(columns: &[Column]) -> Result<(), ErrorFrame> {
    let mut seen = HashSet::new();
    match columns.iter().find(|column| !seen.insert(&column.name)) {
        None => Ok(()),
        Some(column) => {
            let message = format!("two columns of the result are called `{}`; name them apart with AS", column.name);
            Err(failure(ErrorKind::Sql, message))
        }
    }
}
