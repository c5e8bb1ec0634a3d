//! The state machine of a job: which states there are, and what takes it from one to another. Pure: time and chance are arguments.
//!
//! | state | entered from | left by |
//! |---|---|---|
//! | waiting | submit, reset | the last parent succeeds; cancel; reset |
//! | ready | submit, reset, waiting, parked, a lost or released lease | lease; cancel; reset |
//! | parked | a pending answer, an error with retries left, a release with a delay | its time comes; cancel; reset |
//! | leased | ready | settle; its session lapses or is over; its time is over; cancel; reset |
//! | succeeded | leased (an item: made so) | reset |
//! | failed | leased | reset |
//! | cancelled | waiting, ready, parked, leased; made under a cancelled parent | reset |
//!
//! On the wire `ready` and `parked` are both `available`: one now, the other from a time on. Reset is that of the job itself
//! (`bue reset JOB`, or as one of a run's failed jobs), of one it came from, or the reset answer of a relative. No state is reaped by
//! itself: a run whose jobs are neither ready, parked nor leased has ended, and retention deletes it as a whole, with its jobs in
//! whatever state they are.
//!
//! Each state is a type of its own that cannot be made outside this module, and each transition is a function of the state that it
//! leaves: a transition that is not in the table cannot be written. What waits cannot be leased:
//!
//! ```compile_fail,E0599
//! fn skip_the_queue(job: bue_hub::job::Waiting, held: bue_hub::job::Held) {
//!     job.lease(held);
//! }
//! ```
//!
//! What has ended cannot be settled, nor cancelled:
//!
//! ```compile_fail,E0599
//! fn settle_twice(job: bue_hub::job::Succeeded) {
//!     job.give_back();
//! }
//! ```
//!
//! ```compile_fail,E0599
//! fn take_back_a_value(job: bue_hub::job::Succeeded) {
//!     job.cancel();
//! }
//! ```
//!
//! A lease is used up by its settlement:
//!
//! ```compile_fail,E0382
//! fn settle_twice(job: bue_hub::job::Leased) {
//!     job.give_back();
//!     job.give_back();
//! }
//! ```
//!
//! And this is how it is done:
//!
//! ```
//! fn lose_a_lease(job: bue_hub::job::Ready, held: bue_hub::job::Held) -> bue_hub::job::Ready {
//!     job.lease(held).give_back()
//! }
//! ```
//!
//! - [`standing`]: the states with what belongs to them, and the transitions. [`stored`]: reading them from a database.
//! - [`outcome`]: what the outcome of an attempt, or the loss of its worker, does to a leased job.
//! - [`policy`]: pauses and tolerances. [`state`]: the names of the states.

mod outcome;
mod policy;
mod standing;
mod state;
mod stored;

pub use outcome::{Next, Rules};
pub use policy::{Policy, Tally, longest_pause};
pub use standing::{Cancelled, Failed, Held, Leased, Parked, Ready, Standing, Succeeded, Waiting};
pub use state::State;
pub use stored::{Columns, Impossible};

#[cfg(test)]
mod tests;
