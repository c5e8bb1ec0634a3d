//! Names of things that commands are about.

use std::str::FromStr;

use protocol::id::IdError;
use protocol::{JobAddress, JobState, RunId};

/// Characters of a text that is no name which are shown.
const TEXT_CHARACTERS_MAX: usize = 80;

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
        if text.contains('/') {
            return text.parse().map(Self::Job).map_err(|error: IdError| error.to_string());
        }
        let run = text.parse().map(Self::Run);
        run.or_else(|_| text.parse().map(Self::Job)).map_err(|_: IdError| {
            let shown: String = text.chars().take(TEXT_CHARACTERS_MAX).collect();
            format!("`{shown}` is neither a run id (r and twelve characters) nor a job id (j and a number)")
        })
    }
}

/// A run, for commands that have no answer about a job.
pub fn run(text: &str) -> Result<RunId, String> {
    text.parse().map_err(|error: IdError| match text.parse::<JobAddress>() {
        Ok(job) => {
            format!("`{job}` is a job id, and a run id is needed: `bue explain {job}` shows the job and its run")
        }
        Err(_) => error.to_string(),
    })
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
    fn a_text_that_is_no_id_is_told_which_ids_there_are() {
        for text in ["nosuch", "r0", "jx", "j", ""] {
            let error = text.parse::<RunOrJob>().unwrap_err();
            assert!(error.contains("neither a run id (r and") && error.contains("nor a job id (j and"), "{error}");
        }
        assert!("r0/j1".parse::<RunOrJob>().unwrap_err().contains("`r0` is not a run id"));
        assert!(matches!("j7".parse(), Ok(RunOrJob::Job(_))));
        assert!(matches!("r0123456789ab".parse(), Ok(RunOrJob::Run(_))));
    }

    #[test]
    fn a_job_where_a_run_is_needed_is_told_what_shows_it() {
        assert!(run("r0123456789ab").is_ok());
        let told = |text| run(text).unwrap_err();
        assert!(told("j7").ends_with("`bue explain j7` shows the job and its run"), "{}", told("j7"));
        assert!(told("r0123456789ab/j7").contains("`bue explain r0123456789ab/j7`"));
        assert!(told("nosuch").contains("is not a run id"));
    }

    #[test]
    fn states_are_named_as_they_are_shown() {
        assert_eq!("leased".parse(), Ok(StateName::State(JobState::Leased)));
        assert_eq!("parked".parse::<StateName>().unwrap().state(), JobState::Available);
        let error = "running".parse::<StateName>().unwrap_err();
        assert!(error.contains("leased") && error.ends_with("parked"), "{error}");
    }
}
