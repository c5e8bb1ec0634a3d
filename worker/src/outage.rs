//! What the log says of something that does not work: that it does not, now and then how often, and that it works again. However often
//! it fails, and even where it works in between, these are few lines.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shortest time in which no more than [`LINES_MAX`] lines are said; it doubles as long as nothing works.
const SPELL_MIN: Duration = Duration::from_secs(30);
/// The longest such time.
const SPELL_MAX: Duration = Duration::from_secs(600);
/// Lines of one spell: different errors, or one that comes and goes.
const LINES_MAX: u32 = 3;
/// How long after its last failure something counts as away: longer than one request is tried, and the pause before the next.
const RECENT: Duration = Duration::from_secs(60);
/// Characters of an error that the hub is told.
const TOLD_CHARACTERS_MAX: usize = 500;

/// Whether something this worker depends on is away, and since when.
#[derive(Debug)]
pub(crate) struct Outage {
    name: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    /// The last failure, and when that was.
    last: Option<(String, Instant)>,
    /// The last error that was said of this outage.
    said: Option<String>,
    rate: Rate,
}

impl Outage {
    /// Nothing is known to be wrong with `name`.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, state: Mutex::default() }
    }

    /// It failed. Says so when it worked before, when it fails in a new way, and from time to time.
    pub(crate) fn failed(&self, error: &dyn Display) {
        if let Some(line) = self.state().failed(error.to_string(), Instant::now()) {
            tracing::warn!("{line}");
        }
    }

    /// It worked. Says so when the log says that it does not.
    pub(crate) fn worked(&self) {
        if let Some(line) = self.state().worked(self.name, Instant::now()) {
            tracing::info!("{line}");
        }
    }

    /// How it fails, if it does.
    pub(crate) fn current(&self) -> Option<String> {
        self.state().current(Instant::now())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn failed(&mut self, message: String, now: Instant) -> Option<String> {
        self.since.get_or_insert(now);
        self.last = Some((message.clone(), now));
        let is_news = self.said.as_ref() != Some(&message);
        let unsaid = self.rate.admit(is_news, now)?;
        let line = match (&self.said, unsaid) {
            (None, 0) => format!("{message}; work goes on, trying again until it answers"),
            (_, 0) => format!("{message}; still trying"),
            (_, unsaid) => format!("{message}; still trying ({unsaid} more times since this was last logged)"),
        };
        self.said = Some(message);
        Some(line)
    }

    fn worked(&mut self, name: &str, now: Instant) -> Option<String> {
        self.last = None;
        let since = self.since.take()?;
        // One that was not said is counted in the next line.
        self.said.take()?;
        self.rate.calm();
        Some(format!("{name} is back after {:.1} s", now.saturating_duration_since(since).as_secs_f64()))
    }

    fn current(&self, now: Instant) -> Option<String> {
        let (message, at) = self.last.as_ref()?;
        let is_recent = now.saturating_duration_since(*at) < RECENT;
        is_recent.then(|| message.chars().take(TOLD_CHARACTERS_MAX).collect())
    }
}

/// How much of something that happens again and again is said.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// When the current spell began, and how long it is.
    spell: Option<(Instant, Duration)>,
    lines: u32,
    unsaid: u64,
}

impl Rate {
    /// Whether something is to be said now: then, what happened since the last time and was not. What is no news is said once in a spell.
    pub(crate) fn admit(&mut self, is_news: bool, now: Instant) -> Option<u64> {
        match self.spell {
            Some((begin, length)) if now.saturating_duration_since(begin) < length => {
                if !is_news || self.lines >= LINES_MAX {
                    self.unsaid += 1;
                    return None;
                }
            }
            spell => {
                let length = spell.map_or(SPELL_MIN, |(_, length)| (length * 2).min(SPELL_MAX));
                self.spell = Some((now, length));
                self.lines = 0;
            }
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.unsaid))
    }

    /// What is in the way is over: the next spell is short again.
    fn calm(&mut self) {
        if let Some((_, length)) = &mut self.spell {
            *length = SPELL_MIN;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn an_outage_is_said_once_then_summed_up_now_and_then_and_so_is_its_end() {
        let (mut state, start) = (State::default(), Instant::now());
        let mut lines = Vec::new();
        for second in 0..100 {
            lines.extend(state.failed("no hub".to_owned(), after(start, second)).map(|line| (second, line)));
        }
        let summed_up = |count| format!("no hub; still trying ({count} more times since this was last logged)");
        let expected = [
            (0, "no hub; work goes on, trying again until it answers".to_owned()),
            (30, summed_up(29)),
            (90, summed_up(59)),
        ];
        assert_eq!(lines, expected);
        assert_eq!(state.worked("the hub", after(start, 100)).unwrap(), "the hub is back after 100.0 s");
        assert_eq!(state.worked("the hub", after(start, 101)), None);
    }

    #[test]
    fn what_fails_is_told_until_it_works_or_nobody_has_asked_for_it_for_a_while() {
        let (mut state, start) = (State::default(), Instant::now());
        assert_eq!(state.current(start), None);
        state.failed("no bucket".to_owned(), start);
        state.failed("x".repeat(TOLD_CHARACTERS_MAX + 1), after(start, 1));
        assert_eq!(state.current(after(start, 60)).unwrap().len(), TOLD_CHARACTERS_MAX);
        assert_eq!(state.current(after(start, 61)), None);
        state.failed("no bucket".to_owned(), after(start, 70));
        assert_eq!(state.current(after(start, 71)).unwrap(), "no bucket");
        state.worked("the bucket", after(start, 72));
        assert_eq!(state.current(after(start, 72)), None);
    }

    #[test]
    fn a_new_error_is_said_at_once_but_not_one_for_each_attempt() {
        let (mut state, start) = (State::default(), Instant::now());
        let lines: Vec<String> =
            (0..1_000).filter_map(|job| state.failed(format!("no room for j{job}"), start)).collect();
        assert_eq!(lines.len(), LINES_MAX as usize);
        assert_eq!(lines[1], "no room for j1; still trying");
        let line = state.failed("no room for j7".to_owned(), after(start, 30)).unwrap();
        assert!(line.contains("997 more times"), "{line}");
    }

    #[test]
    fn what_comes_and_goes_does_not_fill_the_log() {
        let (mut state, start) = (State::default(), Instant::now());
        let mut lines = 0;
        for second in 0..60 {
            lines += usize::from(state.failed("no room".to_owned(), after(start, second)).is_some());
            lines += usize::from(state.worked("the disk", after(start, second)).is_some());
        }
        assert_eq!(lines, 4 * LINES_MAX as usize, "two spells, each line with its end");
        let failed = state.failed("no room".to_owned(), after(start, 60)).unwrap();
        assert!(failed.contains("27 more times"), "{failed}");
    }
}
