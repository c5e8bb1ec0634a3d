//! The use cases of the hub over its store: what `http` serves, and what `bue run` uses without HTTP.

mod leasing;
mod look;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use bucket::value::{ValueLimits, Values};
use protocol::api::{
    BeatAnswer, BeatRequest, GoodbyeRequest, MissingFiles, Pause, PlanAnswer, ResetAnswer, RunView, SETTLEMENTS_MAX,
    SettleAnswer, SettleRequest, Settled, SubmitAnswer, SubmitRequest,
};
use protocol::{Digest, JobId, LeaseToken, Manifest, RunId};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bell::Bell;
use crate::clock::now_ms;
use crate::config::{Config, Limits};
use crate::error::{HubError, QueueError};
use crate::live_logs::LiveLogs;
use crate::secrets::{self, keyring::Keyring};
use crate::sessions::Sessions;
use crate::store::postgres::{self, Fleet, PostgresOptions};
use crate::store::{EffectsSink, Store, StoreOptions, Submission};
use crate::timers;

/// The queue of one hub. Cheap to clone; its timers end with the last clone.
#[derive(Clone)]
pub struct Queue {
    pub(crate) shared: Arc<Shared>,
    _timers: Arc<DropGuard>,
}

pub(crate) struct Shared {
    pub store: Store,
    pub bell: Arc<Bell>,
    pub sessions: Arc<Sessions>,
    pub limits: Limits,
    pub keyring: Option<Keyring>,
    pub live_logs: LiveLogs,
    /// What the hubs of one database tell each other of workers, where there are several.
    pub fleet: Option<Fleet>,
    values: Option<Values>,
}

impl Shared {
    /// Where values are.
    pub(crate) fn values(&self) -> Option<&Values> {
        self.values.as_ref()
    }
}

impl Queue {
    /// Opens the queue and starts its timers.
    ///
    /// # Errors
    /// The data folder or the database in it cannot be used.
    pub async fn open(config: &Config) -> Result<Self, HubError> {
        let bell = Arc::new(Bell::new());
        let options = StoreOptions::of(config.policy, &config.limits, config.reverse_priority);
        let sessions = Arc::new(Sessions::default());
        let (rung, watched) = (Arc::clone(&bell), Arc::clone(&sessions));
        let sink: EffectsSink = Arc::new(move |effects| {
            // A worker that was given something after it had lapsed, or whose request has gone, is watched all the same.
            effects.leased_to.iter().for_each(|session| watched.watch(*session, Instant::now()));
            rung.ring(&effects);
        });
        let stop = CancellationToken::new();
        let (store, fleet) = match &config.postgres {
            None => (Store::sqlite(&config.data_dir, options, sink)?, None),
            Some(url) => {
                let limits = &config.limits;
                let reached = PostgresOptions {
                    connections_max: limits.postgres_connections_max,
                    patience: limits.postgres_patience,
                };
                let opened = postgres::open(url, reached, options, sink).await?;
                tokio::spawn(stop.clone().run_until_cancelled_owned(opened.listener.run()));
                (opened.store, Some(opened.fleet))
            }
        };
        let shared = Arc::new(Shared {
            store,
            bell,
            sessions,
            limits: config.limits,
            keyring: config.keyring.clone(),
            live_logs: LiveLogs::new(config.limits.live_logs_max, config.limits.live_log_bytes_max),
            fleet,
            values: config.bucket.clone().map(|bucket| Values::new(bucket, &config.data_dir, ValueLimits::default())),
        });
        if let Err(error) = secrets::reseal(&shared).await {
            tracing::error!(%error, "failed to seal secrets with the newest key");
        }
        timers::start(&shared, &config.policy, &stop);
        Ok(Self { shared, _timers: Arc::new(stop.drop_guard()) })
    }

    fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Cancelled when nothing can be written any more, by a bug: the process must end, so that another one can go on.
    pub(crate) fn failed(&self) -> &CancellationToken {
        self.store().failed()
    }

    /// The limits it keeps.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Where values are shown from.
    #[must_use]
    pub fn values(&self) -> Option<&Values> {
        self.shared.values()
    }

