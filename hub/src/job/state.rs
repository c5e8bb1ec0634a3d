//! The names of the states: on disk, in counts and on the wire.

/// State of a job as the store keeps it. The numbers are on disk: never change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Some parent has not succeeded.
    Waiting = 0,
    /// In the ready index.
    Ready = 1,
    /// Will be ready at a known time.
    Parked = 2,
    /// A worker holds the token.
    Leased = 3,
    /// Has a value.
    Succeeded = 4,
    /// Ended in an error.
    Failed = 5,
    /// Will not run.
    Cancelled = 6,
}

impl State {
    /// The state with this number on disk.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Waiting, Self::Ready, Self::Parked, Self::Leased, Self::Succeeded, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| *state as i64 == number)
    }

    /// The word for it on the wire.
    #[must_use]
    pub fn on_the_wire(self) -> protocol::JobState {
        match self {
            Self::Waiting => protocol::JobState::Waiting,
            Self::Ready | Self::Parked => protocol::JobState::Available,
            Self::Leased => protocol::JobState::Leased,
            Self::Succeeded => protocol::JobState::Succeeded,
            Self::Failed => protocol::JobState::Failed,
            Self::Cancelled => protocol::JobState::Cancelled,
        }
    }

    /// The states that have this word on the wire.
    #[must_use]
    pub fn behind(word: protocol::JobState) -> Vec<Self> {
        (0..7).filter_map(Self::from_number).filter(|state| state.on_the_wire() == word).collect()
    }

    /// Whether something can still come of it without help.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Ready | Self::Parked | Self::Leased)
    }
}
