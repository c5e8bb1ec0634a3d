//! Workers heard from of late: kept in memory, so that a beat writes nothing.
//!
//! After a restart the hub knows the sessions that hold leases from the store and gives each the full time to be heard again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::SessionId;
use protocol::api::{WorkerInfo, WorkerView};

/// Workers heard from of late.
#[derive(Debug, Default)]
pub struct Sessions {
    heard: Mutex<HashMap<SessionId, Heard>>,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    info: WorkerInfo,
}

impl Sessions {
    /// A worker was heard from.
    pub fn hear(&self, session: SessionId, info: WorkerInfo, now: Instant) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.insert(session, Heard { at: now, info });
    }

    /// Begins to watch a session that is known from the store only.
    pub fn watch(&self, session: SessionId, now: Instant) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.entry(session).or_insert(Heard { at: now, info: WorkerInfo::default() });
    }

    /// Forgets and returns those not heard from for `silence`.
    pub fn take_silent(&self, silence: Duration, now: Instant) -> Vec<SessionId> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let silent: Vec<SessionId> = heard
            .iter()
            .filter(|(_, heard)| now.saturating_duration_since(heard.at) > silence)
            .map(|(session, _)| *session)
            .collect();
        for session in &silent {
            heard.remove(session);
        }
        silent
    }

    /// The workers, as they are shown.
    #[must_use]
    pub fn views(&self, now: Instant) -> Vec<WorkerView> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut views: Vec<WorkerView> = heard
            .iter()
            .filter(|(_, heard)| heard.info.pid != 0)
            .map(|(session, heard)| WorkerView {
                session: *session,
                info: heard.info.clone(),
                silent_ms: u64::try_from(now.saturating_duration_since(heard.at).as_millis()).unwrap_or(u64::MAX),
            })
            .collect();
        views.sort_by_key(|view| (view.info.host.clone(), view.info.pid));
        views
    }

    /// Whether a worker heard from of late serves `scope`.
    #[must_use]
    pub fn serve(&self, scope: &str) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.values().any(|heard| heard.info.scopes.iter().any(|served| served == scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_silent_after_its_time_and_is_told_once() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let session = SessionId([1; 8]);
        sessions.watch(session, start);
        let later = start + Duration::from_secs(9);
        assert!(sessions.take_silent(Duration::from_secs(10), later).is_empty());
        sessions.hear(session, WorkerInfo::default(), later);
        assert!(sessions.take_silent(Duration::from_secs(10), later + Duration::from_secs(10)).is_empty());
        let end = later + Duration::from_secs(11);
        assert_eq!(sessions.take_silent(Duration::from_secs(10), end), [session]);
        assert!(sessions.take_silent(Duration::from_secs(10), end).is_empty());
    }
}
