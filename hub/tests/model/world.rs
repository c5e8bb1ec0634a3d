//! The store under test beside the reference: events go to both, answers and states must agree.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bue_hub::store::{Store, StoreOptions, Submission};
use bue_hub::{Kept, Policy, QueueError};
use protocol::api::{HeldLease, Lease, LeaseRequest, Pause, SettleRequest, Settled, Settlement, WorkerInfo};
use protocol::{JobId, LeaseToken, SessionId};

use crate::chance::Chance;
use crate::deeds::Deed;
use crate::reference::{Is, Reference};
use crate::shapes::{self, Shape};

/// Where the store is opened from, again and again.
pub enum Place {
    Folder(tempfile::TempDir),
    Database(String),
}

const GRACE_MS: i64 = 2_000;
const SCOPES: [&str; 3] = ["default", "s1", "s2"];
/// Runs at work at the same time.
const RUNS_MAX: usize = 6;

pub struct World {
    place: Place,
    pub store: Option<Store>,
    pub model: Reference,
    pub chance: Chance,
    pub now_ms: i64,
    shapes: Vec<Shape>,
    /// Shape of each run, by its place in the model.
    shape_of: Vec<usize>,
    open: Vec<usize>,
    pub events: u64,
    /// What happened how often.
    pub tally: BTreeMap<&'static str, u64>,
}

/// One request of a burst.
enum Request {
    Lease(LeaseRequest),
    Settle(SettleRequest, Vec<Deed>),
}

enum Answer {
    Lease(Vec<Lease>),
    Settle(Vec<Settled>),
}

fn options() -> StoreOptions {
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
        attempts_kept: 10_000,
        timeout_grace_ms: GRACE_MS,
        passes_max: 1_000_000,
    }
}

