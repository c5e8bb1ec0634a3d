//! A whole fleet on this machine for the length of one run: `bue demo`.
//!
//! - [`example`]: the pipeline that runs, carried by this program.
//! - [`process`]: one real process of the fleet, with a log of its own; it ends with the demo.
//! - [`fleet`]: all of them: a simulated API, a bucket, a hub and three workers.

pub mod example;
pub mod fleet;
pub mod process;
