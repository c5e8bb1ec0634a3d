//! From the end of a step's process to what came of its attempt.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bucket::value::{Copied, Effort, Following, Growing, Writer};
use protocol::api::{Lease, PlanAnswer};
use protocol::frame::{EndFrame, ResultFrame, Status};
use protocol::{ErrorKind, Language, Outcome, Step, ValueRef};

use crate::ahead::Kept;
use crate::attempt::{Attempts, End, Ran, SHUTDOWN};
use crate::descriptors::is_shortage;
use crate::done::{Done, Left};
use crate::ending;
use crate::follow::Written;
use crate::hub::Hub;
use crate::process::Exit;
use crate::step_process::{Conversation, Ending};
use crate::trouble::Trouble;

impl<H: Hub> Attempts<H> {
    /// What comes of a step that has run: its value stored, or its error told.
    pub(crate) async fn conclude(
        self: &Arc<Self>,
        lease: &Lease,
        plan: &Arc<PlanAnswer>,
        step: &Step,
        ran: Ran,
        end: &End,
    ) -> Result<Done, Trouble> {
        let mut ran = ran;
        self.copy_table(lease, plan, step, &mut ran).await;
        let Ran { conversation, copied, storing, written: _, scratch, declared } = ran;
        let stored = match storing {
            Some(storing) => tokio::select! {
                value = storing.value_of(lease) => value,
                () = end.wait() => None,
            },
            None => None,
        };
        let Conversation { ending, log, rest } = conversation;
        let ending = ending::by_log(ending, &log);
        let bounds = self.enclosure.bounds(step, &self.shared.config.limits);
        let (copied, ahead) = copied.map_or((None, None), |(table, ahead)| (Some(table), ahead));
        let outcome = match ending::by_bound(ending, bounds) {
            Ending::Answer(EndFrame::Result(result)) => match stored {
                Some(value) => Ok(Outcome::Success { value, priority: result.priority }),
                None => {
                    let folder = scratch.values();
                    let effort = if ahead.is_some() { Effort::Spare } else { Effort::Full };
                    self.outcome(lease, result, &folder, (copied.as_ref(), effort), end).await
                }
            },
            Ending::Stopped => Err(Trouble::Stopped),
            Ending::Exit(Exit::Lost) => {
                Err(Trouble::Away("the interpreter that the step was forked from has ended".to_owned()))
            }
            Ending::Exit(Exit::Code(code)) if self.enclosure.means_not_started(code) => {
                Err(Trouble::Step(ending::not_started(step, lease)))
            }
            Ending::Exit(Exit::Signal(number)) if self.enclosure.means_shortage(number) => {
                Err(self.shortage(&io::Error::from_raw_os_error(nix::libc::EAGAIN)))
            }
            Ending::Answer(EndFrame::Error(error)) if error.kind == ErrorKind::Away && self.is_of_fleet() => {
                Err(self.away(step, error))
            }
            Ending::Fault(error) if is_shortage(&error) => Err(self.shortage(&error)),
            other => Err(Trouble::Step(ending::error(other, step, lease))),
        };
        if let Some(kept) = ahead {
            self.note_ahead(kept, &outcome);
        }
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(Trouble::Step(error)) => Outcome::Error(error),
            // Its log is kept, whether or not anybody takes the outcome.
            Err(Trouble::Stopped) => Done::release(SHUTDOWN, std::time::Duration::ZERO).outcome,
            Err(trouble) => return Err(trouble),
        };
        let left = Some(Left { rest, bundle: plan.bundle, scratch });
        Ok(Done { outcome: declared.hide(outcome), log: self.keep_log(lease, log, end).await, left })
    }

    /// Copies the table that a step returned, where it did and there is room, and begins what takes it next.
    pub(crate) async fn copy_table(
        self: &Arc<Self>,
        lease: &Lease,
        plan: &Arc<PlanAnswer>,
        step: &Step,
        ran: &mut Ran,
    ) {
        // Where it is not made use of, it goes here.
        let Written { following, reading, .. } = std::mem::take(&mut ran.written);
        let Ending::Answer(EndFrame::Result(result)) = &ran.conversation.ending else { return };
        if ran.copied.is_some() {
            return;
        }
        if let Some(table) = self.copied(result, &ran.scratch.values(), writer(step), following).await {
            let is_it = |(growing, _): &(Growing, Kept)| table.is(growing);
            let ahead = match reading.filter(is_it) {
                Some((_, kept)) => Some(kept),
                None => self.begin_ahead(lease, plan, &table),
            };
            ran.copied = Some((table, ahead));
        }
    }

    /// A copy of the table that a step returned, where it did and there is room.
    pub(crate) async fn copied(
        &self,
        result: &ResultFrame,
        folder: &Path,
        writer: Writer,
        following: Option<Following>,
    ) -> Option<Copied> {
        match (&result.status, &result.value) {
            (Status::Success, Some(output)) => self.values.copied(output, folder, writer, following).await,
            _ => None,
        }
    }

    pub(crate) async fn outcome(
        &self,
        lease: &Lease,
        result: ResultFrame,
        folder: &Path,
        copied: (Option<&Copied>, Effort),
        end: &End,
    ) -> Result<Outcome, Trouble> {
        Ok(match result.status {
            Status::Success => {
                let value = match result.value {
                    Some(output) => self.store(lease, &output, folder, copied, end).await?,
                    None => ValueRef::null(),
                };
                Outcome::Success { value, priority: result.priority }
            }
            Status::Pending => Outcome::Pending { priority: result.priority },
            Status::Reset => Outcome::Reset,
            Status::Cancel => Outcome::Cancel,
        })
    }
}

/// Programs for SQL are our own, and have written all when they answer; code of users may go on.
pub(crate) fn writer(step: &Step) -> Writer {
    match step.language {
        Language::Python => Writer::Unknown,
        Language::Sqlite3 | Language::Postgres | Language::Duckdb => Writer::Done,
    }
}
