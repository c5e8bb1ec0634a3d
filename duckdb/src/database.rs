//! A database in memory, for one step: it reaches no file, no network and no extension, and stays within its bounds.

use std::path::Path;
use std::sync::Arc;

use duckdb::{Config, Connection};
use protocol::frame::{DuckdbFrame, ErrorFrame, Output, OutputPlace, StartFrame};
use protocol::{ErrorKind, ValueKind};

use super::input::{self, Table};
use super::{Sql, Statement, failure, fault, result, scan};

/// Folder, among the values, for what memory does not hold.
const SPILL_NAME: &str = "spill";

/// Runs the step, in the database that is there or a new one.
pub(super) fn run(
    frame: &StartFrame,
    bounds: &DuckdbFrame,
    sql: &Sql<'_>,
    there: Option<&Connection>,
) -> Result<Output, ErrorFrame> {
    let unopened = |error: duckdb::Error| fault::of_opening(&error);
    let connection = there.map_or_else(open, Connection::try_clone).map_err(unopened)?;
    bound(&connection, frame, bounds).map_err(unopened)?;
    let inputs = Inputs::open(frame, bounds)?;
    if let (Some(name), true) = (inputs.unknown.first(), bounds.parquet.is_some()) {
        let message = format!("`{name}` is an empty list: it has no columns, without which there is no Parquet file");
        return Err(failure(ErrorKind::Input, message));
    }
    let statements = sql.statements(&bounds.statements);
    let read = match statements.as_slice() {
        [query] if scan::is_query(query.text) => inputs.scanned(&connection, query)?,
        _ => None,
    };
    let threads = match (&read, statements.as_slice()) {
        (Some(read), [query]) if scan::is_light(read, query.text) => 1,
        _ => bounds.threads_max,
    };
    connection.execute_batch(&format!("SET threads = {threads}")).map_err(unopened)?;
    if read.is_none() {
        inputs.load(&connection)?;
    }
    connection.execute_batch("SET lock_configuration = true").map_err(unopened)?;
    let output = execute(&connection, &statements, frame, bounds);
    let faults: Vec<ErrorFrame> = read.iter().flatten().filter_map(|input| input.fault()).collect();
    match faults.into_iter().next() {
        Some(fault) => Err(fault),
        None => output.map_err(|error| fault::explain(error, &inputs.unknown)),
    }
}

/// The inputs of a step as tables.
#[derive(Default)]
struct Inputs {
    tables: Vec<Table>,
    /// Names that stand for all rows of several tables, and the names of these.
    joined: Vec<(String, Vec<String>)>,
    /// Names of those whose columns nobody knows.
    unknown: Vec<String>,
}

impl Inputs {
    fn open(frame: &StartFrame, bounds: &DuckdbFrame) -> Result<Self, ErrorFrame> {
        let mut inputs = Self::default();
        for (number, input) in frame.inputs.iter().enumerate() {
            let name = match bounds.tables.get(number) {
                Some(name) => name.clone(),
                None if number == 0 => frame.function.clone(),
                None => format!("pipe{number}"),
            };
            let path = input::file(&name, input, frame.values.join(format!("input{number}.arrow")))?;
            let is_shared = bounds.tables.iter().filter(|other| **other == name).count() > 1;
            let table = if is_shared { format!("{name} {number}") } else { name.clone() };
            let Some(opened) = Table::open(table, path)? else {
                inputs.unknown.push(name);
                continue;
            };
            if is_shared {
                match inputs.joined.iter_mut().find(|(of, _)| *of == name) {
                    Some((_, parts)) => parts.push(opened.name.clone()),
                    None => inputs.joined.push((name, vec![opened.name.clone()])),
                }
            }
            inputs.tables.push(opened);
        }
        Ok(inputs)
    }

    /// Makes each a table.
    fn load(&self, connection: &Connection) -> Result<(), ErrorFrame> {
        self.tables.iter().try_for_each(|table| scan::Input::load(connection, table))?;
        self.join(connection)
    }

    /// Makes each a view of its file, where the query can do with that; `None`, and nothing is made, where it cannot.
    fn scanned(
        &self,
        connection: &Connection,
        query: &Statement<'_>,
    ) -> Result<Option<Vec<Arc<scan::Input>>>, ErrorFrame> {
        if self.tables.len() > scan::INPUTS_MAX || !self.tables.iter().all(Table::is_as_in_file) {
            return Ok(None);
        }
        let views = self.tables.iter().map(|table| scan::Input::view(connection, table));
        let views = views.collect::<Result<Vec<_>, ErrorFrame>>()?;
        self.join(connection)?;
        let is_prepared = connection.prepare(query.text).is_ok();
        if is_prepared && !views.iter().any(|input| input.is_read_often()) {
            return Ok(Some(views));
        }
        let names = self.joined.iter().map(|(name, _)| name).chain(self.tables.iter().map(|table| &table.name));
        let drops: Vec<String> = names.map(|name| format!("DROP VIEW {}", quoted(name))).collect();
        let undropped = |error: duckdb::Error| failure(ErrorKind::Start, format!("failed to drop a view: {error}"));
        connection.execute_batch(&drops.join("; ")).map_err(undropped)?;
        Ok(None)
    }

    /// Makes those of one name one.
    fn join(&self, connection: &Connection) -> Result<(), ErrorFrame> {
        for (name, tables) in &self.joined {
            let tables: Vec<&Table> = self.tables.iter().filter(|table| tables.contains(&table.name)).collect();
            let all: Vec<String> = tables.iter().map(|table| rows_among(table, &tables)).collect();
            let view = format!("CREATE VIEW {} AS {}", quoted(name), all.join(" UNION ALL BY NAME "));
            connection.execute_batch(&view).map_err(|error| {
                let reason = fault::message(&error);
                failure(ErrorKind::Input, format!("the tables of `{name}` cannot be made one: {reason}"))
            })?;
        }
        Ok(())
    }
}