impl World {
    pub async fn new(place: Place, seed: u64) -> Self {
        let mut world = Self {
            place,
            store: None,
            model: Reference::new(options().policy),
            chance: Chance::new(seed),
            now_ms: 1_700_000_000_000,
            shapes: shapes::all(),
            shape_of: Vec::new(),
            open: Vec::new(),
            events: 0,
            tally: BTreeMap::new(),
        };
        world.restart().await;
        for shape in &world.shapes {
            let content = shape.text.clone().into_bytes().into();
            world.store().put_file(shape.digest, content, world.now_ms).await.unwrap();
        }
        world
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    async fn restart(&mut self) {
        self.store = None;
        self.store = Some(match &self.place {
            Place::Folder(folder) => Store::sqlite(folder.path(), options(), Arc::new(|_| {})).unwrap(),
            Place::Database(url) => Store::postgres(url, options(), Arc::new(|_| {})).await.unwrap(),
        });
    }

    /// One random event, with time passing before it.
    pub async fn step(&mut self) {
        if self.chance.once_in(3) {
            self.now_ms += self.chance.below(400) as i64;
        }
        self.events += 1;
        match self.chance.below(100) {
            0..10 if self.open.len() < RUNS_MAX => self.noted("submissions").submit().await,
            0..62 => self.burst().await,
            62..72 => self.noted("promotions").promote().await,
            72..76 => self.noted("lapses").lapse().await,
            76..80 => self.noted("beats").beat().await,
            80..84 => self.noted("timeouts").expire().await,
            84..86 => self.noted("resets of jobs").reset_job().await,
            86..88 => self.noted("resets of runs").reset_failed().await,
            88 => self.noted("pauses and resumptions").pause_or_resume().await,
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
        self.note(what);
        self
    }

    fn session(&mut self) -> SessionId {
        SessionId([self.chance.below(3) as u8; 8])
    }

    async fn submit(&mut self) {
        let shape = self.chance.below(self.shapes.len());
        let Shape { manifest, plan, digest, text, .. } = &self.shapes[shape];
        let (manifest, plan, digest, text) = (manifest.clone(), plan.clone(), *digest, text.clone());
        let submission =
            Submission { manifest, plan, key: None, random: self.chance.next() as u32, now_ms: self.now_ms };
        let submitted = match self.store().submit(submission.clone()).await {
            // A day after the last run that named it is gone, a file is too: it is sent again.
            Err(QueueError::MissingFiles(missing)) => {
                assert_eq!(missing, [digest]);
                self.store().put_file(digest, text.into_bytes().into(), self.now_ms).await.unwrap();
                self.note("files sent again");
                self.store().submit(submission).await
            }
            submitted => submitted,
        };
        let (id, repeated) = submitted.unwrap();
        assert!(!repeated);
        let run = self.model.runs.len();
        self.model.runs.push(crate::reference::Run { id: Some(id), ..Default::default() });
        self.shape_of.push(shape);
        self.open.push(run);
        self.learn(run).await;
    }

    /// Tells the model of jobs that the store has made.
    async fn learn(&mut self, run: usize) {
        let id = self.model.runs[run].id.clone().unwrap();
        let mut after = None;
        loop {
            let page = self.store().jobs(id.clone(), after, None, 500).await.unwrap();
            for view in page.jobs {
                if !self.model.jobs.contains_key(&view.id) {
                    let shape = &self.shapes[self.shape_of[run]];
                    let followers = if view.item { 0 } else { shape.followers(&view.name) };
                    self.model.add(run, &view, followers, shape.backoff(&view.name));
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }

    /// A few requests at once: they share a transaction, and count in their order.
    async fn burst(&mut self) {
        let count = 1 + self.chance.below(4);
        let mut requests = Vec::new();
        for _ in 0..count {
            let request = if self.chance.once_in(2) { self.lease_request() } else { self.settle_request() };
            requests.push(request);
        }
        let (store, now_ms) = (self.store().clone(), self.now_ms);
        let answers = futures::future::join_all(requests.iter().map(|request| async {
            match request {
                Request::Lease(request) => Answer::Lease(store.lease(request.clone(), now_ms).await.unwrap()),
                Request::Settle(request, _) => Answer::Settle(store.settle(request.clone(), now_ms).await.unwrap()),
            }
        }))
        .await;
        let may_end_early = self.model.may_be_barren();
        // Loops may have begun in this very burst.
        let known: BTreeSet<JobId> = self.model.jobs.keys().copied().collect();
        for run in self.open.clone() {
            if self.model.runs[run].unmade > 0 || self.may_begin_a_loop(run, &requests) {
                self.learn(run).await;
            }
        }
        for (request, answer) in requests.iter().zip(answers) {
            match (request, answer) {
                (Request::Lease(request), Answer::Lease(leases)) => {
                    let may_end_early = may_end_early || self.model.may_be_barren();
                    self.check_leases(request, &leases, &known, may_end_early);
                }
                (Request::Settle(request, deeds), Answer::Settle(answers)) => {
                    for ((settlement, deed), answer) in request.settlements.iter().zip(deeds).zip(answers) {
                        let Settlement { job, attempt, token, .. } = settlement;
                        let expected = self.model.settle(*job, *attempt, *token, *deed, self.now_ms);
                        assert_eq!(answer, expected, "{settlement:?} at event {}", self.events);
                        self.events += 1;
                        self.note(deed.kind(answer));
                    }
                }
                _ => unreachable!("answers are in the order of requests"),
            }
        }
        self.read_drawn_times().await;
    }

    /// Whether a settlement among these requests may begin a loop of a run.
    fn may_begin_a_loop(&self, run: usize, requests: &[Request]) -> bool {
        let feeds = |job: &JobId| self.model.jobs.get(job).is_some_and(|job| job.run == run && job.feeds);
        requests.iter().any(|request| match request {
            Request::Settle(request, _) => request.settlements.iter().any(|settlement| feeds(&settlement.job)),
            Request::Lease(_) => false,
        })
    }

    fn lease_request(&mut self) -> Request {
        let mut scopes: Vec<String> = Vec::new();
        for _ in 0..1 + self.chance.below(3) {
            let scope = SCOPES[self.chance.below(3)].to_owned();
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        let slots = 1 + self.chance.below(6) as u32;
        let session = self.session();
        Request::Lease(LeaseRequest {
            session,
            scopes,
            slots,
            shared_slots: 0,
            wait_ms: 0,
            info: WorkerInfo::default(),
        })
    }

    fn check_leases(&mut self, request: &LeaseRequest, leases: &[Lease], known: &BTreeSet<JobId>, may_end_early: bool) {
        self.events += leases.len() as u64;
        assert!(leases.len() <= request.slots as usize);
        let given: HashSet<JobId> = leases.iter().map(|lease| lease.job).collect();
        let mut last: Option<(usize, (i64, usize, JobId))> = None;
        for lease in leases {
            let job = self.model.jobs.get(&lease.job).unwrap_or_else(|| panic!("{} is nowhere", lease.job));
            assert_eq!(job.is, Is::Ready, "{} ({}) was leased", lease.job, job.name);
            assert!(!self.model.holds_back(job), "{} is held back", lease.job);
            assert_eq!((lease.attempt, lease.priority), (job.attempts + 1, job.priority), "{}", lease.job);
            assert_eq!(lease.inputs.len(), job.parents.len(), "{}", lease.job);
            let scope =
                request.scopes.iter().position(|scope| *scope == job.scope).expect("a scope that was asked for");
            let place = (scope, (-job.priority, job.run, lease.job));
            assert!(last.is_none_or(|last| last < place), "{} came out of order", lease.job);
            last = Some(place);
        }
        let is_full = leases.len() == request.slots as usize;
        for (number, scope) in request.scopes.iter().enumerate() {
            for (key, id) in self.model.ready(scope) {
                let before = !is_full || last.is_some_and(|last| (number, key) < last);
                let left_out = before && known.contains(&id) && !given.contains(&id) && !may_end_early;
                assert!(!left_out, "{id} was ready and left out; given were {given:?} at event {}", self.events);
            }
        }
        for lease in leases {
            self.model.lease(lease.job, lease.token, request.session, self.now_ms);
            self.note("leases");
        }
    }

    fn settle_request(&mut self) -> Request {
        let session = self.session();
        let mut held: Vec<(JobId, LeaseToken)> = self.model.held_by(session);
        let mut settlements = Vec::new();
        let mut deeds = Vec::new();
        for _ in 0..1 + self.chance.below(5) {
            let (job, token) = match self.chance.below(20) {
                0 => match self.old_attempt() {
                    Some((job, attempt, token)) => {
                        let deed = Deed::draw(&mut self.chance);
                        settlements.push(Settlement { job, attempt, token, outcome: deed.outcome(), log: None });
                        deeds.push(deed);
                        continue;
                    }
                    None => continue,
                },
                1 => (JobId(1 + self.chance.below(1_000_000) as u64), LeaseToken([9; 16])),
                _ if held.is_empty() => break,
                _ => held.swap_remove(self.chance.below(held.len())),
            };
            let attempt = self.model.jobs.get(&job).map_or(1, |job| job.attempts);
            let deed = Deed::draw(&mut self.chance);
            settlements.push(Settlement { job, attempt, token, outcome: deed.outcome(), log: None });
            deeds.push(deed);
        }
        Request::Settle(SettleRequest { session, settlements }, deeds)
    }

    fn old_attempt(&mut self) -> Option<(JobId, u32, LeaseToken)> {
        let run = *self.chance.pick(&self.open)?;
        self.chance.pick(&self.model.runs[run].settled).copied()
    }

    /// Pauses after errors are drawn, those after pending answers grow: their bounds are checked, then they are taken over.
    async fn read_drawn_times(&mut self) {
        for (id, longest_ms) in std::mem::take(&mut self.model.drawn) {
            let Some(job) = self.model.jobs.get(&id) else { continue };
            let Is::Parked(_) = job.is else { continue };
            let view = self.store().job(id).await.unwrap();
            let from_ms = view.available_at_ms.unwrap_or_else(|| panic!("{id} is parked; the store has {view:?}"));
            assert!((self.now_ms..=self.now_ms + longest_ms).contains(&from_ms), "{id}: {from_ms} beyond {longest_ms}");
            self.model.jobs.get_mut(&id).unwrap().is = Is::Parked(from_ms);
        }
    }

    async fn promote(&mut self) {
        while self.store().promote(self.now_ms).await.unwrap().is_some_and(|next| next <= self.now_ms) {}
        self.model.promote(self.now_ms);
    }

    async fn lapse(&mut self) {
        let session = self.session();
        let taken = self.store().lapse(session).await.unwrap();
        assert_eq!(taken, self.model.lapse(session), "leases of {session}");
    }

    /// A worker that has forgotten some leases, and remembers some that it lost.
    async fn beat(&mut self) {
        let session = self.session();
        let given = self.model.held_by(session);
        let kept: Vec<_> = given.iter().copied().filter(|_| !self.chance.once_in(5)).collect();
        let mut held: Vec<HeldLease> = kept.iter().map(|(job, token)| HeldLease { job: *job, token: *token }).collect();
        let strange = HeldLease { job: JobId(1), token: LeaseToken([7; 16]) };
        held.push(strange);
        let (revoked, unknown) = self.store().compare(session, held, self.now_ms + 1).await.unwrap();
        assert_eq!(revoked, [strange.token]);
        let lost: BTreeSet<LeaseToken> =
            given.iter().filter(|lease| !kept.contains(lease)).map(|(_, token)| *token).collect();
        assert_eq!(unknown.iter().copied().collect::<BTreeSet<_>>(), lost);
        assert_eq!(self.store().take_back(session, unknown).await.unwrap(), lost.len());
        for (job, _) in given.iter().filter(|(_, token)| lost.contains(token)) {
            self.model.take_back(*job);
        }
    }

    async fn expire(&mut self) {
        let (jobs, _) = self.store().expire(self.now_ms, 0).await.unwrap();
        assert_eq!(jobs, self.model.expire(self.now_ms, 0, GRACE_MS), "leases whose time is over");
        self.read_drawn_times().await;
    }

    async fn reset_job(&mut self) {
        let Some(run) = self.chance.pick(&self.open).copied() else { return };
        let of_run = self.model.jobs.iter().filter(|(_, job)| job.run == run && !job.item);
        let jobs: Vec<JobId> = of_run.map(|(id, _)| *id).collect();
        let Some(id) = self.chance.pick(&jobs).copied() else { return };
        assert_eq!(self.store().reset_job(id).await.unwrap(), self.model.reset_job(id));
    }

    async fn reset_failed(&mut self) {
        let Some(run) = self.chance.pick(&self.open).copied() else { return };
        let id = self.model.runs[run].id.clone().unwrap();
        assert_eq!(self.store().reset_failed(id).await.unwrap(), self.model.reset_failed(run));
    }

    async fn cancel_run(&mut self) {
        let Some(run) = self.chance.pick(&self.open).copied() else { return };
        self.store().cancel_run(self.model.runs[run].id.clone().unwrap()).await.unwrap();
        self.model.cancel_run(run);
    }

    async fn pause_or_resume(&mut self) {
        let what = match self.chance.below(8) {
            0 => Pause::Everything,
            1..4 => Pause::Scope(SCOPES[self.chance.below(3)].to_owned()),
            _ => match self.chance.pick(&self.open).copied() {
                Some(run) => Pause::Run(self.model.runs[run].id.clone().unwrap()),
                None => return,
            },
        };
        let hold = self.chance.once_in(4);
        // Most of what is let go was held back, so that work goes on.
        let paused = self.store().paused().await.unwrap();
        let what = match self.chance.pick(&paused) {
            Some(paused) if !hold => paused.clone(),
            _ => what,
        };
        let was = self.set_pause(&what, hold);
        if hold {
            self.store().pause(what).await.unwrap();
        } else {
            assert_eq!(self.store().resume(what).await.is_ok(), was);
        }
    }

    /// Sets a pause in the model; answers with what it was.
    fn set_pause(&mut self, what: &Pause, to: bool) -> bool {
        match what {
            Pause::Everything => std::mem::replace(&mut self.model.paused, to),
            Pause::Scope(scope) if to => !self.model.paused_scopes.insert(scope.clone()),
            Pause::Scope(scope) => self.model.paused_scopes.remove(scope),
            Pause::Run(id) => {
                let run = self.model.runs.iter_mut().find(|run| run.id.as_ref() == Some(id)).unwrap();
                std::mem::replace(&mut run.paused, to)
            }
        }
    }

    /// Compares, and deletes, runs that are over.
    async fn keep(&mut self) {
        let mut over = Vec::new();
        for run in self.open.clone() {
            if self.is_over(run).await {
                over.push(run);
            }
        }
        for run in &over {
            self.compare(*run).await;
            if self.model.runs[*run].paused {
                self.store().resume(Pause::Run(self.model.runs[*run].id.clone().unwrap())).await.unwrap();
            }
            self.model.forget(*run);
            self.model.runs[*run] = crate::reference::Run::default();
        }
        self.open.retain(|run| !over.contains(run));
        let kept = Kept { succeeded_runs_max: 0, failed_runs_max: 0, cancelled_runs_max: 0, ..Kept::default() };
        assert_eq!(self.store().retire(kept, self.now_ms).await.unwrap(), over.len());
        while let Some(run) = self.store().retired().await.unwrap() {
            while self.store().sweep(run.clone(), self.now_ms).await.unwrap() {}
        }
    }

    async fn compare_one_run(&mut self) {
        if let Some(run) = self.chance.pick(&self.open).copied() {
            self.compare(run).await;
        }
    }

    /// Every job of a run is as the model says, and the counts are those of its jobs.
    async fn compare(&mut self, run: usize) {
        let id = self.model.runs[run].id.clone().unwrap();
        let mut after = None;
        loop {
            let page = self.store().jobs(id.clone(), after, None, 500).await.unwrap();
            for view in page.jobs {
                let job = &self.model.jobs[&view.id];
                let expected = job.is.on_the_wire();
                let found = (view.state, view.available_at_ms, view.worker);
                assert_eq!(found, expected, "{} ({}) at event {}: {job:?}", view.id, job.name, self.events);
                assert_eq!((view.attempts, view.priority), (job.attempts, job.priority), "{}", view.id);
                assert_eq!(view.value.is_some(), job.is == Is::Succeeded, "{}", view.id);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let (found, known) = (self.store().run(id).await.unwrap(), self.model.counts(run));
        let counts = found.counts;
        assert_eq!(
            (counts.available, counts.pending, counts.leased, counts.succeeded, counts.failed),
            (known.available, known.pending, known.leased, known.succeeded, known.failed),
            "counts at event {}",
            self.events
        );
        assert!(counts.waiting >= known.waiting && counts.cancelled >= known.cancelled);
        let (finished, idle) = (found.finished_ms.is_some(), self.model.is_idle(run));
        if self.model.runs[run].unmade == 0 {
            assert_eq!(finished, idle, "whether it is over, at event {}", self.events);
            if finished {
                assert_eq!(counts.waiting, known.waiting);
            }
        } else if finished {
            // Passes still to be made wait for a job that cannot go on.
            assert!(idle && self.model.has_stuck(run), "passes are lost at event {}", self.events);
        }
    }

    /// Whether nothing of a run can run any more, now or in passes still to be made.
    async fn is_over(&self, run: usize) -> bool {
        let id = self.model.runs[run].id.clone().unwrap();
        let made = self.model.runs[run].unmade == 0;
        self.model.is_idle(run) && (made || self.store().run(id).await.unwrap().finished_ms.is_some())
    }

    /// Some run that is not over, or waits with passes still to be made for jobs that failed, which are started over.
    async fn has_work(&mut self) -> bool {
        let mut any = false;
        for run in self.open.clone() {
            if self.is_over(run).await && self.model.runs[run].unmade > 0 {
                self.compare(run).await;
                let id = self.model.runs[run].id.clone().unwrap();
                assert_eq!(self.store().reset_failed(id).await.unwrap(), self.model.reset_failed(run));
                assert!(!self.model.is_idle(run), "passes wait for nothing that could go on");
            }
            any |= !self.is_over(run).await;
        }
        any
    }

    /// Carries everything to its end: nothing may be left over.
    pub async fn finish(&mut self) {
        for what in self.store().paused().await.unwrap() {
            self.set_pause(&what, false);
            self.store().resume(what).await.unwrap();
        }
        let started = self.events;
        while self.has_work().await {
            assert!(self.events < started + 1_000_000, "it never ends");
            self.now_ms += 500;
            self.promote().await;
            self.burst().await;
            self.events += 1;
        }
        for run in self.open.clone() {
            self.compare(run).await;
        }
        self.keep().await;
        let counts = self.store().counts().await.unwrap();
        assert_eq!(counts.total(), 0, "jobs of runs that are gone");
    }
}
