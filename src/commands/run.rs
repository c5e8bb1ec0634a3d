//! `bue run`: runs a script on this machine until nothing more can run, without a server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::Plan;
use protocol::api::RunView;
use protocol::secret::SecretText;

use crate::bundle::{Bundle, Listing};
use crate::cli::RunArguments;
use crate::context::{Context, block_on_all_cores};
use crate::data_dir::Service;
use crate::error::{Error, Kind, Result};
use crate::local::{Engine, Options};
use crate::service::{log, sandbox, stop};
use crate::settings::limits::{self, BundleLimits};
use crate::settings::{engines, table, value};
use crate::show::json::{self, Document};
use crate::{heap, output, show};

/// Running steps of a run that is broken off get no time to finish: nobody will take them up.
const DRAIN: Duration = Duration::from_millis(1);

/// Runs it.
pub fn run(context: &Context, arguments: &RunArguments) -> Result {
    log::start_quietly(&context.sources)?;
    let limits = BundleLimits::read(&context.sources)?;
    let listing = Listing::collect(&arguments.script.path(), &context.data_dir, limits.entries_max)?;
    for note in &listing.notes {
        output::note(note);
    }
    let plan = compile(&listing, arguments)?;
    // In a sandbox steps get a copy of all files; else they find them where they are.
    let bundle = if arguments.sandbox { Bundle::of(listing, &limits)? } else { Bundle::of_code(listing, &plan)? };
    let options = options(context, arguments, &bundle, &plan)?;
    block_on_all_cores(run_plan(options, &bundle, &plan, arguments.json))
}

fn compile(listing: &Listing, arguments: &RunArguments) -> Result<Plan> {
    let text = listing.read(&listing.script)?;
    let mut compiled = language::compile(&listing.script, &text, listing);
    for diagnostic in &mut compiled.diagnostics {
        diagnostic.file = arguments.script.path().display().to_string();
    }
    if !compiled.diagnostics.is_empty() {
        let text = String::from_utf8_lossy(&text);
        output::note_coloured(language::render(&compiled.diagnostics, &text, output::colours()).trim_end());
        listing.explain_missing(&compiled.diagnostics).iter().for_each(|note| output::note(note));
    }
    match compiled.plan {
        Some(plan) => Ok(plan),
        None => {
            if arguments.json {
                json::print(&Document::wrong(&compiled.diagnostics))?;
            }
            Err(Error::told(Kind::Usage))
        }
    }
}

fn options(context: &Context, arguments: &RunArguments, bundle: &Bundle, plan: &Plan) -> Result<Options> {
    let sources = &context.sources;
    let python = context.python(arguments.python.as_ref())?;
    // The engine gives it a folder of its own.
    let mut worker = worker::Config::new(bundle.listing.root.clone(), python).map_err(Error::machine)?;
    heap::set(heap::Policy::UseAgain);
    worker.after_large = heap::give_back;
    if arguments.sandbox {
        worker.sandbox = sandbox::open(context, None, &[], &context.data_dir.create(Service::Worker)?)?;
    } else {
        worker.mode = worker::Mode::Local { folder: bundle.listing.root.clone() };
    }
    worker.scopes = scopes(plan, worker.scopes);
    worker.limits = limits::worker(sources)?;
    worker.engines = engines::read(sources)?;
    worker.packages_from_source = sources.read(&table::BUE_PACKAGES_FROM_SOURCE)?.unwrap_or(false);
    // They stay for the next run.
    worker.environments = Some(context.data_dir.of(Service::Worker).join("environments"));
    worker.limits.drain = DRAIN;
    let slots = match arguments.slots {
        Some(slots) => Some(slots),
        None => sources.read::<value::Slots>(&table::N_WORKER_PROCESSES)?.map(|slots| slots.0),
    };
    if let Some(slots) = slots {
        worker.slots = slots as usize;
    }
    let mut limits = limits::hub(sources)?;
    // What protects a hub from strangers would only be in the way of one's own script.
    limits.scopes_max = limits.scopes_max.max(worker.scopes.len());
    limits.results_max = usize::MAX;
    if !arguments.sandbox {
        (limits.bundle_bytes_max, limits.bundle_files_max) = (u64::MAX, usize::MAX);
    }
    let reverse_priority = sources.read(&table::REVERSE_PRIORITY)?.unwrap_or(false);
    let secrets = declared_secrets(context, plan);
    Ok(Options { worker, secrets, policy: limits::policy(sources)?, limits, reverse_priority })
}

/// Secrets of a run without a hub are variables of its user: of the environment, or of `.env`.
fn declared_secrets(context: &Context, plan: &Plan) -> BTreeMap<String, SecretText> {
    let declared = plan.steps.iter().flat_map(|step| &step.settings.runtime.secrets);
    declared.filter_map(|name| Some((name.clone(), SecretText(context.sources.text(name)?.to_owned())))).collect()
}

/// All scopes of the script, in the order a worker of a fleet has, unknown ones last.
fn scopes(plan: &Plan, known: Vec<String>) -> Vec<String> {
    let mut scopes = known;
    for step in &plan.steps {
        if !scopes.contains(&step.settings.scope) {
            scopes.push(step.settings.scope.clone());
        }
    }
    scopes
}

async fn run_plan(options: Options, bundle: &Bundle, plan: &Plan, as_json: bool) -> Result {
    let stop = stop::on_signal()?;
    let mut engine = Engine::start(options, plan).await?;
    let answer = engine.submit(bundle).await?;
    let embedded = Arc::clone(&engine.embedded);
    let ended = tokio::select! {
        ended = show::progress::follow(&*embedded, answer.run.clone()) => Some(ended),
        error = engine.worker_failed() => return Err(error),
        () = stop.cancelled() => None,
    };
    let shown = match ended {
        Some(Ok(run)) if as_json => print_json(&engine, plan, &run).await,
        Some(Ok(run)) => show::show_end(&*engine.embedded, &run).await,
        Some(Err(error)) => Err(error),
        None => {
            engine.cancel(&answer.run.id).await;
            Err(Error::new(Kind::Failed, "stopped before the run had ended"))
        }
    };
    let stopped = engine.stop().await;
    shown.and(stopped)
}

async fn print_json(engine: &Engine, plan: &Plan, run: &RunView) -> Result {
    let document = Document::of_run(&engine.embedded, run, plan).await?;
    json::print(&document)?;
    show::failures::show(&*engine.embedded, run).await?;
    show::verdict(run)
}
