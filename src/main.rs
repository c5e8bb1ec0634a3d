//! The `bue` command: from what was typed to one of the [`commands`], and from its error to an exit code.
//!
//! - [`cli`]: what can be typed.
//! - [`settings`]: what the environment and `.env` say; flags beat both.
//! - [`data_dir`], [`secrets`]: where state is, and how commands on one machine find token and keys.
//! - [`bundle`]: the files that travel with a script.
//! - [`client`]: the hub, as commands of a user see it.
//! - [`runs`]: runs as they can be looked at, behind a hub or in this process.
//! - [`fetched`]: values on this machine, for looking at them. [`export`]: where they go.
//! - [`demo`]: a fleet of real processes for the length of one run.
//! - [`heap`]: what becomes of memory that is free.
//! - [`local`]: a whole engine in this process.
//! - [`service`]: what hub, bucket and worker share as processes: sockets, signals, logs.
//! - [`show`]: progress, results and failures for people and programs.
//! - [`error`]: kinds of failures and their exit codes.
//!
//! The work itself is done by the crates `hub`, `worker`, `bucket` and `language`.

mod address;
mod bundle;
mod cli;
mod client;
mod commands;
mod context;
mod data_dir;
mod demo;
mod error;
mod export;
mod fetched;
mod heap;
mod local;
mod output;
mod runs;
mod secrets;
mod service;
mod settings;
mod show;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::{Cli, Command};
use crate::context::Context;
use crate::error::{Error, Kind, Result};

fn main() -> ExitCode {
    // Before anything else: a launcher must have one thread, and nothing of the rest concerns it.
    if let Some(code) = sandbox::launch(std::env::args_os().skip(1)) {
        return code;
    }
    heap::set(heap::Policy::GiveBack);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return parse_failed(&error),
    };
    // A panic is a bug: it has told its place by now, and what is left to say is the exit code.
    let ended = std::panic::catch_unwind(|| run(cli));
    match ended {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => error.report(),
        Err(_) => ExitCode::from(Kind::Internal.code()),
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    if let Command::SqlStep { words } = cli.command {
        heap::set(heap::Policy::Keep);
        return Ok(worker::sql_step_main(words));
    }
    let context = Context::load(cli.data_dir)?;
    let done = match cli.command {
        Command::Example(arguments) => commands::example::run(&arguments),
        Command::Demo(arguments) => commands::demo::run(&context, &arguments),
        Command::Run(arguments) => commands::run::run(&context, &arguments),
        Command::Check(arguments) => commands::check::run(&context, &arguments),
        Command::Plan(arguments) => commands::plan::run(&context, &arguments),
        Command::Fmt(arguments) => commands::fmt::run(&arguments),
        Command::Lsp => commands::lsp::run(),
        Command::Bucket(arguments) => commands::bucket::run(&context, &arguments),
        Command::Hub(arguments) => commands::hub::run(&context, &arguments),
        Command::Worker(arguments) => commands::worker::run(&context, &arguments),
        Command::Upload(arguments) => commands::upload::run(&context, &arguments),
        Command::Status(arguments) => commands::status::run(&context, &arguments),
        Command::Results(arguments) => commands::results::run(&context, &arguments),
        Command::Logs(arguments) => commands::logs::run(&context, &arguments),
        Command::Value(arguments) => commands::value::run(&context, &arguments),
        Command::Query(arguments) => commands::query::run(&context, &arguments),
        Command::Again(arguments) => commands::again::run(&context, &arguments),
        Command::Pin(arguments) => commands::pin::pin(&context, &arguments),
        Command::Unpin(arguments) => commands::pin::unpin(&context, &arguments),
        Command::Cancel(arguments) => commands::cancel::run(&context, &arguments),
        Command::Reset(arguments) => commands::reset::run(&context, &arguments),
        Command::Pause(arguments) => commands::pause::pause(&context, &arguments),
        Command::Resume(arguments) => commands::pause::resume(&context, &arguments),
        Command::Explain(arguments) => commands::explain::run(&context, &arguments),
        Command::Secret(arguments) => commands::secret::run(&context, &arguments),
        Command::SqlStep { .. } => Err(Error::internal("a SQL step needs no context")),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Help and version are answers; the rest is wrong usage.
fn parse_failed(error: &clap::Error) -> ExitCode {
    // Where nobody reads it, there is nobody to tell.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(Kind::Usage.code()),
    }
}
