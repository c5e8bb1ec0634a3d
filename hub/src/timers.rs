//! What a hub does by itself: parked jobs that become ready, leases that end, workers that are lost, runs that are no longer kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::error::QueueError;
use crate::job::Policy;
use crate::queue::Shared;
use crate::store::postgres::Fleet;
use crate::tidying::{self, Tidying};

/// Pause after a failure of the database before a timer tries again.
const RETRY: Duration = Duration::from_secs(1);

/// Longest time between two looks at parked jobs and at leases: the last resort where a wake-up was lost.
const LOOK: Duration = Duration::from_secs(30);

/// Shortest time between two looks at leases.
const LEASES_LOOK_MIN: Duration = Duration::from_millis(500);

/// Pause between two steps of deleting, so that others come to their turns.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);

/// Starts the timers; they run until `stop`.
pub(crate) fn start(shared: &Arc<Shared>, policy: &Policy, stop: &CancellationToken) {
    let spawn = |timer: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        tokio::spawn(stop.clone().run_until_cancelled_owned(timer));
    };
    // Nearly all parked jobs wait for less than this.
    let usual_pause = policy.pending_max.min(policy.backoff_max);
    spawn(Box::pin(promote_in_time(Arc::clone(shared), usual_pause)));
    spawn(Box::pin(expire_in_time(Arc::clone(shared))));
    spawn(Box::pin(watch_sessions(Arc::clone(shared))));
    spawn(Box::pin(keep_in_bounds(Arc::clone(shared))));
    spawn(Box::pin(finish_cancelling(Arc::clone(shared))));
}

