//! The worker: leases jobs, runs each step in a child process, settles what came of it.
//!
//! - `control`: the one loop that decides what is leased, and the end of the worker.
//! - `slots`, `memory`, `descriptors`: how many attempts there is room for.
//! - `hub`, `http_hub`: what a worker asks of a hub, and the hub that is reached over HTTP.
//! - `attempt`, `start`: one lease from its inputs to its outcome, and how its process comes to be.
//! - `conclusion`: what comes of it. `ahead`: steps that are begun before there is a lease for them. `reading`: arguments read likewise.
//! - `bundles`, `bytecode`, `folders`, `scratch`, `tree`: the files a step sees, the folder it sees them in, and how that goes.
//! - `process`, `orphans`, `quota`: child processes, their end, and what they leave on disk.
//! - `enclosure`: the sandbox that steps run in. `groups`: bounds for all of them together.
//! - `warm`, `interpreters`: the interpreters that steps are forked from.
//! - `shared`: interpreters that run many attempts at once.
//! - `python`, `runner`: the interpreter, and the program in it that runs one step.
//! - `environments`: the interpreter and the packages that a step asks for.
//! - `tidy`: caches kept within their bounds.
//! - `log`, `live_log`, `late_log`: what a step prints, kept with its attempt, told while it runs, and handed in when the attempt was
//!   ended from outside.
//! - `variables`, `redact`: what a step declares of variables and secrets, and how these stay out of its log.
//! - `sql`, `engines`: the child process that runs one SQL step, and what it needs.
//!
//! It knows nothing of the hub's code, and never runs a step in its own process.

mod ahead;
mod assignment;
mod attempt;
mod backoff;
mod beat;
mod bundles;
mod bytecode;
mod conclusion;
mod config;
mod connection;
mod control;
mod descriptors;
mod done;
mod enclosure;
mod ending;
mod engines;
mod engines_of_step;
mod environments;
mod folders;
mod follow;
mod groups;
mod held;
mod http_hub;
mod hub;
mod interpreters;
mod late_log;
mod launch;
mod live_log;
mod log;
mod memory;
mod orphans;
mod outage;
mod pace;
mod patience;
mod process;
mod python;
mod quota;
mod reading;
mod redact;
mod runner;
mod scratch;
mod settler;
mod shared;
mod slots;
mod spawner;
mod sql;
mod start;
mod step_process;
mod tally;
mod template;
mod tidy;
mod tree;
mod trouble;
mod variables;
mod warm;

pub use config::{Config, Limits, Mode, Start, default_scopes};
pub use connection::{Postgres, certificates, tls};
pub use control::{WorkerError, run};
pub use enclosure::Sandbox;
pub use engines::Engines;
pub use environments::find_uv;
pub use groups::{Groups, MEMORY_MIN as STEPS_MEMORY_BYTES_MIN};
pub use http_hub::HttpHub;
pub use hub::{Hub, HubError};
pub use python::{Python, PythonError, find_python};
pub use redact::SECRET_BYTES_HIDDEN_MIN;
pub use sql::sql_step_main;
pub use tally::Summary;
