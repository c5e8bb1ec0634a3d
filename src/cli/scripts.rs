//! Commands about scripts on this machine.

use std::path::PathBuf;

use clap::Args;

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
