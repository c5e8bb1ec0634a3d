//! Workers heard from of late: kept in memory, so that a beat writes nothing.
//!
//! After a restart the hub knows the sessions that hold leases from the store and gives each the full time to be heard again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::api::{LeaseRequest, WorkerInfo, WorkerView};
use protocol::{Language, SessionId};
use tokio::sync::Notify;

use crate::store::{Given, Share, postgres};

/// How long a session that is over is remembered: what was on its way when it said goodbye has come by then.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Workers heard from of late.
#[derive(Debug, Default)]
pub struct Sessions {
    heard: Mutex<HashMap<SessionId, Heard>>,
    /// Rung when there is somebody to watch.
    arrived: Notify,
    /// Sessions that are over, and since when: what still comes of them is not heard.
    over: Mutex<HashMap<SessionId, Instant>>,
    /// Sessions that were not heard from for too long, and since when, until they are heard from again.
    missed: Mutex<HashMap<SessionId, Instant>>,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    info: WorkerInfo,
    /// Heard by this hub, and not told to others yet.
    news: bool,
    turn: Turn,
}

/// Where a worker stands in the order in which its scopes come to their shares.
#[derive(Debug, Default, Clone, Copy)]
struct Turn {
    /// Jobs given since the last share.
    given: usize,
    /// The scope whose turn is next.
    next: usize,
}

impl Sessions {
    /// A worker was heard from.
    pub fn hear(&self, session: SessionId, info: WorkerInfo, now: Instant) {
        if self.is_over(session) {
            return;
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = heard.get(&session).map(|known| known.turn).unwrap_or_default();
        heard.insert(session, Heard { at: now, info, news: true, turn });
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
        self.arrived.notify_one();
    }

    /// A worker has said goodbye.
    pub fn end(&self, session: SessionId, now: Instant) {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        over.retain(|_, since| now.saturating_duration_since(*since) < REMEMBERED);
        over.insert(session, now);
        drop(over);
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
    }

    /// Whether a worker has said goodbye of late.
    pub fn is_over(&self, session: SessionId) -> bool {
        self.over.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&session)
    }

    /// Whether nothing can come of a request of a worker that waits: it has said goodbye since, or was not heard from for too long.
    pub fn is_gone(&self, session: SessionId) -> bool {
        self.is_over(session) || self.missed.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&session)
    }

    /// Begins to watch a session that is known from the store only.
    pub fn watch(&self, session: SessionId, now: Instant) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let unheard = Heard { at: now, info: WorkerInfo::default(), news: false, turn: Turn::default() };
        heard.entry(session).or_insert(unheard);
        self.arrived.notify_one();
    }

    /// Waits until there is somebody to watch.
    pub async fn any(&self) {
        loop {
            let is_empty = self.heard.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            if !is_empty {
                return;
            }
            self.arrived.notified().await;
        }
    }

    /// What a request is due beside the order of its scopes, where one of `every` jobs is given to scopes in turn; 0 is never.
    pub fn share(&self, request: &LeaseRequest, every: u32) -> Share {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = heard.get(&request.session).map(|heard| heard.turn).unwrap_or_default();
        let wanted = turn.given + request.slots as usize + request.shared_slots as usize;
        let is_in_turn = request.scopes.len() > 1;
        Share { jobs: wanted.checked_div(every as usize).filter(|_| is_in_turn).unwrap_or(0), next: turn.next }
    }

    /// A request was given something.
    pub fn note_given(&self, request: &LeaseRequest, given: &Given, every: u32) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heard) = heard.get_mut(&request.session).filter(|_| request.scopes.len() > 1) {
            let total = heard.turn.given + given.leases.len();
            heard.turn = Turn { given: total.checked_rem(every as usize).unwrap_or(0), next: given.next };
        }
    }

    /// Another hub heard from a worker.
    pub fn hear_of(&self, other: postgres::Heard, now: Instant) {
        let Some(at) = now.checked_sub(other.silence).filter(|_| !self.is_over(other.session)) else { return };
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match heard.get_mut(&other.session) {
            Some(known) if known.at >= at => {}
            Some(known) => *known = Heard { at, info: other.info, ..*known },
            None => {
                heard.insert(other.session, Heard { at, info: other.info, news: false, turn: Turn::default() });
            }
        }
    }

    /// Whom this hub has heard from since the last call.
    pub fn news(&self, now: Instant) -> Vec<postgres::Heard> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let news = heard.iter_mut().filter_map(|(session, heard)| {
            let silence = now.saturating_duration_since(heard.at);
            let told = postgres::Heard { session: *session, silence, info: heard.info.clone() };
            std::mem::take(&mut heard.news).then_some(told)
        });
        news.collect()
    }

    /// Takes some time for not having passed. Nobody is taken for heard from later than now.
    pub fn forgive(&self, time: Duration, now: Instant) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.values_mut().for_each(|heard| heard.at = heard.at.max(now.min(heard.at + time)));
    }

    /// Forgets and returns those not heard from for `silence`.
    pub fn take_silent(&self, silence: Duration, now: Instant) -> Vec<SessionId> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let silent: Vec<SessionId> = heard
            .iter()
            .filter(|(_, heard)| now.saturating_duration_since(heard.at) > silence)
            .map(|(session, _)| *session)
            .collect();
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.retain(|_, since| now.saturating_duration_since(*since) < REMEMBERED);
        for session in &silent {
            heard.remove(session);
            missed.insert(*session, now);
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

    /// Whether one that serves `scope` can run steps of a language; those that do not say what they can run, can.
    #[must_use]
    pub fn can_run(&self, scope: &str, language: Language) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.values().any(|heard| can_run(&heard.info, scope, language))
    }

    /// The number of workers that serve `scope` and can run steps of a language, where none of them has a free slot.
    #[must_use]
    pub fn all_full(&self, scope: &str, language: Language) -> Option<u64> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workers = 0;
        for heard in heard.values().filter(|heard| can_run(&heard.info, scope, language)) {
            // One that has no slots has not told of them.
            if heard.info.slots == 0 || heard.info.free > 0 {
                return None;
            }
            workers += 1;
        }
        (workers > 0).then_some(workers)
    }

    /// What those of the workers that `concerns` holds for wait for, and how many wait for each; what most wait for comes first.
    #[must_use]
    pub fn troubles(&self, concerns: impl Fn(SessionId, &WorkerInfo) -> bool) -> Vec<(String, u64)> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (session, Heard { info, .. }) in heard.iter() {
            if !info.trouble.is_empty() && concerns(*session, info) {
                *counts.entry(&info.trouble).or_default() += 1;
            }
        }
        let mut troubles: Vec<_> = counts.into_iter().map(|(trouble, count)| (trouble.to_owned(), count)).collect();
        troubles.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        troubles
    }
}

