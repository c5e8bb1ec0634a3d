//! A short digest of all that was seen, in its order: two runs that saw the same have the same.

use std::hash::{DefaultHasher, Hash, Hasher};

#[derive(Default)]
pub struct Transcript(DefaultHasher);

impl Transcript {
    pub fn note(&mut self, what: &str, seen: impl Hash) {
        what.hash(&mut self.0);
        seen.hash(&mut self.0);
    }

    pub fn digest(&self) -> u64 {
        self.0.finish()
    }
}
