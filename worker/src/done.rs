//! What came of an attempt, and what it leaves where it ran.

use std::time::Duration;

use protocol::api::LogRef;
use protocol::{Digest, Outcome};

use crate::attempt::Attempts;
use crate::hub::Hub;
use crate::scratch::Scratch;
use crate::step_process::Rest;
use crate::warm::Place;

/// What came of an attempt.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    pub(crate) log: Option<LogRef>,
    pub(crate) left: Option<Left>,
}

/// What an attempt leaves where it ran, to be [cleared](Attempts::clear) when its outcome is on its way.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) rest: Rest,
    pub(crate) bundle: Digest,
    pub(crate) scratch: Scratch,
}

impl Done {
    /// Handed back; the hub gives it to somebody after `delay`.
    pub(crate) fn release(reason: &str, delay: Duration) -> Self {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self { outcome: Outcome::Release { reason: reason.to_owned(), delay_ms }, log: None, left: None }
    }
}

impl<H: Hub> Attempts<H> {
    /// Sees to the end of what is left of an attempt, and keeps what serves the next one.
    pub(crate) async fn clear(&self, left: Left) {
        let Left { rest, bundle, mut scratch } = left;
        if let Some(cell) = rest.cleared(self.shared.config.limits.exit_grace).await
            && self.enclosure.leaves_nothing()
        {
            // One that was filled before there was as much bytecode as now is not worth keeping.
            if scratch.compiled() >= self.bytecode.of(bundle).sets {
                scratch.keep_place(Place::Cell(cell));
                self.scratches.give_back(bundle, scratch);
            }
        }
    }
}
