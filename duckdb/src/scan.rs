//! Inputs as the database reads them from their files: into tables, or as a query goes, where they need not become tables: each of
//! their rows is looked at once or twice, and none is changed.
//!
//! To make a table of rows takes longer than most queries of them: they are moved, summed up and counted for queries to come. So a
//! step of one query gets views. What a view cannot do (its rows have no `rowid`, and none can be changed) makes that the query cannot
//! be prepared; then the inputs become tables as they do for all other steps.

use std::fs::File;
use std::io::BufReader;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use duckdb::Connection;
use duckdb::core::{DataChunkHandle, LogicalTypeHandle, LogicalTypeId};
use duckdb::vtab::to_duckdb_logical_type_for_field;
use duckdb::vtab::{BindInfo, InitInfo, TableFunctionInfo, VTab, record_batch_to_duckdb_data_chunk};
use duckdb_arrow::array::RecordBatch;
use duckdb_arrow::datatypes::Schema;
use duckdb_arrow::error::ArrowError;
use duckdb_arrow::ipc::reader::StreamReader;
use protocol::frame::ErrorFrame;

use super::database::quoted;
use super::input::{Table, convert, refused, stream};
use super::{fault, spans};

/// Names of the functions that read an input, by one thread and by several: none that anybody would choose.
const FUNCTION: &str = "bue input";
const FUNCTION_OF_LARGE: &str = "bue large input";
/// Rows that the database takes at once.
const CHUNK_ROWS: usize = 2_048;
/// Rows up to which one thread reads alone, so that they come in their order: as many as the database gives to one of its own.
const ROWS_OF_ONE_THREAD_MAX: u64 = 122_880;
/// Rows that one thread goes through about as fast as two: the parts of two.
const ROWS_OF_LIGHT_MAX: u64 = 2 * ROWS_OF_ONE_THREAD_MAX;
/// Threads that read more of them, where the step has so many.
const THREADS_MAX: u64 = 64;
/// Inputs beyond these become tables: what is read for each of them stays until the query has ended.
pub(super) const INPUTS_MAX: usize = 64;
/// How often a query may read an input; one that reads it more often is better off with a table.
const READS_MAX: usize = 2;

/// Inputs that views refer to by their place here.
static INPUTS: Mutex<Vec<Arc<Input>>> = Mutex::new(Vec::new());

/// Makes the functions known to a database.
pub(super) fn register(connection: &Connection) -> duckdb::Result<()> {
    connection.register_table_function::<Reader<1>>(FUNCTION)?;
    connection.register_table_function::<Reader<THREADS_MAX>>(FUNCTION_OF_LARGE)
}

/// Whether a statement only reads, each row no more than a few times, and does not look at what tables there are.
pub(super) fn is_query(statement: &str) -> bool {
    let lower = statement.to_ascii_lowercase();
    let mut words =
        lower.split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let begins = words.next().is_some_and(|word| ["select", "with", "from"].contains(&word));
    let is_of_catalog = |word: &str| {
        ["duckdb_", "pragma_", "pg_", "sqlite_"].iter().any(|prefix| word.starts_with(prefix))
            || ["information_schema", "recursive", "show", "describe", "summarize"].contains(&word)
    };
    begins && !words.any(is_of_catalog)
}

/// Whether one thread is soon done with a query that is prepared: it goes through a few rows, and makes no more of them. Several would
/// wait for one another as long as they help.
pub(super) fn is_light(read: &[Arc<Input>], query: &str) -> bool {
    let lower = query.to_ascii_lowercase();
    let multiplies = |word: &str| ["join", "range", "generate_series", "unnest", "lateral"].contains(&word);
    let mut words = lower.split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric());
    match read {
        [input] => {
            let is_once = input.reads.load(Ordering::Relaxed) <= 1;
            is_once && input.rows <= ROWS_OF_LIGHT_MAX && !words.any(multiplies)
        }
        _ => false,
    }
}

