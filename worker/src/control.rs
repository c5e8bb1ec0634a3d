//! The one loop of a worker: as many leases as there are free slots, one attempt for each, an orderly end.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::SessionId;
use protocol::api::{GoodbyeRequest, Lease, LeaseRequest, Settled, Settlement, WorkerInfo};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::attempt::Attempts;
use crate::backoff::Backoff;
use crate::config::Config;
use crate::done::Done;
use crate::groups::Groups;
use crate::held::Held;
use crate::hub::Hub;
use crate::late_log::{self, LateLogs};
use crate::live_log::LiveLogs;
use crate::memory::{KillWatch, MemoryWatch};
use crate::outage::Outage;
use crate::pace::{self, Pace};
use crate::settler::{self, Parcel};
use crate::slots::{self, Room, Slots, Taken};
use crate::tally::{Summary, Tally};
use crate::{attempt, beat, descriptors, live_log, orphans, spawner, tidy};

/// What the log says while there is too little memory.
const MEMORY_SHORT: &str =
    "memory is short: no further jobs are taken until there is more than BUE_WORKER_MEMORY_RESERVE_BYTES";

/// Leases of one answer after which the next request need not wait for more slots to be free.
const MANY: usize = 32;

/// Time between two looks whether a bucket that refuses this worker lets it in.
const REFUSED_LOOK: Duration = Duration::from_secs(5);

/// How long the last word to the hub may take.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Why a worker cannot start. Once it runs, nothing but its shutdown ends it.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its folder cannot be used.
    #[error("data folder {} cannot be used: {source}; name another with --data-dir", path.display())]
    Folder {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system lacks something every worker needs.
    #[error("this system cannot run a worker: {0}")]
    System(String),
    /// The settings make no sense.
    #[error("a worker needs at least one slot and one scope")]
    Settings,
}

/// What the parts of one worker share.
pub(crate) struct Shared<H> {
    pub(crate) config: Config,
    pub(crate) hub: Arc<H>,
    pub(crate) session: SessionId,
    pub(crate) held: Held,
    pub(crate) hub_outage: Outage,
    pub(crate) bucket_outage: Outage,
    pub(crate) disk_outage: Outage,
    pub(crate) start_outage: Outage,
    pub(crate) live_logs: Arc<LiveLogs>,
    memory: MemoryWatch,
    /// Ends for lack of memory.
    pub(crate) kills: KillWatch,
    memory_outage: Outage,
    /// The bucket has refused an attempt, and was not asked since whether it refuses this worker.
    pub(crate) refused: AtomicBool,
    /// Attempts it would take now.
    free: AtomicU32,
    /// Since when a request for work waits at the hub.
    asks_since: Mutex<Option<Instant>>,
    /// Slots that are taken.
    busy: Arc<AtomicU32>,
    host: String,
    tally: Tally,
}

impl<H> Shared<H> {
    /// Whether there is memory for this many further attempts, or nobody knows.
    pub(crate) fn has_memory(&self, attempts: u64) -> bool {
        let limits = &self.config.limits;
        let each = limits.slot_memory_bytes.saturating_mul(attempts);
        self.memory.look().is_none_or(|memory| memory.room(limits.memory_reserve_bytes, each) > 0)
    }