    /// Which files of a bundle must be sent before a run of it can be submitted.
    ///
    /// # Errors
    /// The manifest is unfit or over a limit.
    pub async fn missing_files(&self, manifest: Manifest) -> Result<MissingFiles, QueueError> {
        self.check_manifest(&manifest)?;
        Ok(MissingFiles { missing: self.store().missing_files(&manifest).await? })
    }

    /// Stores one file of a bundle.
    ///
    /// # Errors
    /// The content is not that of the digest, or over a limit.
    pub async fn put_file(&self, digest: Digest, content: bytes::Bytes) -> Result<(), QueueError> {
        let found = Digest::of(&content);
        if found != digest {
            return Err(QueueError::Invalid(format!("the content of file {digest} has the digest {found}")));
        }
        self.store().put_file(digest, content, now_ms()).await
    }

    /// The content of one file.
    ///
    /// # Errors
    /// There is no such file.
    pub async fn file(&self, digest: Digest) -> Result<Vec<u8>, QueueError> {
        self.store().file(digest).await
    }

    /// The files of a bundle.
    ///
    /// # Errors
    /// There is no such bundle.
    pub async fn manifest(&self, digest: Digest) -> Result<Manifest, QueueError> {
        self.store().manifest(digest).await
    }

    /// What workers need to know of a plan.
    ///
    /// # Errors
    /// There is no such plan.
    pub async fn plan(&self, digest: Digest) -> Result<PlanAnswer, QueueError> {
        self.store().plan(digest).await
    }

    /// Compiles a script and makes a run of it. A wrong script stores nothing.
    ///
    /// # Errors
    /// The script is wrong, files are missing, or something is over a limit.
    pub async fn submit(&self, request: SubmitRequest) -> Result<SubmitAnswer, QueueError> {
        self.check_key(request.key.as_deref())?;
        self.check_manifest(&request.manifest)?;
        if let Some(key) = request.key.clone()
            && let Some(run) = self.store().run_of_key(key, request.script.clone(), request.manifest.clone()).await?
        {
            return Ok(SubmitAnswer { run: self.store().run(run).await?, repeated: true, warnings: Vec::new() });
        }
        let Some(entry) = request.manifest.find(&request.script) else {
            return Err(QueueError::Invalid(format!("the script `{}` is not in its bundle", request.script)));
        };
        let text = self.store().script(request.manifest.clone(), entry.digest).await?;
        if entry.bytes != text.len() as u64 {
            let (said, bytes) = (entry.bytes, text.len());
            return Err(QueueError::Invalid(format!(
                "the manifest gives `{}` {said} bytes; it has {bytes}",
                request.script
            )));
        }
        let SubmitRequest { manifest, script, key } = request;
        let (manifest, plan, warnings) = tokio::task::spawn_blocking(move || {
            compile(&script, &text, &manifest).map(|(plan, warnings)| (manifest, plan, warnings))
        })
        .await
        .map_err(|error| QueueError::Unavailable(format!("compiling was given up: {error}")))??;
        plan.steps.iter().try_for_each(|step| check_scope(&step.settings.scope))?;
        let submission = Submission { manifest, plan, key, random: random()?, now_ms: now_ms() };
        let (run, repeated) = self.store().submit(submission).await?;
        tracing::info!(%run, repeated, "run accepted");
        Ok(SubmitAnswer { run: self.store().run(run).await?, repeated, warnings })
    }

    fn check_key(&self, key: Option<&str>) -> Result<(), QueueError> {
        let limit = self.limits().key_bytes_max;
        match key {
            Some("") => Err(QueueError::Invalid("the idempotency key is empty".to_owned())),
            Some(key) if key.contains('\0') => Err(with_nul("the idempotency key", key)),
            Some(key) if key.len() > limit => Err(QueueError::TooLarge {
                what: "the idempotency key".to_owned(),
                size: key.len() as u64,
                unit: "bytes",
                limit: limit as u64,
                setting: "BUE_KEY_BYTES_MAX",
            }),
            _ => Ok(()),
        }
    }

