//! Requests for jobs that are kept while there are none: the change that makes jobs ready gives them out in the same transaction, so a
//! job that comes while workers wait is on its way after one commit, not two.
//!
//! A request is in exactly one place: it is kept here, or the writer has taken it and will answer. So it is never served twice, and
//! whoever withdraws it knows whether an answer is still to come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::SessionId;
use protocol::api::LeaseRequest;
use tokio::sync::oneshot;

use super::Store;
use super::lease::{Given, Share, lease};
use super::writer::{Expectation, Typed, Work};
use crate::error::QueueError;

/// The requests that are kept, the oldest first.
#[derive(Default)]
pub(super) struct Demand {
    requests: Mutex<Requests>,
}

#[derive(Default)]
struct Requests {
    next: u64,
    kept: VecDeque<Entry>,
}

struct Entry {
    number: u64,
    session: SessionId,
    scopes: Vec<String>,
    work: Box<dyn Work>,
}

impl Demand {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request for a scope that has new jobs: that of a worker which has just handed in what these may take, for it has that at
    /// hand, else the oldest. The writer answers it.
    pub(super) fn take(&self, ready: &BTreeMap<String, u64>, handed_in: &BTreeSet<SessionId>) -> Option<Box<dyn Work>> {
        let mut requests = self.requests();
        let fits = |entry: &Entry| entry.scopes.iter().any(|scope| ready.contains_key(scope));
        let at_hand = requests.kept.iter().position(|entry| handed_in.contains(&entry.session) && fits(entry));
        let place = at_hand.or_else(|| requests.kept.iter().position(fits))?;
        requests.kept.remove(place).map(|entry| entry.work)
    }

    /// Whether it was still kept.
    fn remove(&self, number: u64) -> bool {
        let mut requests = self.requests();
        let place = requests.kept.iter().position(|entry| entry.number == number);
        place.and_then(|place| requests.kept.remove(place)).is_some()
    }

    /// Sends everybody away: nothing is given out any more.
    pub(super) fn end(&self) {
        self.requests().kept.clear();
    }
}

/// A request that is kept for jobs to come. Dropped, it is withdrawn.
pub struct Demanded {
    demand: Arc<Demand>,
    number: u64,
    answer: oneshot::Receiver<Result<Given, QueueError>>,
}

impl Demanded {
    /// Waits for jobs. There may be none after all, where others were faster; then the request is kept no longer, nor where it was
    /// [dismissed](Store::dismiss) (`None`). It can be given up and called again until it has answered.
    pub async fn given(&mut self) -> Option<Result<Given, QueueError>> {
        (&mut self.answer).await.ok()
    }

    /// Answers with what it is given all the same, where that has begun.
    pub async fn withdraw(mut self) -> Option<Result<Given, QueueError>> {
        if self.demand.remove(self.number) { None } else { self.given().await }
    }
}

impl Drop for Demanded {
    fn drop(&mut self) {
        self.demand.remove(self.number);
    }
}

impl Store {
    /// Keeps a request for the jobs that come; `clock` gives the time of their leases. What is ready already gives it no jobs.
    #[must_use]
    pub fn demand(&self, request: LeaseRequest, share: Share, clock: impl Fn() -> i64 + Send + 'static) -> Demanded {
        let (session, scopes) = (request.session, request.scopes.clone());
        let expectation = Expectation::Slots(request.slots as usize);
        let (work, answer) = Typed::new(expectation, move |change| lease(change, &request, share, clock()));
        let demand = Arc::clone(self.writer.demand());
        let mut requests = demand.requests();
        let number = requests.next;
        requests.next += 1;
        requests.kept.push_back(Entry { number, session, scopes, work: Box::new(work) });
        drop(requests);
        Demanded { demand, number, answer }
    }

    /// Sends the requests of a worker away.
    pub fn dismiss(&self, session: SessionId) {
        self.writer.demand().requests().kept.retain(|entry| entry.session != session);
    }
}
