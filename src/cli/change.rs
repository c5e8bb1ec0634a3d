//! Commands that change what a hub does.

use clap::{Args, Subcommand};
use protocol::RunId;

use super::HubPlace;
use super::names::{self, RunOrJob};
use super::scripts::ScriptArgument;

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

/// Arguments of `bue cancel`.
#[derive(Debug, Args)]
pub struct CancelArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The run
    #[arg(value_name = "RUN", value_parser = names::run)]
    pub run: RunId,
}

/// Arguments of `bue pin` and `bue unpin`.
#[derive(Debug, Args)]
pub struct PinArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The run
    #[arg(value_name = "RUN", value_parser = names::run)]
    pub run: RunId,
}

/// Arguments of `bue again`.
#[derive(Debug, Args)]
pub struct AgainArguments {
    /// Where the hub is
    #[command(flatten)]
    pub hub: HubPlace,
    /// The run whose script is to run again
    #[arg(value_name = "RUN", value_parser = names::run)]
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
    #[arg(value_name = "RUN", value_parser = names::run)]
    pub run: Option<RunId>,
    /// The jobs of this scope only
    #[arg(short = 's', long, value_name = "SCOPE", conflicts_with = "run")]
    pub scope: Option<String>,
}
