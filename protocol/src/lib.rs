//! The words that hub, worker, runner and command line share: plain data and its JSON form.
//!
//! - [`id`]: run, job, lease and session identifiers, and content digests.
//! - [`log`]: what attempts have printed that run, or were ended from outside.
//! - [`plan`]: what a compiled `.bue` script says is to be done.
//! - [`value`]: references to the values that travel between steps.
//! - [`job`]: states, outcomes and errors of jobs.
//! - [`bundle`]: the files that travel with a script.
//! - [`api`]: requests and answers of the hub's HTTP interface.
//! - [`frame`]: lines exchanged with the process that runs one step.
//! - [`secret`]: what users and workers ask about secrets.
//! - [`shared_frame`]: lines exchanged with a process that runs many attempts at once.
//! - [`diagnostic`]: what is wrong with a script, and where.
//!
//! Nothing here reads a file, opens a socket or asks for the time.
//!
//! A change of a type here is a change of the wire: fields are only added, with `#[serde(default)]`,
//! so that an old reader takes new data and a new reader takes old data.

pub mod api;
pub mod bundle;
pub mod diagnostic;
pub mod frame;
pub mod id;
pub mod job;
pub mod log;
pub mod plan;
pub mod secret;
pub mod shared_frame;
pub mod value;

pub use bundle::{FileEntry, Manifest};
pub use diagnostic::{Diagnostic, DiagnosticKind, Severity};
pub use id::{Digest, JobAddress, JobId, LeaseToken, RunId, SessionId};
pub use job::{ErrorKind, JobState, Outcome, RunState, StepError};
pub use plan::{
    Argument, Backoff, Call, CallId, Isolation, Language, Loop, LoopId, Plan, Runtime, Settings, Source, Statement,
    Step,
};
pub use value::{Format, PageIndex, Place, ValueKind, ValueRef};

/// Version of the hub's HTTP interface and of the runner frames. Peers with another major version are refused.
pub const PROTOCOL_VERSION: u32 = 1;
