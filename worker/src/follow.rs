//! Tables are stored while they are written: those of Python steps as far as these say, those of SQL steps as soon as there is something
//! of them.

use std::convert::Infallible;
use std::future::pending;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bucket::value::{Following, Growing, Writer};
use protocol::Step;
use protocol::api::{Lease, PlanAnswer};
use protocol::frame::{DRAFT_NAME, DraftFrame};

use crate::ahead::Kept;
use crate::attempt::Attempts;
use crate::conclusion::writer;
use crate::hub::Hub;

/// How often it is looked for what a step writes: at first, and by the time it has run already.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LOOK_EVERY_MAX: Duration = Duration::from_secs(1);
const LOOKS_OF_TIME: u32 = 10;

/// What was made of the table that a step writes.
#[derive(Debug, Default)]
pub(crate) struct Written {
    is_tried: bool,
    pub(crate) following: Option<Following>,
    /// A process that reads it already.
    pub(crate) reading: Option<(Growing, Kept)>,
}

/// The same while it is written.
#[derive(Debug, Default)]
pub(crate) struct Followed(Mutex<Written>);

impl Followed {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_inner(self) -> Written {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Hub> Attempts<H> {
    /// Follows the table that a SQL step writes into this folder, as soon as there is something of it, for as long as it is polled. The
    /// process of a Python step that takes it next reads it as it grows.
    pub(crate) async fn follow(
        self: &Arc<Self>,
        (lease, plan, step): (&Lease, &Arc<PlanAnswer>, &Step),
        folder: &Path,
        followed: &Followed,
    ) -> Infallible {
        let start = Instant::now();
        while writer(step) == Writer::Done {
            let pause = (start.elapsed() / LOOKS_OF_TIME).clamp(LOOK_EVERY, LOOK_EVERY_MAX);
            tokio::time::sleep(pause).await;
            if let Some(following) = self.values.follow(folder, DRAFT_NAME, Writer::Done) {
                let reading = self.begin_reading(lease, plan, |values| values.growing(folder, DRAFT_NAME, &following));
                *followed.lock() = Written { is_tried: true, following: Some(following), reading };
                break;
            }
        }
        pending().await
    }

    /// Follows the table that a Python step writes into this folder, as far as it says that it has.
    pub(crate) fn follow_draft(&self, step: &Step, folder: &Path, said: &DraftFrame, followed: &Followed) {
        if writer(step) == Writer::Unknown {
            let mut written = followed.lock();
            if !std::mem::replace(&mut written.is_tried, true) {
                written.following = self.values.follow(folder, &said.draft, Writer::Unknown);
            }
            if let Some(following) = &written.following {
                following.told(said.bytes);
            }
        }
    }
}
