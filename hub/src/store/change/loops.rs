//! Loops and frames of the working set.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use protocol::{Place, ValueRef};
use serde_json::value::RawValue;

use super::Change;
use crate::blueprint::Head;
use crate::error::QueueError;
use crate::store::row::{self, Frame, LoopRow, ReadyKey};

/// Where a loop stands in the ready index.
type Age = Option<i64>;

/// Ages of loops begin here; those of jobs, which are their ids, never get so far.
const LOOP_AGES: i64 = 1 << 62;

#[derive(Debug)]
pub(super) struct TrackedLoop {
    pub row: LoopRow,
    /// `None` for a loop that is not in the database yet.
    pub before: Option<Age>,
    pub changed: bool,
    /// Where it stands, once it was changed.
    pub stands: Vec<(i64, ReadyKey)>,
}

/// A loop's list, read once for all the passes of a batch.
#[derive(Debug, Clone)]
enum List {
    /// Its elements are at hand.
    Here(Arc<[Box<RawValue>]>),
    /// Its elements are named by their place.
    Elsewhere(Arc<ValueRef>),
}

/// Loops and frames of the working set.
#[derive(Default)]
pub(super) struct Loops {
    pub known: HashMap<i64, TrackedLoop>,
    of_source: HashMap<i64, Option<i64>>,
    frames: HashMap<i64, Frame>,
    lists: HashMap<i64, List>,
    bindings: HashMap<i64, Vec<(u32, i64)>>,
}

impl Change<'_> {
    fn track_loop(&mut self, row: LoopRow) {
        self.draft.loops.of_source.insert(row.source, Some(row.number));
        let number = row.number;
        self.draft.loops.known.entry(number).or_insert_with(|| {
            let before = Some(row.age);
            TrackedLoop { row, before, changed: false, stands: Vec::new() }
        });
    }

    /// A loop.
    pub(in crate::store) fn loop_row(&mut self, number: i64) -> Result<LoopRow, QueueError> {
        if !self.draft.loops.known.contains_key(&number) {
            for row in self.rows.loops(&[number])? {
                self.track_loop(row);
            }
        }
        let found = self.draft.loops.known.get(&number);
        found.map(|found| found.row.clone()).ok_or_else(|| QueueError::Unreadable(format!("loop {number} is gone")))
    }

    /// The loop that runs over a job's value.
    pub(in crate::store) fn loop_of(&mut self, source: i64) -> Result<Option<LoopRow>, QueueError> {
        if let Entry::Vacant(unknown) = self.draft.loops.of_source.entry(source) {
            unknown.insert(None);
            for row in self.rows.loops_of(&[source])? {
                self.track_loop(row);
            }
        }
        match self.draft.loops.of_source.get(&source).copied().flatten() {
            Some(number) => self.loop_row(number).map(Some),
            None => Ok(None),
        }
    }

    /// Loops of a run with passes still to be made; only after a flush are these all.
    pub(in crate::store) fn open_loops(&mut self, run: i64) -> Result<Vec<LoopRow>, QueueError> {
        let found = self.rows.open_loops(run)?;
        for row in &found {
            self.track_loop(row.clone());
        }
        Ok(found)
    }

    /// Adds a loop; its number is given here.
    pub(in crate::store) fn add_loop(&mut self, row: LoopRow) {
        self.edits += 1;
        let number = self.numbers.of_loop;
        self.numbers.of_loop += 1;
        let row = LoopRow { number, ..row };
        self.draft.loops.of_source.insert(row.source, Some(number));
        let tracked = TrackedLoop { row, before: None, changed: true, stands: Vec::new() };
        self.draft.loops.known.insert(number, tracked);
    }

    /// Changes a loop, which from now on stands in the ready index where `heads` do; a loop that stands gets a new age each time.
    pub(in crate::store) fn put_loop(&mut self, row: LoopRow, heads: &[&Head]) -> Result<(), QueueError> {
        self.edits += 1;
        let mut stands = Vec::new();
        for (scope, key, name) in self.cursor_keys(&row, row.age, heads.iter().map(|head| head.step))? {
            self.note_entry(row.run, scope, key, &name);
            stands.push((scope, key));
        }
        let number = row.number;
        let before = self.draft.loops.known.get(&number).map_or(Some(None), |known| known.before);
        self.draft.loops.lists.remove(&number);
        self.draft.loops.known.insert(number, TrackedLoop { row, before, changed: true, stands });
        Ok(())
    }

    /// Where a loop of some age may have stood: what it waited for then is not known any more, and earlier versions let it stand
    /// where any call of its body begins.
    pub(super) fn former_keys(&mut self, row: &LoopRow, age: Age) -> Result<Vec<(i64, ReadyKey)>, QueueError> {
        let run = self.run(row.run)?;
        let first_jobs = run.body(row.of)?.jobs.iter().filter(|job| job.position == 0);
        let keys = self.cursor_keys(row, age, first_jobs.map(|job| job.step))?;
        Ok(keys.into_iter().map(|(scope, key, _)| (scope, key)).collect())
    }

    /// One entry for each scope and rank of some steps of a loop's body.
    fn cursor_keys(
        &mut self,
        row: &LoopRow,
        age: Age,
        steps: impl Iterator<Item = u32>,
    ) -> Result<Vec<(i64, ReadyKey, String)>, QueueError> {
        let Some(age) = age else { return Ok(Vec::new()) };
        let mut keys: Vec<(i64, ReadyKey, String)> = Vec::new();
        for step in steps {
            let (scope, rank, name) = self.place_of(row.run, step)?;
            let key = ReadyKey { rank, run: row.run, age, entry: -row.number };
            if !keys.iter().any(|(other, known, _)| *other == scope && *known == key) {
                keys.push((scope, key, name));
            }
        }
        Ok(keys)
    }

    /// The scope and the rank in which the jobs of a step enter the queue, and the scope's name.
    pub(in crate::store) fn place_of(&mut self, run: i64, step: u32) -> Result<(i64, i64, String), QueueError> {
        let run = self.run(run)?;
        let settings = &run.plan.step(step)?.settings;
        Ok((self.scope(&settings.scope)?, self.rank(settings.priority), settings.scope.clone()))
    }

    /// An age for a loop's entry: after all jobs of its run and rank that can run, so that further passes are made only when a
    /// worker has taken these; of several loops the one that waits longest goes first.
    pub(in crate::store) fn take_loop_age(&mut self) -> i64 {
        LOOP_AGES.saturating_add(self.take_job_ids(1))
    }

    /// A frame.
    pub(in crate::store) fn frame(&mut self, number: i64) -> Result<Frame, QueueError> {
        if !self.draft.loops.frames.contains_key(&number) {
            for frame in self.rows.frames(&[number])? {
                self.draft.loops.frames.insert(frame.number, frame);
            }
        }
        let found = self.draft.loops.frames.get(&number).copied();
        found.ok_or_else(|| QueueError::Unreadable(format!("frame {number} is gone")))
    }

    /// Adds a frame; answers with its number.
    pub(in crate::store) fn add_frame(&mut self, run: i64, of: Option<i64>, pass: i64, item: Option<i64>) -> i64 {
        self.edits += 1;
        let number = self.numbers.frame;
        self.numbers.frame += 1;
        let frame = Frame { number, run, of, pass, item };
        self.draft.loops.frames.insert(number, frame);
        self.draft.new_frames.push(frame);
        number
    }

    /// Captured calls of a frame with their last jobs.
    pub(in crate::store) fn bindings(&mut self, frame: i64) -> Result<Vec<(u32, i64)>, QueueError> {
        if let Some(bindings) = self.draft.bindings.get(&frame).or_else(|| self.draft.loops.bindings.get(&frame)) {
            return Ok(bindings.clone());
        }
        let found = self.rows.bindings(frame)?;
        self.draft.loops.bindings.insert(frame, found.clone());
        Ok(found)
    }

    /// Notes the last jobs of the captured calls of a new frame.
    pub(in crate::store) fn add_bindings(&mut self, frame: i64, bindings: Vec<(u32, i64)>) {
        self.draft.bindings.insert(frame, bindings);
    }

    /// One element of a loop's list: cut out where the list is at hand, else by reference.
    pub(in crate::store) fn element(&mut self, of: i64, pass: i64) -> Result<ValueRef, QueueError> {
        let list = match self.draft.loops.lists.get(&of) {
            Some(list) => list.clone(),
            None => {
                let row = self.loop_row(of)?;
                let list = read_list(row.value.as_deref())?;
                self.draft.loops.lists.insert(of, list.clone());
                list
            }
        };
        cut(&list, u64::try_from(pass).unwrap_or(u64::MAX))
    }
}

