//! The store under test beside the reference: events go to both, answers and states must agree.

mod burst;
mod care;
mod compare;
mod leases;
mod refusals;
mod submissions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bue_hub::Policy;
use bue_hub::store::{Chance as StoreChance, Store, StoreOptions};
use protocol::{RunId, SessionId};

use crate::chance::Chance;
use crate::reference::Reference;
use crate::shapes::{self, Shape};
use crate::transcript::Transcript;

/// Where the store is opened from, again and again.
pub enum Place {
    Folder(tempfile::TempDir),
    /// The address of a database, for two hubs.
    Database(String),
}

const GRACE_MS: i64 = 2_000;
const SCOPES: [&str; 3] = ["default", "s1", "s2"];
/// Runs at work at the same time.
const RUNS_MAX: usize = 6;
/// Few, so that histories are cut.
const ATTEMPTS_KEPT: u32 = 3;

pub struct World {
    place: Place,
    side_door: Option<rusqlite::Connection>,
    /// The hubs: one, or those that share a database.
    stores: Vec<Option<Store>>,
    /// The hub that the present event goes to.
    at: usize,
    model: Reference,
    chance: Chance,
    now_ms: i64,
    shapes: Vec<Shape>,
    open: Vec<usize>,
    /// A run that is deleted.
    gone: Option<RunId>,
    pub events: u64,
    /// What happened how often.
    pub tally: BTreeMap<&'static str, u64>,
    pub transcript: Transcript,
}

fn options(seed: u64) -> StoreOptions {
    StoreOptions {
        policy: Policy {
            backoff_first: Duration::from_millis(300),
            backoff_max: Duration::from_secs(2),
            pending_first: Duration::from_millis(200),
            pending_max: Duration::from_secs(1),
            losses_max: 3,
        },
        reverse_priority: false,
        write_queue_max: 100,
        write_batch_max: 64,
        attempts_kept: ATTEMPTS_KEPT,
        timeout_grace_ms: GRACE_MS,
        passes_max: 1_000_000,
        plan_cache_bytes_max: 16 << 20,
        pauses_max: 1_000,
        chance: StoreChance::Seeded(seed),
    }
}

impl World {
    pub async fn new(place: Place, seed: u64) -> Self {
        let hubs = if matches!(place, Place::Folder(_)) { 1 } else { 2 };
        let mut world = Self {
            place,
            side_door: None,
            stores: vec![None; hubs],
            at: 0,
            model: Reference::new(options(0).policy, ATTEMPTS_KEPT),
            chance: Chance::new(seed),
            now_ms: 1_700_000_000_000,
            shapes: shapes::all(),
            open: Vec::new(),
            gone: None,
            events: 0,
            tally: BTreeMap::new(),
            transcript: Transcript::default(),
        };
        for hub in 0..hubs {
            world.at = hub;
            world.restart().await;
        }
        world.side_door = refusals::side_door(&world.place);
        for shape in &world.shapes {
            let content = shape.text.clone().into_bytes().into();
            world.store().put_file(shape.digest, content, world.now_ms).await.unwrap();
        }
        world
    }

    fn store(&self) -> &Store {
        self.stores[self.at].as_ref().unwrap()
    }

    async fn restart(&mut self) {
        self.stores[self.at] = None;
        // Another seed each time: no token may come again.
        let options = options(self.chance.next());
        self.stores[self.at] = Some(match &self.place {
            Place::Folder(folder) => Store::sqlite(folder.path(), options, Arc::new(|_| {})).unwrap(),
            Place::Database(url) => Store::postgres(url, options, Arc::new(|_| {})).await.unwrap(),
        });
    }

    /// One random event at one of the hubs, with time passing before it.
    pub async fn step(&mut self) {
        if self.chance.once_in(3) {
            self.now_ms += self.chance.below(400) as i64;
        }
        self.at = self.chance.below(self.stores.len());
        self.events += 1;
        match self.chance.below(100) {
            0..8 if self.open.len() < RUNS_MAX => self.noted("submissions").submit().await,
            8..10 if self.open.len() < RUNS_MAX => self.noted("runs once more").run_again().await,
            10..18 => self.noted("requests beside settlements").wait().await,
            0..62 => self.burst().await,
            62..72 => self.noted("promotions").promote().await,
            72..75 => self.noted("lapses").lapse().await,
            75 => self.noted("goodbyes").end_session().await,
            76..80 => self.noted("beats").beat().await,
            80..84 => self.noted("timeouts").expire().await,
            84..86 => self.noted("resets of jobs").reset_job().await,
            86..88 => self.noted("resets of runs").reset_failed().await,
            88 => self.noted("pauses and resumptions").pause_or_resume().await,
            89 => self.noted("refused commits").refuse().await,
            90 if self.chance.once_in(4) => self.noted("cancellations").cancel_run().await,
            91 if self.chance.once_in(40) => self.noted("restarts").restart().await,
            92..95 => self.noted("deletions").keep().await,
            _ => self.noted("comparisons").compare_one_run().await,
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn noted(&mut self, what: &'static str) -> &mut Self {
        self.transcript.note(what, self.events);
        self.note(what);
        self
    }

    fn session(&mut self) -> SessionId {
        SessionId([self.chance.below(3) as u8; 8])
    }

    fn id_of(&self, run: usize) -> RunId {
        self.model.runs[run].id.clone().unwrap()
    }

    fn pick_run(&mut self) -> Option<usize> {
        self.chance.pick(&self.open).copied()
    }
}
