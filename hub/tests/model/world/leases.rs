//! What a worker asks for, and whether it is given what it should be.

use std::collections::{BTreeSet, HashSet};

use bue_hub::store::{Given, Share};
use protocol::JobId;
use protocol::api::{Lease, LeaseRequest, WorkerInfo};

use super::{SCOPES, World};
use crate::reference::Is;

/// Place of a job among all that could be given for a request: its scope's, then its own.
type Place = (usize, (i64, usize, JobId));

impl World {
    /// A request, and what it is due beside the order of its scopes.
    pub(super) fn lease_request(&mut self) -> (LeaseRequest, Share) {
        let mut scopes: Vec<String> = Vec::new();
        for _ in 0..1 + self.chance.below(3) {
            let scope = SCOPES[self.chance.below(3)].to_owned();
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        let slots = 1 + self.chance.below(6) as u32;
        let session = self.session();
        let share = Share { jobs: self.chance.below(4).saturating_sub(1), next: self.chance.below(3) };
        let request = LeaseRequest { session, scopes, slots, shared_slots: 0, wait_ms: 0, info: WorkerInfo::default() };
        (request, share)
    }

    /// Those that were ready go out in their order; jobs that are newer than `newest` may have been made later than the request.
    pub(super) fn check_leases(
        &mut self,
        request: &LeaseRequest,
        share: Share,
        given: &Given,
        newest: JobId,
        may_end_early: bool,
    ) {
        let leases = &given.leases;
        self.events += leases.len() as u64;
        assert!(leases.len() <= request.slots as usize);
        let must_go = |id: JobId| id <= newest && !may_end_early;
        let in_turn = self.check_share(request, share, leases, &must_go);
        let ids: HashSet<JobId> = leases.iter().map(|lease| lease.job).collect();
        let mut last: Option<Place> = None;
        for (number, lease) in leases.iter().enumerate() {
            let place = self.check_lease(request, lease);
            assert_eq!(given.scopes[number], place.0, "{}", lease.job);
            if number >= in_turn {
                assert!(last.is_none_or(|last| last < place), "{} came out of order", lease.job);
                last = Some(place);
            }
        }
        let is_full = leases.len() == request.slots as usize;
        for (number, scope) in request.scopes.iter().enumerate() {
            for (key, id) in self.model.ready(scope) {
                let before = !is_full || last.is_some_and(|last| (number, key) < last);
                let left_out = before && must_go(id) && !ids.contains(&id);
                assert!(!left_out, "{id} was ready and left out; given were {ids:?} at event {}", self.events);
            }
        }
        for lease in leases {
            self.transcript.note("lease", (lease.job, lease.attempt, lease.token, request.session));
            self.model.lease(lease.job, lease.token, request.session, self.now_ms);
            self.note("leases");
        }
        (0..in_turn).for_each(|_| self.note("shares"));
    }

    /// A lease is of a job that was ready, and says what it is. Answers with its place.
    fn check_lease(&self, request: &LeaseRequest, lease: &Lease) -> Place {
        let job = self.model.jobs.get(&lease.job).unwrap_or_else(|| panic!("{} is nowhere", lease.job));
        assert_eq!(job.is, Is::Ready, "{} ({}) was leased", lease.job, job.name);
        assert!(!self.model.holds_back(job), "{} is held back", lease.job);
        assert_eq!((lease.attempt, lease.priority), (job.attempts + 1, job.priority), "{}", lease.job);
        assert_eq!(lease.inputs.len(), job.parents.len(), "{}", lease.job);
        let scope = request.scopes.iter().position(|scope| *scope == job.scope).expect("a scope that was asked for");
        (scope, (-job.priority, job.run, lease.job))
    }

    /// What goes out as a share is the first job of the scope whose turn it is, or of the next one after it that has any. Answers with
    /// the number of such leases.
    fn check_share(
        &self,
        request: &LeaseRequest,
        share: Share,
        leases: &[Lease],
        must_go: &dyn Fn(JobId) -> bool,
    ) -> usize {
        let others = request.scopes.len() - 1;
        let (mut next, mut taken) = (share.next, BTreeSet::new());
        for lease in leases.iter().take(share.jobs) {
            let first = |turn: usize| {
                let ready = self.model.ready(&request.scopes[turn + 1]).filter(|(_, id)| !taken.contains(id));
                ready.min().map(|(_, id)| id).filter(|id| must_go(*id))
            };
            let own = self.check_lease(request, lease).0;
            let mut turns = (0..others).map(|offset| (next + offset) % others);
            let Some(turn) = turns.find(|turn| turn + 1 == own || first(*turn).is_some()) else { break };
            assert_eq!(turn + 1, own, "{} is not of the scope whose turn it is", lease.job);
            assert!(first(turn).is_none_or(|id| id == lease.job), "{} is not the first of its scope", lease.job);
            taken.insert(lease.job);
            next = turn + 1;
        }
        taken.len()
    }
}
