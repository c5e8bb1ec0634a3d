//! One attempt of one job: its files and inputs, its process, and what came of it.
//!
//! Nothing here decides what happens to the job; that is the hub's. And nothing here fails a job because hub or bucket
//! are away: the attempt waits for them, and is handed back when that takes too long.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::time::Duration;

use bucket::Bucket;
use bucket::value::{Accepted, Copied, ValueLimits, Values};
use protocol::api::{Lease, PlanAnswer};
use protocol::frame::{DraftFrame, ErrorFrame, Input};
use protocol::{Language, Outcome, Step};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::ahead::{Ahead, Kept, Prepared, Read, Storing};
use crate::assignment::{self, Assignment};
use crate::bundles::Bundles;
use crate::bytecode::{self, Bytecode};
use crate::config::{Limits, Mode, Start};
use crate::control::{Shared, WorkerError};
use crate::done::Done;
use crate::enclosure::{self, Enclosure};
use crate::engines_of_step;
use crate::environments::Environments;
use crate::follow::{Followed, Written};
use crate::held::StepIs;
use crate::hub::Hub;
use crate::interpreters::Interpreters;
use crate::launch::{self, Launch};
use crate::live_log::LiveLog;
use crate::log::Log;
use crate::orphans::Mark;
use crate::outage::Outage;
use crate::process::Exit;
use crate::runner::{Isolation, Runner};
use crate::scratch::{Keep, Scratch, Scratches};
use crate::shared::SharedInterpreters;
use crate::sql::{SQL_STEP_WORD, with_statements};
use crate::step_process::{self, Conversation, Ending, Terms};
use crate::trouble::Trouble;
use crate::variables::Declared;
use crate::warm::Place;

/// Why attempts are handed back at the end of a worker.
pub(crate) const SHUTDOWN: &str = "the worker shuts down";

/// What can end an attempt from outside.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// The lease is no longer ours: nobody wants the outcome.
    pub(crate) revoked: CancellationToken,
    /// The worker shuts down: the attempt is handed back.
    pub(crate) handed_back: CancellationToken,
}

impl End {
    /// Waits for either.
    pub(crate) async fn wait(&self) {
        tokio::select! {
            () = self.revoked.cancelled() => {}
            () = self.handed_back.cancelled() => {}
        }
    }
}

/// Where the arguments of a step come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arguments<'table> {
    /// The references in its lease.
    Leased,
    /// A file that the process of the step reads already.
    Read(&'table Input),
    /// What the step before has returned: there is no lease yet.
    Copied(&'table Copied),
}

/// A step that has run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) conversation: Conversation,
    /// What was made of the table it returned while that was written.
    pub(crate) written: Written,
    /// The table it returned, as soon as it is at hand, and what was begun for it.
    pub(crate) copied: Option<(Copied, Option<Kept>)>,
    /// The same, where it is stored already as what came of a job's first attempt.
    pub(crate) storing: Option<Storing>,
    pub(crate) scratch: Scratch,
    pub(crate) declared: Declared,
}

/// All that attempts of one worker share.
pub(crate) struct Attempts<H> {
    pub(crate) shared: Arc<Shared<H>>,
    pub(crate) values: Values,
    pub(crate) bundles: Arc<Bundles<H>>,
    pub(crate) bytecode: Arc<Bytecode>,
    pub(crate) scratches: Scratches,
    pub(crate) runner: Runner,
    pub(crate) enclosure: Enclosure,
    pub(crate) environments: Environments,
    pub(crate) interpreters: Arc<Interpreters>,
    pub(crate) shared_interpreters: SharedInterpreters,
    pub(crate) warm_outage: Outage,
    pub(crate) ahead: Ahead,
}

