//! What can be typed: commands, arguments and flags.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, Args, Parser, Subcommand};
use protocol::{JobAddress, JobState, RunId};
use sandbox::Policy;

use crate::address::PartialAddress;

/// Runs very large amounts of I/O-heavy work, written in Python and SQL, on a few cheap machines.
#[derive(Debug, Parser)]
#[command(name = "bue", version, disable_version_flag = true, propagate_version = false, arg_required_else_help = true)]
#[command(after_help = "Settings can also stand in the environment and in `.env`: see docs/settings.md.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Folder of all state: queue, values, caches, token and keys [default: .bue]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

/// Everything `bue` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write an example script with its Python file and a commented .env
    Example(ExampleArguments),
    /// Start a whole fleet, run a pipeline on it, show the results, stop everything
    Demo(DemoArguments),
    /// Run a script on this machine, without a server
    Run(RunArguments),
    /// Say what is wrong with scripts, without running anything
    Check(CheckArguments),
    /// Show the jobs and loops of a script, without running anything
    Plan(PlanArguments),
    /// Write scripts in their form: spacing is made equal, comments and meaning stay
    Fmt(FmtArguments),
    /// Serve an editor over standard input and output, by the Language Server Protocol
    Lsp,
    /// Serve values and tables to a fleet, over the S3 interface
    Bucket(BucketArguments),
    /// Serve the queue
    Hub(HubArguments),
    /// Take jobs from a hub and run them
    Worker(WorkerArguments),
    /// Send a script and the files of its folder to the hub, which runs it
    Upload(UploadArguments),
    /// Show the hub, or one run
    Status(StatusArguments),
    /// Show what the calls of a run's script came to
    Results(ResultsArguments),
    /// Show what a job, or each job of a run, has printed
    Logs(LogsArguments),
    /// Show what a job returned, or write its table into a file
    Value(ValueArguments),
    /// Ask about the tables of a run in SQL, each by the name of its step
    Query(QueryArguments),
    /// Cancel what is left of a run
    Cancel(CancelArguments),
    /// Make a new run of the script and files of another one
    Again(AgainArguments),
    /// Have the failed jobs of a run, or one job and what follows it, start over
    Reset(ResetArguments),
    /// Start no further jobs: of a run, of a scope, or none at all
    Pause(PauseArguments),
    /// End a pause
    Resume(PauseArguments),
    /// Keep a run with its values, whatever the hub's bounds of what it keeps
    Pin(PinArguments),
    /// Have the bounds hold for a run again
    Unpin(PinArguments),
    /// Keep secrets for steps: set, list, remove
    Secret(SecretArguments),
    /// Say why a job is, or is not, running; or why a run is, or is not, getting on
    Explain(ExplainArguments),
    /// Run one SQL step; workers call this
    #[command(hide = true)]
    SqlStep,
}

/// Where a user's command finds the hub.
#[derive(Debug, Args)]
pub struct HubPlace {
    /// Where the hub is [default: 127.0.0.1:65432]
    #[arg(short = 'b', long = "hub", value_name = "HOST:PORT")]
    pub hub: Option<PartialAddress>,
}

/// Arguments of `bue example`.
#[derive(Debug, Args)]
pub struct ExampleArguments {
    /// Overwrite files that exist
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `bue demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Keep the fleet up after the run, until Ctrl-C, and print how to reach and restart its parts
    #[arg(long)]
    pub keep: bool,
    /// The interpreter of Python steps: 3.9 or later
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
}

/// Arguments of `bue run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The script
    #[command(flatten)]
    pub script: ScriptArgument,
    /// Print jobs and results as one JSON document
    #[arg(long)]
    pub json: bool,
    /// Jobs to run at once
    #[arg(short = 'n', long, value_name = "SLOTS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub slots: Option<u32>,
    /// The interpreter of Python steps: 3.9 or later
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Run steps as a worker would: on a copy of the files, with its environment, in its sandbox
    #[arg(long)]
    pub sandbox: bool,
}

/// A script, as `FILE` or `-f FILE`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ScriptArgument {
    /// The script
    #[arg(value_name = "FILE")]
    pub plain: Option<PathBuf>,
    /// The script
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub flag: Option<PathBuf>,
}

impl ScriptArgument {
    /// The path; the argument parser made sure that there is one.
    pub fn path(&self) -> PathBuf {
        self.plain.clone().or_else(|| self.flag.clone()).unwrap_or_default()
    }
}