/// An input that is read as it is asked for.
#[derive(Debug)]
pub(super) struct Input {
    table: Table,
    rows: u64,
    reads: AtomicUsize,
    digits_lost: Vec<AtomicBool>,
    fault: Mutex<Option<ErrorFrame>>,
}

impl Input {
    /// Makes a view of a table.
    pub(super) fn view(connection: &Connection, table: &Table) -> Result<Arc<Self>, ErrorFrame> {
        let (input, rows) = Self::register(table)?;
        let view = format!("CREATE VIEW {} AS {rows}", quoted(&table.name));
        connection.execute_batch(&view).map_err(|error| fault::of_input(&table.name, &error))?;
        // Once to make the view.
        input.reads.store(0, Ordering::Relaxed);
        Ok(input)
    }

    /// Makes a table of it.
    pub(super) fn load(connection: &Connection, table: &Table) -> Result<(), ErrorFrame> {
        let (input, rows) = Self::register(table)?;
        let made = connection.execute_batch(&format!("CREATE TABLE {} AS {rows}", quoted(&table.name)));
        match input.fault() {
            Some(fault) => Err(fault),
            None => made.map_err(|error| fault::of_input(&table.name, &error)),
        }
    }

    /// Makes it known to the functions; answers with the statement for its rows.
    fn register(table: &Table) -> Result<(Arc<Self>, String), ErrorFrame> {
        let rows = table.rows()?;
        let columns: Vec<String> =
            table.columns().map(|(name, data_type)| format!("CAST({0} AS {data_type}) AS {0}", quoted(name))).collect();
        let digits_lost = columns.iter().map(|_| AtomicBool::new(false)).collect();
        let (reads, fault) = (AtomicUsize::new(0), Mutex::new(None));
        let input = Arc::new(Self { table: table.clone(), rows, reads, digits_lost, fault });
        let number = {
            let mut inputs = lock(&INPUTS);
            inputs.push(Arc::clone(&input));
            inputs.len() - 1
        };
        let function = quoted(if rows > ROWS_OF_ONE_THREAD_MAX { FUNCTION_OF_LARGE } else { FUNCTION });
        Ok((input, format!("SELECT {} FROM {function}({number})", columns.join(", "))))
    }

    /// Whether the query that was prepared reads it too often.
    pub(super) fn is_read_often(&self) -> bool {
        self.reads.load(Ordering::Relaxed) > READS_MAX
    }

    /// What went wrong while it was read; also warns of what reading lost.
    pub(super) fn fault(&self) -> Option<ErrorFrame> {
        let lost: Vec<bool> = self.digits_lost.iter().map(|lost| lost.load(Ordering::Relaxed)).collect();
        self.table.warn_of_digits(&lost);
        lock(&self.fault).take()
    }

    fn fail(&self, error: &ArrowError) -> Box<dyn std::error::Error> {
        let frame = refused(&self.table.name, &error.to_string());
        let message = frame.message.clone();
        lock(&self.fault).get_or_insert(frame);
        message.into()
    }
}

/// Where one reading of an input is.
struct Cursor {
    stream: StreamReader<BufReader<File>>,
    schema: Arc<Schema>,
    batch: Option<RecordBatch>,
    start: usize,
}

impl Cursor {
    fn open(input: &Input, columns: &[usize]) -> Result<Self, ArrowError> {
        let schema = Arc::new(input.table.schema.project(columns)?);
        Ok(Self { stream: stream(&input.table.path)?, schema, batch: None, start: 0 })
    }

    /// The next rows.
    fn next(&mut self, input: &Input, columns: &[usize]) -> Result<Option<RecordBatch>, ArrowError> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.start < batch.num_rows()) {
                let rows = CHUNK_ROWS.min(batch.num_rows() - self.start);
                let slice = batch.slice(self.start, rows);
                self.start += rows;
                return Ok(Some(slice));
            }
            let Some(batch) = self.stream.next() else { return Ok(None) };
            let mut lost = vec![false; columns.len()];
            let batch = convert(&batch?.project(columns)?, &self.schema, &mut lost)?;
            for (place, _) in columns.iter().zip(lost).filter(|(_, lost)| *lost) {
                input.digits_lost[*place].store(true, Ordering::Relaxed);
            }
            (self.batch, self.start) = (Some(batch), 0);
        }
    }
}

