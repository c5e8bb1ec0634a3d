//! Inputs that a query reads from their files as it goes, where it looks at each of their rows once.
//!
//! To put rows into a table takes SQLite as long as most queries take to go through them, and as much memory as they have. So a step
//! of one query gets virtual tables. Where its plan shows that a row would be looked at again and again, as in a join, or where a
//! virtual table is not the same as a real one, all inputs become tables, as they do for all other steps.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_ipc::reader::StreamReader;
use arrow_schema::DataType;
use bucket::table::holds_uuids;
use protocol::frame::{ErrorFrame, Input};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::ffi::{sqlite3_vtab, sqlite3_vtab_cursor};
use rusqlite::types::ValueRef;
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexInfo, Module, VTab, VTabConfig, VTabConnection, VTabCursor, VTabKind,
};
use rusqlite::{Batch, Connection, Error};

use super::arrow_cells;
use super::input::{Column, beyond, has_nan_in, unreadable};
use super::sqlite::{Bound, equal_without_case, quoted};

/// The module of the tables.
const MODULE: &CStr = c"bue_input";
/// Inputs below this size become tables sooner than a plan is made.
const BYTES_MIN: u64 = 64 << 10;
/// What begins names of tables and functions that tell of tables; a virtual one would not look the same.
const TELLING: [&str; 2] = ["sqlite_", "pragma_"];

/// An input in a file.
#[derive(Debug)]
pub(super) struct Table {
    name: String,
    path: PathBuf,
    columns: Vec<Column>,
    /// Which columns have a NaN, as far as they were looked at.
    has_nan: Vec<AtomicBool>,
    fault: Mutex<Option<ErrorFrame>>,
}

/// The inputs, in files of their own, if each of them can be read as a virtual table. None of them is small.
pub(super) fn tables<'input>(inputs: impl Iterator<Item = (String, &'input Input)>) -> Option<Vec<Arc<Table>>> {
    let tables: Option<Vec<Arc<Table>>> = inputs
        .map(|(name, input)| match input {
            Input::ArrowFile(path) => Table::open(name, path).map(Arc::new),
            Input::Json(_) | Input::JsonFile(_) => None,
        })
        .collect();
    tables.filter(|tables| !tables.is_empty())
}

/// Makes them known to a database that has no tables.
pub(super) fn register(connection: &Connection, tables: &[Arc<Table>]) -> rusqlite::Result<()> {
    const READ_ONLY: Module<'_, Rows> = Module::read_only_module();
    connection.create_module(MODULE, &READ_ONLY, Some(tables.to_vec()))?;
    tables.iter().enumerate().try_for_each(|(number, table)| {
        let module = MODULE.to_string_lossy();
        connection.execute_batch(&format!("CREATE VIRTUAL TABLE {} USING {module}({number})", quoted(&table.name)))
    })
}

/// Whether a text is one query that looks at each row of a virtual table once.
pub(super) fn is_single_pass(connection: &Connection, sql: &str) -> bool {
    let lower = sql.to_ascii_lowercase();
    if TELLING.iter().any(|word| lower.contains(word)) {
        return false;
    }
    is_one_query(connection, sql).unwrap_or(false) && plan(connection, sql).is_ok_and(|plan| goes_once(&plan))
}

fn is_one_query(connection: &Connection, sql: &str) -> rusqlite::Result<bool> {
    let mut batch = Batch::new(connection, sql);
    let is_query = batch.next()?.is_some_and(|statement| statement.readonly() && statement.column_count() > 0);
    Ok(is_query && batch.next()?.is_none())
}

/// One line of a plan: what it belongs to, and what it says.
type Line = (i64, String);

fn plan(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<Line>> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let lines = statement.query_map([], |row| Ok((row.get("parent")?, row.get("detail")?)))?;
    lines.collect()
}

/// Loops that belong to the same line are within one another; what is correlated or recursive is gone through again and again.
fn goes_once(plan: &[Line]) -> bool {
    let is_loop = |line: &str| line.starts_with("SCAN ") || line.starts_with("SEARCH ");
    let is_alone = |parent: i64| plan.iter().filter(|(of, line)| *of == parent && is_loop(line)).count() == 1;
    let is_again = |line: &str| line.contains("CORRELATED") || line.contains("RECURSIVE");
    plan.iter().all(|(parent, line)| {
        !is_again(line) && (!is_loop(line) || !line.contains("VIRTUAL TABLE") || is_alone(*parent))
    })
}

