//! Commands that look at the hub, at runs and at jobs.

use std::path::PathBuf;

use clap::Args;
use protocol::{JobAddress, RunId};

use super::HubPlace;
use super::names::{self, RunOrJob, StateName};

/// Arguments of `bue status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// Show the jobs of this run
    #[arg(value_name = "RUN", value_parser = names::run)]
    pub run: Option<RunId>,
    /// Show all jobs of the run, not only the first
    #[arg(long, requires = "run")]
    pub all: bool,
    /// Show only the run's jobs in this state: waiting, available (parked: those of them that wait for a time), leased, succeeded, failed or cancelled
    #[arg(long, requires = "run", value_name = "STATE")]
    pub state: Option<StateName>,
    /// Print it as JSON: of a run with all its jobs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `bue results`.
#[derive(Debug, Args)]
pub struct ResultsArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The run
    #[arg(value_name = "RUN", value_parser = names::run)]
    pub run: RunId,
    /// Print them as one JSON document, with their values
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `bue explain`.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The job; or the run, for all its jobs that have not ended
    #[arg(value_name = "RUN|JOB")]
    pub what: RunOrJob,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `bue logs`.
#[derive(Debug, Args)]
pub struct LogsArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The job; or the run, for all its jobs
    #[arg(value_name = "RUN|JOB")]
    pub what: RunOrJob,
    /// Go on as the job prints, until it has ended
    #[arg(short = 'f', long)]
    pub follow: bool,
    /// Show this attempt, not the last one
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    pub attempt: Option<u32>,
}

/// Arguments of `bue value`.
#[derive(Debug, Args)]
pub struct ValueArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The job
    #[arg(value_name = "JOB")]
    pub job: JobAddress,
    /// Show no more than the first N rows, or elements, and those only are read
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000), conflicts_with = "export")]
    #[arg(allow_negative_numbers = true)]
    pub head: Option<u64>,
    /// Where to write the table
    #[command(flatten)]
    pub export: Export,
    /// Where the bucket is, which tables for files are read from [default: 127.0.0.1:61535]
    #[arg(short = 'k', long = "bucket", value_name = "BUCKET")]
    pub bucket: Option<String>,
}

/// Where a table is written.
#[derive(Debug, Clone, Default, Args)]
#[group(id = "export", multiple = true)]
pub struct Export {
    /// Write it as CSV; `-` is standard output, here and below
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write it as Parquet; takes the program for `duckdb` steps
    #[arg(long, value_name = "FILE")]
    pub parquet: Option<PathBuf>,
    /// Write it as an Arrow IPC stream
    #[arg(long, value_name = "FILE")]
    pub arrow: Option<PathBuf>,
}

impl Export {
    /// Whether no file was asked for.
    pub fn is_none(&self) -> bool {
        self.csv.is_none() && self.parquet.is_none() && self.arrow.is_none()
    }
}

/// Arguments of `bue query`.
#[derive(Debug, Args)]
pub struct QueryArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The run
    #[arg(value_name = "RUN", value_parser = names::run)]
    pub run: RunId,
    /// The query, in DuckDB's SQL; each step that returned rows is a table, all of its jobs together
    #[arg(value_name = "SQL")]
    pub sql: String,
    /// Print all rows as JSON
    #[arg(long, conflicts_with = "export")]
    pub json: bool,
    /// Where to write what it returns
    #[command(flatten)]
    pub export: Export,
    /// Where the bucket is, which tables are read from [default: 127.0.0.1:61535]
    #[arg(short = 'k', long = "bucket", value_name = "BUCKET")]
    pub bucket: Option<String>,
}
