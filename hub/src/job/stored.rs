//! Reading a standing from a database: combinations of columns that no job can have are refused.

use std::num::NonZeroU32;

use super::policy::Tally;
use super::standing::{Cancelled, Failed, Held, Leased, Parked, Past, Ready, Standing, Succeeded, Waiting};
use super::state::State;

/// A standing as a database keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// Number of the state.
    pub state: i64,
    /// Parents that have not succeeded; means something only while it waits.
    pub open_parents: u32,
    /// Leases that were ever given for it.
    pub attempts: u32,
    /// What it remembers.
    pub tally: Tally,
    /// When it will be ready.
    pub from_ms: Option<i64>,
    /// Its lease.
    pub held: Option<Held>,
}

/// Columns that no job can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// A number that means nothing.
    #[error("there is no job state {0}")]
    NoState(i64),
    /// Such a job is ready.
    #[error("it waits for no parent")]
    WaitsForNothing,
    /// Nothing would wake it.
    #[error("it is parked until no time")]
    NoTime,
    /// Nobody could settle it.
    #[error("it is leased to nobody")]
    NoLease,
    /// Only what is parked waits for a time.
    #[error("it waits for a time and is {0:?}")]
    Time(State),
    /// Only what is leased has one.
    #[error("it has a lease and is {0:?}")]
    Lease(State),
}

impl Standing {
    /// The standing that was stored as these columns.
    ///
    /// # Errors
    /// No standing is stored like that.
    pub fn stored(columns: Columns) -> Result<Self, Impossible> {
        let state = State::from_number(columns.state).ok_or(Impossible::NoState(columns.state))?;
        if columns.from_ms.is_some() && state != State::Parked {
            return Err(Impossible::Time(state));
        }
        if columns.held.is_some() && state != State::Leased {
            return Err(Impossible::Lease(state));
        }
        let past = Past { attempts: columns.attempts, tally: columns.tally };
        Ok(match state {
            State::Waiting => {
                let open_parents = NonZeroU32::new(columns.open_parents).ok_or(Impossible::WaitsForNothing)?;
                Self::Waiting(Waiting { past, open_parents })
            }
            State::Ready => Self::Ready(Ready { past }),
            State::Parked => Self::Parked(Parked { past, from_ms: columns.from_ms.ok_or(Impossible::NoTime)? }),
            State::Leased => Self::Leased(Leased { past, held: columns.held.ok_or(Impossible::NoLease)? }),
            State::Succeeded => Self::Succeeded(Succeeded { past }),
            State::Failed => Self::Failed(Failed { past }),
            State::Cancelled => Self::Cancelled(Cancelled { past }),
        })
    }
}
