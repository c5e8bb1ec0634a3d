//! Logs beside the settlement: of attempts that run, and of those that were not their worker's to settle any more.
//!
//! Of those that run only the tail is kept, in memory, and some of it may be missing. The log that counts comes with the settlement, or
//! late: when the attempt's lease was taken while it ran.

use serde::{Deserialize, Serialize};

use crate::api::LogRef;
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

/// Most logs in one [`LateLogRequest`].
pub const LATE_LOGS_MAX: usize = 1_000;

/// Hands in what attempts had printed when their leases were taken: their jobs were cancelled, started over or out of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateLogRequest {
    /// Who had the leases.
    pub session: SessionId,
    /// At most [`LATE_LOGS_MAX`].
    pub logs: Vec<LateLog>,
}

/// What there is of one such attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateLog {
    /// The job.
    pub job: JobId,
    /// Number of the attempt.
    pub attempt: u32,
    /// What it printed, where that is anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
    /// The sandbox that it ran in, as in a settlement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
}

/// What a hub made of late logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateLogAnswer {
    /// How many attempts anything was added to. The others are not in the history, are another worker's, or lack nothing.
    pub kept: u64,
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
