//! Values of a run on this machine, for looking at them: read from the bucket itself, not through the hub.
//!
//! Queries and Parquet are the work of the program that runs `duckdb` steps; it is told what a step would be told.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bucket::table::{self, NoNumber, TableError};
use bucket::value::{Accepted, ValueError, ValueLimits, Values};
use bucket::{Bucket, BucketError, BucketUrl};
use protocol::frame::{Code, EndFrame, ErrorFrame, Input, OutputPlace, StartFrame};
use protocol::value::{Place, maker};
use protocol::{ErrorKind, JobId, Language, PROTOCOL_VERSION, RunId, ValueRef};
use tempfile::TempDir;

use crate::client::Client;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::export::Out;
use crate::secrets;
use crate::service::keys::explain;
use crate::settings::{engines, limits, places};

/// What the database begins with where it cannot read a statement.
const SYNTAX_MARK: &str = "Parser Error";

/// A folder for values, and the bucket they come from.
pub struct Desk {
    folder: TempDir,
    values: Values,
}

/// A table of a query: its name, and its content.
pub struct Named {
    pub name: String,
    pub content: Input,
}

impl Desk {
    /// Opens the bucket that the flag or the settings name.
    pub fn open(context: &Context, flag: Option<&str>) -> Result<Self> {
        let url = places::bucket_of_client(flag, &context.sources, &context.data_dir)?;
        let keys = match &url {
            BucketUrl::Folder(folder) if !folder.is_dir() => return Err(no_folder(folder)),
            BucketUrl::Folder(_) => None,
            BucketUrl::S3(_) => secrets::keys_of_environment(&context.sources)?,
            BucketUrl::Server(_) => match secrets::keys_of_environment(&context.sources)? {
                Some(keys) => Some(keys),
                None => secrets::read_keys(&context.data_dir)?,
            },
        };
        bucket::install_tls();
        let bucket = Bucket::open_to_read(&url, keys.as_ref()).map_err(explain)?;
        let folder = tempfile::Builder::new().prefix("bue-values").tempdir().map_err(Error::machine)?;
        let values = Values::new(bucket, folder.path(), ValueLimits::default());
        Ok(Self { folder, values })
    }

    /// Fetches a value that the hub knows; `number` tells it from the others of this desk.
    pub async fn fetch(&self, client: &Client, value: &ValueRef, number: usize, accepted: Accepted) -> Result<Input> {
        let fetched = self.values.materialize(value, self.folder.path(), number, accepted).await;
        let error = match fetched {
            Ok(input) => return Ok(input),
            Err(ValueError::Bucket(error)) if error.is_misconfigured() => return Err(explain(error)),
            Err(error) => error,
        };
        let is_absent = matches!(error, ValueError::Bucket(BucketError::NotFound { .. }));
        let elsewhere = "values are read from the bucket itself: -k, or BUE_BUCKET, names it";
        let (kind, hint) = match lost(&error) {
            // The hub has another bucket.
            Some((_, job)) if is_absent && client.head(job, 1).await.is_ok() => {
                let message =
                    format!("the value is not in {}, but where the hub finds it", self.values.bucket().place());
                return Err(Error::new(Kind::Usage, message).hint(elsewhere));
            }
            Some((run, _)) if matches!(value.place, Place::Element { .. }) => {
                (Kind::Failed, format!("a loop's items stay what they were: `bue again {run}` makes a new run"))
            }
            Some((_, job)) => (Kind::Failed, format!("`bue reset {job}` has it made again")),
            None => (Kind::Unreachable, elsewhere.to_owned()),
        };
        Err(Error::new(kind, format_args!("cannot fetch the value: {error}")).hint(hint))
    }

    /// A value that was fetched as a file with an Arrow stream.
    pub fn as_arrow(&self, content: Input) -> Result<PathBuf> {
        let json = match content {
            Input::ArrowFile(path) => return Ok(path),
            Input::Json(json) => String::from(Box::<str>::from(json)),
            Input::JsonFile(path) => std::fs::read_to_string(path).map_err(Error::machine)?,
        };
        let batch = table::from_records(&json).map_err(Error::usage)?.batch;
        let path = self.folder.path().join("records.arrow");
        let mut file = BufWriter::new(File::create(&path).map_err(Error::machine)?);
        table::write_stream(&mut file, &batch.schema(), [&batch]).map_err(Error::machine)?;
        file.flush().map_err(Error::machine)?;
        Ok(path)
    }

    /// A place for a file that is there as long as this desk.
    pub fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Asks DuckDB; the answer is a file with an Arrow stream, or, where `parquet` names a file, in that file.
    pub fn query(
        &self,
        context: &Context,
        sql: &str,
        tables: Vec<Named>,
        parquet: Option<&Path>,
    ) -> Result<Option<PathBuf>> {
        self.ask(&self.frame(context, sql, tables, parquet)?)
    }

    /// What the database says of a query's syntax, where that is wrong; it is not run.
    pub fn syntax_error(&self, context: &Context, sql: &str) -> Option<Error> {
        let mut frame = self.frame(context, &format!("EXPLAIN\n{sql}"), Vec::new(), None).ok()?;
        if let Code::Text { line, .. } = &mut frame.code {
            *line = 0;
        }
        self.ask(&frame).err().filter(|error| error.message().starts_with(SYNTAX_MARK))
    }

