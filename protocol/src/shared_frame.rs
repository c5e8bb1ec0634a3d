//! Lines exchanged with an interpreter that runs many attempts at once, each under a number of its own.
//!
//! `runner-python/buelon/runner/shared.py` is the other end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::frame::{EndFrame, StartFrame};

/// To the interpreter.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToShared {
    /// Begin an attempt.
    Run(Box<SharedStart>),
    /// Cancel one; it is answered by its end.
    Cancel(u64),
}

/// An attempt that begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SharedStart {
    /// What answers name it by.
    pub number: u64,
    /// The attempt.
    pub frame: StartFrame,
    /// Variables that are its own.
    pub environment: BTreeMap<String, String>,
}

/// From the interpreter.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromShared {
    /// An attempt has printed something.
    Log(SharedLog),
    /// An attempt is over.
    End(SharedEnd),
    /// An attempt keeps all others waiting: it blocks the interpreter.
    Busy(u64),
    /// The interpreter has done enough: it takes no further attempts.
    Retire(()),
}

/// What an attempt has printed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SharedLog {
    /// Which attempt.
    pub number: u64,
    /// What it printed.
    pub text: String,
}

/// An attempt is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SharedEnd {
    /// Which attempt.
    pub number: u64,
    /// How it ended; `None` where it was cancelled.
    pub frame: Option<EndFrame>,
}
