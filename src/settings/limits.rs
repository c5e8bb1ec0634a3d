//! The bounds of hub, worker, bucket server and bundle, each with a setting.
//!
//! Their defaults are those of the crates that keep them.

use std::time::Duration;

use super::source::{SettingError, Sources};
use super::table::Setting;
use super::value::{Size, Value, show_bytes, show_duration};

/// A line of the documentation's table.
#[cfg_attr(not(test), expect(dead_code, reason = "the documentation is checked by tests"))]
pub struct Row {
    /// Name of the variable.
    pub name: &'static str,
    /// What holds where it is not set.
    pub default: String,
    /// What it bounds.
    pub meaning: &'static str,
}

/// A type that bounds have.
trait Bound: Copy {
    /// Reads it, or says what was expected; `least` is the smallest number that makes sense.
    fn read(text: &str, name: &str, least: u64) -> Result<Self, String>;
    fn show(self, name: &str) -> String;
}

impl Bound for Duration {
    fn read(text: &str, _: &str, _: u64) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| Self::EXPECTED.to_owned())
    }

    fn show(self, _: &str) -> String {
        show_duration(self)
    }
}

macro_rules! whole_bounds {
    ($($kind:ty),*) => {$(
        impl Bound for $kind {
            fn read(text: &str, name: &str, least: u64) -> Result<Self, String> {
                let (number, expected) = if is_size(name) {
                    (Size::from(text, least).map(|size| size.0), Size::expected(least))
                } else {
                    let number = text.parse().ok().filter(|number| *number >= least);
                    (number, format!("a whole number from {least} on"))
                };
                let fitting = number.map(<$kind>::try_from).transpose();
                fitting.ok().flatten().ok_or(expected)
            }

            fn show(self, name: &str) -> String {
                if is_size(name) { show_bytes(self as u64) } else { self.to_string() }
            }
        }
    )*};
}

whole_bounds!(u32, u64, usize);

/// Whether a bound is one of bytes.
fn is_size(name: &str) -> bool {
    name.contains("BYTES")
}