    /// Since when a request for work has been waiting at the hub, which then has none for this worker.
    pub(crate) fn asks_since(&self) -> Option<Instant> {
        *self.asks_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asks(&self, since: Option<Instant>) {
        *self.asks_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// What this worker says of itself.
    pub(crate) fn info(&self) -> WorkerInfo {
        let memory = self.memory.look().unwrap_or_default();
        let (slots, busy) = (self.config.slots.try_into().unwrap_or(u32::MAX), self.busy.load(Ordering::Relaxed));
        WorkerInfo {
            host: self.host.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots,
            busy,
            scopes: self.config.scopes.clone(),
            python: self.config.python.version.clone(),
            sandbox: self.config.sandbox.level.summary(),
            engines: self.config.engines.words(&self.config.program),
            // What was free at the last look may have been taken since.
            free: self.free.load(Ordering::Relaxed).min(slots.saturating_sub(busy)),
            memory_available_bytes: memory.available,
            memory_bytes: memory.total,
            trouble: self.trouble().unwrap_or_default(),
        }
    }

    /// What attempts wait for, or are handed back for.
    fn trouble(&self) -> Option<String> {
        [&self.bucket_outage, &self.disk_outage, &self.start_outage].into_iter().find_map(Outage::current)
    }
}

/// Runs a worker until `shutdown` is cancelled; then it leases no more, lets its attempts finish within
/// [`Limits::drain`](crate::Limits::drain), hands the others back, and returns.
///
/// # Errors
/// Only at the start: when its folder or the system cannot be used. A hub or bucket that is away is waited for.
pub async fn run<H: Hub>(
    config: Config,
    hub: Arc<H>,
    bucket: bucket::Bucket,
    shutdown: CancellationToken,
) -> Result<Summary, WorkerError> {
    if config.slots == 0 || config.scopes.is_empty() {
        return Err(WorkerError::Settings);
    }
    descriptors::raise_limit();
    orphans::adopt().map_err(|error| WorkerError::System(error.to_string()))?;
    if let Some(groups) = &config.groups {
        spawner::enter(groups.doors().map_err(|error| WorkerError::System(format!("control groups: {error}")))?);
    }
    let shared = Arc::new(Shared {
        hub,
        session: new_session()?,
        held: Held::default(),
        hub_outage: Outage::new("the hub"),
        bucket_outage: Outage::new("the bucket"),
        disk_outage: Outage::new("the worker's data folder"),
        start_outage: Outage::new("what it takes to start processes"),
        live_logs: Arc::new(LiveLogs::new(config.limits.live_log_bytes_max)),
        memory: MemoryWatch::new(config.groups.as_deref().map_or(&[], Groups::folders)),
        kills: KillWatch::begin(),
        memory_outage: Outage::new("enough memory"),
        refused: AtomicBool::new(false),
        free: AtomicU32::new(u32::try_from(config.slots).unwrap_or(u32::MAX)),
        asks_since: Mutex::default(),
        busy: Arc::default(),
        host: host_name(),
        tally: Tally::default(),
        config,
    });
    let attempts = Arc::new(Attempts::open(Arc::clone(&shared), bucket).await?);
    attempts.warm_up().await;
    let beat = tokio::spawn(beat::run(Arc::clone(&shared)));
    let live_logs = tokio::spawn(live_log::run(Arc::clone(&shared), shared.config.limits.live_log_pause));
    let tidy = tokio::spawn(tidy::run(Arc::clone(&attempts)));
    let (parcels, inbox) = mpsc::channel(shared.config.slots.max(settler::BATCH_MAX));
    let settler = tokio::spawn(settler::run(Arc::clone(&shared), inbox));

    let (late_logs, left) = LateLogs::new();
    let late = tokio::spawn(late_log::run(Arc::clone(&shared), left));

    let outbox = Outbox { parcels, late_logs };
    let stop = CancellationToken::new();
    let worker =
        Worker { shared: Arc::clone(&shared), attempts: Arc::clone(&attempts), outbox, stop, running: JoinSet::new() };
    let running = worker.lease_until(&shutdown).await;
    tokio::join!(drain(running, &shared), attempts.end_ahead());
    tokio::join!(finish(settler, &shared), late_log::finish(late));
    beat.abort();
    live_logs.abort();
    tidy.abort();
    goodbye(&shared).await;
    Ok(shared.tally.summary())
}

/// Where attempts leave what is for the hub.
#[derive(Clone)]
struct Outbox {
    parcels: mpsc::Sender<Parcel>,
    late_logs: LateLogs,
}

struct Worker<H> {
    shared: Arc<Shared<H>>,
    attempts: Arc<Attempts<H>>,
    outbox: Outbox,
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl<H: Hub> Worker<H> {
    /// Leases and starts attempts until the shutdown; gives back what still runs.
    async fn lease_until(mut self, shutdown: &CancellationToken) -> (JoinSet<()>, CancellationToken) {
        let limits = self.shared.config.limits.clone();
        let slots = Slots::new(self.shared.config.slots, &limits);
        let mut backoff = Backoff::new(limits.backoff_min, limits.backoff_max);
        let mut pace = Pace::new(limits.request_pause);
        let mut given = 0;
        while !shutdown.is_cancelled() {
            let asked = Instant::now();
            let leases = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                leases = self.lease(&slots, &mut pace, &mut given) => leases,
            };
            while self.running.try_join_next().is_some() {}
            // A hub may say at once that there is nothing, though it was asked to wait.
            let is_in_vain = match &leases {
                Some(leases) => leases.is_empty() && asked.elapsed() < limits.backoff_min,
                None => true,
            };
            if leases.is_some() {
                backoff.reset();
            }
            leases.into_iter().flatten().for_each(|lease| self.start(lease, &slots));
            if is_in_vain {
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = tokio::time::sleep(backoff.pause()) => {}
                }
            }
        }
        (self.running, self.stop)
    }

    /// Waits for a free slot, then asks for work; `None` where the hub could not be asked. `given` is how many leases came last.
    async fn lease(&self, slots: &Slots, pace: &mut Pace, given: &mut usize) -> Option<Vec<Lease>> {
        // The permit is only waited for here; each attempt takes its own. Nobody else takes any in between.
        drop(slots.own.acquire().await.ok()?);
        self.accepted().await;
        pace.keep(*given >= MANY || self.shared.held.count() < pace::COMPANY).await;
        let room = self.room(slots).await;
        let request = LeaseRequest {
            session: self.shared.session,
            scopes: self.shared.config.scopes.clone(),
            slots: room.own,
            shared_slots: room.shared,
            wait_ms: u64::try_from(self.shared.config.limits.lease_wait.as_millis()).unwrap_or(u64::MAX),
            info: self.shared.info(),
        };
        self.shared.asks(Some(Instant::now()));
        let answer = self.shared.hub.lease(request).await;
        self.shared.asks(None);
        match answer {
            Ok(answer) => {
                self.shared.hub_outage.worked();
                *given = answer.leases.len();
                Some(answer.leases)
            }
            Err(error) => {
                self.shared.hub_outage.failed(&error);
                None
            }
        }
    }

    /// Waits until the bucket lets this worker in, where it has refused an attempt: meanwhile others may do the jobs. For one that is away
    /// those wait who need it.
    async fn accepted(&self) {
        let shared = &self.shared;
        while shared.refused.load(Ordering::Relaxed) {
            match self.attempts.values.bucket().check().await {
                Err(error) if error.is_misconfigured() => {
                    shared.free.store(0, Ordering::Relaxed);
                    shared.bucket_outage.failed(&error);
                    tokio::time::sleep(REFUSED_LOOK).await;
                }
                _ => shared.refused.store(false, Ordering::Relaxed),
            }
        }
    }

    /// Waits until there is memory for at least one attempt.
    async fn room(&self, slots: &Slots) -> Room {
        let (shared, limits) = (&self.shared, &self.shared.config.limits);
        loop {
            let memory = shared.memory.look();
            let room = slots.room(memory, shared.held.count(), limits);
            shared.free.store(room.own, Ordering::Relaxed);
            if room.own > 0 {
                shared.memory_outage.worked();
                return room;
            }
            let available = memory.map_or(0, |memory| memory.available) >> 20;
            // The number would make each look a new line in the log.
            tracing::debug!(available_mib = available, "memory is short");
            shared.memory_outage.failed(&MEMORY_SHORT);
            tokio::time::sleep(slots::LOOK).await;
        }
    }

    fn start(&mut self, lease: Lease, slots: &Slots) {
        let slots = if lease.shared { &slots.shared } else { &slots.own };
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else {
            // More than were asked for: not held, so that the hub gives it to somebody else.
            tracing::error!(job = %lease.job, "the hub gave more leases than there are free slots");
            return;
        };
        let Some(revoked) = self.shared.held.take(&lease) else {
            return;
        };
        let (shared, attempts) = (Arc::clone(&self.shared), Arc::clone(&self.attempts));
        let (outbox, stop) = (self.outbox.clone(), self.stop.clone());
        let slot = Taken::new(slot, (!lease.shared).then(|| Arc::clone(&self.shared.busy)));
        self.running.spawn(async move {
            carry_out(&shared, attempts, &lease, &revoked, &stop, (&outbox, slot)).await;
            shared.held.drop(lease.token);
        });
    }
}

/// One lease from its arrival to the hub's answer. Its slot is free as soon as its outcome is on its way and its process has ended;
/// where outcomes cannot be handed over, they keep their slots.
async fn carry_out<H: Hub>(
    shared: &Arc<Shared<H>>,
    attempts: Arc<Attempts<H>>,
    lease: &Lease,
    revoked: &CancellationToken,
    stop: &CancellationToken,
    (outbox, slot): (&Outbox, Taken),
) {
    let end = attempt::End { revoked: revoked.clone(), handed_back: stop.clone() };
    let work = tokio::spawn({
        let (lease, attempts) = (lease.clone(), Arc::clone(&attempts));
        async move { attempts.run(lease, end).await }
    });
    let done = work.await.unwrap_or_else(|fault| {
        tracing::error!(job = %lease.job, "an attempt ended in a fault of the worker: {fault}");
        Done::release("a fault of the worker", shared.config.limits.release_delay)
    });
    let sandbox = Some(shared.config.sandbox.level.summary());
    let Done { outcome, log, left } = done;
    let clear = async {
        if let Some(left) = left {
            attempts.clear(left).await;
        }
    };
    if revoked.is_cancelled() {
        shared.tally.note_lost();
        outbox.late_logs.leave(lease, log, sandbox);
        clear.await;
        return;
    }
    let (job, attempt, token) = (lease.job, lease.attempt, lease.token);
    let settlement =
        Settlement { job, attempt, token, outcome: outcome.clone(), log: log.clone(), sandbox: sandbox.clone() };
    let (answered, answer) = oneshot::channel();
    let is_sent = outbox.parcels.send(Parcel { settlement, answered }).await.is_ok();
    let settled = async {
        let settled = if is_sent { answer.await.ok() } else { None };
        // The hub does not know it any more: that is no word to stop what is left.
        shared.held.drop(token);
        settled
    };
    let cleared = async {
        clear.await;
        drop(slot);
    };
    let (settled, ()) = tokio::join!(settled, cleared);
    if let Some(settled) = settled {
        shared.tally.count(lease, &outcome, settled);
        if settled == Settled::Stale {
            outbox.late_logs.leave(lease, log, sandbox);
        }
    }
}

fn attempts_text(count: usize) -> String {
    if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") }
}

/// Lets running attempts finish; hands back those that do not.
async fn drain<H>((mut running, stop): (JoinSet<()>, CancellationToken), shared: &Shared<H>) {
    let limits = &shared.config.limits;
    while running.try_join_next().is_some() {}
    if !running.is_empty() {
        tracing::info!("finishing {}, at most {} s", attempts_text(running.len()), limits.drain.as_secs());
    }
    let all_done = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, all_done).await.is_ok() {
        return;
    }
    tracing::info!("handing back {}", attempts_text(running.len()));
    stop.cancel();
    let patience = limits.stop_grace + limits.settle_drain;
    let handed_back = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, handed_back).await.is_err() {
        tracing::warn!("{} could not be handed back; the leases will lapse", attempts_text(running.len()));
        running.shutdown().await;
    }
}

/// Waits for outcomes that are still on their way.
async fn finish<H>(settler: tokio::task::JoinHandle<()>, shared: &Shared<H>) {
    let abort = settler.abort_handle();
    if tokio::time::timeout(shared.config.limits.settle_drain, settler).await.is_err() {
        tracing::warn!("the hub did not take the last outcomes; their jobs will run again");
        abort.abort();
    }
}

/// Tells the hub that this session is over. One that does not hear it, or does not know the word, finds out by its silence.
async fn goodbye<H: Hub>(shared: &Shared<H>) {
    let request = GoodbyeRequest { session: shared.session };
    match tokio::time::timeout(GOODBYE_MAX, shared.hub.goodbye(request)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("the hub did not take the goodbye: {error}"),
        Err(_) => tracing::debug!("the hub did not take the goodbye in time"),
    }
}

fn new_session() -> Result<SessionId, WorkerError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| WorkerError::System(format!("no random numbers: {error}")))?;
    Ok(SessionId(bytes))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
