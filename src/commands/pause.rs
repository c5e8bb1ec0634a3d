//! `bue pause` and `bue resume`: whether jobs of a run, of a scope, or any at all are given to workers.

use protocol::api::Pause;

use crate::cli::PauseArguments;
use crate::context::{Context, block_on};
use crate::error::Result;
use crate::output;

/// Pauses: jobs that run go on, no further ones are started.
pub fn pause(context: &Context, arguments: &PauseArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let what = what(arguments);
    block_on(async { Ok(client.pause(&what).await?) })?;
    output::note(&format!("{} paused: jobs that run go on, no further ones are started", describe(&what)));
    Ok(())
}

/// Resumes.
pub fn resume(context: &Context, arguments: &PauseArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let what = what(arguments);
    block_on(async { Ok(client.resume(&what).await?) })?;
    output::note(&match what {
        Pause::Everything => "jobs are started again, unless their run or scope is paused".to_owned(),
        what => format!("{} no longer paused", describe(&what)),
    });
    Ok(())
}

fn what(arguments: &PauseArguments) -> Pause {
    match (&arguments.run, &arguments.scope) {
        (Some(run), _) => Pause::Run(run.clone()),
        (None, Some(scope)) => Pause::Scope(scope.clone()),
        (None, None) => Pause::Everything,
    }
}

/// Whether all jobs of a run are held, and not only those of some scopes.
pub fn holds_all(paused: &[Pause]) -> bool {
    paused.iter().any(|what| !matches!(what, Pause::Scope(_)))
}

/// That something is paused, and how that ends.
pub fn sentence(pause: &Pause) -> String {
    let argument = match pause {
        Pause::Everything => String::new(),
        Pause::Scope(scope) => format!(" -s {}", quoted(scope)),
        Pause::Run(run) => format!(" {run}"),
    };
    format!("{} paused: `bue resume{argument}` ends that", describe(pause))
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "-_.:/@".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// What is paused, with its verb.
pub fn describe(pause: &Pause) -> String {
    match pause {
        Pause::Everything => "everything is".to_owned(),
        Pause::Scope(scope) => format!("scope `{scope}` is"),
        Pause::Run(run) => format!("run {run} is"),
    }
}