    fn check_manifest(&self, manifest: &Manifest) -> Result<(), QueueError> {
        let limits = self.limits();
        if let Some(defect) = manifest.defect() {
            return Err(QueueError::Invalid(defect));
        }
        if manifest.files.len() > limits.bundle_files_max {
            return Err(QueueError::TooLarge {
                what: "the bundle".to_owned(),
                size: manifest.files.len() as u64,
                unit: "files",
                limit: limits.bundle_files_max as u64,
                setting: "BUE_BUNDLE_FILES_MAX",
            });
        }
        if manifest.bytes() > limits.bundle_bytes_max {
            return Err(QueueError::TooLarge {
                what: "the bundle".to_owned(),
                size: manifest.bytes(),
                unit: "bytes",
                limit: limits.bundle_bytes_max,
                setting: "BUE_BUNDLE_BYTES_MAX",
            });
        }
        Ok(())
    }

    /// Hands in what came of attempts.
    ///
    /// # Errors
    /// The request is over a limit, or the database failed; then none of them counts.
    pub async fn settle(&self, request: SettleRequest) -> Result<SettleAnswer, QueueError> {
        if request.settlements.len() > SETTLEMENTS_MAX {
            return Err(QueueError::Invalid(format!("more than {SETTLEMENTS_MAX} settlements in one request")));
        }
        let session = request.session;
        let attempts: Vec<(JobId, u32)> =
            request.settlements.iter().map(|settlement| (settlement.job, settlement.attempt)).collect();
        let answers = self.store().settle(request, now_ms()).await?;
        for ((job, attempt), answer) in attempts.iter().zip(&answers) {
            if *answer == Settled::Settled {
                self.shared.live_logs.forget(*job, *attempt);
            } else {
                tracing::warn!(%job, %session, "refused a stale settlement: the lease was no longer this worker's");
            }
        }
        Ok(SettleAnswer { answers })
    }

    /// A worker lives, and says what it holds.
    ///
    /// # Errors
    /// The database failed.
    pub async fn beat(&self, request: BeatRequest) -> Result<BeatAnswer, QueueError> {
        let limits = self.limits();
        let session = request.session;
        self.shared.sessions.hear(session, request.info, Instant::now());
        let given_before_ms = now_ms() - i64::try_from(limits.lost_on_the_way.as_millis()).unwrap_or(i64::MAX / 4);
        let idle: HashSet<LeaseToken> = request.held.iter().filter(|held| held.idle).map(|held| held.token).collect();
        if !idle.is_empty() {
            let now_ms = now_ms();
            let margin = (limits.timeout_grace / 2).max(limits.beat * 2);
            let soon_ms = now_ms.saturating_add(i64::try_from(margin.as_millis()).unwrap_or(i64::MAX / 4));
            self.store().begin_anew(session, idle, now_ms, soon_ms).await?;
        }
        let (revoked, unknown) = self.store().compare(session, request.held, given_before_ms).await?;
        if !unknown.is_empty() {
            let jobs = self.store().take_back(session, unknown, now_ms()).await?;
            tracing::warn!(%session, jobs, "took back leases that the worker never heard of");
        }
        Ok(BeatAnswer { revoked, beat_ms: u64::try_from(limits.beat.as_millis()).unwrap_or(u64::MAX) })
    }