impl<H: Hub> Attempts<H> {
    /// Prepares the worker's folder.
    pub(crate) async fn open(shared: Arc<Shared<H>>, bucket: Bucket) -> Result<Self, WorkerError> {
        let folder = &shared.config.data_dir;
        let unusable = |source| WorkerError::Folder { path: folder.clone(), source };
        // Steps are told about places in it, and their current directory is another.
        std::fs::create_dir_all(folder).map_err(unusable)?;
        let root = std::fs::canonicalize(folder).map_err(unusable)?;
        let bundles = Bundles::open(Arc::clone(&shared.hub), &root.join("cache"), &shared.config.limits);
        let runner = Runner::install(&root.join("runner")).map_err(unusable)?;
        let enclosure = Enclosure::open(&shared.config, runner.folder(), &root).map_err(unusable)?;
        if enclosure.has_own_root() {
            runner.compile(&shared.config.python.path).map_err(unusable)?;
        }
        let runner = runner.seen_at(enclosure.seen_along(runner.folder()));
        let seen = enclosure.step_folder();
        let limits = &shared.config.limits;
        let keep = Keep { folders_max: limits.idle_cells_max, processes_max: limits.stand_by_max };
        let scratches = Scratches::open(&root.join("scratch"), shared.session, seen, keep).map_err(unusable)?;
        let kept = scratches.folder().join("values");
        std::fs::DirBuilder::new().mode(0o700).create(&kept).map_err(unusable)?;
        let is_other = enclosure.other_identity().is_some();
        if is_other && !enclosure.has_own_root() {
            enclosure::let_pass(&root.join("scratch")).map_err(unusable)?;
        }
        let environments = shared.config.environments.clone().unwrap_or_else(|| root.join("environments"));
        Ok(Self {
            values: Values::new(bucket, &kept, value_limits(&shared.config.limits))
                .calling(shared.config.after_large)
                .lending(is_other),
            bundles: Arc::new(bundles.map_err(unusable)?),
            bytecode: Arc::new(Bytecode::new(scratches.folder().join("bytecode"), enclosure.clone())),
            environments: Environments::open(environments, &shared.config, enclosure.clone()),
            interpreters: Arc::new(Interpreters::new(limits.warm_max, limits.preloads_max)),
            shared_interpreters: SharedInterpreters::new(shared.config.limits.warm_max),
            warm_outage: Outage::new("the warm interpreter"),
            ahead: Ahead::default(),
            scratches,
            enclosure,
            runner,
            shared,
        })
    }

    /// Gets ready what the first attempt would wait for.
    pub(crate) async fn warm_up(&self) {
        if self.shared.config.start == Start::Forked {
            self.interpreter(&self.environments.own(), true).warm.warm_up().await;
        }
    }

    /// Removes what is too much or too old of what is kept on disk for later. It may take a while.
    pub(crate) fn tidy(&self) {
        self.bundles.tidy();
        self.environments.tidy();
        self.interpreters.tidy();
    }

    /// Carries out one lease.
    pub(crate) async fn run(self: &Arc<Self>, lease: Lease, end: End) -> Done {
        let span = tracing::info_span!("attempt", run = %lease.run, job = %lease.job, attempt = lease.attempt);
        match self.prepare_and_run(&lease, &end).instrument(span).await {
            Ok(done) => done,
            Err(Trouble::Step(error)) => Done { outcome: Outcome::Error(error), log: None, left: None },
            Err(Trouble::Away(reason)) => Done::release(&reason, self.shared.config.limits.release_delay),
            Err(Trouble::Stopped) => Done::release(SHUTDOWN, Duration::ZERO),
        }
    }

    async fn prepare_and_run(self: &Arc<Self>, lease: &Lease, end: &End) -> Result<Done, Trouble> {
        let plan = self.fetch(end, || self.bundles.plan(lease.plan)).await?;
        let step = assignment::step_of(&plan, lease)?;
        if step.language == Language::Python && step.settings.runtime.isolation == Some(protocol::Isolation::Shared) {
            return self.run_shared(lease, &plan, step, end).await;
        }
        let ran = match self.prepared(lease, end).await? {
            Prepared::Ran(ran) => *ran,
            Prepared::Read(Read { scratch, input }) => {
                self.run_in(scratch, (lease, &plan, step), Arguments::Read(&input), end).await?
            }
            Prepared::Nothing => self.run_step(lease, &plan, step, Arguments::Leased, end).await?,
        };
        self.conclude(lease, &plan, step, ran, end).await
    }

    /// Runs the process of a step to its end, or to its answer.
    pub(crate) async fn run_step(
        self: &Arc<Self>,
        lease: &Lease,
        plan: &Arc<PlanAnswer>,
        step: &Step,
        arguments: Arguments<'_>,
        end: &End,
    ) -> Result<Ran, Trouble> {
        let scratch = self.filled_scratch(lease, plan, end).await?;
        self.run_in(scratch, (lease, plan, step), arguments, end).await
    }

