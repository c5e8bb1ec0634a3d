//! Tails of the logs of attempts that run: in memory, for those who follow them. Nothing else depends on them.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;
use protocol::JobId;
use protocol::log::LogPart;
use tokio::sync::watch;

/// The tails, of which those longest without news go first.
#[derive(Debug)]
pub(crate) struct LiveLogs {
    tails: Mutex<LruCache<JobId, Tail>>,
    bytes_max: usize,
    /// Grows when there is news.
    pub changes: watch::Sender<u64>,
}

/// The last part of the log of a job's newest attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tail {
    pub attempt: u32,
    /// Where it begins in the attempt's log.
    pub from: u64,
    pub text: String,
}

impl Tail {
    fn end(&self) -> u64 {
        self.from + self.text.len() as u64
    }

    fn add(&mut self, part: LogPart, bytes_max: usize) {
        if part.from != self.end() {
            // Some of it was lost on the way, or this hub heard nothing of it before.
            (self.from, self.text) = (part.from, String::new());
        }
        self.text.push_str(&part.text);
        if self.text.len() > bytes_max {
            let cut = self.text.ceil_char_boundary(self.text.len() - bytes_max);
            self.text.drain(..cut);
            self.from += cut as u64;
        }
    }

    fn after(&self, place: u64) -> (u64, &str) {
        let skipped = usize::try_from(place.saturating_sub(self.from)).unwrap_or(usize::MAX).min(self.text.len());
        let skipped = self.text.ceil_char_boundary(skipped);
        (self.from + skipped as u64, &self.text[skipped..])
    }
}

impl LiveLogs {
    /// Keeps the tails of so many attempts, each of so many bytes at the most.
    pub(crate) fn new(attempts_max: usize, bytes_max: usize) -> Self {
        let attempts_max = NonZeroUsize::new(attempts_max).unwrap_or(NonZeroUsize::MIN);
        Self { tails: Mutex::new(LruCache::new(attempts_max)), bytes_max, changes: watch::Sender::new(0) }
    }

    /// Takes what a worker tells. What comes late, of an attempt before, is nobody's concern.
    pub(crate) fn take(&self, parts: Vec<LogPart>) {
        let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        for part in parts {
            let empty = || Tail { attempt: part.attempt, from: part.from, text: String::new() };
            let tail = tails.get_or_insert_mut(part.job, empty);
            if tail.attempt < part.attempt {
                *tail = empty();
            }
            if tail.attempt == part.attempt {
                tail.add(part, self.bytes_max);
            }
        }
        drop(tails);
        self.changes.send_modify(|version| *version += 1);
    }

    /// Where what is kept after a place in an attempt's log begins, and its text.
    pub(crate) fn after(&self, job: JobId, attempt: u32, place: u64) -> (u64, String) {
        let tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        match tails.peek(&job).filter(|tail| tail.attempt == attempt) {
            Some(tail) => {
                let (from, text) = tail.after(place);
                (from, text.to_owned())
            }
            None => (place, String::new()),
        }
    }

    /// An attempt is over, and its log is kept. One that came after it may be running.
    pub(crate) fn forget(&self, job: JobId, attempt: u32) {
        let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        if tails.peek(&job).is_some_and(|tail| tail.attempt <= attempt) {
            tails.pop(&job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobId = JobId(7);

    fn part(attempt: u32, from: u64, text: &str) -> Vec<LogPart> {
        vec![LogPart { job: JOB, attempt, from, text: text.to_owned() }]
    }

    #[test]
    fn who_follows_gets_what_came_after_the_place_they_know() {
        let logs = LiveLogs::new(10, 100);
        logs.take(part(1, 0, "one\n"));
        logs.take(part(1, 4, "two\n"));
        assert_eq!(logs.after(JOB, 1, 0), (0, "one\ntwo\n".to_owned()));
        assert_eq!(logs.after(JOB, 1, 4), (4, "two\n".to_owned()));
        assert_eq!(logs.after(JOB, 1, 8), (8, String::new()));
        assert_eq!(logs.after(JOB, 2, 0), (0, String::new()));
        logs.forget(JOB, 1);
        assert_eq!(logs.after(JOB, 1, 4), (4, String::new()));
    }

    #[test]
    fn only_the_tail_is_kept_and_says_where_it_begins() {
        let logs = LiveLogs::new(10, 6);
        logs.take(part(1, 0, "one\ntwo\nä\n"));
        assert_eq!(logs.after(JOB, 1, 0), (5, "wo\nä\n".to_owned()));
        logs.take(part(1, 100, "later\n"));
        assert_eq!(logs.after(JOB, 1, 10), (100, "later\n".to_owned()));
    }

    #[test]
    fn a_new_attempt_begins_anew_and_an_old_one_is_not_heard() {
        let logs = LiveLogs::new(10, 100);
        logs.take(part(1, 0, "old"));
        logs.take(part(2, 0, "new"));
        logs.take(part(1, 3, "late"));
        logs.forget(JOB, 1);
        assert_eq!(logs.after(JOB, 2, 0), (0, "new".to_owned()));
    }

    #[test]
    fn the_logs_longest_without_news_go_first() {
        let logs = LiveLogs::new(2, 100);
        for job in [1, 2, 1, 3] {
            logs.take(vec![LogPart { job: JobId(job), attempt: 1, from: 0, text: "x".to_owned() }]);
        }
        let kept = [1, 2, 3].map(|job| !logs.after(JobId(job), 1, 0).1.is_empty());
        assert_eq!(kept, [true, false, true]);
    }
}
