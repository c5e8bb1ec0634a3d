//! Jobs of the working set: read once, changed in memory, with their children, values and errors.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Change;
use crate::error::QueueError;
use crate::job::{Standing, State};
use crate::store::job::Job;
use crate::store::row::Input;

/// A job as the database has it, as far as indexes depend on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    pub state: State,
    pub priority: i64,
    pub from_ms: Option<i64>,
    pub leased: bool,
}

impl Before {
    fn of(job: &Job) -> Self {
        let state = job.state();
        Self { state, priority: job.priority, from_ms: job.standing().from_ms(), leased: state == State::Leased }
    }
}

/// A text of a job: left alone, or set.
pub(super) type Text = Option<Option<Arc<str>>>;

#[derive(Debug)]
pub(super) struct Tracked {
    pub job: Job,
    /// `None` for a job that is not in the database yet.
    pub before: Option<Before>,
    pub changed: bool,
    pub value: Text,
    pub error: Text,
}

/// Jobs of the working set.
#[derive(Default)]
pub(super) struct Jobs {
    /// `None` where the database has no such job.
    pub known: HashMap<i64, Option<Tracked>>,
    /// Those that are new or changed, in the order in which they became so.
    pub changed: Vec<i64>,
    children: HashMap<i64, Vec<i64>>,
    new_children: HashMap<i64, Vec<i64>>,
    pub edges: Vec<(i64, i64)>,
    inputs: HashMap<i64, Input>,
}

impl Jobs {
    fn get(&self, id: i64) -> Option<&Tracked> {
        self.known.get(&id).and_then(Option::as_ref)
    }

    /// A job that was read or made before.
    fn tracked(&mut self, id: i64) -> Result<&mut Tracked, QueueError> {
        let found = self.known.get_mut(&id).and_then(Option::as_mut);
        let tracked = found.ok_or_else(|| QueueError::Unreadable(format!("job j{id} is gone")))?;
        if !tracked.changed {
            tracked.changed = true;
            self.changed.push(id);
        }
        Ok(tracked)
    }
}

