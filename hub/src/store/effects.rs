//! What a committed change means for those who wait.

use std::collections::{BTreeMap, BTreeSet};

use protocol::SessionId;
use serde::{Deserialize, Serialize};

/// What a committed change means for those who wait, on this hub and on others.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Effects {
    /// Jobs that became ready and were not given out, by scope; none is 0.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ready: BTreeMap<String, u64>,
    /// Anything may have become ready: nobody knows what.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub everything: bool,
    /// Earliest time at which a newly parked job becomes ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked_until_ms: Option<i64>,
    /// Earliest time at which a new lease is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leased_until_ms: Option<i64>,
    /// Sessions that were given leases; for this hub only.
    #[serde(skip)]
    pub leased_to: BTreeSet<SessionId>,
    /// Whether runs changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub runs: bool,
}

impl Effects {
    /// What one who heard nothing for a while must assume.
    #[must_use]
    pub fn unknown() -> Self {
        Self { everything: true, parked_until_ms: Some(0), leased_until_ms: Some(0), runs: true, ..Self::default() }
    }

    /// Whether nobody needs to be told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn ready(&mut self, scope: &str) {
        match self.ready.get_mut(scope) {
            Some(count) => *count += 1,
            None => drop(self.ready.insert(scope.to_owned(), 1)),
        }
    }

    /// One of those that became ready was given out.
    pub(super) fn taken(&mut self, scope: &str) {
        if let Some(count) = self.ready.get_mut(scope) {
            *count -= 1;
            if *count == 0 {
                self.ready.remove(scope);
            }
        }
    }

    pub(super) fn parked(&mut self, from_ms: i64) {
        self.parked_until_ms = Some(self.parked_until_ms.map_or(from_ms, |known| known.min(from_ms)));
    }

    pub(super) fn leased(&mut self, session: SessionId, until_ms: i64) {
        self.leased_to.insert(session);
        self.leased_until_ms = Some(self.leased_until_ms.map_or(until_ms, |known| known.min(until_ms)));
    }
}
