//! Turns: of those who want the same, one after the other has it.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Who has a turn now, by what it is for.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: Mutex<HashSet<String>>,
    ended: Condvar,
}

impl Turns {
    /// Waits for a turn. It ends when what is returned is dropped.
    pub(super) fn take<'turns>(&'turns self, what: &'turns str) -> Turn<'turns> {
        let mut taken = self.taken();
        while taken.contains(what) {
            taken = self.ended.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        taken.insert(what.to_owned());
        Turn { turns: self, what }
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<String>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[must_use]
pub(super) struct Turn<'turns> {
    turns: &'turns Turns,
    what: &'turns str,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.taken().remove(self.what);
        self.turns.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_at_a_time_has_a_turn_and_others_are_not_kept_waiting() {
        let (turns, within, most) = (Turns::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _turn = turns.take("one");
                    most.fetch_max(within.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    within.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 1);
        let _one = turns.take("one");
        drop(turns.take("other"));
    }
}
