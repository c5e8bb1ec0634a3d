//! Logs of attempts that run: what workers tell hubs, and hubs tell those who follow.
//!
//! Only the tail of it is kept, in memory, and some of it may be missing. The log that counts comes with the settlement.

use serde::{Deserialize, Serialize};

use crate::{JobId, JobState, SessionId};

/// What attempts of a worker have printed since it last told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogRequest {
    /// Who tells.
    pub session: SessionId,
    /// One part for each attempt with news.
    pub parts: Vec<LogPart>,
}

/// A part of the log of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPart {
    /// The job.
    pub job: JobId,
    /// Number of the attempt.
    pub attempt: u32,
    /// Where the part begins in the attempt's log, in bytes.
    pub from: u64,
    /// The part.
    pub text: String,
}

/// News of a job's log, for one who follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogNews {
    /// Where the job stands.
    pub state: JobState,
    /// Number of its newest attempt; 0 before the first.
    pub attempt: u32,
    /// Where the text begins in the log of that attempt, in bytes.
    pub from: u64,
    /// What came after the place that was asked for, as far as this hub has it.
    pub text: String,
}

impl LogNews {
    /// Whether the attempt is going on.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == JobState::Leased
    }

    /// Whether no further attempt will be made, unless somebody asks for it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, JobState::Succeeded | JobState::Failed | JobState::Cancelled)
    }
}