fn read_list(text: Option<&str>) -> Result<List, QueueError> {
    let text = text.ok_or_else(|| QueueError::Unreadable("a loop with passes has no list".to_owned()))?;
    let value = row::value(text)?;
    let Place::Json(text) = &value.place else { return Ok(List::Elsewhere(Arc::new(value))) };
    let elements: Vec<Box<RawValue>> = serde_json::from_str(text.get())
        .map_err(|error| QueueError::Unreadable(format!("the list of a loop: {error}")))?;
    Ok(List::Here(elements.into()))
}

/// One element of the list of a loop, given the text of the list.
pub(in crate::store) fn element_of(text: Option<&str>, pass: i64) -> Result<ValueRef, QueueError> {
    cut(&read_list(text)?, u64::try_from(pass).unwrap_or(u64::MAX))
}

fn cut(list: &List, index: u64) -> Result<ValueRef, QueueError> {
    match list {
        List::Here(elements) => {
            let found = usize::try_from(index).ok().and_then(|index| elements.get(index));
            let found =
                found.ok_or_else(|| QueueError::Unreadable(format!("the list of a loop has no element {index}")))?;
            let kind = crate::value_kind::of_json(found.get());
            Ok(ValueRef { kind, length: None, place: Place::Json(found.clone()) })
        }
        List::Elsewhere(list) => {
            let kind = match list.kind {
                protocol::ValueKind::Table => protocol::ValueKind::Dict,
                _ => protocol::ValueKind::Null,
            };
            let place = Place::Element { list: Box::new(list.place.clone()), index };
            Ok(ValueRef { kind, length: None, place })
        }
    }
}