/// Arguments of `bue check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The scripts
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Print what is wrong as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `bue plan`.
#[derive(Debug, Args)]
pub struct PlanArguments {
    /// The script
    #[command(flatten)]
    pub script: ScriptArgument,
    /// Print the jobs as one JSON document
    #[arg(long, group = "form")]
    pub json: bool,
    /// Draw them in the language of Graphviz
    #[arg(long, group = "form")]
    pub dot: bool,
    /// Draw them in the language of Mermaid
    #[arg(long, group = "form")]
    pub mermaid: bool,
}

/// Arguments of `bue fmt`.
#[derive(Debug, Args)]
pub struct FmtArguments {
    /// The scripts
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Change nothing; fail when a script is not in its form
    #[arg(long)]
    pub check: bool,
}

/// Arguments of `bue bucket`.
#[derive(Debug, Args)]
pub struct BucketArguments {
    /// Where to listen [default: 127.0.0.1:61535]
    #[arg(short = 'b', long = "bind", value_name = "HOST:PORT")]
    pub bind: Option<PartialAddress>,
}

/// Arguments of `bue hub`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct HubArguments {
    /// What to do instead of serving
    #[command(subcommand)]
    pub command: Option<HubCommand>,
    /// Where to listen [default: 127.0.0.1:65432]
    #[arg(short = 'b', long = "bind", value_name = "HOST:PORT")]
    pub bind: Option<PartialAddress>,
    /// Where the bucket is: host:port, file:///folder or s3://bucket/prefix?endpoint=… [default: 127.0.0.1:61535]
    #[arg(short = 'k', long = "bucket", value_name = "BUCKET")]
    pub bucket: Option<String>,
    /// Keep the queue in this PostgreSQL database, which several hubs may share; without an address that of POSTGRES_HOST, …
    #[arg(short = 'p', long = "postgres", value_name = "postgres://USER:PASSWORD@HOST:PORT/DATABASE", num_args = 0..=1, default_missing_value = "")]
    pub postgres: Option<String>,
}

/// What `bue hub` can do beside serving.
#[derive(Debug, Subcommand)]
pub enum HubCommand {
    /// Write a consistent copy of the queue into a new file, also while a hub serves it
    Backup(CopyArguments),
    /// Put a copy in place of the queue, while no hub serves it
    Restore(CopyArguments),
}

/// Arguments of `bue hub backup` and `bue hub restore`.
#[derive(Debug, Args)]
pub struct CopyArguments {
    /// The copy
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Arguments of `bue worker`.
#[derive(Debug, Args)]
pub struct WorkerArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// Where the bucket is: host:port, file:///folder or s3://bucket/prefix?endpoint=… [default: 127.0.0.1:61535]
    #[arg(short = 'k', long = "bucket", value_name = "BUCKET")]
    pub bucket: Option<String>,
    /// Scopes to serve, with commas between them, first ones first
    #[arg(short = 's', long, value_name = "SCOPES")]
    pub scopes: Option<String>,
    /// Jobs to run at once [default: 16]
    #[arg(short = 'n', long, value_name = "SLOTS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub slots: Option<u32>,
    /// The interpreter of Python steps: 3.9 or later
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// How steps are shut in: strict (all layers or nothing runs), standard (those this machine has) or off [default: standard]
    #[arg(long, value_name = "LEVEL")]
    pub sandbox: Option<Policy>,
    /// A folder of this machine that steps may write, as the user they run as can; may be repeated
    #[arg(long, value_name = "FOLDER")]
    pub writable: Vec<PathBuf>,
    /// Show which layers of the sandbox this machine has, and run nothing
    #[arg(long)]
    pub check: bool,
}

/// Arguments of `bue upload`.
#[derive(Debug, Args)]
pub struct UploadArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The script
    #[command(flatten)]
    pub script: ScriptArgument,
    /// Wait until nothing more can run, then show the results
    #[arg(long)]
    pub wait: bool,
    /// Idempotency key: a second upload with the same key is the same run
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
}