/// One reading of an input, by one thread or several.
struct Reading {
    columns: Vec<usize>,
    place: Mutex<Place>,
}

/// How far one is: its file is open no longer than it must be, for there may be many.
enum Place {
    Begin,
    Within(Box<Cursor>),
    End,
}

impl Reading {
    /// The next rows.
    fn next(&self, input: &Input) -> Result<Option<RecordBatch>, ArrowError> {
        let mut place = lock(&self.place);
        if matches!(*place, Place::Begin) {
            *place = Place::Within(Box::new(Cursor::open(input, &self.columns)?));
        }
        let Place::Within(cursor) = &mut *place else { return Ok(None) };
        let rows = cursor.next(input, &self.columns)?;
        if rows.is_none() {
            *place = Place::End;
        }
        Ok(rows)
    }
}

/// The function that reads an input, by so many threads at most.
struct Reader<const THREADS: u64>;

impl<const THREADS: u64> VTab for Reader<THREADS> {
    type InitData = Reading;
    type BindData = Arc<Input>;

    fn bind(bind: &BindInfo) -> Result<Arc<Input>, Box<dyn std::error::Error>> {
        let number = usize::try_from(bind.get_parameter(0).to_int64())?;
        let input = lock(&INPUTS).get(number).map(Arc::clone).ok_or("there is no such input")?;
        for field in input.table.schema.fields() {
            bind.add_result_column(field.name(), to_duckdb_logical_type_for_field(field)?);
        }
        bind.set_cardinality(input.rows, true);
        input.reads.fetch_add(1, Ordering::Relaxed);
        Ok(input)
    }

    fn init(init: &InitInfo) -> Result<Reading, Box<dyn std::error::Error>> {
        init.set_max_threads(THREADS);
        let columns = init.get_column_indices().into_iter().map(usize::try_from).collect::<Result<_, _>>()?;
        Ok(Reading { columns, place: Mutex::new(Place::Begin) })
    }

    fn func(info: &TableFunctionInfo<Self>, output: &mut DataChunkHandle) -> Result<(), Box<dyn std::error::Error>> {
        let input = info.get_bind_data();
        match info.get_init_data().next(input).map_err(|error| input.fail(&error))? {
            Some(rows) => {
                record_batch_to_duckdb_data_chunk(&rows, output)?;
                spans::set_nulls(&rows, output);
                Ok(())
            }
            None => {
                output.set_len(0);
                Ok(())
            }
        }
    }

    fn supports_pushdown() -> bool {
        true
    }

    fn parameters() -> Option<Vec<LogicalTypeHandle>> {
        Some(vec![LogicalTypeHandle::from(LogicalTypeId::Bigint)])
    }
}

