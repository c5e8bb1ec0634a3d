//! The queue as it should be: jobs in memory, each event carried out in the plainest way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::deeds::Deed;
use crate::shapes::Shape;
use bue_hub::Policy;
use protocol::api::{Counts, JobView, Settled};
use protocol::{JobId, JobState, LeaseToken, RunId, SessionId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    Waiting,
    Ready,
    Parked(i64),
    Leased { token: LeaseToken, session: SessionId, since_ms: i64 },
    Succeeded,
    Failed,
    Cancelled,
}

impl Is {
    /// What is shown of it: the state, from when on, by whom.
    pub fn on_the_wire(self) -> (JobState, Option<i64>, Option<SessionId>) {
        match self {
            Self::Waiting => (JobState::Waiting, None, None),
            Self::Ready => (JobState::Available, None, None),
            Self::Parked(from_ms) => (JobState::Available, Some(from_ms), None),
            Self::Leased { session, .. } => (JobState::Leased, None, Some(session)),
            Self::Succeeded => (JobState::Succeeded, None, None),
            Self::Failed => (JobState::Failed, None, None),
            Self::Cancelled => (JobState::Cancelled, None, None),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Job {
    pub run: usize,
    pub name: String,
    pub scope: String,
    pub item: bool,
    /// The last job of a loop's source.
    pub feeds: bool,
    pub followers: u64,
    pub parents: Vec<JobId>,
    pub retries: u32,
    /// Bounds of its pauses after errors, first and longest, in milliseconds.
    pub backoff_ms: (i64, i64),
    pub timeout_ms: i64,
    pub priority: i64,
    pub is: Is,
    pub attempts: u32,
    pub failures: u32,
    pub losses: u32,
    /// Whether its loop has begun: it begins once.
    pub fanned_out: bool,
    /// Jobs that each pass of its loop has.
    pub jobs_of_pass: i64,
    /// Settled attempts that are still kept.
    pub settled: Vec<(u32, LeaseToken)>,
}

#[derive(Default)]
pub struct Run {
    pub id: Option<RunId>,
    pub key: Option<String>,
    pub shape: usize,
    /// Its jobs and items, in the order of their ids.
    pub jobs: Vec<JobId>,
    /// Jobs of passes that are still to be made.
    pub unmade: i64,
    /// Jobs of passes that will not be made.
    pub given_up: i64,
    pub paused: bool,
    /// Settled attempts, kept or not, for repetitions.
    pub settled: VecDeque<(JobId, u32, LeaseToken)>,
}

/// A store has more jobs than are in one state: those in a state are looked up.
#[derive(Default)]
struct Index {
    ready: BTreeSet<JobId>,
    parked: BTreeSet<JobId>,
    leased: BTreeSet<JobId>,
}

impl Index {
    fn of(&mut self, is: Is) -> Option<&mut BTreeSet<JobId>> {
        match is {
            Is::Ready => Some(&mut self.ready),
            Is::Parked(_) => Some(&mut self.parked),
            Is::Leased { .. } => Some(&mut self.leased),
            _ => None,
        }
    }
}

pub struct Reference {
    pub policy: Policy,
    /// Newest attempts of a job that are kept.
    pub attempts_kept: u32,
    index: Index,
    pub jobs: BTreeMap<JobId, Job>,
    pub children: BTreeMap<JobId, BTreeSet<JobId>>,
    pub runs: Vec<Run>,
    pub paused_scopes: BTreeSet<String>,
    pub paused: bool,
    /// Jobs whose pause is not known exactly, with its bound in milliseconds: an error's is drawn.
    pub drawn: Vec<(JobId, i64)>,
}

impl Reference {
    pub fn new(policy: Policy, attempts_kept: u32) -> Self {
        Self {
            policy,
            attempts_kept,
            index: Index::default(),
            jobs: BTreeMap::new(),
            children: BTreeMap::new(),
            runs: Vec::new(),
            paused_scopes: BTreeSet::new(),
            paused: false,
            drawn: Vec::new(),
        }
    }

    /// Adds a job that the store made; its state follows from its parents.
    pub fn add(&mut self, run: usize, view: &JobView, shape: &Shape) {
        let followers = if view.item { 0 } else { shape.followers(&view.name) };
        let backoff = shape.backoff(&view.name);
        for parent in &view.parents {
            if !self.jobs.get(parent).is_some_and(|parent| parent.item) {
                self.children.entry(*parent).or_default().insert(view.id);
            }
        }
        let of_hub = (milliseconds(self.policy.backoff_first), milliseconds(self.policy.backoff_max));
        let job = Job {
            run,
            name: view.name.clone(),
            scope: view.scope.clone(),
            item: view.item,
            feeds: view.build && followers == 0,
            followers,
            parents: view.parents.clone(),
            retries: view.retries,
            backoff_ms: backoff.map_or(of_hub, |backoff| (backoff.first_ms as i64, backoff.longest_ms as i64)),
            timeout_ms: view.timeout_ms as i64,
            priority: view.priority,
            is: if view.item { Is::Succeeded } else { Is::Waiting },
            jobs_of_pass: shape.jobs_of_pass(&view.name),
            settled: Vec::new(),
            attempts: 0,
            failures: 0,
            losses: 0,
            fanned_out: false,
        };
        self.runs[run].unmade -= if view.item { job.jobs_of_pass } else { 0 };
        self.jobs.insert(view.id, job);
        self.runs[run].jobs.push(view.id);
        if view.item {
            // It has its value.
        } else if view.parents.iter().any(|parent| self.is(*parent) == Is::Cancelled) {
            self.set(view.id, Is::Cancelled);
        } else {
            self.free(view.id);
        }
    }

    pub fn is(&self, job: JobId) -> Is {
        self.jobs[&job].is
    }

    pub fn set(&mut self, id: JobId, is: Is) {
        let was = std::mem::replace(&mut self.jobs.get_mut(&id).unwrap().is, is);
        self.index.of(was).map(|ids| ids.remove(&id));
        self.index.of(is).map(|ids| ids.insert(id));
    }

    fn free(&mut self, id: JobId) {
        let done = |parent: &JobId| self.is(*parent) == Is::Succeeded;
        if self.is(id) == Is::Waiting && self.jobs[&id].parents.iter().all(done) {
            self.set(id, Is::Ready);
        }
    }

    pub fn holds_back(&self, job: &Job) -> bool {
        self.paused || self.runs[job.run].paused || self.paused_scopes.contains(&job.scope)
    }

    /// Jobs that can be leased from a scope now, with their place in the order.
    pub fn ready<'a>(&'a self, scope: &'a str) -> impl Iterator<Item = ((i64, usize, JobId), JobId)> + 'a {
        let ready = self.index.ready.iter().map(|id| (*id, &self.jobs[id])).filter(move |(_, job)| job.scope == scope);
        ready.filter(|(_, job)| !self.holds_back(job)).map(|(id, job)| ((-job.priority, job.run, id), id))
    }

    pub fn lease(&mut self, id: JobId, token: LeaseToken, session: SessionId, since_ms: i64) {
        let job = self.jobs.get_mut(&id).unwrap();
        job.attempts += 1;
        self.set(id, Is::Leased { token, session, since_ms });
    }

    pub fn settle(&mut self, id: JobId, attempt: u32, token: LeaseToken, deed: Deed, now_ms: i64) -> Settled {
        let Some(job) = self.jobs.get(&id) else { return Settled::Stale };
        if !matches!(job.is, Is::Leased { token: own, .. } if own == token) {
            return if job.settled.contains(&(attempt, token)) { Settled::Settled } else { Settled::Stale };
        }
        self.record(id, attempt, token);
        let old = &mut self.runs[self.jobs[&id].run].settled;
        old.push_back((id, attempt, token));
        if old.len() > 200 {
            old.pop_front();
        }
        self.carry_out(id, deed, now_ms);
        Settled::Settled
    }

    /// Keeps an attempt, and forgets those that are too old by now.
    fn record(&mut self, id: JobId, attempt: u32, token: LeaseToken) {
        let kept = self.attempts_kept;
        let settled = &mut self.jobs.get_mut(&id).unwrap().settled;
        settled.push((attempt, token));
        settled.retain(|(number, _)| number + kept > attempt);
    }

    /// Whether an attempt is forgotten as soon as the present lease of its job ends.
    pub fn is_about_to_go(&self, id: JobId, attempt: u32) -> bool {
        let job = self.jobs.get(&id);
        job.is_some_and(|job| matches!(job.is, Is::Leased { .. }) && attempt + self.attempts_kept <= job.attempts)
    }

    fn carry_out(&mut self, id: JobId, deed: Deed, now_ms: i64) {
        let (feeds, followers) = (self.jobs[&id].feeds, self.jobs[&id].followers);
        let no_list = matches!(deed, Deed::Succeed { list: None, .. }) && feeds;
        if let Deed::Succeed { priority: Some(priority), .. } | Deed::Pending { priority: Some(priority) } = deed
            && !no_list
        {
            for follower in id.0 + 1..=id.0 + followers {
                self.jobs.get_mut(&JobId(follower)).unwrap().priority = priority;
            }
        }
        match deed {
            Deed::Succeed { .. } if no_list => {
                let job = self.jobs.get_mut(&id).unwrap();
                job.losses = 0;
                job.failures += 1;
                self.set(id, Is::Failed);
            }
            Deed::Succeed { list, .. } => self.succeed(id, list),
            Deed::Pending { priority } => {
                let job = self.jobs.get_mut(&id).unwrap();
                job.losses = 0;
                job.priority = priority.unwrap_or(job.priority);
                self.set(id, Is::Parked(now_ms));
                self.drawn.push((id, milliseconds(self.policy.pending_max)));
            }
            Deed::Reset => {
                // Its own attempt is settled, and not cut short.
                self.set(id, Is::Ready);
                self.reset(id);
            }
            Deed::Cancel => {
                self.set(id, Is::Cancelled);
                for relative in self.descendants([id]) {
                    self.cancel(relative);
                }
            }
            Deed::Fail => self.fail(id, now_ms),
            Deed::Release { delay_ms: 0 } => self.set(id, Is::Ready),
            Deed::Release { delay_ms } => self.set(id, Is::Parked(now_ms + delay_ms as i64)),
        }
    }

    fn succeed(&mut self, id: JobId, list: Option<u64>) {
        let job = self.jobs.get_mut(&id).unwrap();
        job.losses = 0;
        if job.feeds && !std::mem::replace(&mut job.fanned_out, true) {
            self.runs[job.run].unmade += list.unwrap_or(0) as i64 * job.jobs_of_pass;
        }
        self.set(id, Is::Succeeded);
        for child in self.children.get(&id).cloned().unwrap_or_default() {
            self.free(child);
        }
    }

    fn fail(&mut self, id: JobId, now_ms: i64) {
        let job = self.jobs.get_mut(&id).unwrap();
        job.failures += 1;
        job.losses = 0;
        let is = if job.failures > job.retries { Is::Failed } else { Is::Parked(now_ms) };
        let (first, longest) = job.backoff_ms;
        self.drawn.push((id, (first << (job.failures - 1)).min(longest)));
        self.set(id, is);
    }

    fn descendants(&self, roots: impl IntoIterator<Item = JobId>) -> BTreeSet<JobId> {
        let mut found: BTreeSet<JobId> = roots.into_iter().collect();
        let mut open: Vec<JobId> = found.iter().copied().collect();
        while let Some(id) = open.pop() {
            for child in self.children.get(&id).into_iter().flatten() {
                if found.insert(*child) {
                    open.push(*child);
                }
            }
        }
        found
    }

    /// Keeps the attempt of a job that runs, of which the lease is about to be taken.
    fn cut_short(&mut self, id: JobId) {
        if matches!(self.is(id), Is::Leased { .. }) {
            self.record(id, self.jobs[&id].attempts, LeaseToken([0; 16]));
        }
    }

    fn cancel(&mut self, id: JobId) {
        self.cut_short(id);
        if self.is(id) != Is::Succeeded {
            self.set(id, Is::Cancelled);
        }
    }

    fn reset(&mut self, id: JobId) {
        let mut ancestors = BTreeSet::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if !self.jobs[&id].item && ancestors.insert(id) {
                open.extend(self.jobs[&id].parents.clone());
            }
        }
        let family = self.descendants(ancestors);
        self.start_over(&family);
    }

    fn start_over(&mut self, family: &BTreeSet<JobId>) {
        for id in family {
            self.cut_short(*id);
            let job = self.jobs.get_mut(id).unwrap();
            (job.failures, job.losses) = (0, 0);
            self.set(*id, Is::Waiting);
        }
        family.iter().for_each(|id| self.free(*id));
    }

    pub fn reset_job(&mut self, id: JobId) -> u64 {
        let family = self.descendants([id]);
        self.start_over(&family);
        family.len() as u64
    }

    pub fn reset_failed(&mut self, run: usize) -> u64 {
        let failed = self.runs[run].jobs.iter().filter(|id| self.is(**id) == Is::Failed);
        let failed: BTreeSet<JobId> = failed.copied().collect();
        self.start_over(&failed);
        failed.len() as u64
    }

    pub fn cancel_run(&mut self, run: usize) {
        self.runs[run].given_up += std::mem::take(&mut self.runs[run].unmade);
        for id in self.runs[run].jobs.clone() {
            if !matches!(self.is(id), Is::Succeeded | Is::Failed) {
                self.cut_short(id);
                self.set(id, Is::Cancelled);
            }
        }
    }

    pub fn promote(&mut self, now_ms: i64) {
        for id in self.index.parked.clone() {
            if matches!(self.is(id), Is::Parked(from_ms) if from_ms <= now_ms) {
                self.set(id, Is::Ready);
            }
        }
    }

    pub fn held_by(&self, session: SessionId) -> Vec<(JobId, LeaseToken)> {
        let held = self.index.leased.iter().filter_map(|id| match self.is(*id) {
            Is::Leased { token, session: own, .. } if own == session => Some((*id, token)),
            _ => None,
        });
        held.collect()
    }

    pub fn is_held(&self, id: JobId, token: LeaseToken) -> bool {
        self.jobs.get(&id).is_some_and(|job| matches!(job.is, Is::Leased { token: own, .. } if own == token))
    }

    pub fn lapse(&mut self, session: SessionId) -> usize {
        let held = self.held_by(session);
        for (id, _) in &held {
            self.record(*id, self.jobs[id].attempts, LeaseToken([0; 16]));
            let job = self.jobs.get_mut(id).unwrap();
            job.losses += 1;
            let is = if job.losses >= self.policy.losses_max { Is::Failed } else { Is::Ready };
            self.set(*id, is);
        }
        held.len()
    }

    pub fn take_back(&mut self, id: JobId) {
        self.set(id, Is::Ready);
    }

    pub fn expire(&mut self, now_ms: i64, start_ms: i64, grace_ms: i64) -> Vec<i64> {
        let over = |job: &Job| matches!(job.is, Is::Leased { since_ms, .. } if since_ms.max(start_ms) + job.timeout_ms + grace_ms <= now_ms);
        let over: Vec<JobId> = self.index.leased.iter().copied().filter(|id| over(&self.jobs[id])).collect();
        for id in &over {
            self.record(*id, self.jobs[id].attempts, LeaseToken([0; 16]));
            self.fail(*id, now_ms);
        }
        over.iter().map(|id| id.0 as i64).collect()
    }

    /// Numbers of jobs of a run by state, those that are not made included.
    pub fn counts(&self, run: usize) -> Counts {
        let Run { unmade, given_up, jobs, .. } = &self.runs[run];
        let mut counts = Counts { waiting: *unmade as u64, cancelled: *given_up as u64, ..Counts::default() };
        for job in jobs.iter().map(|id| &self.jobs[id]).filter(|job| !job.item) {
            match job.is {
                Is::Waiting => counts.waiting += 1,
                Is::Ready => counts.available += 1,
                Is::Parked(_) => counts.pending += 1,
                Is::Leased { .. } => counts.leased += 1,
                Is::Succeeded => counts.succeeded += 1,
                Is::Failed => counts.failed += 1,
                Is::Cancelled => counts.cancelled += 1,
            }
        }
        counts
    }

    /// Whether none of the jobs of a run can run, or runs.
    pub fn is_idle(&self, run: usize) -> bool {
        let counts = self.counts(run);
        counts.available + counts.pending + counts.leased == 0
    }

    /// Whether passes may be made of which nothing can run: a request then may end before it comes to other jobs.
    pub fn may_be_barren(&self, run: usize) -> bool {
        self.runs[run].unmade > 0 && self.counts(run).cancelled > 0
    }

    /// Whether there is a job of a run that passes still to be made may wait for when nothing runs.
    pub fn has_stuck(&self, run: usize) -> bool {
        let counts = self.counts(run);
        counts.waiting + counts.failed > self.runs[run].unmade as u64
    }

    pub fn forget(&mut self, run: usize) {
        for id in std::mem::take(&mut self.runs[run]).jobs {
            self.set(id, Is::Cancelled);
            self.jobs.remove(&id);
            self.children.remove(&id);
        }
    }
}

fn milliseconds(duration: std::time::Duration) -> i64 {
    duration.as_millis() as i64
}
