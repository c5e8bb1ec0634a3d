//! Tables of SQL steps are stored while they are written.

use std::convert::Infallible;
use std::future::pending;
use std::time::{Duration, Instant};

use bucket::value::Following;
use protocol::Language;
use protocol::frame::DRAFT_NAME;

use crate::assignment::Assignment;
use crate::attempt::Attempts;
use crate::hub::Hub;

/// How often it is looked for what a step writes: at first, and by the time it has run already.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LOOK_EVERY_MAX: Duration = Duration::from_secs(1);
const LOOKS_OF_TIME: u32 = 10;

impl<H: Hub> Attempts<H> {
    /// Follows the table that a SQL step writes, as soon as there is something of it, for as long as it is polled. Users' code may do
    /// with files what it likes.
    pub(crate) async fn follow(&self, assignment: &Assignment<'_>, following: &mut Option<Following>) -> Infallible {
        let is_followed = assignment.step.language != Language::Python;
        let (folder, start) = (assignment.scratch.values(), Instant::now());
        while is_followed && following.is_none() {
            let pause = (start.elapsed() / LOOKS_OF_TIME).clamp(LOOK_EVERY, LOOK_EVERY_MAX);
            tokio::time::sleep(pause).await;
            *following = self.values.follow(&folder, DRAFT_NAME);
        }
        pending().await
    }
}
