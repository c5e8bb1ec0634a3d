//! Why a run is, or is not, getting on: its jobs that have not ended, by what keeps them. Numbers come from the counts of the run and
//! from the indexes, each looked at up to a bound, so that the answer costs the same for a run of a million jobs.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use protocol::api::{After, Counts, JobName, OpenJobs, Pause, Reason, RunExplanation, RunView};
use protocol::{JobState, Language, RunId};

use super::job::Job;
use super::plans::{PlanCache, PlanEntry};
use super::row::{LoopRow, Run, job_id};
use super::rows::{OpenEntry, Rows};
use super::{Store, explain, pause, views};
use crate::error::QueueError;
use crate::job::State;

/// Rows that are looked at in each of the indexes.
const ROWS_MAX: i64 = 10_000;
/// Waiting jobs of which the parents are looked at for an example.
const WAITING_MAX: usize = 100;

/// What a worker must have for jobs to run there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// It serves this scope.
    pub scope: String,
    /// It can run steps of this language.
    pub language: Language,
    /// It knows this database, where the hub keeps none of the name.
    pub connection: Option<String>,
}

/// Jobs with the same in their way, and what a worker must have for them, where they could be given to one.
type Group = (OpenJobs, Option<Place>);

impl Store {
    /// Why a run is, or is not, getting on; what workers there are is not known here.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn explain_run(&self, id: RunId) -> Result<(RunExplanation, Vec<Option<Place>>), QueueError> {
        let plans = Arc::clone(&self.plans);
        self.read(move |rows| {
            let run = views::find_run(rows, &id)?;
            let plan = plans.get(rows, run.plan)?;
            let paused = pause::of_run(rows, &plans, &run)?;
            let mut look = Look { rows, plans: &plans, plan: &plan, run: &run, paused: &paused };
            let (open, places) = look.groups()?.into_iter().unzip();
            Ok((RunExplanation { run: RunView { paused, ..views::run_view(run) }, open }, places))
        })
        .await
    }
}

/// One look at a run.
struct Look<'a> {
    rows: &'a mut dyn Rows,
    plans: &'a PlanCache,
    plan: &'a PlanEntry,
    run: &'a Run,
    paused: &'a [Pause],
}

/// Jobs that are alike, while they are counted.
struct Alike {
    step: u32,
    jobs: u64,
    example: i64,
}

impl<'a> Look<'a> {
    fn groups(&mut self) -> Result<Vec<Group>, QueueError> {
        let counts: Counts = self.run.counts;
        let mut groups = Vec::new();
        if counts.leased > 0 {
            groups.push((self.leased(counts.leased)?, None));
        }
        let (ready, passes) = self.in_the_index(counts.available)?;
        groups.extend(ready);
        if counts.pending > 0 {
            groups.extend(self.parked(counts.pending)?);
        }
        let of_passes: u64 = passes.iter().map(|(open, _)| open.jobs).sum();
        groups.extend(passes);
        let waiting = counts.waiting.saturating_sub(of_passes);
        if waiting > 0 {
            groups.push((self.waiting(waiting)?, None));
        }
        Ok(groups)
    }

    fn leased(&mut self, jobs: u64) -> Result<OpenJobs, QueueError> {
        let longest = self.rows.longest_leased(self.run.number, ROWS_MAX)?;
        let example = longest.map(|(job, _)| self.name_of(job)).transpose()?.flatten();
        let since_ms = longest.map(|(_, since_ms)| since_ms);
        Ok(OpenJobs { example, since_ms, ..open(JobState::Leased, jobs) })
    }

