//! Compiled plans: kept by digest in the database and, worked out, in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::Store;
use super::job::Facts;
use super::rows::Rows;
use crate::blueprint::Blueprints;
use crate::error::QueueError;
use crate::succession::next_steps;
use protocol::api::PlanAnswer;
use protocol::{CallId, Digest, Plan, Step};

/// A plan with the bundle it was compiled from.
#[derive(Debug)]
pub(crate) struct PlanEntry {
    pub digest: Digest,
    pub bundle: Digest,
    pub plan: Plan,
    pub blueprints: Blueprints,
}

impl PlanEntry {
    pub(super) fn new(digest: Digest, bundle: Digest, plan: Plan) -> Self {
        let blueprints = Blueprints::of(&plan);
        Self { digest, bundle, plan, blueprints }
    }

    /// The step with this index.
    pub(super) fn step(&self, index: u32) -> Result<&Step, QueueError> {
        self.plan
            .steps
            .get(index as usize)
            .ok_or_else(|| QueueError::Unreadable(format!("plan {} has no step {index}", self.digest)))
    }

    /// Whether a call is the source of a loop.
    pub(super) fn is_source(&self, call: CallId) -> bool {
        self.blueprints.sources.contains(&call)
    }

    /// Whether a job can have children: it is followed in its chain, or its call's value is an argument somewhere.
    pub(super) fn has_children(&self, job: &Facts) -> bool {
        job.followers > 0 || job.call.is_some_and(|call| self.blueprints.arguments.contains(&CallId(call)))
    }

    /// Whether a loop runs over a job's value.
    pub(super) fn feeds_loop(&self, job: &Facts) -> bool {
        job.followers == 0 && job.call.is_some_and(|call| self.is_source(CallId(call)))
    }

    /// What a worker needs to know of it.
    pub(super) fn answer(&self) -> PlanAnswer {
        PlanAnswer {
            bundle: self.bundle,
            script: self.plan.script.clone(),
            sources: self.plan.sources.clone(),
            steps: self.plan.steps.clone(),
            next: next_steps(&self.plan),
        }
    }
}

/// Plans in memory, shared by the writer and the readers; of those that are too much, the ones longest unused go.
pub(super) struct PlanCache {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

struct Kept {
    plans: LruCache<Digest, (usize, Arc<PlanEntry>)>,
    /// All of them together, as they are stored.
    bytes: usize,
}

impl PlanCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: Mutex::new(Kept { plans: LruCache::unbounded(), bytes: 0 }) }
    }

    pub(super) fn get(&self, rows: &mut dyn Rows, digest: Digest) -> Result<Arc<PlanEntry>, QueueError> {
        if let Some((_, plan)) = self.kept().plans.get(&digest) {
            return Ok(Arc::clone(plan));
        }
        let (bundle, body) = rows.plan(digest)?.ok_or_else(|| QueueError::not_found(format!("plan {digest}")))?;
        let plan: Plan =
            serde_json::from_str(&body).map_err(|error| QueueError::Unreadable(format!("plan {digest}: {error}")))?;
        let entry = Arc::new(PlanEntry::new(digest, bundle, plan));
        self.keep(body.len(), &entry);
        Ok(entry)
    }

    fn keep(&self, bytes: usize, entry: &Arc<PlanEntry>) {
        let mut kept = self.kept();
        let before = kept.plans.put(entry.digest, (bytes, Arc::clone(entry))).map_or(0, |(bytes, _)| bytes);
        kept.bytes = kept.bytes + bytes - before;
        // The one that is asked for stays, however large it is.
        while kept.bytes > self.bytes_max && kept.plans.len() > 1 {
            let Some((_, (bytes, _))) = kept.plans.pop_lru() else { break };
            kept.bytes -= bytes;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// What workers need to know of a plan.
    ///
    /// # Errors
    /// There is no such plan.
    pub async fn plan(&self, digest: Digest) -> Result<PlanAnswer, QueueError> {
        let plans = Arc::clone(&self.plans);
        self.read(move |rows| Ok(plans.get(rows, digest)?.answer())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u8) -> Arc<PlanEntry> {
        let digest = Digest::of(&[number]);
        let plan = Plan { script: String::new(), sources: Vec::new(), steps: Vec::new(), body: Vec::new() };
        Arc::new(PlanEntry::new(digest, digest, plan))
    }

    #[test]
    fn plans_longest_unused_go_when_there_are_too_many_bytes_of_them() {
        let cache = PlanCache::new(100);
        let entries: Vec<_> = (0..4).map(entry).collect();
        let is_kept = |number: usize| cache.kept().plans.contains(&entries[number].digest);
        for number in [0, 1, 0] {
            cache.keep(40, &entries[number]);
        }
        assert_eq!(cache.kept().bytes, 80);
        cache.keep(40, &entries[2]);
        assert_eq!([0, 1, 2].map(is_kept), [true, false, true]);
        cache.keep(1_000, &entries[3]);
        assert_eq!([0, 1, 2, 3].map(is_kept), [false, false, false, true]);
        assert_eq!(cache.kept().bytes, 1_000);
    }
}