    /// The same, in this folder.
    async fn run_in(
        self: &Arc<Self>,
        mut scratch: Scratch,
        (lease, plan, step): (&Lease, &Arc<PlanAnswer>, &Step),
        arguments: Arguments<'_>,
        end: &End,
    ) -> Result<Ran, Trouble> {
        let engines = self.engines(lease, step, end).await?;
        let place = scratch.take_place();
        let root = self.root_in(&scratch);
        let seen_root = scratch.seen(&root);
        let (environment, imports) = self.environment(lease, plan, step, &root, end).await?;
        let engines = &*engines;
        if step.language == Language::Python && self.is_of_fleet() {
            let (bundles, bundle) = (Arc::clone(&self.bundles), plan.bundle);
            self.bytecode.note(bundle, &environment, async move {
                let found = bundles.bundle(bundle).await.ok()?;
                bytecode::modules(&found.manifest, |file| bundles.path(file))
            });
        }
        let assignment =
            Assignment { lease, plan, step, root, seen_root, scratch: &scratch, environment, imports, engines };
        let inputs = self.inputs(&assignment, arguments, end).await?;
        self.hand_over_arguments(&scratch, &inputs)?;
        let mut declared = self.declared(lease, step, end).await?;
        declared.redactor = declared.redactor.or_else(|| engines_of_step::redactor(engines, step));
        // What is begun ahead is nobody's attempt yet.
        let live = (!matches!(arguments, Arguments::Copied(_))).then(|| self.live_log(lease)).flatten();
        let log = self.log(live, &declared);
        let (conversation, written) = self.converse(&assignment, plan, inputs, place, (&declared, log), end).await?;
        Ok(Ran { conversation, written, copied: None, storing: None, scratch, declared })
    }

    /// The trouble of an attempt whose process said that something is away: the database of a step, or room on the disk for a database or
    /// a value. It is ours that says so, no code of a user.
    pub(crate) fn away(&self, step: &Step, error: ErrorFrame) -> Trouble {
        if step.language == Language::Postgres {
            return Trouble::Away(error.message);
        }
        let folder = self.shared.config.data_dir.display();
        let message = format!("{}: that of its data folder {folder}, which --data-dir names", error.message);
        self.shared.disk_outage.failed(&message);
        self.values.forget_tables();
        Trouble::Away(message)
    }

    /// Whether others may do what this worker cannot.
    pub(crate) fn is_of_fleet(&self) -> bool {
        matches!(self.shared.config.mode, Mode::Fleet { .. })
    }

    /// The trouble of an attempt that could not be started because this machine is short of something: no fault of its step.
    pub(crate) fn shortage(&self, error: &io::Error) -> Trouble {
        let reason = format!("the worker has too little to start a process: {error}");
        self.shared.start_outage.failed(&reason);
        Trouble::Away(reason)
    }

    /// The trouble of an attempt that found this machine's disk failing.
    pub(crate) fn disk(&self, error: &io::Error) -> Trouble {
        let folder = self.shared.config.data_dir.display();
        self.shared.disk_outage.failed(&format!("the worker's data folder {folder} cannot be used: {error}"));
        self.values.forget_tables();
        Trouble::Away(format!("the worker's disk failed: {error}"))
    }

    /// Arguments of an interpreter that runs many attempts.
    pub(crate) fn shared_arguments(&self) -> Vec<std::ffi::OsString> {
        let config = &self.shared.config;
        let limits = &config.limits;
        self.runner.shared_arguments(
            isolation(&config.mode),
            limits.shared_attempts_max,
            limits.shared_memory_bytes_max,
        )
    }

    async fn inputs(
        &self,
        assignment: &Assignment<'_>,
        arguments: Arguments<'_>,
        end: &End,
    ) -> Result<Vec<Input>, Trouble> {
        let folder = assignment.scratch.inputs();
        if let Arguments::Read(input) = arguments {
            return Ok(vec![assignment.seen_input(input.clone())]);
        }
        if let Arguments::Copied(table) = arguments {
            let input = table.materialize(&folder, 0).await.map_err(|error| Trouble::Away(error.to_string()))?;
            return Ok(vec![assignment.seen_input(input)]);
        }
        let mut inputs = Vec::with_capacity(assignment.lease.inputs.len());
        for (number, value) in assignment.lease.inputs.iter().enumerate() {
            let input = match assignment.step.language {
                Language::Python => self.input(number, value, &folder, end).await?,
                Language::Sqlite3 | Language::Postgres | Language::Duckdb => {
                    self.input_as(Accepted::Compressed, number, value, &folder, end).await?
                }
            };
            inputs.push(assignment.seen_input(input));
        }
        Ok(inputs)
    }

