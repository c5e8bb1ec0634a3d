//! Hands outcomes to the hub, as many as there are at once, again and again until each is answered.

use std::sync::Arc;

use protocol::api::{SETTLEMENTS_MAX, SettleRequest, Settled, Settlement};
use protocol::{ErrorKind, Outcome, StepError};
use tokio::sync::{mpsc, oneshot};

use crate::backoff::Backoff;
use crate::control::Shared;
use crate::hub::{Hub, HubError};
use crate::pace::{self, Pace};

/// One outcome on its way, and who waits for the hub's word on it.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) settlement: Settlement,
    pub(crate) answered: oneshot::Sender<Settled>,
}

/// Most settlements of one request: large enough to carry a burst, small enough for one body.
pub(crate) const BATCH_MAX: usize = if SETTLEMENTS_MAX < 128 { SETTLEMENTS_MAX } else { 128 };

/// Runs until every sender is gone and every parcel is answered.
pub(crate) async fn run<H: Hub>(shared: Arc<Shared<H>>, mut parcels: mpsc::Receiver<Parcel>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut pace = Pace::new(shared.config.limits.request_pause);
    while parcels.recv_many(&mut batch, BATCH_MAX).await > 0 {
        // Whoever still runs may bring the next one, unless there is no room for it.
        pace.keep(batch.len() >= BATCH_MAX || shared.held.count() < batch.len() + pace::COMPANY).await;
        while batch.len() < BATCH_MAX
            && let Ok(parcel) = parcels.try_recv()
        {
            batch.push(parcel);
        }
        deliver(&shared, std::mem::take(&mut batch)).await;
    }
}

/// Delivers some parcels; where the hub refuses them together, each alone, so that one cannot block the others.
async fn deliver<H: Hub>(shared: &Shared<H>, batch: Vec<Parcel>) {
    let settlements: Vec<Settlement> = batch.iter().map(|parcel| parcel.settlement.clone()).collect();
    match settle(shared, settlements).await {
        Ok(answers) => answer(batch, answers),
        Err(_) if batch.len() > 1 => {
            for parcel in batch {
                deliver_alone(shared, parcel).await;
            }
        }
        Err(error) => {
            for parcel in batch {
                deliver_as_error(shared, parcel, &error).await;
            }
        }
    }
}

async fn deliver_alone<H: Hub>(shared: &Shared<H>, parcel: Parcel) {
    match settle(shared, vec![parcel.settlement.clone()]).await {
        Ok(answers) => answer(vec![parcel], answers),
        Err(error) => deliver_as_error(shared, parcel, &error).await,
    }
}

/// The hub will never take this outcome: the job is told why, instead of being run again and again.
async fn deliver_as_error<H: Hub>(shared: &Shared<H>, parcel: Parcel, error: &HubError) {
    tracing::error!(job = %parcel.settlement.job, "{error}");
    let message = format!("the hub does not take what came of this attempt: {error}");
    let outcome = Outcome::Error(StepError::new(ErrorKind::Value, message));
    let plain = Settlement { outcome, log: None, ..parcel.settlement.clone() };
    // Where even this is refused, nobody waits for an answer that will never come: the lease lapses.
    let answers = settle(shared, vec![plain]).await.unwrap_or_else(|_| vec![Settled::Stale]);
    answer(vec![parcel], answers);
}

fn answer(batch: Vec<Parcel>, answers: Vec<Settled>) {
    for (parcel, settled) in batch.into_iter().zip(answers) {
        // The attempt may have been given up at shutdown; the hub has its outcome all the same.
        let _ = parcel.answered.send(settled);
    }
}

/// Sends until there is an answer; an error only where trying again is in vain.
async fn settle<H: Hub>(shared: &Shared<H>, settlements: Vec<Settlement>) -> Result<Vec<Settled>, HubError> {
    let limits = &shared.config.limits;
    let mut backoff = Backoff::new(limits.backoff_min, limits.backoff_max);
    let count = settlements.len();
    let request = SettleRequest { session: shared.session, settlements };
    loop {
        match shared.hub.settle(request.clone()).await {
            Ok(answer) if answer.answers.len() == count => {
                shared.hub_outage.worked();
                return Ok(answer.answers);
            }
            Ok(answer) => {
                let given = answer.answers.len();
                shared.hub_outage.failed(&format!("the hub gave {given} answers to {count} settlements"));
            }
            Err(error) if error.is_final() => return Err(error),
            Err(error) => shared.hub_outage.failed(&error),
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}
