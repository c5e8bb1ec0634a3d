//! Hub, worker and bucket: what runs until it is stopped.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sandbox::Policy;

use super::HubPlace;
use crate::address::PartialAddress;

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
