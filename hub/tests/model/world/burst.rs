//! Leases and settlements, a few at once: they share transactions, and count in their order.

use std::collections::BTreeSet;

use bue_hub::store::{Given, Share};
use protocol::api::{LeaseRequest, SettleRequest, Settled, Settlement};
use protocol::{JobId, LeaseToken};

use super::World;
use crate::deeds::Deed;
use crate::reference::Is;

/// As many passes as one transaction makes at most where nothing can run of them, and a few less.
const MANY_PASSES: u64 = 100;

/// One request of a burst.
pub(super) enum Request {
    Lease(Box<LeaseRequest>, Share),
    Settle(SettleRequest, Vec<Deed>),
}

enum Answer {
    Lease(Given),
    Settle(Vec<Settled>),
}

impl World {
    pub(super) async fn burst(&mut self) {
        let count = 1 + self.chance.below(4);
        let mut requests = Vec::new();
        for _ in 0..count {
            let request = if self.chance.once_in(2) {
                let (request, share) = self.lease_request();
                Request::Lease(Box::new(request), share)
            } else {
                let (request, deeds) = self.settle_request();
                Request::Settle(request, deeds)
            };
            requests.push(request);
        }
        let answers = self.send(&requests).await;
        let may_end_early = self.may_be_barren();
        let newest = self.learn_all(&requests).await;
        for (request, answer) in requests.iter().zip(answers) {
            match (request, answer) {
                (Request::Lease(request, share), Answer::Lease(given)) => {
                    let may_end_early = may_end_early || self.may_be_barren();
                    self.check_leases(request, *share, &given, newest, may_end_early);
                }
                (Request::Settle(request, deeds), Answer::Settle(answers)) => {
                    self.check_settlements(request, deeds, &answers);
                }
                _ => unreachable!("answers are in the order of requests"),
            }
        }
        self.read_drawn_times().await;
    }

    /// A request that is kept while jobs are settled is given what that makes ready, as if it had come right after.
    pub(super) async fn wait(&mut self) {
        let ((request, share), (settle, deeds), now_ms) = (self.lease_request(), self.settle_request(), self.now_ms);
        let before = self.ready_in(&request.scopes);
        let demanded = self.store().demand(request.clone(), share, move || now_ms);
        let answers = self.store().settle(settle.clone(), now_ms).await.unwrap();
        let given = demanded.withdraw().await.transpose().unwrap();
        let may_end_early = self.may_be_barren();
        let requests = [Request::Settle(settle, deeds), Request::Lease(Box::new(request), share)];
        let newest = self.learn_all(&requests).await;
        let [Request::Settle(settle, deeds), Request::Lease(request, share)] = &requests else { unreachable!() };
        self.check_settlements(settle, deeds, &answers);
        match given {
            Some(given) => {
                self.note("kept requests that were answered");
                let may_end_early = may_end_early || self.may_be_barren();
                self.check_leases(request, *share, &given, newest, may_end_early);
            }
            None => {
                self.note("kept requests that were withdrawn");
                let now = self.ready_in(&request.scopes);
                let new: Vec<&JobId> = now.difference(&before).collect();
                assert!(new.is_empty(), "{new:?} became ready beside a request for them at event {}", self.events);
            }
        }
        self.read_drawn_times().await;
    }

    fn ready_in(&self, scopes: &[String]) -> BTreeSet<JobId> {
        scopes.iter().flat_map(|scope| self.model.ready(scope)).map(|(_, id)| id).collect()
    }

    /// At once; but how many passes one request makes may depend on those that share its transaction, so where there are many to be
    /// made, one after the other: else a seed would not be replayed.
    async fn send(&self, requests: &[Request]) -> Vec<Answer> {
        let (store, now_ms) = (self.store().clone(), self.now_ms);
        let send = async |request: &Request| match request {
            Request::Lease(request, share) => {
                Answer::Lease(store.lease(request.as_ref().clone(), *share, now_ms).await.unwrap())
            }
            Request::Settle(request, _) => Answer::Settle(store.settle(request.clone(), now_ms).await.unwrap()),
        };
        let unmade: i64 = self.open.iter().map(|run| self.model.runs[*run].unmade).sum();
        let is_long = |deed: &Deed| matches!(deed, Deed::Succeed { list: Some(MANY_PASSES..), .. });
        let begins =
            requests.iter().any(|request| matches!(request, Request::Settle(_, deeds) if deeds.iter().any(is_long)));
        if !begins && unmade < MANY_PASSES as i64 {
            return futures::future::join_all(requests.iter().map(send)).await;
        }
        let mut answers = Vec::new();
        for request in requests {
            answers.push(send(request).await);
        }
        answers
    }

