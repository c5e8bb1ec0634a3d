//! The folders of attempts: with the bundle's files in them, and given to who steps run as.

use std::path::PathBuf;

use protocol::api::{Lease, PlanAnswer};
use protocol::frame::Input;

use crate::attempt::{Attempts, End};
use crate::config::Mode;
use crate::hub::Hub;
use crate::scratch::Scratch;
use crate::trouble::Trouble;

impl<H: Hub> Attempts<H> {
    /// A scratch folder with the bundle's files in it, given to who steps run as: one that is there, or a new one.
    pub(crate) async fn filled_scratch(&self, lease: &Lease, plan: &PlanAnswer, end: &End) -> Result<Scratch, Trouble> {
        let can_serve_again = self.is_of_fleet() && self.enclosure.leaves_nothing() && self.scratches.can_serve_again();
        if can_serve_again {
            // One whose cell is of the interpreter that this attempt is most likely forked from.
            let last = self.interpreters.last((lease.plan, lease.step));
            if let Some(scratch) = self.scratches.take_filled(plan.bundle, last) {
                return Ok(scratch);
            }
        }
        let mut scratch = self.make_scratch()?;
        let bytecode = self.bytecode.of(plan.bundle);
        self.place_files(plan, &scratch, &bytecode.files, end).await?;
        scratch.note_compiled(bytecode.sets);
        self.hand_over(&scratch)?;
        if can_serve_again {
            scratch.remember().await.map_err(|error| self.disk(&error))?;
        }
        self.shared.disk_outage.worked();
        Ok(scratch)
    }

    pub(crate) fn make_scratch(&self) -> Result<Scratch, Trouble> {
        self.scratches.make().map_err(|error| self.disk(&error))
    }

    /// Gives a scratch folder to who steps run as.
    pub(crate) fn hand_over(&self, scratch: &Scratch) -> Result<(), Trouble> {
        let Some(identity) = self.enclosure.other_identity() else { return Ok(()) };
        let handed = scratch.hand_over(identity);
        let closed = if self.enclosure.has_own_root() { handed } else { handed.and_then(|()| scratch.close()) };
        closed.map_err(|error| self.disk(&error))
    }

    /// Gives arguments that are files to who steps run as.
    pub(crate) fn hand_over_arguments(&self, scratch: &Scratch, inputs: &[Input]) -> Result<(), Trouble> {
        let are_files = inputs.iter().any(|input| matches!(input, Input::JsonFile(_) | Input::ArrowFile(_)));
        match self.enclosure.other_identity().filter(|_| are_files) {
            Some(identity) => scratch.hand_over_arguments(identity).map_err(|error| self.disk(&error)),
            None => Ok(()),
        }
    }

    /// Where the bundle's files are in a scratch folder that has them.
    pub(crate) fn root_in(&self, scratch: &Scratch) -> PathBuf {
        match &self.shared.config.mode {
            Mode::Local { folder } => folder.clone(),
            Mode::Fleet { .. } => scratch.files(),
        }
    }

    /// The folder with the bundle's files: a copy in the scratch folder, `others` beside them, or the user's own.
    pub(crate) async fn place_files(
        &self,
        plan: &PlanAnswer,
        scratch: &Scratch,
        others: &[(String, PathBuf)],
        end: &End,
    ) -> Result<PathBuf, Trouble> {
        if let Mode::Local { folder } = &self.shared.config.mode {
            return Ok(folder.clone());
        }
        let mut refetched = false;
        loop {
            let bundle = self.fetch(end, || self.bundles.bundle(plan.bundle)).await?;
            let files = bundle.manifest.files.iter().map(|file| (file.path.clone(), self.bundles.path(file.digest)));
            // They may be what is not there any more, and can be done without.
            let others = if refetched { &[] } else { others };
            match scratch.fill(files.chain(others.iter().cloned()).collect()).await {
                Ok(()) => return Ok(scratch.files()),
                // Somebody cleaned the cache: once more, with everything fetched again.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !refetched => {
                    refetched = true;
                    self.bundles.forget(plan.bundle);
                    scratch.clear_files().map_err(|error| self.disk(&error))?;
                }
                Err(error) => return Err(self.disk(&error)),
            }
        }
    }
}
