//! New runs, with and without keys, and what the store made for them.

use bue_hub::QueueError;
use bue_hub::store::Submission;
use protocol::RunId;

use super::World;
use crate::reference::Run;
use crate::shapes::Shape;

impl World {
    /// Few, so that they come again.
    fn key(&mut self) -> Option<String> {
        self.chance.once_in(3).then(|| format!("key {}", self.chance.below(8)))
    }

    fn run_of_key(&self, key: Option<&String>) -> Option<usize> {
        let key = key?;
        self.open.iter().copied().find(|run| self.model.runs[*run].key.as_ref() == Some(key))
    }

    pub(super) fn submission(&mut self, shape: usize, key: Option<String>) -> Submission {
        let Shape { manifest, plan, .. } = &self.shapes[shape];
        let (manifest, plan) = (manifest.clone(), plan.clone());
        Submission { manifest, plan, key, random: self.chance.next() as u32, now_ms: self.now_ms }
    }

    pub(super) async fn submit(&mut self) {
        let shape = self.chance.below(self.shapes.len());
        let key = self.key();
        let submission = self.submission(shape, key.clone());
        let submitted = match self.store().submit(submission.clone()).await {
            // A day after the last run that named it is gone, a file is too: it is sent again.
            Err(QueueError::MissingFiles(missing)) => {
                let Shape { digest, text, .. } = &self.shapes[shape];
                assert_eq!(missing, [*digest]);
                self.store().put_file(*digest, text.clone().into_bytes().into(), self.now_ms).await.unwrap();
                self.note("files sent again");
                self.store().submit(submission).await
            }
            submitted => submitted,
        };
        if self.is_of_another_shape(key.as_ref(), shape) {
            assert!(matches!(submitted, Err(QueueError::Conflict(_))), "{submitted:?}");
            self.note("keys of other scripts");
        } else {
            self.check_run(shape, key, submitted.unwrap()).await;
        }
    }

    /// Whether a key belongs to a run of another script.
    fn is_of_another_shape(&self, key: Option<&String>, shape: usize) -> bool {
        self.run_of_key(key).is_some_and(|known| self.model.runs[known].shape != shape)
    }

    /// A key that is known gives its run, another one a new run.
    async fn check_run(&mut self, shape: usize, key: Option<String>, (id, repeated): (RunId, bool)) {
        self.transcript.note("run", (&id, repeated));
        let known = self.run_of_key(key.as_ref());
        assert_eq!(repeated, known.is_some(), "{key:?}");
        match known {
            Some(run) => {
                assert_eq!(self.id_of(run), id, "{key:?}");
                self.note("known keys");
            }
            None => {
                let run = self.model.runs.len();
                self.model.runs.push(Run { id: Some(id), key, shape, ..Run::default() });
                self.open.push(run);
                self.learn(run).await;
            }
        }
    }

    pub(super) async fn run_again(&mut self) {
        let key = self.key();
        let random = self.chance.next() as u32;
        if let Some(gone) = self.gone.clone().filter(|_| self.chance.once_in(10)) {
            let answer = self.store().run_again(gone, key, random, self.now_ms).await;
            assert!(matches!(answer, Err(QueueError::NotFound { .. })), "{answer:?}");
            return;
        }
        let Some(run) = self.pick_run() else { return };
        let shape = self.model.runs[run].shape;
        let answer = self.store().run_again(self.id_of(run), key.clone(), random, self.now_ms).await;
        if self.is_of_another_shape(key.as_ref(), shape) {
            assert!(matches!(answer, Err(QueueError::Conflict(_))), "{answer:?}");
            self.note("keys of other scripts");
        } else {
            self.check_run(shape, key, answer.unwrap()).await;
        }
    }

    /// Tells the model of jobs that the store has made. They stand after all that it made for the run before.
    pub(super) async fn learn(&mut self, run: usize) {
        let id = self.id_of(run);
        loop {
            let after = self.model.runs[run].jobs.last().copied();
            let page = self.store().jobs(id.clone(), after, None, 500).await.unwrap();
            for view in page.jobs {
                self.model.add(run, &view, &self.shapes[self.model.runs[run].shape]);
            }
            if page.next.is_none() {
                break;
            }
        }
    }
}
