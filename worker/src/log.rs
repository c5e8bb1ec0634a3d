//! What a step prints, with the time of each line, bounded: the first and the last part are kept.

use std::collections::VecDeque;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::live_log::LiveLog;
use crate::redact::{Redactor, Stream};

/// `2026-11-22T19:13:11.123Z `
const TIME_FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z ");

/// The log of one attempt while it grows.
#[derive(Debug)]
pub(crate) struct Log {
    half_max: usize,
    first: Vec<u8>,
    last: VecDeque<u8>,
    left_out: u64,
    line_open: bool,
    hiding: Option<Stream>,
    live: Option<LiveLog>,
}

impl Log {
    /// An empty log that keeps at most `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self::of_attempt(bytes_max, None, None)
    }

    /// One in which secrets are hidden as they come, and which may be followed.
    pub(crate) fn of_attempt(bytes_max: usize, secrets: Option<Redactor>, live: Option<LiveLog>) -> Self {
        Self {
            half_max: bytes_max / 2,
            first: Vec::new(),
            last: VecDeque::new(),
            left_out: 0,
            line_open: false,
            hiding: secrets.map(Stream::new),
            live,
        }
    }

    /// Adds what was printed at `now`. Each line begins with the time at which its first part came.
    pub(crate) fn push(&mut self, printed: &[u8], now: OffsetDateTime) {
        match &mut self.hiding {
            Some(hiding) => {
                let shown = hiding.push(printed);
                self.add(&shown, now);
            }
            None => self.add(printed, now),
        }
    }

    /// Adds what was held back because a secret could have begun there.
    fn release(&mut self, now: OffsetDateTime) {
        if let Some(hiding) = &mut self.hiding {
            let rest = hiding.finish();
            self.add(&rest, now);
        }
    }

    fn add(&mut self, printed: &[u8], now: OffsetDateTime) {
        let stamp = now.format(TIME_FORMAT).unwrap_or_default();
        for part in printed.split_inclusive(|byte| *byte == b'\n') {
            if !self.line_open {
                self.keep(stamp.as_bytes());
            }
            self.keep(part);
            self.line_open = !part.ends_with(b"\n");
        }
    }

    /// Adds a line of the worker's own.
    pub(crate) fn note(&mut self, line: &str, now: OffsetDateTime) {
        self.release(now);
        if self.line_open {
            self.add(b"\n", now);
        }
        self.add(format!("bue: {line}\n").as_bytes(), now);
    }

    /// Whether its first part has these words.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.first.windows(words.len().max(1)).any(|part| part == words.as_bytes())
    }

    /// The whole of it; where something is missing, a line in the middle says how much.
    pub(crate) fn into_text(mut self) -> String {
        self.release(OffsetDateTime::now_utc());
        let mut text = String::from_utf8_lossy(&self.first).into_owned();
        if self.left_out > 0 {
            text.push_str(&format!("\n… {} bytes left out …\n", self.left_out));
        }
        let (front, back) = self.last.as_slices();
        text.push_str(&String::from_utf8_lossy(&[front, back].concat()));
        text
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some(live) = &mut self.live {
            live.push(bytes);
        }
        let room = self.half_max.saturating_sub(self.first.len()).min(bytes.len());
        let (to_first, to_last) = bytes.split_at(room);
        self.first.extend_from_slice(to_first);
        self.last.extend(to_last);
        let excess = self.last.len().saturating_sub(self.half_max);
        self.last.drain(..excess);
        self.left_out += excess as u64;
    }
}

/// The first and the last part of a log that must be shorter.
pub(crate) fn shorten(text: &str, bytes_max: usize) -> String {
    let mut log = Log::new(bytes_max);
    log.keep(text.as_bytes());
    log.into_text()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 19:13:11.123 UTC);

    #[test]
    fn each_line_begins_with_the_time_it_began() {
        let mut log = Log::new(1_000);
        log.push(b"one\ntw", NOW);
        log.push(b"o\n", NOW + time::Duration::SECOND);
        log.note("stopped", NOW);
        assert_eq!(
            log.into_text(),
            "2026-11-22T19:13:11.123Z one\n2026-11-22T19:13:11.123Z two\n2026-11-22T19:13:11.123Z bue: stopped\n"
        );
    }

    #[test]
    fn of_a_long_log_the_first_and_the_last_part_are_kept() {
        let mut log = Log::new(200);
        for number in 0..1_000 {
            log.push(format!("line {number}\n").as_bytes(), NOW);
        }
        let text = log.into_text();
        assert!(text.len() < 260, "{}", text.len());
        assert!(text.contains(" line 0\n") && text.ends_with(" line 999\n"), "{text}");
        assert!(text.contains("bytes left out"), "{text}");
    }
}
