//! Names of things that commands are about.

use std::str::FromStr;

use protocol::{JobAddress, RunId};

/// A run or a job, told apart by the first letter and by the slash.
#[derive(Debug, Clone)]
pub enum RunOrJob {
    /// `r…`
    Run(RunId),
    /// `j…` or `r…/j…`
    Job(JobAddress),
}

impl FromStr for RunOrJob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('j') || text.contains('/') {
            text.parse().map(Self::Job).map_err(|error: protocol::id::IdError| error.to_string())
        } else {
            text.parse().map(Self::Run).map_err(|error: protocol::id::IdError| error.to_string())
        }
    }
}