impl Table {
    fn open(name: String, path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        if file.metadata().ok()?.len() < BYTES_MIN {
            return None;
        }
        let schema = bucket::table::read_stream(BufReader::new(file)).ok()?.schema();
        let stays = |field: &arrow_schema::Field| holds_uuids(field) || stays_as_it_is(field.data_type());
        if schema.fields().is_empty() || !schema.fields().iter().all(|field| stays(field)) {
            return None;
        }
        let columns = Column::of(&schema);
        if equal_without_case(&columns).is_some() || columns.iter().any(|column| column.name.contains('\0')) {
            return None;
        }
        let has_nan = columns.iter().map(|_| AtomicBool::new(false)).collect();
        Some(Self { name, path: path.to_owned(), columns, has_nan, fault: Mutex::new(None) })
    }

    /// What kept rows from being read.
    pub(super) fn fault(&self) -> Option<ErrorFrame> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says in the log what was lost on the way.
    pub(super) fn warn(&self) {
        let columns = self.columns.iter().zip(&self.has_nan);
        columns
            .filter(|(_, found)| found.load(Ordering::Relaxed))
            .for_each(|(column, _)| has_nan_in(&self.name, column));
    }

    fn failed(&self, fault: ErrorFrame) -> Error {
        let error = Error::ModuleError(fault.message.clone());
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        error
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> Error {
        self.failed(unreadable(&self.name, &error.to_string()))
    }

    /// The statement that declares its columns.
    fn declaration(&self) -> String {
        let column = |column: &Column| format!("{} {}", quoted(&column.name), column.declared);
        format!("CREATE TABLE x({})", self.columns.iter().map(column).collect::<Vec<String>>().join(", "))
    }
}

/// Whether values of a type stay what they are in a column that is declared as theirs is, and none is beyond what SQLite holds.
fn stays_as_it_is(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null | DataType::Boolean | DataType::Float32 | DataType::Float64 => true,
        DataType::UInt64 => false,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => true,
        // As text.
        DataType::Date32 | DataType::Timestamp(..) | DataType::Decimal128(..) => true,
        DataType::Dictionary(_, values) => stays_as_it_is(values),
        other => other.is_integer(),
    }
}

/// A virtual table: SQLite keeps what it needs to know of it at its begin.
#[repr(C)]
struct Rows {
    base: sqlite3_vtab,
    table: Arc<Table>,
}

const _: () = assert!(std::mem::offset_of!(Rows, base) == 0 && std::mem::offset_of!(Place, base) == 0);

// SAFETY: the layout is C's, and what SQLite reads and writes through its pointer comes first, as is asserted above.
unsafe impl<'table> VTab<'table> for Rows {
    type Aux = Vec<Arc<Table>>;
    type Cursor = Place;

    fn connect(
        connection: &mut VTabConnection,
        tables: Option<&Self::Aux>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        connection.config(VTabConfig::Innocuous)?;
        let number = arguments.first().and_then(|number| str::from_utf8(number).ok()?.parse::<usize>().ok());
        let table = number.and_then(|number| tables?.get(number)).ok_or(Error::InvalidQuery)?;
        let declaration = CString::new(table.declaration())?;
        Ok((Cow::Owned(declaration), Self { base: sqlite3_vtab::default(), table: Arc::clone(table) }))
    }

    fn best_index(&self, _: &mut IndexInfo) -> rusqlite::Result<bool> {
        // All rows, one after the other.
        Ok(true)
    }

    fn open(&'table mut self) -> rusqlite::Result<Place> {
        let table = Arc::clone(&self.table);
        Ok(Place { base: sqlite3_vtab_cursor::default(), table, stream: None, part: None, first_row: 0, row: 0 })
    }
}

impl CreateVTab<'_> for Rows {
    const KIND: VTabKind = VTabKind::Default;
}

/// A place among the rows.
#[repr(C)]
struct Place {
    base: sqlite3_vtab_cursor,
    table: Arc<Table>,
    stream: Option<StreamReader<BufReader<File>>>,
    /// The batch it is in, and how many rows that has; `None` after the last row.
    part: Option<(arrow_cells::Batch, usize)>,
    /// Where the batch begins in the whole table.
    first_row: usize,
    /// The row in the batch.
    row: usize,
}

