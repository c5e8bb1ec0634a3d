//! `bue demo`: starts a whole fleet, runs a pipeline on it, shows the results, stops everything.

use std::path::{Path, PathBuf};
use std::process::Command;

use protocol::api::RunView;
use tokio_util::sync::CancellationToken;

use super::upload;
use crate::bundle::Bundle;
use crate::cli::DemoArguments;
use crate::client::{Client, Patience};
use crate::context::{Context, block_on};
use crate::data_dir::DataDirError;
use crate::demo::example;
use crate::demo::fleet::{Fallen, Fleet, Layout};
use crate::error::{Error, Kind, Result};
use crate::service::{log, stop};
use crate::settings::Sources;
use crate::settings::limits::BundleLimits;
use crate::{output, secrets, show};

/// Runs it on this thread: the processes of the fleet end with it.
pub fn run(context: &Context, arguments: &DemoArguments) -> Result {
    log::start_quietly(&context.sources)?;
    let python = context.python(arguments.python.as_ref())?;
    let folder = tempfile::Builder::new().prefix("bue-demo-").tempdir().map_err(|error| {
        Error::machine(DataDirError::new("make a folder in", &std::env::temp_dir(), error))
            .hint("TMPDIR names another folder for temporary files")
    })?;
    let demo = Demo { layout: Layout::new(folder.path()), python: python.path, keep: arguments.keep };
    let done = block_on(demo.run());
    if arguments.keep {
        output::note(&format!("what the demo wrote is still in {}", folder.keep().display()));
    }
    done
}

struct Demo {
    layout: Layout,
    python: PathBuf,
    keep: bool,
}

impl Demo {
    async fn run(&self) -> Result {
        let stop = stop::on_signal()?;
        output::note("starting a simulated ads API, a bucket, a hub and three workers");
        let mut fleet = tokio::select! {
            started = Fleet::start(&self.layout, &self.python) => started?,
            () = stop.cancelled() => return Err(stopped()),
        };
        if self.keep {
            output::note(&fleet.describe(&self.layout));
            output::note("Ctrl-C ends them all\n");
        }
        let done = self.run_on(&mut fleet, &stop).await;
        fleet.stop().await;
        if done.is_ok() {
            output::note("the fleet has stopped");
        }
        done
    }

    async fn run_on(&self, fleet: &mut Fleet, stop: &CancellationToken) -> Result {
        let client = self.client(fleet)?;
        let pipeline = self.pipeline(&client);
        let done = tokio::select! {
            done = pipeline => done,
            error = self.guard(fleet) => Err(error),
            () = stop.cancelled() => return Err(stopped()),
        };
        if self.keep && !matches!(&done, Err(error) if error.kind() != Kind::Failed) {
            if let Err(error) = &done {
                output::note(&error.to_string());
            }
            output::note(&format!(
                "\nthe fleet stays up: `bue status -b {} --data-dir {}` shows it, Ctrl-C ends it",
                fleet.hub,
                self.layout.data_dir.path().display()
            ));
            tokio::select! {
                error = self.guard(fleet) => return Err(error),
                () = stop.cancelled() => {}
            }
        }
        done
    }

    fn client(&self, fleet: &Fleet) -> Result<Client> {
        // The fleet has nothing of this environment's settings, so its token is in its data folder.
        let token = secrets::token_of_client(&Sources::default(), &self.layout.data_dir)?;
        Ok(Client::new(fleet.hub.clone(), token, Patience::Endless)?)
    }

    /// Uploads the script, follows its run, shows and checks what came of it.
    async fn pipeline(&self, client: &Client) -> Result {
        let script = self.layout.pipeline().join(example::SCRIPT);
        let bundle = Bundle::collect(&script, &self.layout.data_dir, &BundleLimits::default())?;
        let answer = upload::submit(client, &bundle, None).await?;
        output::note(&format!("{} is run {}", answer.run.script, answer.run.id));
        let run: RunView = answer.run;
        show::to_the_end(client, run).await?;
        check(&self.python, &self.layout.pipeline())
    }

    /// Watches the fleet. Where it is kept, its user may kill processes and start them again; else one that ends is a failure.
    async fn guard(&self, fleet: &mut Fleet) -> Error {
        loop {
            let Fallen { what, log, command } = fleet.watch().await;
            if !self.keep {
                return Error::machine(format_args!("{what}; its last words:\n{log}"));
            }
            output::note(&format!("{what}; this starts it again: {command}"));
        }
    }
}

fn stopped() -> Error {
    Error::new(Kind::Failed, "stopped before the run had ended")
}

/// Compares what was loaded with the API's own figures.
fn check(python: &Path, pipeline: &Path) -> Result {
    let checked = Command::new(python)
        .arg(example::CHECK)
        .current_dir(pipeline)
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .map_err(|error| Error::machine(format_args!("cannot check what was loaded: {error}")))?;
    let said = String::from_utf8_lossy(if checked.status.success() { &checked.stdout } else { &checked.stderr });
    if checked.status.success() {
        return output::print(&format!("\ncheck: {}", said.trim()));
    }
    Err(Error::new(Kind::Failed, format_args!("what was loaded is not what the API has:\n{}", said.trim())))
}
