//! States, outcomes and errors of jobs, in the words used on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{JobId, ValueRef};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Some parent has not succeeded.
    Waiting,
    /// May run from some time on: at once, or after a pause that a pending answer or a retry asked for.
    Available,
    /// A worker holds its lease.
    Leased,
    /// Has a value.
    Succeeded,
    /// Ended in an error, retries spent.
    Failed,
    /// Will not run.
    Cancelled,
}

impl JobState {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Available, Self::Leased, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The word for it, which is also its JSON form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Available => "available",
            Self::Leased => "leased",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no state of a job; there are {words}"))
    }
}

/// Where a run stands, as its jobs say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Something can still run.
    Running,
    /// Nothing more can run, and no job failed.
    Succeeded,
    /// Nothing more can run, and some job failed.
    Failed,
    /// It was cancelled as a whole.
    Cancelled,
}

/// What came of one attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The step returned a value.
    Success {
        /// Where it is.
        value: ValueRef,
        /// New priority for the jobs that follow in the chain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<i64>,
    },
    /// The step asks to be run again later; costs no retry.
    Pending {
        /// New priority for this job and those that follow in the chain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<i64>,
    },
    /// The step asks for itself, its ancestors and their descendants to start over.
    Reset,
    /// The step says that it and all that follows it is not needed.
    Cancel,
    /// The step raised, crashed, ran out of time or answered nonsense; costs a retry.
    Error(StepError),
    /// The worker could not run it for a reason that is not the step's; costs nothing.
    Release {
        /// Why, for the log.
        reason: String,
        /// Ask for it again only after this time, in milliseconds.
        #[serde(default)]
        delay_ms: u64,
    },
}

/// An error of a step, as its author should read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// How the attempt ended.
    pub kind: ErrorKind,
    /// One line: for an exception its type and text, else a sentence.
    pub message: String,
    /// Traceback, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The job that made the input, where that is lost or damaged and the job can make it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<JobId>,
}

impl StepError {
    /// An error without a traceback.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), trace: None, lost: None }
    }
}

/// Every way an attempt can end badly has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The step raised.
    Exception,
    /// The source could not be loaded, or has no such function.
    Load,
    /// What the step returned cannot be stored.
    Value,
    /// What came in cannot be used by this step.
    Input,
    /// The database refused a statement.
    Sql,
    /// The process ended with an exit code before it answered.
    Exit,
    /// The process was ended by a signal.
    Signal,
    /// The time limit passed.
    Timeout,
    /// It used more memory than it may.
    Memory,
    /// It used more time on a processor than it may.
    Cpu,
    /// It wrote more to disk than it may.
    Disk,
    /// It had as many processes and threads as it may, and wanted another.
    Processes,
    /// The process could not be started.
    Start,
    /// It declares a secret that nobody has set.
    Secret,
    /// The Python environment it asks for could not be made.
    Environment,
    /// The process answered something that is no frame.
    Protocol,
    /// The value of a loop's source is no list.
    Loop,
    /// Too many workers were lost while they ran it.
    Lost,
    /// What it needs was away for a while: nobody's error, and no retry.
    Away,
    /// Somebody cancelled its job, or started it over, while it ran.
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_for_a_state_is_its_json_form_and_reads_back() {
        for state in JobState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("pending".parse::<JobState>().unwrap_err().contains("available"));
    }
}
