//! Why an attempt did not come to an outcome of its step's own.

use protocol::StepError;

/// What stands in an attempt's way.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The step's fault, or its inputs'.
    Step(StepError),
    /// Something the worker depends on is not there: the job is handed back and costs nothing.
    Away(String),
    /// The attempt was stopped from outside.
    Stopped,
}