impl Change<'_> {
    /// Reads jobs that are not at hand yet.
    pub(in crate::store) fn load_jobs(&mut self, ids: impl IntoIterator<Item = i64>) -> Result<(), QueueError> {
        let known = &self.draft.jobs.known;
        let absent: BTreeSet<i64> = ids.into_iter().filter(|id| !known.contains_key(id)).collect();
        if absent.is_empty() {
            return Ok(());
        }
        let absent: Vec<i64> = absent.into_iter().collect();
        for job in self.rows.jobs(&absent)? {
            let before = Some(Before::of(&job));
            let tracked = Tracked { job, before, changed: false, value: None, error: None };
            self.draft.jobs.known.insert(tracked.job.id, Some(tracked));
        }
        for id in absent {
            self.draft.jobs.known.entry(id).or_insert(None);
        }
        Ok(())
    }

    /// A job, or `None` where there is none.
    pub(in crate::store) fn job(&mut self, id: i64) -> Result<Option<Job>, QueueError> {
        self.load_jobs([id])?;
        Ok(self.draft.jobs.get(id).map(|tracked| tracked.job.clone()))
    }

    /// The state of a job.
    pub(in crate::store) fn state_of(&mut self, id: i64) -> Result<Option<State>, QueueError> {
        self.load_jobs([id])?;
        Ok(self.draft.jobs.get(id).map(|tracked| tracked.job.state()))
    }

    /// Adds a job, with edges from its parents that are jobs; an item is not counted.
    pub(in crate::store) fn add_job(&mut self, job: Job, parents: &[i64]) -> Result<(), QueueError> {
        self.edits += 1;
        if !job.is_item() {
            self.count(job.run, None, Some(job.state()), 1);
        }
        if job.state() == State::Ready {
            self.note_ready(&job)?;
        }
        let jobs = &mut self.draft.jobs;
        for parent in parents {
            jobs.edges.push((*parent, job.id));
            jobs.new_children.entry(*parent).or_default().push(job.id);
        }
        jobs.changed.push(job.id);
        let id = job.id;
        jobs.known.insert(id, Some(Tracked { job, before: None, changed: true, value: None, error: None }));
        Ok(())
    }

    /// Changes a job: counts it, and tells those who wait when it has become ready or parked.
    pub(in crate::store) fn put_job(&mut self, job: Job<impl Into<Standing>>) -> Result<(), QueueError> {
        let job: Job = job.go(Into::into);
        self.edits += 1;
        let (was, is) = (self.draft.jobs.tracked(job.id)?.job.state(), job.state());
        if was != is {
            self.count(job.run, Some(was), Some(is), 1);
        }
        if is == State::Ready && was != State::Ready {
            self.note_ready(&job)?;
        }
        if let Some(from_ms) = job.standing().from_ms() {
            self.effects.parked(from_ms);
        }
        let tracked = self.draft.jobs.tracked(job.id)?;
        tracked.job = job;
        Ok(())
    }

    /// Sets or clears the value of a job.
    pub(in crate::store) fn set_value(&mut self, id: i64, value: Option<Arc<str>>) -> Result<(), QueueError> {
        self.draft.jobs.inputs.insert(id, Input::Value(value.clone()));
        self.draft.jobs.tracked(id)?.value = Some(value);
        Ok(())
    }

    /// Sets or clears the error of a job.
    pub(in crate::store) fn set_error(&mut self, id: i64, error: Option<String>) -> Result<(), QueueError> {
        self.draft.jobs.tracked(id)?.error = Some(error.map(Arc::from));
        Ok(())
    }

    /// Lets a loop wait for a job beside the job's own children.
    pub(in crate::store) fn await_job(&mut self, of: i64, job: i64) {
        self.edits += 1;
        // It may be there already: the job's children are too many to look.
        self.draft.jobs.edges.push((job, -of));
        self.draft.jobs.new_children.entry(job).or_default().push(-of);
    }

    /// Reads the children of jobs that are not at hand yet.
    pub(in crate::store) fn load_children(&mut self, parents: &[i64]) -> Result<(), QueueError> {
        let jobs = &self.draft.jobs;
        let is_new = |id: &i64| jobs.get(*id).is_some_and(|tracked| tracked.before.is_none());
        let absent: BTreeSet<i64> =
            parents.iter().copied().filter(|id| !jobs.children.contains_key(id) && !is_new(id)).collect();
        if absent.is_empty() {
            return Ok(());
        }
        let absent: Vec<i64> = absent.into_iter().collect();
        for parent in &absent {
            self.draft.jobs.children.insert(*parent, Vec::new());
        }
        for (parent, child) in self.rows.children(&absent)? {
            self.draft.jobs.children.entry(parent).or_default().push(child);
        }
        Ok(())
    }

    /// What waits for a job: its children by id, and before them loops, by their negative numbers.
    fn children(&mut self, parent: i64) -> Result<Vec<i64>, QueueError> {
        self.load_children(&[parent])?;
        let jobs = &self.draft.jobs;
        let old = jobs.children.get(&parent).into_iter().flatten();
        Ok(old.chain(jobs.new_children.get(&parent).into_iter().flatten()).copied().collect())
    }

    /// The jobs that wait for a job.
    pub(in crate::store) fn child_jobs(&mut self, parent: i64) -> Result<Vec<i64>, QueueError> {
        Ok(self.children(parent)?.into_iter().filter(|child| *child > 0).collect())
    }

    /// The loops that wait, or waited, for a job.
    pub(in crate::store) fn child_loops(&mut self, parent: i64) -> Result<Vec<i64>, QueueError> {
        let loops: BTreeSet<i64> = self.children(parent)?.into_iter().filter(|child| *child < 0).collect();
        Ok(loops.into_iter().rev().map(|child| -child).collect())
    }

    /// Reads what jobs and items give as inputs, where it is not at hand yet.
    pub(in crate::store) fn load_inputs(&mut self, ids: impl IntoIterator<Item = i64>) -> Result<(), QueueError> {
        let inputs = &self.draft.jobs.inputs;
        let absent: BTreeSet<i64> = ids.into_iter().filter(|id| !inputs.contains_key(id)).collect();
        if absent.is_empty() {
            return Ok(());
        }
        let absent: Vec<i64> = absent.into_iter().collect();
        for (id, input) in self.rows.inputs(&absent)? {
            self.draft.jobs.inputs.insert(id, input);
        }
        Ok(())
    }

    /// What a job or item gives as an input.
    pub(in crate::store) fn input(&mut self, id: i64) -> Result<Option<Input>, QueueError> {
        self.load_inputs([id])?;
        Ok(self.draft.jobs.inputs.get(&id).cloned())
    }

    /// Notes what a new item gives.
    pub(in crate::store) fn set_element(&mut self, item: i64, of: i64, pass: i64) {
        self.draft.jobs.inputs.insert(item, Input::Element { of, pass });
    }
}