impl Place {
    /// Goes to the next batch that has rows.
    fn advance(&mut self) -> rusqlite::Result<()> {
        self.first_row += self.part.take().map_or(0, |(_, rows)| rows);
        self.row = 0;
        for batch in self.stream.iter_mut().flatten() {
            let batch = batch.map_err(|error| self.table.unreadable(&error))?;
            if batch.num_rows() > 0 {
                let cells = arrow_cells::Batch::new(&batch).map_err(|error| self.table.unreadable(&error))?;
                self.part = Some((cells, batch.num_rows()));
                break;
            }
        }
        Ok(())
    }
}

// SAFETY: as above.
unsafe impl VTabCursor for Place {
    fn filter(&mut self, _: c_int, _: Option<&str>, _: &Filters<'_>) -> rusqlite::Result<()> {
        let file = File::open(&self.table.path).map_err(|error| self.table.unreadable(&error))?;
        let stream = bucket::table::read_stream(BufReader::new(file)).map_err(|error| self.table.unreadable(&error))?;
        (self.stream, self.part, self.first_row) = (Some(stream), None, 0);
        self.advance()
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.row += 1;
        if self.part.as_ref().is_some_and(|(_, rows)| self.row == *rows) {
            return self.advance();
        }
        Ok(())
    }

    fn eof(&self) -> bool {
        self.part.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> rusqlite::Result<()> {
        let (Some((cells, _)), Ok(column)) = (&self.part, usize::try_from(column)) else {
            return Err(Error::InvalidQuery);
        };
        let table = &self.table;
        let value = cells.value(column, self.row).map_err(|what| {
            table.failed(beyond(what, &table.name, self.first_row + self.row, &table.columns[column].name))
        })?;
        let value = match value {
            // As a column of a table keeps it: as a whole number.
            ValueRef::Real(0.0) => ValueRef::Real(0.0),
            ValueRef::Real(number) if number.is_nan() => {
                table.has_nan[column].store(true, Ordering::Relaxed);
                ValueRef::Null
            }
            other => other,
        };
        context.set_result(Bound(value))
    }

    /// Rows of a table that was filled have numbers from 1 on.
    fn rowid(&self) -> rusqlite::Result<i64> {
        i64::try_from(self.first_row + self.row + 1).map_err(|_| Error::InvalidQuery)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Int8Type;
    use arrow_array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array,
        Int64Array, LargeStringArray, NullArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
        UInt64Array,
    };
    use protocol::ErrorKind;
    use rusqlite::types::Value;

    use super::*;

    /// A table of `rows` rows in batches of 700, which has a column for each type that is read as it goes.
    fn file(folder: &Path, name: &str, rows: i64) -> Input {
        let batch = |start: i64| {
            let numbers = start..(start + 700).min(rows);
            let texts = numbers.clone().map(|n| (n % 7 > 0).then(|| format!("text {}", n % 50)));
            let moments = numbers.clone().map(|n| Some(n * 1_000_003));
            let columns: [(&str, ArrayRef); 13] = [
                ("id", Arc::new(numbers.clone().collect::<Int64Array>())),
                ("text", Arc::new(texts.collect::<StringArray>())),
                ("real", Arc::new(numbers.clone().map(|n| n as f64 / -4.0).collect::<Float64Array>())),
                ("flag", Arc::new(numbers.clone().map(|n| Some(n % 2 == 0)).collect::<BooleanArray>())),
                ("day", Arc::new(numbers.clone().map(|n| Some(n as i32)).collect::<Date32Array>())),
                ("price", Arc::new(numbers.clone().map(i128::from).collect::<Decimal128Array>())),
                ("moment", Arc::new(moments.collect::<TimestampMicrosecondArray>().with_timezone("+02:00"))),
                (
                    "code",
                    Arc::new(
                        numbers.clone().map(|n| ["a", "b", "c"][n as usize % 3]).collect::<DictionaryArray<Int8Type>>(),
                    ),
                ),
                ("half", Arc::new(numbers.clone().map(|n| n as f32 / 2.0).collect::<Float32Array>())),
                ("count", Arc::new(numbers.clone().map(|n| u32::MAX - n as u32).collect::<UInt32Array>())),
                ("large", Arc::new(numbers.clone().map(|n| Some(n.to_string())).collect::<LargeStringArray>())),
                ("none", Arc::new(NullArray::new(numbers.clone().count()))),
                ("the bytes", Arc::new(numbers.map(|n| Some(n.to_le_bytes())).collect::<BinaryArray>())),
            ];
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
        };
        written(folder, name, (0..rows).step_by(700).map(batch))
    }

    fn written(folder: &Path, name: &str, batches: impl Iterator<Item = RecordBatch>) -> Input {
        let batches: Vec<RecordBatch> = batches.collect();
        let path = folder.join(name);
        bucket::table::write_stream(File::create(&path).unwrap(), &batches[0].schema(), &batches).unwrap();
        Input::ArrowFile(path)
    }

    fn named(inputs: &[Input]) -> impl Iterator<Item = (String, &Input)> {
        ["t", "pipe1"].map(str::to_owned).into_iter().zip(inputs)
    }

    fn scanned(inputs: &[Input]) -> (Connection, Vec<Arc<Table>>) {
        let (connection, tables) = (Connection::open_in_memory().unwrap(), tables(named(inputs)).unwrap());
        register(&connection, &tables).unwrap();
        (connection, tables)
    }

    fn loaded(inputs: &[Input]) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        super::super::sqlite::load(&mut connection, named(inputs)).unwrap();
        connection
    }