/// The rows of a table that becomes one with others: JSON of it is text where theirs is none.
fn rows_among(table: &Table, all: &[&Table]) -> String {
    let is_json = |data_type: &str| data_type == "JSON";
    let is_other = |of: &str| {
        let named = |(name, data_type): (&str, &str)| name.eq_ignore_ascii_case(of) && !is_json(data_type);
        all.iter().any(|table| table.columns().any(named))
    };
    let texts: Vec<String> = table
        .columns()
        .filter(|(name, data_type)| is_json(data_type) && is_other(name))
        .map(|(name, _)| format!("CAST({0} AS VARCHAR) AS {0}", quoted(name)))
        .collect();
    let replaced = if texts.is_empty() { String::new() } else { format!(" REPLACE ({})", texts.join(", ")) };
    format!("SELECT *{replaced} FROM {}", quoted(&table.name))
}

/// Runs all statements; the last one's rows are the value.
fn execute(
    connection: &Connection,
    statements: &[Statement<'_>],
    frame: &StartFrame,
    bounds: &DuckdbFrame,
) -> Result<Output, ErrorFrame> {
    let Some((last, others)) = statements.split_last() else {
        return result::write_empty(frame);
    };
    for statement in others {
        connection.execute_batch(statement.text).map_err(|error| fault::of_statement(&error, statement))?;
    }
    match &bounds.parquet {
        Some(file) => export(connection, last, file),
        None => result::write(connection, last, frame, bounds.changes_rows),
    }
}

/// Name of the view that stands for what is exported: none that anybody would choose.
const EXPORTED: &str = "bue export";

/// Writes what a query returns into a file as Parquet.
fn export(connection: &Connection, query: &Statement<'_>, file: &Path) -> Result<Output, ErrorFrame> {
    let view = format!("CREATE VIEW {} AS {}", quoted(EXPORTED), query.text);
    connection.execute_batch(&view).map_err(|error| fault::of_statement(&error, query))?;
    let copy = format!("COPY (SELECT * FROM {}) TO {} (FORMAT parquet)", quoted(EXPORTED), literal(file));
    let rows = connection.execute(&copy, []).map_err(|error| fault::of_statement(&error, query))?;
    let place = OutputPlace::Json(rows.to_string());
    Ok(Output { kind: ValueKind::Number, length: None, place })
}

/// A path as it stands in a statement.
fn literal(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "''"))
}

/// A database that loads nothing and has no threads of its own yet.
pub(super) fn open() -> duckdb::Result<Connection> {
    let config = Config::default()
        .enable_autoload_extension(false)?
        .with("autoinstall_known_extensions", "false")?
        .with("allow_community_extensions", "false")?
        .threads(1)?;
    let connection = Connection::open_in_memory_with_flags(config)?;
    scan::register(&connection)?;
    Ok(connection)
}

/// Shuts it off from everything, and sets what it may use up.
fn bound(connection: &Connection, frame: &StartFrame, bounds: &DuckdbFrame) -> duckdb::Result<()> {
    let memory = bounds.memory_bytes_max;
    // The folder can be named only as long as the outside can be reached.
    let spill = literal(&frame.values.join(SPILL_NAME));
    let exported = bounds.parquet.as_deref().map(literal).unwrap_or_default();
    connection.execute_batch(&format!(
        "SET memory_limit = '{memory}B'; SET TimeZone = 'UTC'; SET allow_persistent_secrets = false; SET temp_directory = {spill}; \
         SET max_temp_directory_size = '{}B'; SET allowed_paths = [{exported}]; SET enable_external_access = false",
        bounds.spill_bytes_max
    ))
}

/// A name as it stands in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fs::File;

    use duckdb_arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use duckdb_arrow::datatypes::{DataType, Field, Schema};
    use duckdb_arrow::ipc::writer::StreamWriter;

    use super::*;
    use crate::types::JSON_EXTENSION;

    #[test]
    fn tables_of_one_name_are_one_where_a_column_is_json_in_some_only() {
        let folder = tempfile::tempdir().unwrap();
        let mark = ("ARROW:extension:name".to_owned(), JSON_EXTENSION.to_owned());
        let text = Field::new("m", DataType::Utf8, true);
        let parts: [(Field, ArrayRef); 3] = [
            (text.clone().with_metadata(HashMap::from([mark])), Arc::new(StringArray::from(vec!["[1]"]))),
            (text, Arc::new(StringArray::from(vec!["text"]))),
            (Field::new("m", DataType::Int64, true), Arc::new(Int64Array::from(vec![7]))),
        ];
        let mut inputs = Inputs::default();
        for (number, (field, array)) in parts.into_iter().enumerate() {
            let (name, path) = (format!("t {number}"), folder.path().join(number.to_string()));
            let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap();
            let mut writer = StreamWriter::try_new(File::create(&path).unwrap(), &batch.schema()).unwrap();
            writer.write(&batch).and_then(|()| writer.finish()).unwrap();
            inputs.tables.push(Table::open(name, path).unwrap().unwrap());
        }
        inputs.joined.push(("t".to_owned(), inputs.tables.iter().map(|table| table.name.clone()).collect()));
        let connection = open().unwrap();
        inputs.load(&connection).unwrap();
        let look = "SELECT string_agg(m::text, ' ' ORDER BY m::text) FROM t";
        let found: String = connection.query_row(look, [], |row| row.get(0)).unwrap();
        assert_eq!(found, "7 [1] text");
    }
}
