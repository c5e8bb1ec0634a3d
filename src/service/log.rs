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

/// Starts the log of a service.
pub fn start(sources: &Sources) -> Result {
    start_with(sources, SERVICE_FILTER)
}

/// Starts the log of a command that a person watches.
pub fn start_quietly(sources: &Sources) -> Result {
    start_with(sources, COMMAND_FILTER)
}

fn start_with(sources: &Sources, default: &str) -> Result {
    let wanted: Option<String> = sources.read(&table::BUE_LOG)?;
    let filter = filter(wanted.as_deref(), default)?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::colours())
        .finish();
    tracing::subscriber::set_global_default(subscriber).map_err(Error::internal)
}

/// Words that a filter may have without saying what they are about.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

fn filter(wanted: Option<&str>, default: &str) -> Result<EnvFilter> {
    let hint = "write error, warn, info, debug, or filters such as `info,bue_hub=debug`";
    let mut bare = wanted.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.contains('='));
    if let Some(word) = bare.find(|word| !word.is_empty() && !LEVELS.contains(word)) {
        // Taken for a module of that name, it would turn all else off.
        return Err(Error::usage(format_args!("BUE_LOG has `{word}`, which is no level")).hint(hint));
    }
    let text = match wanted {
        // A bare level is meant for us: what we build on has little to say to users.
        Some(level @ ("error" | "warn" | "info" | "debug" | "trace")) => {
            format!("warn,s3s=off,bue={level},bue_hub={level},bue_worker={level},bue_bucket={level}")
        }
        Some(filters) => filters.to_owned(),
        None => default.to_owned(),
    };
    EnvFilter::try_new(&text).map_err(|error| Error::usage(format_args!("BUE_LOG is `{text}`: {error}")).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_understood_and_nonsense_is_named() {
        assert!(filter(Some("debug"), SERVICE_FILTER).is_ok());
        assert!(filter(Some("info,bue_hub=debug"), SERVICE_FILTER).is_ok());
        assert!(filter(None, SERVICE_FILTER).is_ok());
        assert!(filter(Some("eror"), SERVICE_FILTER).unwrap_err().to_string().contains("`eror`"));
        let error = filter(Some("bue_hub=loudly"), SERVICE_FILTER).unwrap_err().to_string();
        assert!(error.contains("BUE_LOG"), "{error}");
    }
}