/// Repeats something until the database does it.
async fn insist<T, F>(what: &str, mut action: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, QueueError>>,
{
    loop {
        match action().await {
            Ok(done) => return done,
            Err(error) => {
                tracing::error!(%error, "failed to {what}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Makes parked jobs ready when their time comes; sleeps until then.
async fn promote_in_time(shared: Arc<Shared>, usual_pause: Duration) {
    bring_forward(&shared, usual_pause).await;
    loop {
        shared.bell.parked.begin();
        let next = insist("look for jobs whose pause is over", || shared.store.promote(now_ms())).await;
        shared.bell.parked.sleep(next, LOOK).await;
    }
}

/// Brings parked jobs forward that a clock put too far off. Pauses are short beside what a clock is wrong by, so looking once, at
/// the start, is enough: while a hub runs, its clock only goes on.
async fn bring_forward(shared: &Shared, usual_pause: Duration) {
    insist("learn the time of other hubs", || shared.store.meet_time()).await;
    let now_ms = now_ms();
    let mut jobs = 0;
    // Those that wait for less need no look.
    let mut next = Some((now_ms.saturating_add(i64::try_from(usual_pause.as_millis()).unwrap_or(i64::MAX / 4)), 0));
    while let Some(after) = next {
        let brought;
        let what = "look for jobs that a clock put too far off";
        (brought, next) = insist(what, || shared.store.bring_forward(after, now_ms)).await;
        jobs += brought;
    }
    if jobs > 0 {
        tracing::warn!(jobs, "the clock was set back: parked jobs are brought forward");
    }
}

/// Ends leases whose time is over although their worker beats.
async fn expire_in_time(shared: Arc<Shared>) {
    // Time in which no hub may have run does not count.
    let start_ms = now_ms();
    let what = "look for leases that a clock put too far off";
    let leases = insist(what, || shared.store.date_leases_back(now_ms)).await;
    if leases > 0 {
        tracing::warn!(leases, "the clock was set back: leases are dated back");
    }
    loop {
        shared.bell.leased.begin();
        let (jobs, next) = insist("look for leases that are over", || shared.store.expire(now_ms(), start_ms)).await;
        if !jobs.is_empty() {
            tracing::warn!(?jobs, "took leases back: no outcome within the time limit of the step and grace");
        }
        tokio::time::sleep(LEASES_LOOK_MIN).await;
        shared.bell.leased.sleep(next, LOOK).await;
    }
}

/// Takes the leases of workers that were not heard from, by this hub or another one.
async fn watch_sessions(shared: Arc<Shared>) {
    let limits = shared.limits;
    let known = insist("look for leases from before the start", || shared.store.sessions()).await;
    known.into_iter().for_each(|session| shared.sessions.watch(session, Instant::now()));
    let look = (limits.lapse / 10).clamp(Duration::from_millis(50), Duration::from_secs(1));
    let mut shared_at: Option<Instant> = None;
    loop {
        if shared.fleet.is_none() {
            // A hub that nobody works for sleeps.
            shared.sessions.any().await;
        }
        let slept_at = Instant::now();
        tokio::time::sleep(look).await;
        let overslept = slept_at.elapsed().saturating_sub(look);
        if overslept > limits.lapse / 3 {
            // A hub that was frozen has heard nobody: that is not the workers' silence.
            tracing::warn!(for_ms = overslept.as_millis(), "this hub stood still; workers get that time again");
            shared.sessions.forgive(overslept, Instant::now());
        }
        if let Some(fleet) = &shared.fleet
            && shared_at.is_none_or(|at| at.elapsed() >= limits.lapse / 4)
        {
            if let Err(error) = meet(&shared, fleet).await {
                tracing::warn!(%error, "failed to hear of workers from other hubs");
                continue;
            }
            let unheard = shared_at.map_or(Duration::ZERO, |at| at.elapsed().saturating_sub(limits.lapse / 4));
            if unheard > limits.lapse / 4 {
                // Whom other hubs heard from meanwhile they could not tell.
                tracing::warn!(
                    for_ms = unheard.as_millis(),
                    "other hubs could not be heard; their workers get that time again"
                );
                shared.sessions.forgive(unheard, Instant::now());
            }
            shared_at = Some(Instant::now());
        }
        lapse_silent(&shared).await;
    }
}

/// Tells other hubs whom this one heard from, and hears whom they did.
async fn meet(shared: &Shared, fleet: &Fleet) -> Result<(), QueueError> {
    let own = shared.sessions.news(Instant::now());
    for heard in fleet.share(&own, shared.limits.lapse).await? {
        shared.sessions.hear_of(heard, Instant::now());
    }
    for session in shared.store.sessions().await? {
        shared.sessions.watch(session, Instant::now());
    }
    Ok(())
}

async fn lapse_silent(shared: &Shared) {
    for session in shared.sessions.take_silent(shared.limits.lapse, Instant::now()) {
        // First: a request that is still open, as that of a frozen worker, must not get its own jobs back.
        shared.store.dismiss(session);
        match shared.store.lapse(session, now_ms()).await {
            Ok(0) => {}
            Ok(jobs) => tracing::warn!(%session, jobs, "worker lost: its jobs are available again"),
            Err(error) => {
                tracing::error!(%error, %session, "failed to take the leases of a lost worker");
                shared.sessions.watch(session, Instant::now());
            }
        }
    }
}

/// Goes on where a hub ended while it cancelled a run of many jobs.
async fn finish_cancelling(shared: Arc<Shared>) {
    for run in insist("look for runs that are cancelled in part", || shared.store.half_cancelled()).await {
        tracing::info!(run, "cancelling what is left of a cancelled run");
        insist("cancel what is left of a cancelled run", || shared.store.cancel_more(run, now_ms())).await;
    }
}

/// Deletes what belongs to hidden runs: their values first, for once a run's rows are gone nobody knows of them. Answers with whether
/// there were any.
async fn delete_retired(shared: &Shared) -> bool {
    let mut any = false;
    while let Some(run) = insist("look for runs to delete", || shared.store.retired()).await {
        if let Some(values) = shared.values()
            && let Err(error) = tidying::remove(values.bucket(), &run).await
        {
            tracing::warn!(%error, %run, "the values of a run that is no longer kept could not be removed; the run stays until a later look removes them");
            return any;
        }
        any = true;
        while insist("delete runs that are no longer kept", || shared.store.sweep(run.clone())).await {
            tokio::time::sleep(SWEEP_PAUSE).await;
        }
        tokio::time::sleep(SWEEP_PAUSE).await;
    }
    any
}

/// Deletes finished runs that are over a bound, and values that nobody needs any more.
async fn keep_in_bounds(shared: Arc<Shared>) {
    let kept = shared.limits.kept;
    let mut tidying = Tidying::new(now_ms());
    // What a hub did not come to before it ended.
    let mut unused = true;
    loop {
        let runs = insist("look for runs that are no longer kept", || shared.store.retire(kept, now_ms())).await;
        if runs > 0 {
            tracing::info!(runs, "finished runs are over the bounds of what is kept and are deleted");
        }
        unused |= delete_retired(&shared).await;
        if std::mem::take(&mut unused) {
            insist("delete plans and files that no run uses", || shared.store.delete_unused(now_ms())).await;
        }
        if let Some(values) = shared.values() {
            tidying.look(&shared.store, values.bucket(), kept, now_ms()).await;
        }
        tokio::time::sleep(kept.look).await;
    }
}
