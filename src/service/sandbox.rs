//! The sandbox that a worker's steps run in: what is asked for, what this machine has, and what follows.

use std::path::{Path, PathBuf};

use sandbox::{Identity, Level, Policy, Report, probe};
use worker::{Groups, Limits, Sandbox};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::output;
use crate::settings::table::{self, Setting};
use crate::settings::value::Opened;
use crate::show::value::drawn;

/// Who steps run as where the worker is root and nobody else is named.
const STEP_USER: u32 = 65_530;

/// What `flag` or the settings ask for, on the layers that this machine has, with folders that steps may `write` beside
/// those of the settings. Its own folders are made below `data_dir`.
pub fn open(context: &Context, flag: Option<Policy>, write: &[PathBuf], data_dir: &Path) -> Result<Sandbox> {
    let policy = policy(context, flag)?;
    if policy == Policy::Off {
        output::note("warning: steps run without a sandbox: they reach all that this worker reaches");
        return Ok(Sandbox::off());
    }
    let identity = identity(context)?;
    let report = tried(data_dir, identity)?;
    if policy == Policy::Strict {
        insist(&report)?;
    }
    for finding in report.missing() {
        let (layer, reason) = (finding.layer, finding.missing.as_deref().unwrap_or_default());
        output::note(&format!("warning: the sandbox lacks the layer `{layer}`: {reason}"));
    }
    let sources = &context.sources;
    let readable = sources.read(&table::BUE_STEP_READABLE)?.map_or_else(Vec::new, |Opened(paths)| paths);
    let mut writable = sources.read(&table::BUE_STEP_WRITABLE)?.map_or_else(Vec::new, |Opened(paths)| paths);
    warn_of_missing(&table::BUE_STEP_READABLE, &readable);
    warn_of_missing(&table::BUE_STEP_WRITABLE, &writable);
    for path in write {
        let place = path.canonicalize();
        let place = place.map_err(|error| Error::usage(format_args!("--writable {}: {error}", path.display())))?;
        if Opened::is_all(&place) {
            let message = format_args!("--writable {} opens the whole machine to steps", path.display()).to_string();
            return Err(Error::usage(message).hint("name the folders in it that they write"));
        }
        writable.push(place);
    }
    Ok(Sandbox { level: Level { report: Some(report) }, identity, readable, writable })
}

/// A path may come later, with a disk that is mounted; one that has a slip of the pen never does.
fn warn_of_missing(setting: &Setting, paths: &[PathBuf]) {
    for path in paths {
        if let Err(error) = path.canonicalize() {
            output::note(&format!(
                "warning: {} names {}, which steps do not see: {error}",
                setting.name,
                path.display()
            ));
        }
    }
}

/// Shows which layers this machine has, and what to do about the others.
pub fn check(context: &Context, flag: Option<Policy>, data_dir: &Path, limits: &Limits) -> Result {
    let report = tried(data_dir, identity(context)?)?;
    let mut table = drawn(&["layer", "", "keeps", "why not", "what to do"]);
    for finding in &report.findings {
        let layer = finding.layer;
        let (state, why, advice) = match &finding.missing {
            None => ("on", "", ""),
            Some(reason) => ("off", reason.as_str(), layer.advice()),
        };
        table.add_row([layer.name(), state, layer.meaning(), why, advice]);
    }
    output::print(&table.to_string())?;
    let policy = policy(context, flag)?;
    output::print(&format!("sandbox {policy}, level: {}", level(policy, &report)))?;
    let groups = match Groups::make(limits) {
        Ok(groups) => groups.summary(),
        Err(reason) => format!("no bound, for {reason}"),
    };
    output::print(&format!("all steps together: {groups}"))?;
    if policy == Policy::Strict { insist(&report) } else { Ok(()) }
}

fn level(policy: Policy, report: &Report) -> String {
    match policy {
        Policy::Off => Level::off().summary(),
        Policy::Strict | Policy::Standard => Level { report: Some(report.clone()) }.summary(),
    }
}

fn insist(report: &Report) -> Result {
    let missing: Vec<&str> = report.missing().iter().map(|finding| finding.layer.name()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format_args!("the sandbox must have all its layers, and lacks {}", missing.join(", ")).to_string();
    Err(Error::machine(message)
        .hint("`bue worker --check` says why and what to do; `--sandbox standard` makes do with the others"))
}

fn policy(context: &Context, flag: Option<Policy>) -> Result<Policy> {
    match flag {
        Some(policy) => Ok(policy),
        None => Ok(context.sources.read(&table::BUE_SANDBOX)?.unwrap_or_default()),
    }
}

/// Root's steps run as another user; those of an ordinary user can only be that user.
fn identity(context: &Context) -> Result<Identity> {
    let own = Identity::own();
    if own.user != 0 {
        return Ok(own);
    }
    let user = context.sources.read::<u32>(&table::BUE_STEP_USER)?.unwrap_or(STEP_USER);
    Ok(Identity { user, group: user })
}

fn tried(data_dir: &Path, identity: Identity) -> Result<Report> {
    let program = std::env::current_exe().map_err(Error::machine)?;
    probe(&program, &data_dir.join("sandbox"), identity).map_err(Error::machine)
}