    /// A worker has ended in good order: its session is forgotten, and what it still held is available again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn goodbye(&self, GoodbyeRequest { session }: GoodbyeRequest) -> Result<(), QueueError> {
        // First: a lease that is given from now on is watched anew.
        self.shared.sessions.end(session, Instant::now());
        self.store().dismiss(session);
        let ended = self.store().end_session(session, now_ms()).await;
        let jobs = ended.inspect_err(|_| self.shared.sessions.watch(session, Instant::now()))?;
        tracing::info!(%session, jobs, "worker has ended");
        if let Some(fleet) = &self.shared.fleet
            && let Err(error) = fleet.forget(session).await
        {
            tracing::warn!(%error, %session, "failed to forget a worker that has ended; it is shown until it has been silent for long enough");
        }
        Ok(())
    }

    /// Cancels what has not ended of a run.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn cancel(&self, run: RunId) -> Result<RunView, QueueError> {
        if let Some(number) = self.store().cancel_run(run.clone(), now_ms()).await? {
            let shared = Arc::clone(&self.shared);
            // Whoever asked may be gone before the last of many jobs is cancelled.
            let rest = tokio::spawn(async move { shared.store.cancel_more(number, now_ms()).await });
            rest.await.map_err(|error| QueueError::Unavailable(error.to_string()))??;
        }
        tracing::info!(%run, "run cancelled");
        self.store().run(run).await
    }

    /// Keeps a run with its values whatever the bounds.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn pin(&self, run: RunId) -> Result<RunView, QueueError> {
        self.store().pin(run.clone()).await?;
        tracing::info!(%run, "run pinned");
        self.store().run(run).await
    }

    /// Has the bounds hold for a run again.
    ///
    /// # Errors
    /// There is no such run, or it is not pinned.
    pub async fn unpin(&self, run: RunId) -> Result<RunView, QueueError> {
        self.store().unpin(run.clone()).await?;
        tracing::info!(%run, "run unpinned");
        self.store().run(run).await
    }

    /// Starts the failed jobs of a run over, and the jobs that made what failed ones lack, with what follows those.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn reset_failed(&self, run: RunId) -> Result<ResetAnswer, QueueError> {
        let (shared, of) = (Arc::clone(&self.shared), run.clone());
        let all = tokio::spawn(async move { shared.store.reset_failed(of, now_ms()).await });
        let jobs = all.await.map_err(|error| QueueError::Unavailable(error.to_string()))??;
        tracing::info!(%run, jobs, "failed jobs start over");
        Ok(ResetAnswer { jobs, loops_kept: 0 })
    }

    /// Makes a new run of the script and files of another one. A request that is repeated with its key makes no further run.
    ///
    /// # Errors
    /// There is no such run, or the key belongs to a run of another script.
    pub async fn run_again(&self, run: RunId, key: Option<String>) -> Result<RunView, QueueError> {
        self.check_key(key.as_deref())?;
        let (id, repeated) = self.store().run_again(run.clone(), key, random()?, now_ms()).await?;
        tracing::info!(run = %id, of = %run, repeated, "run accepted again");
        self.store().run(id).await
    }

    /// Starts a job and all that follows it over.
    ///
    /// # Errors
    /// There is no such job, or it is an item.
    pub async fn reset_job(&self, job: JobId) -> Result<ResetAnswer, QueueError> {
        let reset = self.store().reset_job(job, now_ms()).await?;
        tracing::info!(%job, jobs = reset.jobs, "a job and what follows it start over");
        Ok(reset)
    }

    /// Holds back everything, a scope or a run: what runs goes on, nothing new is leased.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn pause(&self, what: Pause) -> Result<(), QueueError> {
        if let Pause::Scope(scope) = &what {
            check_scope(scope)?;
        }
        tracing::info!(?what, "paused");
        self.store().pause(what).await
    }

    /// Lets go of what was held back.
    ///
    /// # Errors
    /// It is not paused.
    pub async fn resume(&self, what: Pause) -> Result<(), QueueError> {
        tracing::info!(?what, "resumed");
        self.store().resume(what).await
    }
}

fn random() -> Result<u32, QueueError> {
    getrandom::u32().map_err(|error| QueueError::Unavailable(format!("the system gave no random bytes: {error}")))
}

/// PostgreSQL's text has no NUL, and nobody has a use for one, nor for a scope without a name.
fn check_scope(scope: &str) -> Result<(), QueueError> {
    match scope {
        "" => Err(QueueError::Invalid("the name of a scope is empty".to_owned())),
        scope if scope.contains('\0') => Err(with_nul("the scope", scope)),
        _ => Ok(()),
    }
}

fn with_nul(what: &str, name: &str) -> QueueError {
    QueueError::Invalid(format!("{what} `{}` has a NUL character in it; choose a name without", name.escape_debug()))
}

type Compiled = (protocol::Plan, Vec<protocol::Diagnostic>);

fn compile(script: &str, text: &[u8], manifest: &Manifest) -> Result<Compiled, QueueError> {
    let compiled = language::compile(script, text, &BundleFiles(manifest));
    match compiled.plan {
        Some(plan) => Ok((plan, compiled.diagnostics)),
        None => {
            let rendered = language::render(&compiled.diagnostics, &String::from_utf8_lossy(text), false);
            Err(QueueError::Script { diagnostics: compiled.diagnostics, rendered })
        }
    }
}

/// The files of a bundle, as the compiler asks for them.
struct BundleFiles<'a>(&'a Manifest);

impl language::Files for BundleFiles<'_> {
    fn has(&self, path: &str) -> bool {
        self.0.find(path).is_some()
    }

    fn paths(&self) -> Vec<String> {
        self.0.files.iter().map(|file| file.path.clone()).collect()
    }
}