/// Arguments of `bue status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// Show the jobs of this run
    #[arg(value_name = "RUN")]
    pub run: Option<RunId>,
    /// Show all jobs of the run, not only the first
    #[arg(long, requires = "run")]
    pub all: bool,
    /// Show only the run's jobs in this state: waiting, available, leased, succeeded, failed or cancelled
    #[arg(long, requires = "run", value_name = "STATE")]
    pub state: Option<JobState>,
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
    #[arg(value_name = "RUN")]
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
    #[arg(value_name = "RUN")]
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

/// Arguments of `bue cancel`.
#[derive(Debug, Args)]
pub struct CancelArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The run
    #[arg(value_name = "RUN")]
    pub run: RunId,
}

/// Arguments of `bue pin` and `bue unpin`.
#[derive(Debug, Args)]
pub struct PinArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The run
    #[arg(value_name = "RUN")]
    pub run: RunId,
}

/// Arguments of `bue again`.
#[derive(Debug, Args)]
pub struct AgainArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The run whose script is to run again
    #[arg(value_name = "RUN")]
    pub run: RunId,
    /// Wait until nothing more can run, then show the results
    #[arg(long)]
    pub wait: bool,
}

/// Arguments of `bue reset`.
#[derive(Debug, Args)]
pub struct ResetArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The run whose failed jobs, or the job with which all that follows it, start over
    #[arg(value_name = "RUN|JOB")]
    pub what: RunOrJob,
}

/// A run or a job, told apart by the first letter and by the slash.
#[derive(Debug, Clone)]
pub enum RunOrJob {
    /// `r…`
    Run(RunId),
    /// `j…` or `r…/j…`
    Job(JobAddress),
}

impl FromStr for RunOrJob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('j') || text.contains('/') {
            text.parse().map(Self::Job).map_err(|error: protocol::id::IdError| error.to_string())
        } else {
            text.parse().map(Self::Run).map_err(|error: protocol::id::IdError| error.to_string())
        }
    }
}

/// Arguments of `bue secret`.
#[derive(Debug, Args)]
pub struct SecretArguments {
    /// What to do
    #[command(subcommand)]
    pub command: SecretCommand,
}

/// What can be done with secrets.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Set a secret, or change it: its value is read from standard input, or asked for without being shown
    Set(SecretNameArguments),
    /// List the names of all secrets
    List(SecretListArguments),
    /// Remove a secret
    Remove(SecretNameArguments),
}

/// Arguments of commands about one secret.
#[derive(Debug, Args)]
pub struct SecretNameArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// Its name: that of the variable a step gets
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Arguments of `bue secret list`.
#[derive(Debug, Args)]
pub struct SecretListArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `bue pause` and `bue resume`.
#[derive(Debug, Args)]
pub struct PauseArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The jobs of this run only
    #[arg(value_name = "RUN")]
    pub run: Option<RunId>,
    /// The jobs of this scope only
    #[arg(short = 's', long, value_name = "SCOPE", conflicts_with = "run")]
    pub scope: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_of_the_production_start_are_understood() {
        for line in [
            "bue example",
            "bue demo",
            "bue bucket -b 0.0.0.0:61535",
            "bue hub -b 0.0.0.0:65432 -k localhost:61535",
            "bue worker -b localhost:65432 -k localhost:61535",
            "bue worker -b localhost -k s3://bucket/prefix -s a,b -n 4",
            "bue worker --sandbox strict --check",
            "bue run --sandbox example.bue",
            "bue upload -b localhost:65432 -f ./example.bue",
            "bue upload example.bue --wait --key today",
            "bue run -f example.bue --json",
            "bue check a.bue b.bue --json",
            "bue plan a.bue --mermaid",
            "bue fmt --check a.bue",
            "bue --data-dir /data status",
            "bue status r0123456789ab --all",
            "bue status r0123456789ab --state failed",
            "bue again r0123456789ab --wait",
            "bue results r0123456789ab --json",
            "bue logs j7 -b localhost",
            "bue logs j7 -f",
            "bue logs j7 --attempt 2",
            "bue logs r0123456789ab",
            "bue value j7 --head 10",
            "bue value j7 --csv a.csv --parquet a.parquet -k localhost",
            "bue query r0123456789ab select --json",
            "bue reset j7",
            "bue reset r0123456789ab",
            "bue reset r0123456789ab/j7",
            "bue explain r0123456789ab",
            "bue explain r0123456789ab/j7",
            "bue pause -s production-small",
            "bue secret set API_TOKEN -b localhost",
            "bue secret list --json",
            "bue secret remove API_TOKEN",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }
}
