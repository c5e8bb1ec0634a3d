//! `bue plan`: the jobs and loops of a script, without running anything.

use crate::cli::PlanArguments;
use crate::commands::check::{self, Checked};
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::show::json::{self, Document};
use crate::show::plan::PlanDocument;

/// Shows it.
pub fn run(context: &Context, arguments: &PlanArguments) -> Result {
    let checked = Checked::of(context, &arguments.script.path())?;
    check::show(&checked);
    let Some(plan) = &checked.compiled.plan else {
        if arguments.json {
            json::print(&Document::wrong(&checked.compiled.diagnostics))?;
        }
        return Err(Error::told(Kind::Usage));
    };
    let document = PlanDocument::of(plan);
    if arguments.json {
        return output::print(&serde_json::to_string(&document).map_err(Error::internal)?);
    }
    output::print(&if arguments.dot {
        document.dot()
    } else if arguments.mermaid {
        document.mermaid()
    } else {
        document.tree()
    })
}
