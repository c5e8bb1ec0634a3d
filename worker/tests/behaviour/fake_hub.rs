//! A hub in memory.

mod fleet;
mod work;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use bue_worker::{Hub, HubError};
use bytes::Bytes;
use protocol::api::{
    ApiErrorKind, BeatAnswer, BeatRequest, GoodbyeRequest, Lease, LeaseAnswer, LeaseRequest, PlanAnswer, SettleAnswer,
    SettleRequest, Settled, Settlement,
};
use protocol::log::{LateLog, LateLogAnswer, LateLogRequest, LogRequest};
use protocol::secret::{SecretText, SecretsAnswer, SecretsRequest};
use protocol::{Digest, JobId, LeaseToken, Manifest};
use tokio::sync::Notify;

pub use fleet::{Fleet, log_text, open_bucket, until, written};
pub use work::{Work, python, sqlite};

/// Longest wait for anything in a test.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A hub in memory.
#[derive(Default)]
pub struct FakeHub {
    available: Mutex<VecDeque<Lease>>,
    arrived: Notify,
    settled: Mutex<HashMap<JobId, Settlement>>,
    changed: Notify,
    plans: Mutex<HashMap<Digest, PlanAnswer>>,
    manifests: Mutex<HashMap<Digest, Manifest>>,
    files: Mutex<HashMap<Digest, Bytes>>,
    revoked: Mutex<Vec<LeaseToken>>,
    /// How many more requests are answered as if nobody were there.
    pub outage: AtomicU32,
    /// How many more settlements are kept, and their answers lost.
    pub lost_answers: AtomicU32,
    /// What attempts have printed, as it was told while they ran.
    pub told: Mutex<String>,
    /// What was handed in of attempts whose leases were taken.
    pub late: Mutex<Vec<LateLog>>,
    /// How many more requests with late logs are answered as if nobody were there.
    pub late_outage: AtomicU32,
    /// Leases that were still open at each goodbye.
    pub goodbyes: Mutex<Vec<usize>>,
    /// Whether it is a hub that knows neither late logs nor goodbyes.
    pub is_old: AtomicBool,
    /// Secrets that are set, by name.
    pub secrets: Mutex<BTreeMap<String, String>>,
    /// Leases given and not settled, and the most there ever were.
    open: AtomicUsize,
    pub open_max: AtomicUsize,
    jobs: AtomicU32,
}

impl FakeHub {
    fn is_away(&self) -> Result<(), HubError> {
        Self::counts_down(&self.outage)
    }

    /// As if nobody were there while `requests` are left.
    fn counts_down(requests: &AtomicU32) -> Result<(), HubError> {
        let count_down = |count: u32| count.checked_sub(1);
        match requests.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down) {
            Ok(_) => Err(HubError::Unreachable { address: "fake".to_owned(), reason: "connection refused".to_owned() }),
            Err(_) => Ok(()),
        }
    }

    fn knows_route(&self) -> Result<(), HubError> {
        let answer = || HubError::Answer {
            address: "fake".to_owned(),
            kind: ApiErrorKind::NotFound,
            message: "there is no such route".to_owned(),
        };
        if self.is_old.load(Ordering::SeqCst) { Err(answer()) } else { Ok(()) }
    }

    /// The hub takes a lease back at the next beat.
    pub fn revoke(&self, token: LeaseToken) {
        self.revoked.lock().unwrap().push(token);
    }

    /// Waits until the job is settled.
    pub async fn settlement(&self, job: JobId) -> Settlement {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if let Some(settlement) = self.settled.lock().unwrap().get(&job) {
                    return settlement.clone();
                }
                changed.await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("the job is not settled in time")
    }

    /// Whether the job was settled.
    pub fn is_settled(&self, job: JobId) -> bool {
        self.settled.lock().unwrap().contains_key(&job)
    }

    /// Jobs that no worker has taken.
    pub fn available(&self) -> usize {
        self.available.lock().unwrap().len()
    }
}

