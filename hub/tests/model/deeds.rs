//! What workers hand in.

use protocol::api::Settled;
use protocol::{ErrorKind, Outcome, StepError};

use crate::chance::Chance;
use crate::rig;

/// What a settlement is to do.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    /// With a list of so many elements, or a number.
    Succeed {
        list: Option<u64>,
        priority: Option<i64>,
    },
    Pending {
        priority: Option<i64>,
    },
    Reset,
    Cancel,
    Fail,
    Release {
        delay_ms: u64,
    },
}

impl Deed {
    /// Draws one: mostly successes.
    pub fn draw(chance: &mut Chance) -> Self {
        let priority = chance.once_in(8).then(|| chance.below(5) as i64);
        match chance.below(40) {
            0..27 => {
                let lengths = [0, 1, 2, 3, 5, 130];
                let longest = if chance.once_in(60) { 6 } else { 5 };
                let length = lengths[chance.below(longest)];
                Self::Succeed { list: (!chance.once_in(12)).then_some(length), priority }
            }
            27..32 => Self::Pending { priority },
            32..35 => Self::Fail,
            35 => Self::Reset,
            36 if chance.once_in(2) => Self::Cancel,
            37 => Self::Release { delay_ms: 300 },
            _ => Self::Release { delay_ms: 0 },
        }
    }

    /// It as a worker says it.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Succeed { list: Some(length), priority } => {
                let elements: Vec<String> = (0..length).map(|number| number.to_string()).collect();
                Outcome::Success { value: rig::value(&format!("[{}]", elements.join(","))), priority }
            }
            Self::Succeed { list: None, priority } => Outcome::Success { value: rig::value("7"), priority },
            Self::Pending { priority } => Outcome::Pending { priority },
            Self::Reset => Outcome::Reset,
            Self::Cancel => Outcome::Cancel,
            Self::Fail => Outcome::Error(StepError::new(ErrorKind::Exception, "ValueError: no")),
            Self::Release { delay_ms } => Outcome::Release { reason: "test".into(), delay_ms },
        }
    }

    /// What it counts as, given the answer.
    pub fn kind(self, answer: Settled) -> &'static str {
        match (answer, self) {
            (Settled::Stale, _) => "stale settlements",
            (_, Self::Succeed { list: Some(_), .. }) => "lists",
            (_, Self::Succeed { .. }) => "numbers",
            (_, Self::Pending { .. }) => "pending answers",
            (_, Self::Reset) => "resets by steps",
            (_, Self::Cancel) => "cancellations by steps",
            (_, Self::Fail) => "errors",
            (_, Self::Release { .. }) => "releases",
        }
    }
}
