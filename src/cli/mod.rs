//! What can be typed: commands, arguments and flags.
//!
//! - [`scripts`]: about scripts on this machine.
//! - [`services`]: hub, worker and bucket.
//! - [`look`]: at the hub, at runs and at jobs. [`change`]: what a hub does.
//! - [`names`]: of what commands are about.

mod change;
mod look;
mod names;
mod scripts;
mod services;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

pub use change::*;
pub use look::*;
pub use names::*;
pub use scripts::*;
pub use services::*;

use crate::address::PartialAddress;

/// Runs very large amounts of I/O-heavy work, written in Python and SQL, on a few cheap machines.
#[derive(Debug, Parser)]
#[command(name = "bue", version, disable_version_flag = true, propagate_version = false, arg_required_else_help = true)]
#[command(after_help = "\
A run has a name such as r6p1tx4rc5z7b, a job one such as j12 or, with its run, r6p1tx4rc5z7b/j12.
Settings can also stand in the environment and in `.env`: see docs/settings.md.")]
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
    SqlStep {
        #[arg(hide = true)]
        words: Vec<std::ffi::OsString>,
    },
}

/// Where a user's command finds the hub.
#[derive(Debug, Args)]
pub struct HubPlace {
    /// Where the hub is [default: 127.0.0.1:65432]
    #[arg(short = 'b', long = "hub", value_name = "HOST:PORT")]
    pub hub: Option<PartialAddress>,
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
