//! Names of things that commands are about.

use std::str::FromStr;

use protocol::{JobAddress, JobState, RunId};

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

/// A state of a job, or one that is a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateName {
    /// A state.
    State(JobState),
    /// Available, but only from a later time on.
    Parked,
}

impl StateName {
    /// The state, or the one that it is a part of.
    pub fn state(self) -> JobState {
        match self {
            Self::State(state) => state,
            Self::Parked => JobState::Available,
        }
    }
}

impl FromStr for StateName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "parked" => Ok(Self::Parked),
            _ => text.parse().map(Self::State).map_err(|error: String| format!("{error}, parked")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_named_as_they_are_shown() {
        assert_eq!("leased".parse(), Ok(StateName::State(JobState::Leased)));
        assert_eq!("parked".parse::<StateName>().unwrap().state(), JobState::Available);
        let error = "running".parse::<StateName>().unwrap_err();
        assert!(error.contains("leased") && error.ends_with("parked"), "{error}");
    }
}
