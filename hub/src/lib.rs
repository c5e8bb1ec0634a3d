//! The hub: compiles scripts, keeps the durable queue, serves it over HTTP.
//!
//! - [`job`]: the pure state machine of a job.
//! - [`blueprint`]: what one pass over a block of a script makes. Pure.
//! - [`store`]: where the queue is kept; each use case is one transaction.
//! - [`queue`]: submit, lease, beat, settle, cancel and what is shown; waiting, waking, lapsing.
//! - `live_logs`, `queue_logs`: logs of attempts that run, and those that were kept.
//! - [`tidying`]: which values in the bucket nobody needs any more.
//! - [`secrets`]: what is sealed in the store, and who gets it opened.
//! - [`http`]: routes to use cases, errors to status codes.
//!
//! Not here: running steps (the worker), values (the bucket), the language.

mod bell;
pub mod blueprint;
pub mod clock;
pub mod config;
pub mod error;
pub mod http;
pub mod job;
mod live_logs;
pub mod queue;
mod queue_logs;
pub mod secrets;
mod sessions;
pub mod store;
mod succession;
mod tidying;
mod timers;
mod value_kind;
mod wake;

pub use config::{Config, Kept, Limits};
pub use error::{HubError, QueueError};
pub use http::serve;
pub use job::Policy;
pub use queue::Queue;
pub use queue_logs::Known;
pub use secrets::keyring::{Keyring, KeyringError};
pub use store::postgres::check_address;
pub use store::sqlite::copy::{backup, restore};
