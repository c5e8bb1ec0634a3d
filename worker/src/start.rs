//! How the process of a step comes to be: forked from the interpreter that suits it, or started anew.

use std::io;
use std::path::Path;
use std::sync::Arc;

use protocol::Language;

use crate::assignment::Assignment;
use crate::attempt::{Attempts, isolation};
use crate::config::Start;
use crate::enclosure::may_use_network;
use crate::environments::Environment;
use crate::hub::Hub;
use crate::interpreters::{Interpreter, Memory};
use crate::launch::{self, Launch};
use crate::process::{Pipes, Process};
use crate::sql::SQL_STEP_WORD;
use crate::warm::{Place, Warm};

/// Slots whose memory must be free for an interpreter to load modules.
const SLOTS_OF_MODULES: u64 = 8;

impl<H: Hub> Attempts<H> {
    /// A process for the step, and what it must be told before its start frame.
    pub(crate) async fn start(
        &self,
        launch: &Launch,
        assignment: &Assignment<'_>,
        interpreter: Option<&Interpreter>,
        place: Option<Place>,
    ) -> (io::Result<(Process, Pipes)>, Vec<u8>) {
        if let Some(interpreter) = interpreter {
            match interpreter.warm.fork(assignment.scratch.number(), place).await {
                Ok(started) => {
                    self.warm_outage.worked();
                    self.shared.start_outage.worked();
                    return (Ok(started), launch.line());
                }
                // A fresh one does the same, and says what is wrong where it cannot.
                Err(error) => self.warm_outage.failed(&format!("there is no warm interpreter: {error}")),
            }
        }
        let started = Process::start(launch.command()).await;
        if started.is_ok() {
            self.shared.start_outage.worked();
        }
        (started, Vec::new())
    }

    /// The warm interpreter, or program, that a step is forked from, unless it has a fresh one.
    pub(crate) fn interpreter_of(&self, assignment: &Assignment<'_>) -> Option<Arc<Interpreter>> {
        let (step, config) = (assignment.step, &self.shared.config);
        let is_fresh =
            config.start == Start::Fresh || step.settings.runtime.isolation == Some(protocol::Isolation::Fresh);
        // A step in PostgreSQL's language may need a socket of this machine, which is shown to a cell of its own alone.
        if is_fresh || step.language == Language::Postgres {
            return None;
        }
        let found = match step.language {
            Language::Python => self.interpreter_of_python(assignment),
            Language::Sqlite3 | Language::Duckdb | Language::Postgres => self.engine_of(assignment),
        };
        self.interpreters.note_last((assignment.lease.plan, assignment.lease.step), found.warm.id());
        Some(found)
    }

    fn interpreter_of_python(&self, assignment: &Assignment<'_>) -> Arc<Interpreter> {
        let (step, config) = (assignment.step, &self.shared.config);
        let (environment, network) = (&assignment.environment, may_use_network(step));
        let bare = self.interpreter(environment, network);
        if bare.warm.refusal().is_some() {
            return bare;
        }
        let memory = Memory {
            of_step: self.enclosure.bounds(step, &config.limits).memory_bytes,
            to_load: config.limits.step_memory_bytes_max,
            is_there: || self.shared.has_memory(SLOTS_OF_MODULES),
        };
        let make = || self.warm(environment, network);
        let loaded = self.interpreters.loaded(environment, network, &assignment.imports, memory, make);
        loaded.unwrap_or(bare)
    }

    /// The warm program of a SQL step, which forks itself as an interpreter does.
    fn engine_of(&self, assignment: &Assignment<'_>) -> Arc<Interpreter> {
        let (step, config, enclosure) = (assignment.step, &self.shared.config, &self.enclosure);
        let network = may_use_network(step);
        let is_duckdb = step.language == Language::Duckdb;
        let program = match is_duckdb {
            true => assignment.engines.duckdb_program(&config.program),
            false => config.program.clone(),
        };
        let make = || {
            let (seen, word) = match is_duckdb {
                true => (enclosure.seen_duckdb(program.clone()), None),
                false => (enclosure.seen_along(&program), Some(SQL_STEP_WORD)),
            };
            let broker = enclosure.has_own_root().then_some(sandbox::BROKER_WORD);
            let words = word.into_iter().chain([sandbox::WARM_WORD]).chain(broker);
            let folder = self.folder_of_warm();
            let cell = enclosure.engine_cell(assignment, config, self.scratches.folder(), folder, network);
            Warm::new(Launch {
                program: seen,
                arguments: words.map(Into::into).collect(),
                folder: folder.to_owned(),
                environment: launch::engine_environment(&config.mode, folder),
                enclosed: cell.map(|cell| (enclosure.launcher.clone(), cell)),
            })
        };
        self.interpreters.engine(&program, &self.environments.own(), network, make)
    }

    /// Where warm programs run: in a root of their own they see no folder of this machine.
    fn folder_of_warm(&self) -> &Path {
        if self.enclosure.has_own_root() { Path::new("/") } else { self.scratches.folder() }
    }

    pub(crate) fn interpreter(&self, environment: &Arc<Environment>, network: bool) -> Arc<Interpreter> {
        self.interpreters.bare(environment, network, || self.warm(environment, network))
    }

    /// That a step must not use the network and cannot be kept from it, was found before.
    fn warm(&self, environment: &Environment, network: bool) -> Warm {
        let (config, enclosure) = (&self.shared.config, &self.enclosure);
        let folder = self.folder_of_warm();
        let cell = enclosure.warm_cell(environment, self.scratches.folder(), folder, network);
        Warm::new(Launch {
            program: environment.python.path.clone(),
            arguments: self.runner.warm_arguments(isolation(&config.mode), enclosure.has_own_root()),
            folder: folder.to_owned(),
            environment: launch::idle_environment(&config.mode, folder),
            enclosed: cell.map(|cell| (enclosure.launcher.clone(), cell)),
        })
    }
}
