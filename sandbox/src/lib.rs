//! The sandbox of steps: programs are started such that they reach their own folder and little else.
//!
//! - `cell`: what an enclosed program may reach. Pure data: a worker writes it, the launcher carries it out.
//! - `layers`, `probe`: which layers this machine has, found out by trying; `policy`: what follows from it.
//! - `launcher`: the small single-threaded program that builds a cell around itself and becomes the program in it.
//! - `broker`, `attempt_cell`: cells within a cell, one for each process that is forked from a warm interpreter.
//! - `warm`: a program that forks itself for each step, in such a cell or without.
//! - `disguise`: how a launcher looks to others, those in its cell included.
//! - `namespaces`, `root`, `fence`, `syscalls`, `privileges`, `bounds`: the layers, one file each.
//!
//! All `unsafe` and all that is the kernel's is here. It knows nothing of steps, leases or Python.

mod attempt_cell;
mod bounds;
mod broker;
mod cell;
mod disguise;
mod error;
mod fence;
mod launcher;
mod layers;
mod messages;
mod namespaces;
mod policy;
mod privileges;
mod probe;
mod relay;
mod root;
mod syscalls;
mod warm;

pub use bounds::Bounds;
pub use cell::{Cell, Identity, Readable, STEP_FOLDER, Walls};
pub use error::SandboxError;
pub use fence::FenceRules;
pub use launcher::{NOT_STARTED, SHORTAGE, WORD, broker_command, enclosed_command, launch};
pub use layers::{Finding, Layer, Report};
pub use policy::{Level, Policy};
pub use probe::probe;
pub use warm::{BROKER_WORD, Fork, WARM_WORD, serve_forks};