fn can_run(worker: &WorkerInfo, scope: &str, language: Language) -> bool {
    let word = language.as_str();
    let is_meant = |engine: &String| engine.split(':').next() == Some(word);
    let engines = &worker.engines;
    let can = language == Language::Python || engines.is_empty() || engines.iter().any(is_meant);
    can && worker.scopes.iter().any(|served| served == scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_another_hub_hears_from_is_not_silent() {
        let sessions = Sessions::default();
        let start = Instant::now() + Duration::from_secs(100);
        let session = SessionId([1; 8]);
        sessions.hear(session, WorkerInfo::default(), start);
        assert_eq!(sessions.news(start).len(), 1);
        assert!(sessions.news(start).is_empty(), "told once");
        let later = start + Duration::from_secs(20);
        let silence = Duration::from_secs(2);
        sessions.hear_of(postgres::Heard { session, silence, info: WorkerInfo::default() }, later);
        assert!(sessions.take_silent(Duration::from_secs(10), later).is_empty());
        assert!(sessions.news(later).is_empty(), "what another hub told is no news of this one");
    }

    #[test]
    fn what_most_workers_wait_for_comes_first() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let troubles = ["no bucket", "", "no memory", "no bucket"];
        for (number, trouble) in (1..).zip(troubles) {
            let info = WorkerInfo { trouble: trouble.to_owned(), ..WorkerInfo::default() };
            sessions.hear(SessionId([number; 8]), info, now);
        }
        assert_eq!(sessions.troubles(|_, _| true), [("no bucket".to_owned(), 2), ("no memory".to_owned(), 1)]);
        assert_eq!(sessions.troubles(|session, _| session == SessionId([3; 8])), [("no memory".to_owned(), 1)]);
        assert_eq!(sessions.troubles(|session, _| session == SessionId([2; 8])), []);
    }

    #[test]
    fn who_was_silent_is_gone_until_it_is_heard_from_again() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let (session, silence) = (SessionId([1; 8]), Duration::from_secs(2));
        sessions.hear(session, WorkerInfo::default(), start);
        assert!(!sessions.is_gone(session));
        let later = start + Duration::from_secs(3);
        assert_eq!(sessions.take_silent(silence, later), [session]);
        sessions.watch(session, later);
        assert!(sessions.is_gone(session), "that it is watched does not bring it back");
        sessions.hear(session, WorkerInfo::default(), later);
        assert!(!sessions.is_gone(session));
        sessions.end(session, later);
        assert!(sessions.is_gone(session));
    }

    #[test]
    fn a_session_that_is_over_is_not_shown_whatever_still_comes_of_it() {
        let sessions = Sessions::default();
        let now = Instant::now() + Duration::from_secs(100);
        let (session, silence) = (SessionId([1; 8]), Duration::from_secs(2));
        let info = WorkerInfo { pid: 7, scopes: vec!["default".to_owned()], ..WorkerInfo::default() };
        sessions.hear(session, info.clone(), now);
        assert_eq!(sessions.views(now).len(), 1);
        sessions.end(session, now);
        assert!(sessions.views(now).is_empty() && !sessions.serve("default"));
        sessions.hear(session, info.clone(), now);
        sessions.hear_of(postgres::Heard { session, silence, info: info.clone() }, now);
        assert!(sessions.views(now).is_empty() && sessions.news(now).is_empty());
        sessions.hear(SessionId([2; 8]), info, now);
        assert_eq!(sessions.views(now).len(), 1, "others are heard");
        sessions.watch(session, now);
        let later = now + Duration::from_secs(11);
        assert!(sessions.take_silent(Duration::from_secs(10), later).contains(&session), "its last leases are watched");
    }

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
        let later = later + Duration::from_secs(20);
        sessions.forgive(Duration::from_secs(20), later);
        assert!(sessions.take_silent(Duration::from_secs(10), later).is_empty(), "the hub stood still, not the worker");
        let end = later + Duration::from_secs(11);
        assert_eq!(sessions.take_silent(Duration::from_secs(10), end), [session]);
        assert!(sessions.take_silent(Duration::from_secs(10), end).is_empty());
    }
}