impl Hub for FakeHub {
    async fn lease(&self, request: LeaseRequest) -> Result<LeaseAnswer, HubError> {
        self.is_away()?;
        let take = async {
            loop {
                let arrived = self.arrived.notified();
                {
                    let mut available = self.available.lock().unwrap();
                    let count = available.len().min(request.slots as usize);
                    let leases: Vec<Lease> = available.drain(..count).collect();
                    if !leases.is_empty() {
                        let open = self.open.fetch_add(leases.len(), Ordering::SeqCst) + leases.len();
                        self.open_max.fetch_max(open, Ordering::SeqCst);
                        return LeaseAnswer { leases };
                    }
                }
                arrived.await;
            }
        };
        let answer = tokio::time::timeout(Duration::from_millis(request.wait_ms), take).await;
        Ok(answer.unwrap_or(LeaseAnswer { leases: Vec::new() }))
    }

    async fn settle(&self, request: SettleRequest) -> Result<SettleAnswer, HubError> {
        self.is_away()?;
        let count = request.settlements.len();
        for settlement in request.settlements {
            if self.settled.lock().unwrap().insert(settlement.job, settlement).is_none() {
                self.open.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.changed.notify_waiters();
        let count_down = |count: u32| count.checked_sub(1);
        if self.lost_answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down).is_ok() {
            return Err(HubError::Unreachable { address: "fake".to_owned(), reason: "broken off".to_owned() });
        }
        Ok(SettleAnswer { answers: vec![Settled::Settled; count] })
    }

    async fn beat(&self, _request: BeatRequest) -> Result<BeatAnswer, HubError> {
        self.is_away()?;
        Ok(BeatAnswer { revoked: self.revoked.lock().unwrap().clone(), beat_ms: 50 })
    }

    async fn goodbye(&self, _request: GoodbyeRequest) -> Result<(), HubError> {
        self.is_away()?;
        self.knows_route()?;
        let open = self.open.load(Ordering::SeqCst);
        self.goodbyes.lock().unwrap().push(open);
        Ok(())
    }

    async fn plan(&self, plan: Digest) -> Result<PlanAnswer, HubError> {
        self.is_away()?;
        Ok(self.plans.lock().unwrap()[&plan].clone())
    }

    async fn manifest(&self, bundle: Digest) -> Result<Manifest, HubError> {
        self.is_away()?;
        Ok(self.manifests.lock().unwrap()[&bundle].clone())
    }

    async fn secrets(&self, request: SecretsRequest) -> Result<SecretsAnswer, HubError> {
        self.is_away()?;
        let plan = Digest::of(&(request.job.0 as u32).to_le_bytes());
        let declared = self.plans.lock().unwrap()[&plan].steps[0].settings.runtime.secrets.clone();
        let kept = self.secrets.lock().unwrap();
        let mut answer = SecretsAnswer::default();
        for name in declared {
            match kept.get(&name) {
                Some(value) => drop(answer.secrets.insert(name, SecretText(value.clone()))),
                None => answer.missing.push(name),
            }
        }
        Ok(answer)
    }

    async fn log(&self, request: LogRequest) -> Result<(), HubError> {
        self.is_away()?;
        self.told.lock().unwrap().extend(request.parts.into_iter().map(|part| part.text));
        Ok(())
    }

    async fn late_logs(&self, request: LateLogRequest) -> Result<LateLogAnswer, HubError> {
        self.is_away()?;
        Self::counts_down(&self.late_outage)?;
        self.knows_route()?;
        let kept = request.logs.len() as u64;
        self.late.lock().unwrap().extend(request.logs);
        self.changed.notify_waiters();
        Ok(LateLogAnswer { kept })
    }

    async fn file(&self, file: Digest) -> Result<Bytes, HubError> {
        self.is_away()?;
        Ok(self.files.lock().unwrap()[&file].clone())
    }
}