/// What a panic left behind is whole: each lock guards one step of a reading.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use duckdb_arrow::array::{ArrayRef, DurationSecondArray, Int64Array, StringArray, TimestampNanosecondArray};
    use duckdb_arrow::ipc::writer::StreamWriter;
    use protocol::ErrorKind;

    use super::*;
    use crate::database;

    #[test]
    fn a_query_is_told_from_what_changes_tables_or_looks_for_them() {
        for query in ["SELECT 1", "with a as (from t) select * from a", "(SELECT 1) UNION (SELECT 2)", "FROM t"] {
            assert!(is_query(query), "{query}");
        }
        for other in [
            "",
            "INSERT INTO t SELECT 1",
            "DESCRIBE t",
            "PIVOT t ON a",
            "WITH RECURSIVE r AS (SELECT 1) FROM r",
            "SELECT * FROM duckdb_tables()",
            "SELECT * FROM information_schema.tables",
            "SELECT * FROM (SHOW ALL TABLES)",
        ] {
            assert!(!is_query(other), "{other}");
        }
    }

    fn table(folder: &Path, batches: &[RecordBatch]) -> Table {
        let path = folder.join("t.arrow");
        let mut writer = StreamWriter::try_new(File::create(&path).unwrap(), &batches[0].schema()).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap();
        Table::open("t".to_owned(), path).unwrap().unwrap()
    }

    /// A database in which these are a view, and what must stay for it.
    fn viewed(batches: &[RecordBatch]) -> (tempfile::TempDir, Table, Connection, Arc<Input>) {
        let folder = tempfile::tempdir().unwrap();
        let table = table(folder.path(), batches);
        let connection = database::open().unwrap();
        let input = Input::view(&connection, &table).unwrap();
        (folder, table, connection, input)
    }

    /// Batches of `size` rows: numbers from 0, and a text for each that is null for every seventh.
    fn numbers(rows: i64, size: usize) -> Vec<RecordBatch> {
        let all: Vec<i64> = (0..rows).collect();
        let batch = |part: &[i64]| {
            let texts = part.iter().map(|number| (number % 7 != 0).then(|| format!("text {number}")));
            let columns: [(&str, ArrayRef); 2] =
                [("n", Arc::new(Int64Array::from(part.to_vec()))), ("s s", Arc::new(texts.collect::<StringArray>()))];
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
        };
        all.chunks(size).map(batch).collect()
    }

    /// All rows of a query, each as text.
    fn rows(connection: &Connection, query: &str) -> Vec<String> {
        let text = format!("SELECT row::VARCHAR FROM ({query}) AS row");
        let mut statement = connection.prepare(&text).unwrap();
        let found = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        found.map(Result::unwrap).collect()
    }

    const QUERIES: [&str; 8] = [
        "SELECT * FROM t",
        "SELECT n FROM t",
        "SELECT count(*), count(\"s s\"), sum(n), max(\"s s\") FROM t",
        "SELECT count(*) FROM t",
        "SELECT \"s s\", n * 2 AS twice FROM t WHERE n % 1000 = 3 ORDER BY n DESC",
        "SELECT a.n, b.\"s s\" FROM t AS a JOIN t AS b ON a.n = b.n + 1 WHERE a.n < 50 ORDER BY 1",
        "SELECT * FROM t LIMIT 3 OFFSET 20000",
        "SELECT row_number() OVER () AS place, n FROM t LIMIT 10",
    ];

    #[test]
    fn a_query_finds_in_a_file_what_it_finds_in_a_table() {
        let folder = tempfile::tempdir().unwrap();
        // More rows than one thread reads, and less; batches that end within what the database takes at once.
        for (count, size) in [(ROWS_OF_ONE_THREAD_MAX as i64 + 30_000, 16_000), (5_000, 3_001)] {
            let table = table(folder.path(), &numbers(count, size));
            assert_eq!(table.rows().unwrap(), count as u64);
            let (scanned, loaded) = (database::open().unwrap(), database::open().unwrap());
            scanned.execute_batch("SET threads = 4").unwrap();
            let input = Input::view(&scanned, &table).unwrap();
            Input::load(&loaded, &table).unwrap();
            for query in QUERIES {
                assert_eq!(rows(&scanned, query), rows(&loaded, query), "{query}");
            }
            assert!(input.fault().is_none());
        }
    }

    #[test]
    fn how_often_a_query_reads_an_input_is_known_when_it_is_prepared() {
        let (_folder, _, connection, input) = viewed(&numbers(10, 10));
        for (query, is_often) in [
            ("SELECT * FROM t", false),
            ("SELECT * FROM t AS a, t AS b", false),
            ("SELECT * FROM t AS a, t AS b, t AS c", true),
        ] {
            input.reads.store(0, Ordering::Relaxed);
            connection.prepare(query).unwrap();
            assert_eq!(input.is_read_often(), is_often, "{query}");
        }
        for beyond in ["SELECT rowid FROM t", "DELETE FROM t", "INSERT INTO t VALUES (1, 'x')"] {
            assert!(connection.prepare(beyond).is_err(), "{beyond}");
        }
    }

    #[test]
    fn one_thread_is_enough_for_a_query_that_goes_through_few_rows_once() {
        let (_folder, _, connection, input) = viewed(&numbers(10, 10));
        let is_light = |input: &Arc<Input>, query: &str| {
            input.reads.store(0, Ordering::Relaxed);
            connection.prepare(query).unwrap();
            super::is_light(std::slice::from_ref(input), query)
        };
        for (query, expected) in [
            ("SELECT *, n * 2 AS twice FROM t WHERE n > 3 ORDER BY n", true),
            ("SELECT sum(n) AS arrange FROM t GROUP BY \"s s\"", true),
            ("SELECT * FROM t AS a, t AS b", false),
            ("SELECT * FROM t, range(1000000)", false),
            ("SELECT unnest([n, n]) FROM t", false),
        ] {
            assert_eq!(is_light(&input, query), expected, "{query}");
        }
        let more = numbers(ROWS_OF_LIGHT_MAX as i64 + 1, 100_000);
        let (_folder, _, connection, input) = viewed(&more);
        connection.prepare("SELECT * FROM t").unwrap();
        assert!(!super::is_light(&[input], "SELECT * FROM t"));
        assert!(!super::is_light(&[], "SELECT 1"));
    }

    #[test]
    fn rows_that_cannot_be_read_are_a_fault_of_the_input() {
        let (_folder, table, connection, input) = viewed(&numbers(50_000, 16_000));
        let file = File::options().write(true).open(&table.path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        assert_eq!(rows(&connection, "SELECT n FROM t LIMIT 10").len(), 10);
        assert!(input.fault().is_none());
        assert!(connection.query_row("SELECT sum(n) FROM t", [], |row| row.get::<_, i128>(0)).is_err());
        let fault = input.fault().unwrap();
        assert_eq!(fault.kind, ErrorKind::Input);
        assert!(fault.message.starts_with("input `t` cannot be made a table: "), "{}", fault.message);
    }

    #[test]
    fn a_null_among_durations_stays_one_in_views_and_tables() {
        let folder = tempfile::tempdir().unwrap();
        let spans: ArrayRef = Arc::new(DurationSecondArray::from(vec![Some(5), None, Some(0)]));
        let table = table(folder.path(), &[RecordBatch::try_from_iter_with_nullable([("d", spans, true)]).unwrap()]);
        let (scanned, loaded) = (database::open().unwrap(), database::open().unwrap());
        Input::view(&scanned, &table).unwrap();
        Input::load(&loaded, &table).unwrap();
        for connection in [scanned, loaded] {
            let found = rows(&connection, "SELECT d::text AS d, d IS NULL AS n FROM t");
            assert_eq!(
                found,
                ["{'d': '00:00:05', 'n': false}", "{'d': NULL, 'n': true}", "{'d': '00:00:00', 'n': false}"]
            );
        }
    }

    #[test]
    fn digits_that_are_lost_are_noted_where_they_are_read() {
        let column =
            |times: Vec<i64>| -> ArrayRef { Arc::new(TimestampNanosecondArray::from(times).with_timezone("UTC")) };
        let columns = [("whole", column(vec![1_000])), ("parts", column(vec![1_001]))];
        let (_folder, _, connection, input) = viewed(&[RecordBatch::try_from_iter(columns).unwrap()]);
        let lost = || input.digits_lost.iter().map(|lost| lost.load(Ordering::Relaxed)).collect::<Vec<bool>>();
        rows(&connection, "SELECT whole FROM t");
        assert_eq!(lost(), [false, false]);
        rows(&connection, "SELECT parts, whole FROM t");
        assert_eq!(lost(), [false, true]);
    }
}