/// For each set of bounds: how it is read, and how it is documented.
macro_rules! limits {
    ($($(#[$doc:meta])* $visible:vis $reader:ident, $rows:ident: $limits:ty { $($($field:ident).+, $name:ident $(from $least:literal)? $meaning:literal;)* })*) => {
        $(
            $(#[$doc])*
            $visible fn $reader(sources: &Sources) -> Result<$limits, SettingError> {
                let mut limits = <$limits>::default();
                $(
                    let setting =
                        Setting { name: stringify!($name), flag: "", default: "", meaning: $meaning, secret: false };
                    let least = [$($least,)? 1][0];
                    let read = |text: &str| Bound::read(text, setting.name, least);
                    if let Some(value) = sources.read_by(&setting, read)? {
                        limits.$($field).+ = value;
                    }
                )*
                Ok(limits)
            }

            #[cfg_attr(not(test), expect(dead_code, reason = "the documentation is checked by tests"))]
            fn $rows() -> Vec<Row> {
                let limits = <$limits>::default();
                vec![$(Row {
                    name: stringify!($name),
                    default: limits.$($field).+.show(stringify!($name)),
                    meaning: $meaning,
                }),*]
            }
        )*
    };
}

limits! {
    /// Bounds of a hub.
    read_hub, hub_rows: hub::Limits {
        request_bytes_max, BUE_REQUEST_BYTES_MAX "Hub: largest JSON request.";
        file_bytes_max, BUE_FILE_BYTES_MAX "Hub and upload: largest file of a bundle.";
        bundle_bytes_max, BUE_BUNDLE_BYTES_MAX "Hub and upload: largest bundle.";
        bundle_files_max, BUE_BUNDLE_FILES_MAX "Hub and upload: most files of a bundle.";
        connections_max, BUE_HUB_CONNECTIONS_MAX "Hub: connections served at once; more wait.";
        header_timeout, BUE_HUB_HEADER_TIMEOUT "Hub: longest time for the head of a request, also on an idle connection.";
        wait_max, BUE_WAIT_MAX "Hub: longest wait of a long poll.";
        leases_max, BUE_LEASES_MAX "Hub: most leases in one answer.";
        scopes_max, BUE_SCOPES_MAX "Hub: most scopes of one worker.";
        scope_share, BUE_SCOPE_SHARE from 0 "Hub: of so many jobs that a worker is given, one is of its scopes in turn; 0: all are in the order of its scopes.";
        page_max, BUE_PAGE_MAX "Hub: most jobs or runs in one page of a listing.";
        results_max, BUE_RESULTS_MAX "Hub: most entries of a run's results in one answer; who wants more asks again.";
        shown_value_bytes_max, BUE_SHOWN_VALUE_BYTES_MAX "Hub: largest value it shows.";
        key_bytes_max, BUE_KEY_BYTES_MAX "Hub: longest idempotency key.";
        live_logs_max, BUE_LIVE_LOGS_MAX "Hub: attempts whose logs can be followed while they run.";
        live_log_bytes_max, BUE_LIVE_LOG_BYTES_MAX "Hub: bytes of the log of an attempt that runs that are kept in memory: the last ones.";
        secrets_max, BUE_SECRETS_MAX "Hub: most secrets.";
        secret_bytes_max, BUE_SECRET_BYTES_MAX "Hub: longest value of a secret.";
        lapse, BUE_LAPSE "Hub: a worker not heard from for this long has lost its leases.";
        beat, BUE_BEAT "Hub: how often workers are told to beat.";
        lost_on_the_way, BUE_LOST_ON_THE_WAY "Hub: a lease its worker does not know after this time is given to another.";
        write_queue_max, BUE_WRITE_QUEUE_MAX "Hub: changes that may wait for the store's writer.";
        write_batch_max, BUE_WRITE_BATCH_MAX "Hub: most changes that share one transaction.";
        attempts_kept, BUE_ATTEMPTS_KEPT "Hub: attempts of a job whose history is kept.";
        timeout_grace, BUE_TIMEOUT_GRACE "Hub: time that a worker has beyond a step's own to hand its outcome in; then it is a timeout.";
        passes_max, BUE_PASSES_MAX "Hub: most passes of one loop.";
        plan_cache_bytes_max, BUE_PLAN_CACHE_BYTES_MAX "Hub: compiled plans kept in memory, in bytes as they are stored.";
        pauses_max, BUE_PAUSES_MAX "Hub: most runs and scopes that are paused.";
        kept.succeeded_for, BUE_KEPT_SUCCEEDED_FOR "Hub: how long runs are kept that succeeded.";
        kept.succeeded_runs_max, BUE_KEPT_SUCCEEDED_RUNS_MAX "Hub: most runs kept that succeeded.";
        kept.failed_for, BUE_KEPT_FAILED_FOR "Hub: how long runs are kept in which a job failed.";
        kept.failed_runs_max, BUE_KEPT_FAILED_RUNS_MAX "Hub: most runs kept in which a job failed.";
        kept.cancelled_for, BUE_KEPT_CANCELLED_FOR "Hub: how long runs are kept that were cancelled.";
        kept.cancelled_runs_max, BUE_KEPT_CANCELLED_RUNS_MAX "Hub: most runs kept that were cancelled.";
        kept.orphans_for, BUE_KEPT_ORPHANS_FOR "Hub: how long values that lost attempts left behind are kept after the end of their run.";
        kept.values_bytes_max, BUE_VALUES_BYTES_MAX "Hub: size of all values and logs in the bucket; where it is more, those of the runs that ended first are removed.";
        kept.look, BUE_KEPT_LOOK "Hub: time between two looks for runs that are no longer kept.";
        postgres_connections_max, BUE_HUB_POSTGRES_CONNECTIONS_MAX "Hub: connections for reading a queue in PostgreSQL; one more writes, one listens.";
        postgres_patience, BUE_HUB_POSTGRES_PATIENCE "Hub: how long changes wait for a PostgreSQL that is away before they are refused.";
    }

    /// Pauses and tolerances of a hub.
    read_policy, policy_rows: hub::Policy {
        backoff_first, BUE_BACKOFF_FIRST "Hub: longest pause after a first error; doubles with each further one.";
        backoff_max, BUE_BACKOFF_MAX "Hub: longest pause after any error.";
        pending_first, BUE_PENDING_FIRST "Hub: pause after a first pending answer; grows by half with each further one.";
        pending_max, BUE_PENDING_MAX "Hub: longest pause after a pending answer.";
        losses_max, BUE_LOSSES_MAX "Hub: a job that lost its worker this often in a row is failed.";
    }

    /// Bounds of a worker.
    read_worker, worker_rows: worker::Limits {
        lease_wait, BUE_WORKER_LEASE_WAIT "Worker: how long the hub may keep a request for work waiting.";
        beat, BUE_WORKER_BEAT "Worker: time between beats until the hub names another.";
        backoff_min, BUE_WORKER_BACKOFF_MIN "Worker: shortest pause before something that failed is tried again.";
        backoff_max, BUE_WORKER_BACKOFF_MAX "Worker: longest pause before something that failed is tried again.";
        stop_grace, BUE_WORKER_STOP_GRACE "Worker: from the polite signal to the one that cannot be refused.";
        exit_grace, BUE_WORKER_EXIT_GRACE "Worker: from a step's answer to the end of its process.";
        drain, BUE_WORKER_DRAIN "Worker: how long running attempts may go on after it was told to stop.";
        settle_drain, BUE_WORKER_SETTLE_DRAIN "Worker: how long outcomes are offered to a hub that is away after it was told to stop.";
        patience, BUE_WORKER_PATIENCE "Worker: how long an attempt waits for a hub or bucket that is away, before its step runs; 10 s at most for a bucket that refuses it. What a step has returned waits as long as the bucket is away.";
        release_delay, BUE_WORKER_RELEASE_DELAY "Worker: pause asked for when an attempt is handed back.";
        request_pause, BUE_WORKER_REQUEST_PAUSE "Worker: shortest time between two requests of a kind while there is much to do.";
        inline_bytes_max, BUE_WORKER_INLINE_BYTES_MAX "Worker: largest value that travels inside lease and settlement.";
        value_bytes_max, BUE_WORKER_VALUE_BYTES_MAX "Worker: largest value of a step.";
        lists_bytes_max, BUE_WORKER_LISTS_BYTES_MAX "Worker: disk space for lists whose items its steps get one by one.";
        tables_bytes_max, BUE_WORKER_TABLES_BYTES_MAX from 0 "Worker: disk space for tables that its steps returned or read last, which the next ones then need not fetch; none while the disk has less left, and with 0.";
        frame_bytes_max, BUE_WORKER_FRAME_BYTES_MAX "Worker: longest line a step's process may answer with.";
        log_bytes_max, BUE_WORKER_LOG_BYTES_MAX "Worker: bytes of a step's log that are kept: the first and the last half.";
        log_inline_bytes_max, BUE_WORKER_LOG_INLINE_BYTES_MAX "Worker: largest log that travels inside the settlement.";
        live_log_bytes_max, BUE_WORKER_LIVE_LOG_BYTES_MAX "Worker: bytes of the log of an attempt that runs that wait to be told to the hub.";
        live_log_pause, BUE_WORKER_LIVE_LOG_PAUSE "Worker: time between two tellings of logs of attempts that run.";
        plans_max, BUE_WORKER_PLANS_MAX "Worker: plans kept in memory.";
        cache_bytes_max, BUE_WORKER_CACHE_BYTES_MAX "Worker: size of the files of bundles kept on disk.";
        environments_bytes_max, BUE_ENVIRONMENTS_BYTES_MAX "Worker: disk space of Python environments with packages; the ones longest unused are removed.";
        environment_age_max, BUE_ENVIRONMENT_AGE_MAX "Worker: Python environments not used for this long are removed.";
        environment_timeout, BUE_ENVIRONMENT_TIMEOUT "Worker: longest time to make a Python environment.";
        environment_retry, BUE_ENVIRONMENT_RETRY "Worker: how long a Python environment that could not be made is not tried again.";
        memory_reserve_bytes, BUE_WORKER_MEMORY_RESERVE_BYTES "Worker: memory that is left alone; no further attempts are begun when less is available.";
        slot_memory_bytes, BUE_WORKER_SLOT_MEMORY_BYTES "Worker: memory counted for each further attempt with a process of its own.";
        shared_slots, BUE_SHARED_SLOTS "Worker: attempts that run at once in shared interpreters; they take no other slots.";
        shared_attempts_max, BUE_SHARED_ATTEMPTS_MAX "Worker: attempts that one shared interpreter runs before another takes its place.";
        shared_memory_bytes_max, BUE_SHARED_MEMORY_BYTES_MAX "Worker: memory that a shared interpreter has before another takes its place.";
        warm_max, BUE_WARM_MAX "Worker: warm interpreters, one for each Python environment in use; and at most as many programs for SQL steps.";
        preloads_max, BUE_PRELOADS_MAX from 0 "Worker: further warm interpreters, that have loaded what steps import, so that each attempt need not; 0: none.";
        idle_cells_max, BUE_IDLE_CELLS_MAX "Worker: folders with a bundle's files, each with its sandbox, that are kept for the next attempt.";
        stand_by_max, BUE_STAND_BY_MAX from 0 "Worker: processes that wait in such folders, forked before there is a step for them; 0: none.";
        ahead_max, BUE_AHEAD_MAX from 0 "Worker: SQL steps that are begun, and processes of Python steps that read, while the table that they take is still being written or stored; 0: none.";
        ahead_kept, BUE_AHEAD_KEPT "Worker: how long what was begun is kept for the hub to give the step out, from when the table is stored.";
        postgres_connect_timeout, BUE_POSTGRES_CONNECT_TIMEOUT "Worker: longest wait for a connection to the database of `postgres` steps.";
        steps_memory_bytes_max, BUE_WORKER_STEPS_MEMORY_BYTES_MAX from 0 "Worker: memory of all its steps together, where it can make control groups; 0: all there is but `BUE_WORKER_MEMORY_RESERVE_BYTES`.";
        steps_processes_max, BUE_WORKER_STEPS_PROCESSES_MAX from 0 "Worker: processes and threads of all its steps together, likewise; 0: seven eighths of what the system can have.";
        step_memory_bytes_max, BUE_STEP_MEMORY_BYTES_MAX from 16_000_000 "Worker: memory of one process of a step that does not say `!memory`.";
        step_cpu_max, BUE_STEP_CPU_MAX "Worker: time on a processor of one process of a step that does not say `!cpu`.";
        step_processes_max, BUE_STEP_PROCESSES_MAX "Worker: processes and threads at once of a step that does not say `!processes`.";
        step_scratch_bytes_max, BUE_STEP_SCRATCH_BYTES_MAX "Worker: disk space of a step, and its largest file.";
        step_scratch_files_max, BUE_STEP_SCRATCH_FILES_MAX "Worker: files and folders of a step.";
        step_open_files_max, BUE_STEP_OPEN_FILES_MAX "Worker: open files and sockets of one process of a step.";
        duckdb_memory_bytes_max, BUE_DUCKDB_MEMORY_BYTES_MAX from 16_000_000 "Worker: memory of one `duckdb` step; of one that says `!memory`, at most half of that.";
        duckdb_spill_bytes_max, BUE_DUCKDB_SPILL_BYTES_MAX "Worker: disk space of one `duckdb` step for what its memory does not hold.";
        duckdb_threads_max, BUE_DUCKDB_THREADS_MAX "Worker: threads of one `duckdb` step; one does for what is small.";
    }

    /// Bounds of a bucket server.
    pub bucket_server, bucket_server_rows: bucket::server::Limits {
        object_bytes_max, BUE_BUCKET_OBJECT_BYTES_MAX "Bucket: largest object.";
        connections_max, BUE_BUCKET_CONNECTIONS_MAX "Bucket: connections served at once.";
        header_timeout, BUE_BUCKET_HEADER_TIMEOUT "Bucket: longest time for the head of a request, also on an idle connection.";
        body_timeout, BUE_BUCKET_BODY_TIMEOUT "Bucket: longest pause within the content of a request.";
        write_timeout, BUE_BUCKET_WRITE_TIMEOUT "Bucket: longest time in which a reader takes nothing of an answer.";
        upload_age_max, BUE_BUCKET_UPLOAD_AGE_MAX "Bucket: uploads in parts that are not completed are removed after this time.";
        shutdown_grace, BUE_BUCKET_SHUTDOWN_GRACE "Bucket: how long requests may go on after it was told to stop.";
    }

    /// Bounds of the files that travel with a script.
    bundle, bundle_rows: BundleLimits {
        entries_max, BUE_BUNDLE_ENTRIES_MAX "Upload: most files and folders looked at for a bundle.";
    }
}

/// Bounds of a hub.
pub fn hub(sources: &Sources) -> Result<hub::Limits, SettingError> {
    let limits = read_hub(sources)?;
    // A beat may come late, or be lost once.
    check_order(
        ("BUE_BEAT", limits.beat),
        ("BUE_LAPSE", limits.lapse),
        2,
        "so that workers that live are not taken for lost",
    )?;
    Ok(limits)
}

/// Pauses and tolerances of a hub.
pub fn policy(sources: &Sources) -> Result<hub::Policy, SettingError> {
    let policy = read_policy(sources)?;
    let why = "for pauses grow from the one to the other";
    check_order(("BUE_BACKOFF_FIRST", policy.backoff_first), ("BUE_BACKOFF_MAX", policy.backoff_max), 1, why)?;
    check_order(("BUE_PENDING_FIRST", policy.pending_first), ("BUE_PENDING_MAX", policy.pending_max), 1, why)?;
    Ok(policy)
}

/// Bounds of a worker.
pub fn worker(sources: &Sources) -> Result<worker::Limits, SettingError> {
    let limits = read_worker(sources)?;
    let (least, most) =
        (("BUE_WORKER_BACKOFF_MIN", limits.backoff_min), ("BUE_WORKER_BACKOFF_MAX", limits.backoff_max));
    check_order(least, most, 1, "for pauses grow from the one to the other")?;
    let together = limits.steps_memory_bytes_max;
    if (1..worker::STEPS_MEMORY_BYTES_MIN).contains(&together) {
        return Err(SettingError::Order {
            less: format!("BUE_WORKER_STEPS_MEMORY_BYTES_MAX is {}", show_bytes(together)),
            more: format!("the interpreters of steps take {}", show_bytes(worker::STEPS_MEMORY_BYTES_MIN)),
            rule: "give it more than that, or 0 for what there is".to_owned(),
        });
    }
    Ok(limits)
}

/// Refuses two times of which the less one is so large that it does not go `times` into the other.
fn check_order(
    less: (&'static str, Duration),
    more: (&'static str, Duration),
    times: u32,
    why: &'static str,
) -> Result<(), SettingError> {
    if less.1.saturating_mul(times) <= more.1 {
        return Ok(());
    }
    let most = if times == 1 { "more" } else { "more than half of it" };
    Err(SettingError::Order {
        less: format!("{} is {}", less.0, show_duration(less.1)),
        more: format!("{} is {}", more.0, show_duration(more.1)),
        rule: format!("the first must not be {most}, {why}"),
    })
}

/// Bounds of the files that travel with a script; those on files and bytes are the hub's too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleLimits {
    /// Most files and folders that are looked at.
    pub entries_max: u64,
    /// Most files.
    pub files_max: u64,
    /// Largest file.
    pub file_bytes_max: u64,
    /// Most bytes in all.
    pub bytes_max: u64,
}

impl Default for BundleLimits {
    fn default() -> Self {
        let hub = hub::Limits::default();
        Self {
            entries_max: 200_000,
            files_max: hub.bundle_files_max as u64,
            file_bytes_max: hub.file_bytes_max as u64,
            bytes_max: hub.bundle_bytes_max,
        }
    }
}

impl BundleLimits {
    /// What the settings say.
    pub fn read(sources: &Sources) -> Result<Self, SettingError> {
        let hub = read_hub(sources)?;
        Ok(Self {
            files_max: hub.bundle_files_max as u64,
            file_bytes_max: hub.file_bytes_max as u64,
            bytes_max: hub.bundle_bytes_max,
            ..bundle(sources)?
        })
    }
}

/// All limits, for the documentation.
#[cfg(test)]
pub fn rows() -> Vec<Row> {
    [bundle_rows(), hub_rows(), policy_rows(), worker_rows(), bucket_server_rows()].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_hub_bounds_the_upload_too() {
        let sources = Sources::of(&[("BUE_FILE_BYTES_MAX", "1MiB"), ("BUE_LAPSE", "1m")], &[]);
        assert_eq!(BundleLimits::read(&sources).unwrap().file_bytes_max, 1 << 20);
        assert_eq!(hub(&sources).unwrap().lapse, Duration::from_secs(60));
    }

    #[test]
    fn a_limit_of_zero_is_refused_by_name() {
        let sources = Sources::of(&[("BUE_LEASES_MAX", "0")], &[]);
        let error = hub(&sources).unwrap_err().to_string();
        assert!(error.contains("BUE_LEASES_MAX"), "{error}");
        assert_eq!(hub(&Sources::of(&[("BUE_SCOPE_SHARE", "0")], &[])).unwrap().scope_share, 0);
    }

    #[test]
    fn times_that_do_not_go_together_are_refused_with_both_names() {
        let set = |name, text| Sources::of(&[(name, text)], &[]);
        let told = |error: SettingError| error.to_string();
        let lapse = told(hub(&set("BUE_LAPSE", "5s")).unwrap_err());
        assert!(lapse.starts_with("BUE_BEAT is 3s and BUE_LAPSE is 5s: "), "{lapse}");
        assert!(hub(&set("BUE_LAPSE", "6s")).is_ok());
        let first = told(policy(&set("BUE_BACKOFF_FIRST", "6m")).unwrap_err());
        assert!(first.starts_with("BUE_BACKOFF_FIRST is 6m and BUE_BACKOFF_MAX is 5m: "), "{first}");
        assert!(policy(&set("BUE_PENDING_MAX", "500ms")).is_err() && policy(&set("BUE_PENDING_FIRST", "30s")).is_ok());
        assert!(worker(&set("BUE_WORKER_BACKOFF_MIN", "1h")).is_err());
    }

    #[test]
    fn a_step_is_given_no_less_memory_than_a_script_may_ask_for() {
        let least = language::limits::MEMORY_BYTES_MIN;
        for name in ["BUE_STEP_MEMORY_BYTES_MAX", "BUE_DUCKDB_MEMORY_BYTES_MAX"] {
            let set = |bytes: u64| worker(&Sources::of(&[(name, &bytes.to_string())], &[]));
            let error = set(least - 1).unwrap_err().to_string();
            assert!(error.starts_with(name) && error.contains("from 16000000 on"), "{error}");
            assert!(set(least).is_ok());
        }
        let all = |text| worker(&Sources::of(&[("BUE_WORKER_STEPS_MEMORY_BYTES_MAX", text)], &[]));
        assert_eq!(all("0").unwrap().steps_memory_bytes_max, 0);
        assert!(all("-1").is_err());
        assert!(all("1MiB").unwrap_err().to_string().contains("BUE_WORKER_STEPS_MEMORY_BYTES_MAX is 1MiB"));
    }

    #[test]
    fn a_limit_says_what_kind_of_thing_it_is() {
        for (name, text, expected) in [
            ("BUE_LEASES_MAX", "many", "a whole number from 1 on"),
            ("BUE_LEASES_MAX", "1KiB", "a whole number from 1 on"),
            ("BUE_SCOPE_SHARE", "-1", "a whole number from 0 on"),
            ("BUE_FILE_BYTES_MAX", "64 megabytes", "a size such as"),
            ("BUE_LAPSE", "soon", "a time such as"),
        ] {
            let error = hub(&Sources::of(&[(name, text)], &[])).unwrap_err().to_string();
            let start = format!("{name} from the environment is `{text}`, expected {expected}");
            assert!(error.starts_with(&start), "{error}");
        }
    }
}
