//! What a hub does by itself and what people ask of it: time passing, lost workers, resets, pauses.

use std::collections::BTreeSet;

use bue_hub::QueueError;
use protocol::api::{HeldLease, Pause};
use protocol::{JobId, LeaseToken};

use super::{GRACE_MS, SCOPES, World};

impl World {
    pub(super) async fn promote(&mut self) {
        while self.store().promote(self.now_ms).await.unwrap().is_some_and(|next| next <= self.now_ms) {}
        self.model.promote(self.now_ms);
    }

    pub(super) async fn lapse(&mut self) {
        let session = self.session();
        let taken = self.store().lapse(session, self.now_ms).await.unwrap();
        assert_eq!(taken, self.model.lapse(session), "leases of {session}");
        self.transcript.note("taken", (session, taken));
    }

    pub(super) async fn end_session(&mut self) {
        let session = self.session();
        let held = self.model.held_by(session);
        assert_eq!(self.store().end_session(session, self.now_ms).await.unwrap(), held.len(), "leases of {session}");
        for (job, _) in &held {
            self.model.take_back(*job);
        }
        self.transcript.note("ended", (session, held.len()));
    }

    /// A worker that has forgotten some leases, and remembers some that it lost.
    pub(super) async fn beat(&mut self) {
        let session = self.session();
        let given = self.model.held_by(session);
        let kept: Vec<_> = given.iter().copied().filter(|_| !self.chance.once_in(5)).collect();
        let mut held: Vec<HeldLease> =
            kept.iter().map(|(job, token)| HeldLease { job: *job, token: *token, idle: false }).collect();
        let strange = HeldLease { job: JobId(1), token: LeaseToken([7; 16]), idle: false };
        held.push(strange);
        let (revoked, unknown) = self.store().compare(session, held, self.now_ms + 1).await.unwrap();
        assert_eq!(revoked, [strange.token]);
        let lost: BTreeSet<LeaseToken> =
            given.iter().filter(|lease| !kept.contains(lease)).map(|(_, token)| *token).collect();
        assert_eq!(unknown.iter().copied().collect::<BTreeSet<_>>(), lost);
        assert_eq!(self.store().take_back(session, unknown, self.now_ms).await.unwrap(), lost.len());
        for (job, _) in given.iter().filter(|(_, token)| lost.contains(token)) {
            self.model.take_back(*job);
        }
    }

    pub(super) async fn expire(&mut self) {
        let (jobs, _) = self.store().expire(self.now_ms, 0).await.unwrap();
        assert_eq!(jobs, self.model.expire(self.now_ms, 0, GRACE_MS), "leases whose time is over");
        self.read_drawn_times().await;
    }

    pub(super) async fn reset_job(&mut self) {
        let Some(run) = self.pick_run() else { return };
        let Some(id) = self.chance.pick(&self.model.runs[run].jobs).copied() else { return };
        if self.model.jobs[&id].item {
            assert!(matches!(self.store().reset_job(id, self.now_ms).await, Err(QueueError::Invalid(_))));
            return;
        }
        let reset = self.store().reset_job(id, self.now_ms).await.unwrap();
        assert_eq!(reset.jobs, self.model.reset_job(id));
        self.transcript.note("reset", (id, reset.jobs, reset.loops_kept));
    }

    pub(super) async fn reset_failed(&mut self) {
        let Some(run) = self.pick_run() else { return };
        assert_eq!(
            self.store().reset_failed(self.id_of(run), self.now_ms).await.unwrap(),
            self.model.reset_failed(run)
        );
    }

    pub(super) async fn cancel_run(&mut self) {
        let Some(run) = self.pick_run() else { return };
        self.store().cancel_run(self.id_of(run), self.now_ms).await.unwrap();
        self.model.cancel_run(run);
    }

    pub(super) async fn pause_or_resume(&mut self) {
        let what = match self.chance.below(8) {
            0 => Pause::Everything,
            1..4 => Pause::Scope(SCOPES[self.chance.below(3)].to_owned()),
            _ => match self.pick_run() {
                Some(run) => Pause::Run(self.id_of(run)),
                None => return,
            },
        };
        let hold = self.chance.once_in(4);
        // Most of what is let go was held back, so that work goes on.
        let paused = self.store().paused().await.unwrap();
        let what = match self.chance.pick(&paused) {
            Some(paused) if !hold => paused.clone(),
            _ => what,
        };
        let was = self.set_pause(&what, hold);
        if hold {
            self.store().pause(what).await.unwrap();
        } else {
            assert_eq!(self.store().resume(what).await.is_ok(), was);
        }
    }

    /// Sets a pause in the model; answers with what it was.
    pub(super) fn set_pause(&mut self, what: &Pause, to: bool) -> bool {
        match what {
            Pause::Everything => std::mem::replace(&mut self.model.paused, to),
            Pause::Scope(scope) if to => !self.model.paused_scopes.insert(scope.clone()),
            Pause::Scope(scope) => self.model.paused_scopes.remove(scope),
            Pause::Run(id) => {
                let run = self.model.runs.iter_mut().find(|run| run.id.as_ref() == Some(id)).unwrap();
                std::mem::replace(&mut run.paused, to)
            }
        }
    }
}
