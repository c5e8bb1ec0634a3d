//! The hub: compiles scripts, keeps the durable queue, serves it over HTTP.
//!
//! - [`job`]: the pure state machine of a job.
//! - [`blueprint`]: what one pass over a block of a script makes. Pure.
//! - [`store`]: where the queue is kept; each use case is one transaction.
//! - [`queue`]: submit, lease, beat, settle, cancel and what is shown; waiting, waking, lapsing.
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
pub mod queue;
pub mod secrets;
mod sessions;
pub mod store;
mod timers;
mod value_kind;
mod wake;

pub use config::{Config, Kept, Limits};
pub use error::{HubError, QueueError};
pub use http::serve;
pub use job::Policy;
pub use queue::Queue;
pub use secrets::keyring::{Keyring, KeyringError};
pub use store::sqlite::copy::{backup, restore};
