//! Where a job stands: a type for each state, with what belongs to it, and a function for each transition.
//!
//! Nothing here can be made or changed from outside, except by the transitions and by [reading what was stored](super::stored).

use std::num::NonZeroU32;

use protocol::{LeaseToken, SessionId};

use super::policy::Tally;
use super::state::State;

/// What a job keeps over its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Past {
    /// Leases that were ever given for it.
    pub attempts: u32,
    pub tally: Tally,
}

/// Some parent has not succeeded.
///
/// Entered by submit, and by reset of the job or of a relative. Left when its last open parent succeeds, by cancel and by
/// reset. Behind a failed or cancelled parent it stays until that is reset. Reaped with its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub(super) past: Past,
    pub(super) open_parents: NonZeroU32,
}

/// It can run now: it stands in the ready index, or is held back in the same order while its run is paused.
///
/// Entered by submit and by reset when no parent is open, when the last parent succeeds, when a pause is over, and when a lease is
/// given back or lost. Left by lease, by cancel and by reset. Not reaped: its run has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    pub(super) past: Past,
}

/// It will be ready at a known time.
///
/// Entered by a pending answer, by an error with retries left and by a release with a delay. Left when its time comes, by cancel
/// and by reset. Not reaped: its run has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    pub(super) past: Past,
    pub(super) from_ms: i64,
}

/// A worker holds its token.
///
/// Entered from ready only, by lease. Left by settle; when its session lapses or is over, its worker never heard of it, or its time is over;
/// by cancel and by reset, after which the worker's token is stale. Not reaped: its run has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    pub(super) past: Past,
    pub(super) held: Held,
}

/// It has a value. An item of a loop is made so and stays so.
///
/// Entered by a success only. Left by reset of the job or of a relative. Reaped with its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succeeded {
    pub(super) past: Past,
}

/// It ended in an error: a dead letter.
///
/// Entered by an error without retries left, and when too many workers in a row were lost with it. Left by reset only: cancelling
/// its run leaves it as it is. Reaped with its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub(super) past: Past,
}

/// It will not run.
///
/// Entered by cancel of the run, by a cancel answer of the job or of one it came from, and by being made in a later pass of a loop
/// under a parent that is cancelled. Left by reset of the job or of a relative. Reaped with its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancelled {
    pub(super) past: Past,
}

/// A valid lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// What a settlement must bring.
    pub token: LeaseToken,
    /// Who has it.
    pub session: SessionId,
    /// Number of the scope it was leased from.
    pub scope: i64,
    /// Unix time in milliseconds.
    pub since_ms: i64,
    /// Time of the step and of grace, in milliseconds; after it the lease is taken.
    pub time_ms: i64,
}

/// Where a job stands: one variant for each state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Some parent has not succeeded.
    Waiting(Waiting),
    /// It can run now.
    Ready(Ready),
    /// It will be ready at a known time.
    Parked(Parked),
    /// A worker holds its token.
    Leased(Leased),
    /// It has a value.
    Succeeded(Succeeded),
    /// It ended in an error.
    Failed(Failed),
    /// It will not run.
    Cancelled(Cancelled),
}

macro_rules! variants {
    ($($state:ident),*) => {
        $(
            impl From<$state> for Standing {
                fn from(state: $state) -> Self {
                    Self::$state(state)
                }
            }

            /// Gives the standing back where it is another one.
            impl TryFrom<Standing> for $state {
                type Error = Standing;

                fn try_from(standing: Standing) -> Result<Self, Standing> {
                    match standing {
                        Standing::$state(state) => Ok(state),
                        other => Err(other),
                    }
                }
            }
        )*

        impl Standing {
            /// The name of the state.
            #[must_use]
            pub fn state(&self) -> State {
                match self {
                    $(Self::$state(_) => State::$state,)*
                }
            }

            fn past(&self) -> Past {
                match self {
                    $(Self::$state(state) => state.past,)*
                }
            }
        }
    };
}

variants!(Waiting, Ready, Parked, Leased, Succeeded, Failed, Cancelled);

impl Waiting {
    /// One of the parents that were open has succeeded; with the last one the job is ready.
    #[must_use]
    pub fn parent_succeeded(self) -> Standing {
        Standing::open(self.past, self.open_parents.get() - 1)
    }

