//! Giving work to workers that wait for it.

use std::time::{Duration, Instant};

use protocol::api::{Lease, LeaseAnswer, LeaseRequest};

use super::{Queue, check_scope};
use crate::clock::now_ms;
use crate::error::QueueError;
use crate::store::{Given, Share};
use crate::wake::Waiting;

impl Queue {
    /// Leases ready jobs to a worker; waits for some when there are none.
    ///
    /// # Errors
    /// The request is over a limit, or the database failed.
    pub async fn lease(&self, request: LeaseRequest) -> Result<LeaseAnswer, QueueError> {
        let limits = *self.limits();
        if request.scopes.len() > limits.scopes_max {
            return Err(QueueError::TooLarge {
                what: "the lease request".to_owned(),
                size: request.scopes.len() as u64,
                unit: "scopes",
                limit: limits.scopes_max as u64,
                setting: "BUE_SCOPES_MAX",
            });
        }
        request.scopes.iter().try_for_each(|scope| check_scope(scope))?;
        let deadline = Instant::now() + Duration::from_millis(request.wait_ms).min(limits.wait_max);
        let slots = request.slots.min(limits.leases_max);
        let shared_slots = request.shared_slots.min(limits.leases_max - slots);
        let request = LeaseRequest { slots, shared_slots, ..request };
        self.shared.sessions.hear(request.session, request.info.clone(), Instant::now());
        let mut waiting = self.shared.bell.waiters.wait(request.scopes.clone());
        while !self.shared.sessions.is_gone(request.session) {
            let given = self.look(&request).await?;
            if is_served(&request, &given, waiting.woken_for()) {
                waiting.is_served();
            }
            if !given.leases.is_empty() || request.slots == 0 {
                return Ok(LeaseAnswer { leases: given.leases });
            }
            match self.wait_for_work(&request, &mut waiting, deadline).await? {
                Waited::Given(leases) => return Ok(LeaseAnswer { leases }),
                Waited::Woken => {}
                Waited::InVain => break,
            }
        }
        Ok(LeaseAnswer { leases: Vec::new() })
    }

    /// Takes what there is.
    async fn look(&self, request: &LeaseRequest) -> Result<Given, QueueError> {
        let given = self.store().lease(request.clone(), self.share(request), now_ms()).await?;
        self.note_given(request, &given);
        Ok(given)
    }

    fn share(&self, request: &LeaseRequest) -> Share {
        self.shared.sessions.share(request, self.limits().scope_share)
    }

    fn note_given(&self, request: &LeaseRequest, given: &Given) {
        if !given.leases.is_empty() {
            self.shared.sessions.note_given(request, given, self.limits().scope_share);
        }
    }

    /// Waits for jobs, or to be woken, until the deadline. That it waits is no sign of life: the request of a worker that is frozen or cut
    /// off stays open until that is missed. The database is left alone meanwhile.
    async fn wait_for_work(
        &self,
        request: &LeaseRequest,
        waiting: &mut Waiting<'_>,
        deadline: Instant,
    ) -> Result<Waited, QueueError> {
        if deadline <= Instant::now() {
            return Ok(Waited::InVain);
        }
        let mut demanded = self.store().demand(request.clone(), self.share(request), now_ms);
        if self.shared.sessions.is_gone(request.session) {
            // It has gone since the look, and those who send its requests away came before this one.
            return Ok(Waited::InVain);
        }
        let (answer, otherwise) = tokio::select! {
            biased;
            answer = demanded.given() => (answer, Waited::Woken),
            () = waiting.woken() => (demanded.withdraw().await, Waited::Woken),
            () = tokio::time::sleep_until(deadline.into()) => (demanded.withdraw().await, Waited::InVain),
        };
        let Some(given) = answer.transpose()?.filter(|given| !given.leases.is_empty()) else {
            return Ok(otherwise);
        };
        self.note_given(request, &given);
        Ok(Waited::Given(given.leases))
    }
}

/// What became of waiting for jobs.
enum Waited {
    Given(Vec<Lease>),
    /// There may be some.
    Woken,
    InVain,
}

/// Whether nothing is left of what a worker was woken for, as far as it can know: it has taken a job of that scope, or all there was.
fn is_served(request: &LeaseRequest, given: &Given, scope: Option<&str>) -> bool {
    let is_of = |place: &usize| request.scopes.get(*place).map(String::as_str) == scope;
    !given.is_full || given.scopes.iter().any(is_of)
}
