//! Faults that a fleet survives, with real processes: nothing is lost, nothing is settled twice, service goes on by itself.
//!
//! - [`processes`]: one process is killed. [`storm`]: any of them, again and again, under load.
//! - [`database`]: PostgreSQL is restarted, connections are cut, one of two hubs is killed.
//! - [`network`]: answers that are lost, workers that freeze, requests that come twice or out of order.
//! - [`disk`]: no room for the queue. [`clock`]: a clock that is set.
//! - [`rolling`]: no fault at all: each process is told to stop, and replaced.
//! - [`load`]: the work that goes on meanwhile, and what must have come of it.

#[path = "../fleet/mod.rs"]
mod fleet;
#[path = "../postgres/mod.rs"]
mod postgres;

mod clock;
mod database;
mod disk;
mod load;
mod network;
mod processes;
mod proxy;
mod rolling;
mod storm;
