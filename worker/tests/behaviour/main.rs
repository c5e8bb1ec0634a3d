//! What a worker does, as its users and its hub see it: real processes, a hub in memory, a bucket in a folder.

mod ahead;
mod bytecode;
mod environments;
mod fake_hub;
mod http_hub;
mod hub_and_bucket;
mod logs;
mod preload;
mod processes;
mod python_steps;
mod reading;
mod sandbox;
mod shared;
mod sql_steps;
mod variables;