    async fn converse(
        self: &Arc<Self>,
        assignment: &Assignment<'_>,
        plan: &Arc<PlanAnswer>,
        inputs: Vec<Input>,
        place: Option<Place>,
        (declared, mut log): (&Declared, Log),
        end: &End,
    ) -> Result<(Conversation, Written), Trouble> {
        let limits = &self.shared.config.limits;
        let mut frame = with_statements(assignment.start_frame(inputs, &self.shared.config)?);
        if let Some(duckdb) = &mut frame.duckdb {
            duckdb.program = self.enclosure.seen_duckdb(std::mem::take(&mut duckdb.program));
        }
        let mark = Mark::new(protocol::Digest::of(&assignment.lease.token.0).to_string());
        let mut launch = self.launch(assignment, &mark)?;
        launch.environment.extend(declared.variables.clone());
        let interpreter = self.interpreter_of(assignment);
        let (started, mut input) = self.start(&launch, assignment, interpreter.as_deref(), place).await;
        serde_json::to_writer(&mut input, &frame).map_err(|error| Trouble::Away(error.to_string()))?;
        input.push(b'\n');
        let timeout = Duration::from_millis(assignment.step.settings.timeout_ms);
        if let Some(reason) = interpreter.as_ref().and_then(|interpreter| interpreter.warm.refusal()) {
            log.note(reason, OffsetDateTime::now_utc());
        }
        if let Some(note) = self.enclosure.unkept(assignment.step) {
            log.note(note, OffsetDateTime::now_utc());
        }
        let filled = self.enclosure.quota(assignment.step, limits).exceeded(assignment.scratch.root());
        self.shared.held.note(assignment.lease.token, StepIs::Running);
        // In a cell, whatever it may still do goes with the cell or is seen.
        let is_lasting = interpreter.is_none() || !self.enclosure.leaves_nothing();
        let (step, folder, followed) = (assignment.step, assignment.scratch.values(), Followed::default());
        let written = |said: &DraftFrame| self.follow_draft(step, &folder, said, &followed);
        let terms = Terms { timeout, is_lasting, limits, written: &written };
        let conversation = tokio::select! {
            conversation = step_process::run(started, input, terms, end, log, filled) => conversation,
            never = self.follow((assignment.lease, plan, step), &folder, &followed) => match never {},
        };
        self.shared.held.note(assignment.lease.token, StepIs::Idle);
        if !self.enclosure.has_own_root() {
            mark.sweep().await;
        }
        Ok((Conversation { ending: self.seen_closer(conversation.ending), ..conversation }, followed.into_inner()))
    }

    /// Nobody but the kernel kills a step's process in a cell, unless it does so itself.
    pub(crate) fn seen_closer(&self, ending: Ending) -> Ending {
        match ending {
            Ending::Exit(Exit::Killed { .. }) if self.shared.kills.struck_lately() => Ending::OutOfMemory,
            other => other,
        }
    }

    /// Where what an attempt prints can be followed. What a user runs without a hub is shown as it ends.
    pub(crate) fn live_log(&self, lease: &Lease) -> Option<LiveLog> {
        self.is_of_fleet().then(|| self.shared.live_logs.of(lease))
    }

    /// A log that says what the step does not get and never what is secret.
    pub(crate) fn log(&self, live: Option<LiveLog>, declared: &Declared) -> Log {
        let bytes_max = self.shared.config.limits.log_bytes_max;
        let mut log = Log::of_attempt(bytes_max, declared.redactor.clone(), live);
        if let Some(level) = self.enclosure.shortfall() {
            log.note(&format!("the sandbox of this attempt is {level}"), OffsetDateTime::now_utc());
        }
        for name in &declared.absent {
            let line = format!("this worker has no variable {name}; the step runs without it");
            log.note(&line, OffsetDateTime::now_utc());
        }
        log
    }

    pub(crate) fn launch(&self, assignment: &Assignment<'_>, mark: &Mark) -> Result<Launch, Trouble> {
        let config = &self.shared.config;
        let (program, arguments) = match assignment.step.language {
            Language::Python => {
                (assignment.environment.python.path.clone(), self.runner.arguments(isolation(&config.mode)))
            }
            Language::Sqlite3 | Language::Postgres | Language::Duckdb => {
                (self.enclosure.seen_along(&config.program), vec![SQL_STEP_WORD.into()])
            }
        };
        let folder = match config.mode {
            Mode::Fleet { .. } => assignment.seen_root.clone(),
            Mode::Local { .. } => assignment.script_folder(),
        };
        let environment = launch::environment(&config.mode, assignment.lease, assignment.scratch, mark);
        let cell = self.enclosure.cell_of(assignment, config, &folder)?;
        let enclosed = cell.map(|cell| (self.enclosure.launcher.clone(), cell));
        Ok(Launch { program, arguments, folder, environment, enclosed })
    }
}

pub(crate) fn isolation(mode: &Mode) -> Isolation {
    match mode {
        Mode::Fleet { .. } => Isolation::Isolated,
        Mode::Local { .. } => Isolation::AsUser,
    }
}

fn value_limits(limits: &Limits) -> ValueLimits {
    ValueLimits {
        inline_bytes_max: limits.inline_bytes_max,
        value_bytes_max: limits.value_bytes_max,
        lists_bytes_max: limits.lists_bytes_max,
        tables_bytes_max: limits.tables_bytes_max,
    }
}