    fn ask(&self, frame: &StartFrame) -> Result<Option<PathBuf>> {
        let program = std::env::current_exe().map_err(Error::machine)?;
        let mut child = Command::new(program)
            .arg("sql-step")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Error::machine(format_args!("cannot start the query: {error}")))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A process that does not read says why in its answer.
            let _ = serde_json::to_writer(&mut stdin, frame);
        }
        let output = child.wait_with_output().map_err(Error::machine)?;
        match serde_json::from_slice(&output.stdout) {
            Ok(EndFrame::Result(result)) => Ok(result.value.and_then(|value| match value.place {
                OutputPlace::ArrowFile(name) => Some(self.folder.path().join(name)),
                OutputPlace::Json(_) | OutputPlace::JsonFile(_) => None,
            })),
            Ok(EndFrame::Error(error)) => Err(failed(error)),
            Err(_) => Err(Error::machine(format_args!("the query ended without an answer: {}", output.status))),
        }
    }

    fn frame(&self, context: &Context, sql: &str, tables: Vec<Named>, parquet: Option<&Path>) -> Result<StartFrame> {
        let program = std::env::current_exe().map_err(Error::machine)?;
        let limits = limits::worker(&context.sources)?;
        let engines = engines::read(&context.sources)?;
        let mut duckdb = engines.duckdb_frame(&program, &limits).map_err(|error| Error::machine(error.message))?;
        let (names, inputs) = tables.into_iter().map(|table| (table.name, table.content)).unzip();
        duckdb.tables = names;
        duckdb.parquet = parquet.map(std::path::absolute).transpose().map_err(Error::machine)?;
        Ok(StartFrame {
            protocol: PROTOCOL_VERSION,
            run: RunId::new(0, 0),
            job: JobId(0),
            attempt: 1,
            step: "query".to_owned(),
            language: Language::Duckdb,
            function: String::new(),
            code: Code::Text { text: sql.to_owned(), script: "the query".to_owned(), line: 1 },
            path: Vec::new(),
            inputs,
            values: self.folder.path().to_owned(),
            inline_bytes_max: 0,
            value_bytes_max: limits.value_bytes_max,
            postgres: None,
            duckdb: Some(duckdb),
        })
    }
}

fn no_folder(folder: &Path) -> Error {
    Error::new(Kind::Unreachable, format_args!("the bucket's folder {} does not exist", folder.display()))
        .hint("-k, or BUE_BUCKET, names the folder that hub and workers use")
}

/// The job of which the value is lost, or damaged, and its run.
fn lost(error: &ValueError) -> Option<(RunId, JobId)> {
    match error {
        ValueError::Bucket(BucketError::NotFound { key } | BucketError::Corrupt { key, .. }) => maker(key),
        _ => None,
    }
}

/// What an error of a query means for who asked: the place in the query is shown below the message.
fn failed(error: ErrorFrame) -> Error {
    let kind = match error.kind {
        ErrorKind::Start | ErrorKind::Memory | ErrorKind::Disk => Kind::Machine,
        ErrorKind::Protocol | ErrorKind::Exit | ErrorKind::Signal => Kind::Internal,
        _ => Kind::Usage,
    };
    let excerpt = error.trace.unwrap_or_default().lines().map(|line| format!("\n    {line}")).collect::<String>();
    Error::new(kind, format_args!("{}{excerpt}", error.message))
}

/// Writes a file with an Arrow stream as CSV; where that cannot be done, no part of it stays.
pub fn write_csv(arrow: &Path, target: &Path) -> Result {
    let is_new = !target.exists();
    let written = write_rows(arrow, target);
    if written.is_err() && is_new {
        let _ = std::fs::remove_file(target);
    }
    written
}

fn write_rows(arrow: &Path, target: &Path) -> Result {
    let reader = BufReader::new(File::open(arrow).map_err(Error::machine)?);
    let stream = table::read_stream(reader).map_err(Error::machine)?;
    let mut writer = table::CsvWriter::new(Out::open(target)?, &stream.schema()).map_err(Error::machine)?;
    for batch in stream {
        writer.batch(&batch.map_err(Error::machine)?).map_err(not_as_text)?;
    }
    writer.finish().map_err(Error::machine)?.finish()
}

/// What is in the way of a row as text: the row, or the place that it is written to.
fn not_as_text(error: TableError) -> Error {
    match error {
        TableError::NotJson(error) if error.is_io() => Error::machine(std::io::Error::from(error)),
        error => Error::usage(error),
    }
}

/// Copies a file as it is.
pub fn copy(source: &Path, target: &Path) -> Result {
    let mut source = File::open(source).map_err(Error::machine)?;
    let mut out = Out::open(target)?;
    std::io::copy(&mut source, &mut out).map_err(Error::machine)?;
    out.finish()
}

/// The first rows of a file with an Arrow stream as a JSON list, and how many rows there are in all.
pub fn first_rows(arrow: &Path, count: usize, no_number: NoNumber) -> Result<(String, u64)> {
    let reader = BufReader::new(File::open(arrow).map_err(Error::machine)?);
    let mut writer = table::RecordsWriter::with(Vec::new(), no_number).map_err(Error::machine)?;
    let mut rows = 0_u64;
    for batch in table::read_stream(reader).map_err(Error::machine)? {
        let batch = batch.map_err(Error::machine)?;
        for row in 0..batch.num_rows() {
            if rows < count as u64 {
                writer.row(&batch, row).map_err(Error::usage)?;
            }
            rows += 1;
        }
    }
    let text = writer.finish().map_err(Error::machine)?;
    Ok((String::from_utf8(text).map_err(Error::internal)?, rows))
}
