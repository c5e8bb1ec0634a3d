//! The log of a service: one line each on standard error.

use tracing_subscriber::EnvFilter;

use crate::error::{Error, Result};
use crate::output;
use crate::settings::{Sources, table};

/// What is logged where BUE_LOG says nothing: our own transitions, and warnings of what we build on. The S3 library
/// calls every refused request an error.
const SERVICE_FILTER: &str = "warn,s3s=off,bue=info,bue_hub=info,bue_worker=info,bue_bucket=info";
/// Commands of people log what is wrong; the rest they print themselves.
const COMMAND_FILTER: &str = "error";

/// Starts the log of a service, with a line for each name in its environment that looks like a setting and is none.
pub fn start(sources: &Sources) -> Result {
    sources.unknown().iter().for_each(|warning| output::note(&format!("warning: in the environment: {warning}")));
    start_with(sources, SERVICE_FILTER)
}

/// Starts the log of a command that a person watches.
pub fn start_quietly(sources: &Sources) -> Result {
    start_with(sources, COMMAND_FILTER)
}

fn start_with(sources: &Sources, default: &str) -> Result {
    let filter = match sources.read_by(&table::BUE_LOG, filter)? {
        Some(filter) => filter,
        None => EnvFilter::try_new(default).map_err(Error::internal)?,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::colours())
        .finish();
    tracing::subscriber::set_global_default(subscriber).map_err(Error::internal)
}

/// Words that a filter may have without saying what they are about.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// What is expected of the setting.
const EXPECTED: &str = "`error`, `warn`, `info`, `debug`, or filters such as `info,bue_hub=debug`";

fn filter(wanted: &str) -> Result<EnvFilter, String> {
    let mut bare = wanted.split(',').map(str::trim).filter(|part| !part.contains('='));
    if bare.any(|word| !word.is_empty() && !LEVELS.contains(&word)) {
        // Taken for a module of that name, it would turn all else off.
        return Err(EXPECTED.to_owned());
    }
    let text = match wanted {
        // A bare level is meant for us: what we build on has little to say to users.
        level @ ("error" | "warn" | "info" | "debug" | "trace") => {
            format!("warn,s3s=off,bue={level},bue_hub={level},bue_worker={level},bue_bucket={level}")
        }
        filters => filters.to_owned(),
    };
    EnvFilter::try_new(&text).map_err(|error| format!("{EXPECTED} ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_understood_and_nonsense_is_named() {
        assert!(filter("debug").is_ok() && filter("info,bue_hub=debug").is_ok());
        assert!(EnvFilter::try_new(SERVICE_FILTER).is_ok() && EnvFilter::try_new(COMMAND_FILTER).is_ok());
        for nonsense in ["eror", "info,bue_hub=loudly"] {
            assert!(filter(nonsense).unwrap_err().contains("`info,bue_hub=debug`"), "{nonsense}");
        }
    }
}
