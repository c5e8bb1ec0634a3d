//! Settings and limits of a hub. Each limit has a name, a default and a setting.

use std::path::PathBuf;
use std::time::Duration;

use crate::job::Policy;
use crate::secrets::keyring::Keyring;

/// Everything a hub needs to know to start.
#[derive(Clone)]
pub struct Config {
    /// Folder of the queue database; made when missing.
    pub data_dir: PathBuf,
    /// What requests must bring.
    pub token: String,
    /// What seals secrets; without it none can be set or read.
    pub keyring: Option<Keyring>,
    /// Address of the PostgreSQL database that keeps the queue, `postgres://user:password@host:port/database`, which several
    /// hubs may share; without it the queue is a file in the data folder.
    pub postgres: Option<String>,
    /// Where values are, for showing them; without it values that are not inline cannot be shown.
    pub bucket: Option<bucket::Bucket>,
    /// Pauses and tolerances.
    pub policy: Policy,
    /// Lower priorities first.
    pub reverse_priority: bool,
    /// Bounds.
    pub limits: Limits,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("data_dir", &self.data_dir)
            .field("token", &"…")
            .field("postgres", &self.postgres.as_ref().map(|_| "…"))
            .field("policy", &self.policy)
            .field("reverse_priority", &self.reverse_priority)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Bounds of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest JSON request, in bytes.
    pub request_bytes_max: usize,
    /// Largest file of a bundle, in bytes.
    pub file_bytes_max: usize,
    /// Largest bundle, in bytes.
    pub bundle_bytes_max: u64,
    /// Most files of a bundle.
    pub bundle_files_max: usize,
    /// Connections served at once; more wait.
    pub connections_max: usize,
    /// Longest time for the head of a request, also on an idle connection.
    pub header_timeout: Duration,
    /// Longest wait of a long poll.
    pub wait_max: Duration,
    /// Most leases in one answer.
    pub leases_max: u32,
    /// Most scopes in one lease request.
    pub scopes_max: usize,
    /// Of so many jobs that a worker is given, one is of its scopes in turn; 0: all are in the order of its scopes.
    pub scope_share: u32,
    /// Most jobs or runs in one page of a listing.
    pub page_max: usize,
    /// Most entries of a run's results.
    pub results_max: usize,
    /// Largest value shown through the hub, in bytes.
    pub shown_value_bytes_max: u64,
    /// Longest idempotency key, in bytes.
    pub key_bytes_max: usize,
    /// Attempts whose logs can be followed while they run.
    pub live_logs_max: usize,
    /// Bytes of such a log that are kept in memory: the last ones.
    pub live_log_bytes_max: usize,
    /// Most secrets.
    pub secrets_max: usize,
    /// Longest value of a secret, in bytes.
    pub secret_bytes_max: usize,
    /// A worker not heard from for this long has lost its leases.
    pub lapse: Duration,
    /// How often workers are told to beat.
    pub beat: Duration,
    /// A lease that its worker does not know after this time was lost on the way.
    pub lost_on_the_way: Duration,
    /// Changes that may wait for the store's writer.
    pub write_queue_max: usize,
    /// Changes that share one transaction at most.
    pub write_batch_max: usize,
    /// Attempts whose history is kept, for each job.
    pub attempts_kept: u32,
    /// Time that a worker has beyond a step's own to settle it; then the hub counts a timeout.
    pub timeout_grace: Duration,
    /// Most passes of one loop.
    pub passes_max: u64,
    /// Compiled plans kept in memory, in bytes as they are stored.
    pub plan_cache_bytes_max: usize,
    /// Most entries of what is paused.
    pub pauses_max: usize,
    /// What is kept of finished runs.
    pub kept: Kept,
    /// Connections for reading a queue in PostgreSQL; one more writes, one listens.
    pub postgres_connections_max: usize,
    /// How long changes wait for a PostgreSQL that is away before they are refused.
    pub postgres_patience: Duration,
}

/// What is kept of finished runs: those over a bound are deleted with all their jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// How long runs are kept that succeeded.
    pub succeeded_for: Duration,
    /// Most runs kept that succeeded; the newest are.
    pub succeeded_runs_max: usize,
    /// How long runs are kept in which a job failed.
    pub failed_for: Duration,
    /// Most runs kept in which a job failed.
    pub failed_runs_max: usize,
    /// How long runs are kept that were cancelled.
    pub cancelled_for: Duration,
    /// Most runs kept that were cancelled.
    pub cancelled_runs_max: usize,
    /// What lost attempts left in the bucket stays this long after the end of its run: some of them may be about to be settled.
    pub orphans_for: Duration,
    /// Size of the values and logs of all runs; where it is more, those of the runs that ended first are removed.
    pub values_bytes_max: u64,
    /// Time between two looks.
    pub look: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

impl Default for Kept {
    fn default() -> Self {
        Self {
            succeeded_for: 30 * DAY,
            succeeded_runs_max: 10_000,
            failed_for: 90 * DAY,
            failed_runs_max: 10_000,
            cancelled_for: 30 * DAY,
            cancelled_runs_max: 10_000,
            orphans_for: Duration::from_secs(3_600),
            values_bytes_max: 1 << 40,
            look: Duration::from_secs(600),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 32 << 20,
            file_bytes_max: 64 << 20,
            bundle_bytes_max: 256 << 20,
            bundle_files_max: 10_000,
            connections_max: 4_096,
            // Longer than clients keep idle connections: else they would meet one that is being closed.
            header_timeout: Duration::from_secs(120),
            wait_max: Duration::from_secs(30),
            leases_max: 1_000,
            scopes_max: 100,
            scope_share: 16,
            page_max: 1_000,
            results_max: 10_000,
            shown_value_bytes_max: 64 << 20,
            key_bytes_max: 200,
            live_logs_max: 1_000,
            live_log_bytes_max: 64 << 10,
            secrets_max: 1_000,
            secret_bytes_max: 64 << 10,
            lapse: Duration::from_secs(12),
            beat: Duration::from_secs(3),
            lost_on_the_way: Duration::from_secs(10),
            write_queue_max: 4_096,
            write_batch_max: 512,
            attempts_kept: 20,
            timeout_grace: Duration::from_secs(60),
            passes_max: 100_000_000,
            plan_cache_bytes_max: 16 << 20,
            pauses_max: 1_000,
            kept: Kept::default(),
            postgres_connections_max: 8,
            postgres_patience: Duration::from_secs(15),
        }
    }
}
