//! A job as the store has it: what it is, which may be read and partly changed, and where it stands, which only a transition changes.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::error::QueueError;
use crate::job::{Columns, Standing, State};

/// What a job, or an item of a loop (`call` is `None`), is. Its value and error are read apart: most changes need neither.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub id: i64,
    pub run: i64,
    pub frame: i64,
    pub call: Option<u32>,
    pub position: u32,
    /// Jobs that follow it in its chain; they have the next ids.
    pub followers: u32,
    pub step: u32,
    pub priority: i64,
    /// Jobs and items whose values it takes, in order.
    pub parents: Arc<[i64]>,
}

impl Facts {
    pub(crate) fn is_item(&self) -> bool {
        self.call.is_none()
    }
}

/// A job with its facts at hand. `S` is where it stands: any [`Standing`], or one state, of which its transitions can be had.
#[derive(Debug, Clone)]
pub(crate) struct Job<S = Standing> {
    facts: Facts,
    standing: S,
}

impl<S> Deref for Job<S> {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl<S> DerefMut for Job<S> {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }
}

impl<S> Job<S> {
    /// Where it stands.
    pub(crate) fn standing(&self) -> &S {
        &self.standing
    }

    /// Takes it through a transition: there is no other way to change where it stands.
    pub(crate) fn go<T>(self, transition: impl FnOnce(S) -> T) -> Job<T> {
        Job { facts: self.facts, standing: transition(self.standing) }
    }
}

impl<T> Job<Option<T>> {
    /// It, where there was such a transition.
    pub(crate) fn gone(self) -> Option<Job<T>> {
        Some(Job { facts: self.facts, standing: self.standing? })
    }
}

impl Job {
    /// A new job with distinct parents in these states.
    pub(crate) fn submitted(facts: Facts, parents: impl IntoIterator<Item = State>) -> Self {
        Self { facts, standing: Standing::submitted(parents) }
    }

    /// A new item of a loop.
    pub(crate) fn item(facts: Facts) -> Self {
        Self { facts, standing: Standing::item() }
    }

    /// A job that was stored.
    pub(crate) fn stored(facts: Facts, columns: Columns) -> Result<Self, QueueError> {
        match Standing::stored(columns) {
            Ok(standing) => Ok(Self { facts, standing }),
            Err(error) => Err(QueueError::Unreadable(format!("job j{}: {error}", facts.id))),
        }
    }

    /// The name of its state.
    pub(crate) fn state(&self) -> State {
        self.standing.state()
    }

    /// It, where it is in this state.
    pub(crate) fn when<S: TryFrom<Standing>>(self) -> Option<Job<S>> {
        self.go(|standing| S::try_from(standing).ok()).gone()
    }
}