    type Found = (Vec<(String, Option<String>)>, Vec<Vec<Value>>);

    fn found(connection: &Connection, sql: &str) -> rusqlite::Result<Found> {
        let mut statement = connection.prepare(sql)?;
        let columns: Vec<(String, Option<String>)> = statement
            .columns()
            .map(|column| (column.name().to_owned(), column.decl_type().map(str::to_owned)))
            .collect();
        let row = |row: &rusqlite::Row<'_>| (0..columns.len()).map(|place| row.get(place)).collect();
        let rows = statement.query_map([], row)?.collect::<rusqlite::Result<_>>()?;
        Ok((columns, rows))
    }

    /// What goes through each row once.
    const ONCE: [&str; 13] = [
        "SELECT * FROM t",
        "SELECT id, real * 2 AS twice, typeof(price), typeof(day), \"the bytes\" FROM t WHERE text = 'text 3'",
        "SELECT rowid, id, CAST(real AS TEXT) AS zero FROM t LIMIT 3",
        "SELECT count(*), sum(id), max(text), total(real) FROM t",
        "SELECT text, count(*) AS n FROM t GROUP BY text ORDER BY n DESC, text",
        "WITH a AS (SELECT id % 10 AS k, real FROM t) SELECT k, sum(real) FROM a GROUP BY k",
        "SELECT id, row_number() OVER (PARTITION BY text ORDER BY id DESC) AS place FROM t",
        "SELECT id FROM t WHERE real < (SELECT avg(real) FROM t)",
        "SELECT id FROM t WHERE text IN (SELECT text FROM pipe1 WHERE id < 20)",
        "SELECT id, text FROM t UNION ALL SELECT id, text FROM pipe1",
        "SELECT typeof(moment), typeof(code), typeof(half), typeof(count), typeof(large), typeof(none) FROM t LIMIT 1",
        "SELECT id FROM t WHERE price > 9 AND price = '17' OR id = '18' OR text = 3",
        "SELECT -- a remark; with a semicolon\n id FROM t WHERE flag AND day < '1970-02-01'; -- and one more",
    ];
    /// What would go through rows again and again, or is not the same for a virtual table.
    const OTHERS: [&str; 13] = [
        "SELECT a.id FROM t AS a JOIN pipe1 AS b ON a.id = b.id",
        "SELECT a.id FROM t AS a, t AS b WHERE a.id = b.id + 1",
        "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM pipe1 WHERE pipe1.id = t.id + 1)",
        "SELECT (SELECT text FROM pipe1 WHERE pipe1.id = t.id) FROM t",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT r.n + t.id FROM r JOIN t ON t.id = r.n) SELECT * FROM r",
        "SELECT t.id, json_each.value FROM t, json_each('[1, 2]')",
        "SELECT name FROM sqlite_schema",
        "SELECT * FROM pragma_table_info('t')",
        "UPDATE t SET id = 1",
        "WITH a AS (SELECT 1) INSERT INTO pipe1 (id) SELECT * FROM a",
        "CREATE TABLE x AS SELECT * FROM t; SELECT * FROM x",
        "SELECT 1; SELECT * FROM t",
        "SELECT no_such_column FROM t",
    ];

    #[test]
    fn a_query_finds_in_files_what_it_finds_in_tables() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = [file(folder.path(), "first", 2_100), file(folder.path(), "second", 1_500)];
        let ((scanned, tables), loaded) = (scanned(&inputs), loaded(&inputs));
        for sql in ONCE {
            assert!(is_single_pass(&scanned, sql), "{sql}: {:?}", plan(&scanned, sql));
            let (rows, expected) = (found(&scanned, sql).unwrap(), found(&loaded, sql).unwrap());
            assert!(!expected.1.is_empty() && rows == expected, "{sql}");
        }
        assert!(tables.iter().all(|table| table.fault().is_none()));
    }

    #[test]
    fn what_is_not_gone_through_once_is_told_by_its_plan() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = [file(folder.path(), "first", 2_100), file(folder.path(), "second", 1_500)];
        let (scanned, _) = scanned(&inputs);
        for sql in OTHERS {
            assert!(!is_single_pass(&scanned, sql), "{sql}: {:?}", plan(&scanned, sql));
        }
    }

    #[test]
    fn small_inputs_and_values_that_a_column_may_change_become_tables() {
        let folder = tempfile::tempdir().unwrap();
        let large = file(folder.path(), "large", 2_100);
        let small = file(folder.path(), "small", 10);
        let unsigned: ArrayRef = Arc::new((0..20_000).collect::<UInt64Array>());
        let unsigned = RecordBatch::try_from_iter([("n", unsigned)]).unwrap();
        let unsigned = written(folder.path(), "unsigned", [unsigned].into_iter());
        let same: [(&str, ArrayRef); 2] =
            ["n", "N"].map(|name| (name, Arc::new((0..20_000).collect::<Int64Array>()) as ArrayRef));
        let same = written(folder.path(), "same", [RecordBatch::try_from_iter(same).unwrap()].into_iter());
        let is_read = |inputs: &[&Input]| {
            let names = ["t", "pipe1"].map(str::to_owned).into_iter();
            tables(names.zip(inputs.iter().copied())).is_some()
        };
        assert!(is_read(&[&large]) && is_read(&[&large, &large]));
        for others in [&small, &unsigned, &same, &Input::ArrowFile(folder.path().join("none"))] {
            assert!(!is_read(&[others]) && !is_read(&[&large, others]), "{others:?}");
        }
        assert!(!is_read(&[]));
    }

    #[test]
    fn rows_that_cannot_be_read_are_a_fault_of_the_input() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = [file(folder.path(), "broken", 14_000)];
        let (connection, tables) = scanned(&inputs);
        let Input::ArrowFile(path) = &inputs[0] else { panic!("it is a file") };
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        assert_eq!(found(&connection, "SELECT id FROM t LIMIT 10").unwrap().1.len(), 10);
        assert!(tables[0].fault().is_none());
        assert!(found(&connection, "SELECT sum(id) FROM t").is_err());
        let fault = tables[0].fault().unwrap();
        assert_eq!(fault.kind, ErrorKind::Input);
        assert!(fault.message.starts_with("input `t` cannot be read: "), "{}", fault.message);
    }

    #[test]
    fn nan_is_null_and_noted_where_it_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let column = |every: usize| -> ArrayRef {
            let numbers = (0..9_000).map(|n| if n % every == 1 { f64::NAN } else { 1.0 });
            Arc::new(numbers.collect::<Float64Array>())
        };
        let batch = RecordBatch::try_from_iter([("a", column(10)), ("b", column(9_001))]).unwrap();
        let (connection, tables) = scanned(&[written(folder.path(), "nan", [batch].into_iter())]);
        let noted = || tables[0].has_nan.iter().map(|found| found.load(Ordering::Relaxed)).collect::<Vec<bool>>();
        assert_eq!(found(&connection, "SELECT count(b) FROM t").unwrap().1, [[Value::Integer(8_999)]]);
        assert_eq!(noted(), [false, true]);
        assert_eq!(found(&connection, "SELECT count(a), total(a) FROM t").unwrap().1[0][0], Value::Integer(8_100));
        assert_eq!(noted(), [true, true]);
    }
}
