//! What one attempt is to do, with all that is known of it: pure data, and the start frame made from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::api::{Lease, PlanAnswer};
use protocol::frame::{Code, DuckdbFrame, Input, StartFrame};
use protocol::{ErrorKind, Language, PROTOCOL_VERSION, Source, Step, StepError};

use crate::config::Config;
use crate::engines::Engines;
use crate::environments::{Environment, Imports};
use crate::scratch::Scratch;
use crate::template;
use crate::trouble::Trouble;

/// A lease, its step, and the folders it works in.
#[derive(Debug)]
pub(crate) struct Assignment<'attempt> {
    pub(crate) lease: &'attempt Lease,
    pub(crate) plan: &'attempt PlanAnswer,
    pub(crate) step: &'attempt Step,
    /// The bundle's root on this machine.
    pub(crate) root: PathBuf,
    /// The same, as the step sees it.
    pub(crate) seen_root: PathBuf,
    pub(crate) scratch: &'attempt Scratch,
    /// The interpreter of a Python step, with its packages.
    pub(crate) environment: Arc<Environment>,
    /// What a Python step imports.
    pub(crate) imports: Arc<Imports>,
    /// What a SQL step runs on.
    pub(crate) engines: &'attempt Engines,
}

/// Memory that a step of DuckDB takes beside what the database counts.
const UNCOUNTED_BYTES: u64 = 128 << 20;

/// The step that a lease names.
pub(crate) fn step_of<'plan>(plan: &'plan PlanAnswer, lease: &Lease) -> Result<&'plan Step, Trouble> {
    plan.steps.get(lease.step as usize).ok_or_else(|| {
        let message = format!("the plan of {} has no step number {}", plan.script, lease.step);
        Trouble::Step(StepError::new(ErrorKind::Load, message))
    })
}

impl<'attempt> Assignment<'attempt> {
    /// The assignment of a step with the folder of its bundle's files, whose imports nobody needs to know.
    pub(crate) fn new(
        lease: &'attempt Lease,
        (plan, step): (&'attempt PlanAnswer, &'attempt Step),
        (root, scratch): (PathBuf, &'attempt Scratch),
        environment: Arc<Environment>,
        engines: &'attempt Engines,
    ) -> Self {
        let seen_root = scratch.seen(&root);
        Self { lease, plan, step, root, seen_root, scratch, environment, imports: Arc::default(), engines }
    }
}

impl Assignment<'_> {
    /// The first line to the step's process.
    pub(crate) fn start_frame(&self, inputs: Vec<Input>, config: &Config) -> Result<StartFrame, Trouble> {
        let limits = &config.limits;
        let code = self.code()?;
        let postgres = match self.step.language {
            Language::Postgres => Some(self.engines.postgres_frame(self.step, limits).map_err(Trouble::Step)?),
            _ => None,
        };
        let duckdb = match self.step.language {
            Language::Duckdb => Some(self.duckdb(config)?),
            _ => None,
        };
        Ok(StartFrame {
            protocol: PROTOCOL_VERSION,
            run: self.lease.run.clone(),
            job: self.lease.job,
            attempt: self.lease.attempt,
            step: self.step.name.clone(),
            language: self.step.language,
            function: self.step.function.clone(),
            path: self.module_folders(&code),
            code,
            inputs,
            values: self.scratch.seen(&self.scratch.values()),
            inline_bytes_max: limits.inline_bytes_max,
            value_bytes_max: limits.value_bytes_max,
            postgres,
            duckdb,
        })
    }

    fn duckdb(&self, config: &Config) -> Result<DuckdbFrame, Trouble> {
        let mut frame = self.engines.duckdb_frame(&config.program, &config.limits).map_err(Trouble::Step)?;
        if let Some(bytes) = self.step.settings.runtime.memory_bytes {
            frame.memory_bytes_max = frame.memory_bytes_max.min(share_of_duckdb(bytes));
        }
        Ok(frame)
    }

    /// The folder the script is in, as the step sees it.
    pub(crate) fn script_folder(&self) -> PathBuf {
        match self.plan.script.rsplit_once('/') {
            Some((folder, _)) => self.seen_root.join(folder),
            None => self.seen_root.clone(),
        }
    }

    /// An argument, as the step's process sees its file.
    pub(crate) fn seen_input(&self, input: Input) -> Input {
        match input {
            Input::Json(text) => Input::Json(text),
            Input::JsonFile(path) => Input::JsonFile(self.scratch.seen(&path)),
            Input::ArrowFile(path) => Input::ArrowFile(self.scratch.seen(&path)),
        }
    }

    fn code(&self) -> Result<Code, Trouble> {
        let source = self.plan.sources.get(self.step.source as usize).ok_or_else(|| {
            let message = format!("the plan of {} has no source number {}", self.plan.script, self.step.source);
            Trouble::Step(StepError::new(ErrorKind::Load, message))
        })?;
        match (self.step.language, source) {
            (Language::Python, Source::File(path)) => Ok(Code::File(self.seen_root.join(path))),
            (Language::Python, Source::Code { text, line }) => Ok(self.text(text.clone(), &self.plan.script, *line)),
            // SQL is sent as text, its templates filled in: the process that runs it reads no files.
            (_, Source::File(path)) => Ok(self.text(self.filled(&read(&self.root, path)?)?, path, 1)),
            (_, Source::Code { text, line }) => Ok(self.text(self.filled(text)?, &self.plan.script, *line)),
        }
    }

    fn text(&self, text: String, script: &str, line: u32) -> Code {
        Code::Text { text, script: script.to_owned(), line }
    }

    fn filled(&self, text: &str) -> Result<String, Trouble> {
        let mut fault = None;
        let fresh_id = || template::random_id().unwrap_or_else(|error| fault.insert(error.to_string()).clone());
        let filled = template::fill(text, &self.step.settings, fresh_id);
        fault.map_or(Ok(filled), |fault| Err(Trouble::Away(fault)))
    }

    /// The step's folder and the script's.
    fn module_folders(&self, code: &Code) -> Vec<PathBuf> {
        let script_folder = self.script_folder();
        let step_folder = match code {
            Code::File(path) => path.parent().map(Path::to_owned),
            Code::Text { .. } => None,
        };
        let step_folder = step_folder.filter(|folder| *folder != script_folder);
        step_folder.into_iter().chain([script_folder]).collect()
    }
}

/// What of a step's memory DuckDB may fill: the rest is for what it does not count (texts on their way, threads) and for the result,
/// which takes as much whatever the whole is.
fn share_of_duckdb(bytes: u64) -> u64 {
    (bytes / 2).min(bytes.saturating_sub(UNCOUNTED_BYTES)).max(bytes / 3)
}

fn read(root: &Path, path: &str) -> Result<String, Trouble> {
    std::fs::read_to_string(root.join(path)).map_err(|error| {
        Trouble::Step(StepError::new(ErrorKind::Load, format!("the file {path} cannot be read: {error}")))
    })
}
