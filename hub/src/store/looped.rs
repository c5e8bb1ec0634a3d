//! Which values can be looped over. What a worker says of a value is checked before passes are counted on it.

use protocol::{ErrorKind, Outcome, Place, StepError, ValueKind, ValueRef};
use serde::de::IgnoredAny;

use super::change::{Change, RunEntry};
use super::job::Facts;
use crate::error::QueueError;

/// Anything but a list that can be looped over turns the success of a loop's source into an error at the `for` line.
pub(super) fn refused(
    change: &mut Change<'_>,
    run: &RunEntry,
    job: &Facts,
    outcome: &Outcome,
) -> Result<Option<Outcome>, QueueError> {
    let Outcome::Success { value, .. } = outcome else { return Ok(None) };
    if !run.plan.feeds_loop(job) {
        return Ok(None);
    }
    let Some(defect) = defect(value, change.options.passes_max) else { return Ok(None) };
    let Some(of) = change.loop_of(job.id)? else { return Ok(None) };
    let line = run.plan.blueprints.lines.get(&of.of).copied().unwrap_or(0);
    let step = &run.plan.step(job.step)?.name;
    let message =
        format!("the loop at {}:{line} needs a list; its source `{step}` returned {defect}", run.plan.plan.script);
    Ok(Some(Outcome::Error(StepError::new(ErrorKind::Loop, message))))
}

/// What makes a value unfit for a loop.
fn defect(value: &ValueRef, passes_max: u64) -> Option<String> {
    let Some(length) = value.passes() else {
        let unknown = matches!(value.kind, ValueKind::List | ValueKind::Table);
        return Some(if unknown { "one of unknown length".to_owned() } else { value.kind.with_article().to_owned() });
    };
    if length > passes_max {
        return Some(format!(
            "one of {length} items, more than {passes_max}; BUE_PASSES_MAX on the hub raises the limit"
        ));
    }
    let Place::Json(text) = &value.place else { return None };
    match serde_json::from_str::<Vec<IgnoredAny>>(text.get()) {
        Ok(elements) if elements.len() as u64 == length => None,
        Ok(elements) => Some(format!("one of {} items under the length {length}", elements.len())),
        Err(_) => Some("what only claims to be one".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn list(length: Option<u64>, text: &str) -> ValueRef {
        let text = RawValue::from_string(text.to_owned()).unwrap();
        ValueRef { kind: ValueKind::List, length, place: Place::Json(text) }
    }

    #[test]
    fn a_list_has_the_length_it_claims_and_not_too_many_items() {
        assert_eq!(defect(&list(Some(3), "[1, [2, 3], {}]"), 3), None);
        let of = |length, text, passes_max| defect(&list(length, text), passes_max).unwrap();
        assert!(of(Some(3), "[1, 2, 3]", 2).contains("BUE_PASSES_MAX"));
        assert_eq!(of(Some(3), "[1]", 9), "one of 1 items under the length 3");
        assert_eq!(of(Some(1), "7", 9), "what only claims to be one");
        assert_eq!(of(None, "[]", 9), "one of unknown length");
    }
}
