//! Arguments that are read ahead: the process in which a Python step will run reads its table before there is a lease for it. It waits
//! already, forked from the interpreter that the step was last forked from, and reads in the form that the step's text asks for; no code
//! of the step runs.

use bucket::value::{Copied, Growing};
use protocol::api::{Lease, PlanAnswer};
use protocol::frame::Input;
use serde_json::json;

use crate::ahead::Read;
use crate::assignment::Assignment;
use crate::attempt::Attempts;
use crate::hub::Hub;
use crate::orphans::Mark;
use crate::scratch::Scratch;

/// Most that such a process is told. Its pipe is empty and takes this at once, with the step that comes after it.
const LINE_BYTES_MAX: usize = 32 * 1_024;

/// Where the table comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A step has returned it.
    Whole(Copied),
    /// A SQL step still writes it.
    Growing(Growing),
}

impl<H: Hub> Attempts<H> {
    /// A folder in which a process reads the table; `None` where none waits for such a step, or it may see no file of ours.
    pub(crate) async fn reading(&self, lease: &Lease, plan: &PlanAnswer, table: &Source) -> Option<Read> {
        self.enclosure.other_identity()?;
        if !self.enclosure.leaves_nothing() || !self.scratches.can_serve_again() {
            return None;
        }
        let interpreter = self.interpreters.last((lease.plan, lease.step))?;
        let mut scratch = self.scratches.take_filled(plan.bundle, Some(interpreter))?;
        let Some(place) = scratch.take_place().filter(|place| place.of() == interpreter) else {
            self.scratches.give_back(plan.bundle, scratch);
            return None;
        };
        match self.reading_line(lease, plan, &scratch, table).await {
            Some((input, line)) if line.len() <= LINE_BYTES_MAX => {
                scratch.keep_place(place.told(line));
                Some(Read { scratch, input })
            }
            _ => {
                scratch.keep_place(place);
                self.scratches.give_back(plan.bundle, scratch);
                None
            }
        }
    }

    /// The file with the table, and what the process is told of it.
    async fn reading_line(
        &self,
        lease: &Lease,
        plan: &PlanAnswer,
        scratch: &Scratch,
        table: &Source,
    ) -> Option<(Input, Vec<u8>)> {
        let config = &self.shared.config;
        let step = plan.steps.get(lease.step as usize)?;
        let place = (self.root_in(scratch), scratch);
        let own = self.environments.own();
        let assignment = Assignment::new(lease, (plan, step), place, own, &config.engines);
        let inputs = scratch.inputs();
        let input = match table {
            Source::Whole(table) => table.materialize(&inputs, 0).await,
            Source::Growing(table) => table.materialize(&inputs, 0).await,
        };
        let (input, grows) = (input.ok()?, matches!(table, Source::Growing(_)));
        let frame = assignment.start_frame(vec![assignment.seen_input(input.clone())], config).ok()?;
        let mark = Mark::new(protocol::Digest::of(&lease.token.0).to_string());
        let launch = self.launch(&assignment, &mark).ok()?;
        let (environment, bounds) = (launch.told_environment(), launch.bounds());
        let told = json!({"ahead": {"frame": frame, "grows": grows, "environment": environment, "bounds": bounds}});
        Some((input, format!("{told}\n").into_bytes()))
    }
}