    /// It will not run.
    #[must_use]
    pub fn cancel(self) -> Cancelled {
        Cancelled { past: self.past }
    }
}

impl Ready {
    /// A worker takes it.
    #[must_use]
    pub fn lease(self, held: Held) -> Leased {
        Leased { past: Past { attempts: self.past.attempts.saturating_add(1), ..self.past }, held }
    }

    /// It will not run.
    #[must_use]
    pub fn cancel(self) -> Cancelled {
        Cancelled { past: self.past }
    }
}

impl Parked {
    /// When it will be ready: Unix time in milliseconds.
    #[must_use]
    pub fn from_ms(&self) -> i64 {
        self.from_ms
    }

    /// What it remembers.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.past.tally
    }

    /// Its time has come.
    #[must_use]
    pub fn wake(self) -> Ready {
        Ready { past: self.past }
    }

    /// It waits no longer than until `latest_ms`.
    #[must_use]
    pub fn bring_forward(self, latest_ms: i64) -> Self {
        Self { from_ms: self.from_ms.min(latest_ms), ..self }
    }

    /// It will not run.
    #[must_use]
    pub fn cancel(self) -> Cancelled {
        Cancelled { past: self.past }
    }
}

impl Failed {
    /// What it remembers.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.past.tally
    }
}

impl Leased {
    /// The number of the attempt that it stands for.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.past.attempts
    }

    /// Who is at it.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Its lease lasts for this long from its beginning: what its step did not use of the time before does not count.
    #[must_use]
    pub fn last(self, time_ms: i64) -> Self {
        Self { held: Held { time_ms, ..self.held }, ..self }
    }

    /// Its lease is void, as if it had never been given: its worker never heard of it, or has ended in good order.
    #[must_use]
    pub fn give_back(self) -> Ready {
        Ready { past: self.past }
    }

    /// It will not run; what its worker hands in is stale.
    #[must_use]
    pub fn cancel(self) -> Cancelled {
        Cancelled { past: self.past }
    }
}

impl Standing {
    /// A new job with parents in these states, each counted once.
    #[must_use]
    pub fn submitted(parents: impl IntoIterator<Item = State>) -> Self {
        let mut open_parents = 0;
        let mut is_cancelled = false;
        for parent in parents {
            open_parents += u32::from(parent != State::Succeeded);
            is_cancelled |= parent == State::Cancelled;
        }
        let past = Past::default();
        if is_cancelled { Self::Cancelled(Cancelled { past }) } else { Self::open(past, open_parents) }
    }

    /// A new item of a loop: it has its value from the start.
    #[must_use]
    pub fn item() -> Self {
        Self::Succeeded(Succeeded { past: Past::default() })
    }

    /// Reset, from whatever state: with all its retries, behind the parents that are open.
    #[must_use]
    pub fn start_over(self, open_parents: u32) -> Self {
        Self::open(Past { tally: Tally::default(), ..self.past() }, open_parents)
    }

    /// Cancels what has not ended; `None` for what has.
    #[must_use]
    pub fn cancel(self) -> Option<Cancelled> {
        match self {
            Self::Waiting(job) => Some(job.cancel()),
            Self::Ready(job) => Some(job.cancel()),
            Self::Parked(job) => Some(job.cancel()),
            Self::Leased(job) => Some(job.cancel()),
            Self::Succeeded(_) | Self::Failed(_) | Self::Cancelled(_) => None,
        }
    }

    fn open(past: Past, open_parents: u32) -> Self {
        match NonZeroU32::new(open_parents) {
            Some(open_parents) => Self::Waiting(Waiting { past, open_parents }),
            None => Self::Ready(Ready { past }),
        }
    }

    /// Parents that have not succeeded, where it waits for them.
    #[must_use]
    pub fn open_parents(&self) -> u32 {
        if let Self::Waiting(job) = self { job.open_parents.get() } else { 0 }
    }

    /// Leases that were ever given for it.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.past().attempts
    }

    /// What it remembers.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.past().tally
    }

    /// When it will be ready, while it is parked.
    #[must_use]
    pub fn from_ms(&self) -> Option<i64> {
        if let Self::Parked(job) = self { Some(job.from_ms) } else { None }
    }

    /// Who is at it, while it is leased.
    #[must_use]
    pub fn held(&self) -> Option<&Held> {
        if let Self::Leased(job) = self { Some(&job.held) } else { None }
    }
}