    /// Whether passes may be made of which nothing can run: a request then may end before it comes to other jobs.
    pub(super) fn may_be_barren(&self) -> bool {
        self.open.iter().any(|run| self.model.may_be_barren(*run))
    }

    /// Passes may have been made, of loops that have begun in this very burst, too. Answers with the newest job from before.
    pub(super) async fn learn_all(&mut self, requests: &[Request]) -> JobId {
        let newest = self.model.jobs.last_key_value().map_or(JobId(0), |(id, _)| *id);
        for run in self.open.clone() {
            if self.model.runs[run].unmade > 0 || self.may_begin_a_loop(run, requests) {
                self.learn(run).await;
            }
        }
        newest
    }

    /// Whether a settlement among these requests may begin a loop of a run.
    fn may_begin_a_loop(&self, run: usize, requests: &[Request]) -> bool {
        let feeds = |job: &JobId| self.model.jobs.get(job).is_some_and(|job| job.run == run && job.feeds);
        requests.iter().any(|request| match request {
            Request::Settle(request, _) => request.settlements.iter().any(|settlement| feeds(&settlement.job)),
            Request::Lease(..) => false,
        })
    }

    pub(super) fn settle_request(&mut self) -> (SettleRequest, Vec<Deed>) {
        let session = self.session();
        let mut held: Vec<(JobId, LeaseToken)> = self.model.held_by(session);
        let mut settlements = Vec::new();
        let mut deeds = Vec::new();
        for _ in 0..1 + self.chance.below(5) {
            let (job, attempt, token) = match self.chance.below(20) {
                0 => match self.old_attempt() {
                    Some(old) => old,
                    None => continue,
                },
                1 => (JobId(1 + self.chance.below(1_000_000) as u64), 1, LeaseToken([9; 16])),
                _ if held.is_empty() => break,
                _ => {
                    let (job, token) = held.swap_remove(self.chance.below(held.len()));
                    (job, self.model.jobs[&job].attempts, token)
                }
            };
            let deed = Deed::draw(&mut self.chance);
            settlements.push(Settlement { job, attempt, token, outcome: deed.outcome(), log: None, sandbox: None });
            deeds.push(deed);
        }
        (SettleRequest { session, settlements }, deeds)
    }

    /// An attempt that was settled before. Whether one that this very burst may push out of the history is still known depends on
    /// which requests share a transaction, so it is not asked for.
    fn old_attempt(&mut self) -> Option<(JobId, u32, LeaseToken)> {
        let run = self.pick_run()?;
        let settled = &self.model.runs[run].settled;
        let old = *settled.get(self.chance.below(settled.len()))?;
        (!self.model.is_about_to_go(old.0, old.1)).then_some(old)
    }

    pub(super) fn check_settlements(&mut self, request: &SettleRequest, deeds: &[Deed], answers: &[Settled]) {
        for ((settlement, deed), answer) in request.settlements.iter().zip(deeds).zip(answers) {
            let Settlement { job, attempt, token, .. } = settlement;
            let expected = self.model.settle(*job, *attempt, *token, *deed, self.now_ms);
            assert_eq!(*answer, expected, "{settlement:?} at event {}", self.events);
            self.transcript.note("settlement", (job, attempt, token, *answer == Settled::Settled));
            self.events += 1;
            self.note(deed.kind(*answer));
        }
    }

    /// Pauses after errors are drawn, those after pending answers grow: their bounds are checked, then they are taken over.
    pub(super) async fn read_drawn_times(&mut self) {
        for (id, longest_ms) in std::mem::take(&mut self.model.drawn) {
            let Some(job) = self.model.jobs.get(&id) else { continue };
            let Is::Parked(_) = job.is else { continue };
            let view = self.store().job(id).await.unwrap();
            let from_ms = view.available_at_ms.unwrap_or_else(|| panic!("{id} is parked; the store has {view:?}"));
            assert!((self.now_ms..=self.now_ms + longest_ms).contains(&from_ms), "{id}: {from_ms} beyond {longest_ms}");
            self.transcript.note("parked", (id, from_ms));
            self.model.set(id, Is::Parked(from_ms));
        }
    }
}