    /// Jobs that could run now, and those of passes that could be made now, by scope and language.
    fn in_the_index(&mut self, available: u64) -> Result<(Vec<Group>, Vec<Group>), QueueError> {
        let mut scopes: Vec<&str> = self.plan.plan.steps.iter().map(|step| step.settings.scope.as_str()).collect();
        scopes.sort_unstable();
        scopes.dedup();
        let (mut ready, mut passes, mut found) = (Vec::new(), Vec::new(), 0);
        let mut counted = HashSet::new();
        for scope in scopes {
            let Some(number) = self.rows.scope(scope)? else { continue };
            let entries = self.rows.entries_of(self.run.number, number, ROWS_MAX)?;
            let jobs = self.ready(&entries)?;
            found += jobs.values().map(|alike| alike.jobs).sum::<u64>();
            for alike in jobs.into_values() {
                ready.push(self.group(JobState::Available, &alike, Vec::new())?);
            }
            passes.extend(self.passes(scope, &entries, &mut counted)?);
        }
        ready.iter_mut().for_each(|(open, _)| open.or_more = found < available);
        Ok((ready, passes))
    }

    fn ready(&self, entries: &[OpenEntry]) -> Result<BTreeMap<Kind<'a>, Alike>, QueueError> {
        let mut jobs = BTreeMap::new();
        for OpenEntry { entry, step } in entries {
            let Some(step) = *step else { continue };
            add(&mut jobs, self.kind(step, None)?, step, *entry);
        }
        Ok(jobs)
    }

    /// Jobs of the passes of loops that stand in a scope; each loop is counted in the first of its scopes.
    fn passes(
        &mut self,
        scope: &str,
        entries: &[OpenEntry],
        counted: &mut HashSet<i64>,
    ) -> Result<Option<Group>, QueueError> {
        let mut loops: Vec<i64> = entries.iter().filter(|entry| entry.entry < 0).map(|entry| -entry.entry).collect();
        loops.retain(|number| counted.insert(*number));
        let (mut jobs, mut first) = (0, None);
        for of in self.rows.loops(&loops)? {
            jobs += self.jobs_to_be_made(&of);
            first.get_or_insert(of);
        }
        let Some(first) = first.filter(|_| jobs > 0) else { return Ok(None) };
        let body = self.plan.blueprints.bodies.get(&first.of);
        let heads = body.into_iter().flat_map(|body| &body.heads);
        let mut steps = heads.filter_map(|head| Some((head.step, self.plan.step(head.step).ok()?)));
        let Some((step, _)) = steps.find(|(_, step)| step.settings.scope == scope) else { return Ok(None) };
        let alike = Alike { step, jobs, example: first.source };
        let (open, place) = self.group(JobState::Waiting, &alike, Vec::new())?;
        Ok(Some((OpenJobs { passes: true, ..open }, place)))
    }

    fn jobs_to_be_made(&self, of: &LoopRow) -> u64 {
        let passes = of.length.unwrap_or(0).saturating_sub(of.next);
        let jobs = self.plan.blueprints.bodies.get(&of.of).map_or(0, |body| body.jobs.len() as u64);
        u64::try_from(passes).unwrap_or(0).saturating_mul(jobs)
    }

    /// Jobs that wait for a time, by scope and by what they wait after.
    fn parked(&mut self, pending: u64) -> Result<Vec<Group>, QueueError> {
        let mut jobs = BTreeMap::new();
        let mut first = BTreeMap::new();
        for parked in self.rows.parked_of(self.run.number, ROWS_MAX)? {
            let after = explain::after(parked.outcome.as_deref());
            let kind = self.kind(parked.step, Some(after))?;
            // They come in the order of their times.
            first.entry(kind).or_insert((parked.from_ms, after));
            add(&mut jobs, kind, parked.step, parked.job);
        }
        let found: u64 = jobs.values().map(|alike| alike.jobs).sum();
        let mut groups = Vec::new();
        for (kind, alike) in &jobs {
            let reasons = first.get(kind).map(|(from_ms, after)| Reason::Until { from_ms: *from_ms, after: *after });
            groups.push(self.group(JobState::Available, alike, reasons.into_iter().collect())?);
        }
        if groups.is_empty() {
            groups.push((open(JobState::Available, pending), None));
        } else {
            groups.iter_mut().for_each(|(open, _)| open.or_more = found < pending);
        }
        Ok(groups)
    }

    /// Jobs that wait for parents; the example is one whose parent has failed, where there is one.
    fn waiting(&mut self, jobs: u64) -> Result<OpenJobs, QueueError> {
        let mut ids = self.rows.waiting_of(self.run.number, ROWS_MAX)?;
        if ids.len() > WAITING_MAX {
            let last = ids.split_off(ids.len() - WAITING_MAX / 2);
            ids.truncate(WAITING_MAX / 2);
            ids.extend(last);
        }
        let mut jobs_seen = self.rows.jobs(&ids)?;
        jobs_seen.sort_unstable_by_key(|job| job.id);
        let parents: Vec<i64> = jobs_seen.iter().flat_map(|job| job.parents.iter().copied()).collect();
        let parents = self.rows.jobs(&parents)?.into_iter();
        let failed: HashSet<i64> =
            parents.filter(|parent| parent.state() == State::Failed).map(|parent| parent.id).collect();
        let waits_for_failed = |job: &&Job| job.parents.iter().any(|parent| failed.contains(parent));
        let found = jobs_seen.iter().find(waits_for_failed).or_else(|| jobs_seen.first());
        let waiting = open(JobState::Waiting, jobs);
        let Some(found) = found else { return Ok(waiting) };
        let job = views::job(self.rows, self.plans, job_id(found.id))?;
        let reasons = vec![Reason::Parents(explain::open_parents(self.rows, self.plans, &job)?)];
        Ok(OpenJobs { example: Some(JobName { job: job.id, name: job.name }), reasons, ..waiting })
    }

    /// What tells the jobs of a step from others: scope, language, database, and what they wait after.
    fn kind(&self, step: u32, after: Option<After>) -> Result<Kind<'a>, QueueError> {
        let step = self.plan.step(step)?;
        let connection = step.settings.runtime.connection.as_deref();
        Ok((&step.settings.scope, step.language.as_str(), connection, after.map(|after| after as u8)))
    }

    fn group(&mut self, state: JobState, alike: &Alike, mut reasons: Vec<Reason>) -> Result<Group, QueueError> {
        let step = self.plan.step(alike.step)?;
        let concerns = |what: &&Pause| match what {
            Pause::Scope(scope) => *scope == step.settings.scope,
            Pause::Everything | Pause::Run(_) => true,
        };
        let paused = self.paused.iter().filter(concerns).cloned().map(Reason::Paused);
        reasons.splice(..0, paused);
        let place = Place {
            scope: step.settings.scope.clone(),
            language: step.language,
            connection: step.settings.runtime.connection.clone(),
        };
        let example = self.name_of(alike.example)?;
        Ok((OpenJobs { example, reasons, ..open(state, alike.jobs) }, Some(place)))
    }

    fn name_of(&mut self, job: i64) -> Result<Option<JobName>, QueueError> {
        let found = self.rows.jobs(&[job])?.into_iter().next();
        let name = found.map(|found| self.plan.step(found.step).map(|step| step.name.clone())).transpose()?;
        Ok(name.map(|name| JobName { job: job_id(job), name }))
    }
}

type Kind<'p> = (&'p str, &'static str, Option<&'p str>, Option<u8>);

fn add<'p>(jobs: &mut BTreeMap<Kind<'p>, Alike>, kind: Kind<'p>, step: u32, job: i64) {
    jobs.entry(kind).or_insert(Alike { step, jobs: 0, example: job }).jobs += 1;
}

/// So many jobs, of which nothing more is known.
fn open(state: JobState, jobs: u64) -> OpenJobs {
    OpenJobs { state, jobs, or_more: false, passes: false, example: None, since_ms: None, reasons: Vec::new() }
}
