//! What the calls of a script came to, as a table.

use comfy_table::Table;
use protocol::api::{ResultView, ResultsAnswer, RunView};
use protocol::{JobId, JobState, Place, ValueRef};

use super::value::{ROWS_MAX, describe, drawn, rows, shortened};
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::runs::Runs;

/// Calls that are shown.
const RESULTS_MAX: usize = 40;
/// Values up to this size are fetched for being shown, in bytes.
const FETCHED_BYTES_MAX: u64 = 256 << 10;

/// The results of a run; `None` where it has none.
pub async fn table(runs: &impl Runs, run: &RunView) -> Result<Option<String>> {
    let answer = runs.results(&run.id, RESULTS_MAX).await?;
    if answer.results.is_empty() {
        return Ok(None);
    }
    let Drawn { table, mut away, .. } = drawn_table(runs, &answer).await?;
    let mut text = table.to_string();
    if answer.truncated {
        let (first, way) = (output::grouped(RESULTS_MAX as u64), runs.way_to_results(&run.id));
        text.push_str(&format!("\n… and more: these are the first {first}; {way}"));
    } else if away.is_none() {
        match last_rows(runs, &answer.results).await {
            Err(error) if error.kind() == Kind::Unreachable => away = Some(error),
            last => text.extend(last?.map(|last| format!("\n\n{last}"))),
        }
    }
    // The run has ended, whatever can be shown of it.
    if let Some(error) = away {
        output::note(&format!("not all values are shown: {}", error.message()));
    }
    Ok(Some(text))
}

/// Results as a table.
pub struct Drawn {
    /// The values in it are shortened, or described.
    pub table: Table,
    /// The jobs of which the values are lost.
    pub lost: Vec<JobId>,
    /// Why values are only described, where somebody does not answer.
    pub away: Option<Error>,
}

/// Draws results.
pub async fn drawn_table(runs: &impl Runs, answer: &ResultsAnswer) -> Result<Drawn> {
    let (mut lost, mut away) = (Vec::new(), None);
    let mut table = drawn(&["pipe", "variable", "job", "state", "value"]);
    for result in &answer.results {
        let described = || result.value.as_ref().map(describe).unwrap_or_default();
        // Who did not answer once is not asked for each.
        let is_asked = away.is_none() || is_here(result);
        let drawn = if is_asked { cell(runs, result).await } else { Ok(described()) };
        let cell = match drawn {
            Err(error) if error.kind() == Kind::Unreachable => {
                away = Some(error);
                described()
            }
            Err(error) if error.kind() == Kind::Failed => {
                lost.push(result.job);
                "lost".to_owned()
            }
            cell => cell?,
        };
        table.add_row([
            result.pipe.clone(),
            result.variable.clone().unwrap_or_default(),
            result.job.to_string(),
            super::job_word(result.state).to_owned(),
            cell,
        ]);
    }
    Ok(Drawn { table, lost, away })
}

/// Whether nobody is asked for a value.
fn is_here(result: &ResultView) -> bool {
    result.value.as_ref().is_none_or(|value| matches!(value.place, Place::Json(_)))
}

async fn cell(runs: &impl Runs, result: &ResultView) -> Result<String> {
    match &result.value {
        None => Ok(String::new()),
        Some(value) if size(value).is_some_and(|size| size <= FETCHED_BYTES_MAX) => {
            match json(runs, result, value).await {
                // It has no form as JSON.
                Err(error) if error.kind() == Kind::Usage => Ok(describe(value)),
                text => Ok(shortened(&text?)),
            }
        }
        Some(value) => Ok(format!("{} ({})", describe(value), runs.way_to_value(result.job))),
    }
}

/// The first rows of the last result, where it is a table.
async fn last_rows(runs: &impl Runs, results: &[ResultView]) -> Result<Option<String>> {
    let Some((result, value)) = results
        .iter()
        .rev()
        .find(|result| result.state == JobState::Succeeded)
        .and_then(|result| Some((result, result.value.as_ref()?)))
    else {
        return Ok(None);
    };
    let Some(length) = value.passes() else { return Ok(None) };
    let text = match runs.head(result.job, ROWS_MAX as u64).await {
        Err(error) if matches!(error.kind(), Kind::Usage | Kind::Failed) => return Ok(None),
        text => text?,
    };
    let name = result.variable.as_deref().unwrap_or(&result.pipe);
    Ok(rows(&text, length).map(|rows| format!("{name} ({}):\n{rows}", describe(value))))
}

/// What it would cost to fetch it; `None` where that is not known.
fn size(value: &ValueRef) -> Option<u64> {
    match &value.place {
        Place::Json(text) => Some(text.get().len() as u64),
        Place::Arrow(text) => Some(text.len() as u64),
        Place::Object { bytes, .. } => Some(*bytes),
        Place::Element { .. } => None,
    }
}

async fn json(runs: &impl Runs, result: &ResultView, value: &ValueRef) -> Result<String> {
    match &value.place {
        Place::Json(text) => Ok(text.get().to_owned()),
        _ => runs.value(result.job).await,
    }
}
