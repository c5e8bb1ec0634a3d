//! The store against the model: every job of a run, its counts, and at the end nothing is left over.

use bue_hub::Kept;
use protocol::api::JobView;

use super::World;
use crate::reference::Is;

/// A run with more jobs than this is compared the less often the more it has.
const COMPARED_AT_ONCE: usize = 200;

impl World {
    /// Compares, and deletes, runs that are over; those that are paused, too.
    pub(super) async fn keep(&mut self) {
        let mut over = Vec::new();
        for run in self.open.clone() {
            if self.is_over(run).await {
                over.push(run);
            }
        }
        for run in &over {
            self.compare(*run).await;
            let paused = self.model.runs[*run].paused;
            self.note(if paused { "deleted runs that were paused" } else { "deleted runs" });
            self.gone = Some(self.id_of(*run));
            self.model.forget(*run);
        }
        self.open.retain(|run| !over.contains(run));
        let kept = Kept { succeeded_runs_max: 0, failed_runs_max: 0, cancelled_runs_max: 0, ..Kept::default() };
        assert_eq!(self.store().retire(kept, self.now_ms).await.unwrap(), over.len());
        while let Some(run) = self.store().retired().await.unwrap() {
            while self.store().sweep(run.clone()).await.unwrap() {}
            self.store().delete_unused(self.now_ms).await.unwrap();
        }
    }

    pub(super) async fn compare_one_run(&mut self) {
        let Some(run) = self.pick_run() else { return };
        let jobs = self.model.runs[run].jobs.len();
        if self.chance.below(jobs) < COMPARED_AT_ONCE {
            self.compare(run).await;
        } else {
            self.compare_counts(run).await;
        }
    }

    /// Every job of a run is as the model says.
    async fn compare(&mut self, run: usize) {
        let id = self.id_of(run);
        let (mut after, mut jobs) = (None, 0);
        loop {
            let page = self.store().jobs(id.clone(), after, None, 500).await.unwrap();
            jobs += page.jobs.len();
            page.jobs.iter().for_each(|view| self.compare_job(view));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(jobs, self.model.runs[run].jobs.len(), "jobs of {id}");
        self.compare_counts(run).await;
    }

    fn compare_job(&mut self, view: &JobView) {
        let job = &self.model.jobs[&view.id];
        let found = (view.state, view.available_at_ms, view.worker);
        assert_eq!(found, job.is.on_the_wire(), "{} ({}) at event {}: {job:?}", view.id, job.name, self.events);
        assert_eq!((view.attempts, view.priority), (job.attempts, job.priority), "{}", view.id);
        assert_eq!(view.value.is_some(), job.is == Is::Succeeded, "{}", view.id);
        let seen = (view.id, view.state as u8, view.available_at_ms, view.worker, view.attempts, view.priority);
        self.transcript.note("job", seen);
    }

    /// The counts of a run are those of its jobs, and of the passes that are not made.
    async fn compare_counts(&mut self, run: usize) {
        let found = self.store().run(self.id_of(run)).await.unwrap();
        assert_eq!(found.counts, self.model.counts(run), "counts at event {}", self.events);
        let (finished, idle) = (found.finished_ms.is_some(), self.model.is_idle(run));
        if self.model.runs[run].unmade == 0 {
            assert_eq!(finished, idle, "whether it is over, at event {}", self.events);
        } else if finished {
            // Passes still to be made wait for a job that cannot go on.
            assert!(idle && self.model.has_stuck(run), "passes are lost at event {}", self.events);
        }
        self.transcript.note("run", (&found.id, found.state as u8));
    }

    /// Whether nothing of a run can run any more, now or in passes still to be made.
    async fn is_over(&self, run: usize) -> bool {
        let made = self.model.runs[run].unmade == 0;
        self.model.is_idle(run) && (made || self.store().run(self.id_of(run)).await.unwrap().finished_ms.is_some())
    }

    /// Some run that is not over, or waits with passes still to be made for jobs that failed, which are started over.
    async fn has_work(&mut self) -> bool {
        let mut any = false;
        for run in self.open.clone() {
            if self.is_over(run).await && self.model.runs[run].unmade > 0 {
                self.compare(run).await;
                let reset = self.store().reset_failed(self.id_of(run), self.now_ms).await.unwrap();
                assert_eq!(reset, self.model.reset_failed(run));
                assert!(!self.model.is_idle(run), "passes wait for nothing that could go on");
            }
            any |= !self.is_over(run).await;
        }
        any
    }

    /// Carries everything to its end: nothing may be left over.
    pub async fn finish(&mut self) {
        for what in self.store().paused().await.unwrap() {
            self.set_pause(&what, false);
            self.store().resume(what).await.unwrap();
        }
        let started = self.events;
        while self.has_work().await {
            assert!(self.events < started + 1_000_000, "it never ends");
            self.now_ms += 500;
            self.at = self.chance.below(self.stores.len());
            self.promote().await;
            self.burst().await;
            self.events += 1;
        }
        for run in self.open.clone() {
            self.compare(run).await;
        }
        self.keep().await;
        let counts = self.store().counts().await.unwrap();
        assert_eq!(counts.total(), 0, "jobs of runs that are gone");
    }
}
