//! Compiled plans: kept by digest in the database and, worked out, in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::Store;
use super::job::Facts;
use super::rows::Rows;
use crate::blueprint::Blueprints;
use crate::error::QueueError;
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
        }
    }
}

/// Plans in memory, shared by the writer and the readers.
#[derive(Default)]
pub(super) struct PlanCache {
    plans: Mutex<HashMap<Digest, Arc<PlanEntry>>>,
}

impl PlanCache {
    /// Plans kept; more are read again.
    const PLANS_MAX: usize = 256;

    pub(super) fn get(&self, rows: &mut dyn Rows, digest: Digest) -> Result<Arc<PlanEntry>, QueueError> {
        if let Some(plan) = self.plans.lock().ok().and_then(|plans| plans.get(&digest).cloned()) {
            return Ok(plan);
        }
        let (bundle, body) = rows.plan(digest)?.ok_or_else(|| QueueError::not_found(format!("plan {digest}")))?;
        let plan: Plan =
            serde_json::from_str(&body).map_err(|error| QueueError::Unreadable(format!("plan {digest}: {error}")))?;
        let entry = Arc::new(PlanEntry::new(digest, bundle, plan));
        if let Ok(mut plans) = self.plans.lock() {
            if plans.len() >= Self::PLANS_MAX {
                plans.clear();
            }
            plans.insert(digest, Arc::clone(&entry));
        }
        Ok(entry)
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
