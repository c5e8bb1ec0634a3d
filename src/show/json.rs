//! What `--json` prints: one document about a run's jobs and results, or about what is wrong with a script.

use std::collections::{HashMap, HashSet};

use protocol::api::{JobView, ResultView, ResultsAnswer, RunView};
use protocol::{
    Diagnostic, DiagnosticKind, ErrorKind, JobId, JobState, Place, Plan, RunId, Severity, Statement, StepError,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::{Error, Kind, Result};
use crate::local::Embedded;
use crate::output;
use crate::runs::Runs;

/// Prints a document.
pub fn print(document: &Document) -> Result {
    output::print(&serde_json::to_string(document).map_err(Error::internal)?)
}

/// The document.
#[derive(Debug, Default, Serialize)]
pub struct Document {
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<Vec<Job>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<CallResult>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Wrong>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<Wrong>>,
}

#[derive(Debug, Serialize)]
struct Job {
    id: JobId,
    name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    item: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    build: bool,
    language: &'static str,
    scope: String,
    priority: i64,
    timeout: serde_json::Number,
    retries: u32,
    status: &'static str,
    parents: Vec<JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<JobError>,
}

#[derive(Debug, Serialize)]
struct JobError {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

/// What one call of a script came to, with its value.
#[derive(Debug, Serialize)]
pub struct CallResult {
    pipe: String,
    variable: Option<String>,
    job: JobId,
    status: &'static str,
    value: Option<Box<RawValue>>,
    /// Of a failed call, what its last job failed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<StepError>,
    /// Why there is no value: it has no form as JSON, or is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_error: Option<String>,
    #[serde(skip)]
    is_lost: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Wrong {
    kind: DiagnosticKind,
    line: u32,
    column: u32,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Document {
    /// What is wrong with a script.
    pub fn wrong(diagnostics: &[Diagnostic]) -> Self {
        let errors: Vec<Wrong> = diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error)
            .map(|diagnostic| Wrong {
                kind: diagnostic.kind,
                line: diagnostic.line,
                column: diagnostic.column,
                message: diagnostic.message.clone(),
                hint: diagnostic.hint.clone(),
            })
            .collect();
        Self { error: errors.first().cloned(), errors: Some(errors), ..Self::default() }
    }

    /// What came of a run.
    pub async fn of_run(embedded: &Embedded, run: &RunView, plan: &Plan) -> Result<Self> {
        let jobs = all_jobs(embedded, run).await?;
        let error = jobs.iter().find(|job| job.state == JobState::Failed).map(|job| run_time_error(job, plan));
        let results = CallResult::all(embedded, &run.id, &embedded.results(&run.id, usize::MAX).await?).await?;
        Ok(Self { jobs: Some(jobs.into_iter().map(Job::from).collect()), results: Some(results), error, errors: None })
    }
}

impl CallResult {
    /// All of a run's `answer`, with their values and errors.
    pub async fn all(runs: &impl Runs, run: &RunId, answer: &ResultsAnswer) -> Result<Vec<Self>> {
        let mut errors = errors_of(runs, run, &answer.results).await?;
        let mut results = Vec::with_capacity(answer.results.len());
        for result in &answer.results {
            let (value, wrong) = match Self::value(runs, result).await {
                Ok(value) => (value, None),
                Err(error) if matches!(error.kind(), Kind::Usage | Kind::Failed) => (None, Some(error)),
                Err(error) => return Err(error),
            };
            results.push(Self {
                pipe: result.pipe.clone(),
                variable: result.variable.clone(),
                job: result.job,
                status: status(result.state),
                value,
                error: errors.remove(&result.job),
                is_lost: wrong.as_ref().is_some_and(|wrong| wrong.kind() == Kind::Failed),
                value_error: wrong.map(|wrong| wrong.message().to_owned()),
            });
        }
        Ok(results)
    }

    /// The job of which the value is lost, if so.
    pub fn lost(&self) -> Option<JobId> {
        self.is_lost.then_some(self.job)
    }

    async fn value(runs: &impl Runs, result: &ResultView) -> Result<Option<Box<RawValue>>> {
        match &result.value {
            Some(value) if result.state == JobState::Succeeded => match &value.place {
                Place::Json(text) => Ok(Some(text.clone())),
                _ => RawValue::from_string(runs.value(result.job).await?).map(Some).map_err(Error::internal),
            },
            _ => Ok(None),
        }
    }
}

/// The errors of the failed jobs among some results.
async fn errors_of(runs: &impl Runs, run: &RunId, results: &[ResultView]) -> Result<HashMap<JobId, StepError>> {
    let failed = results.iter().filter(|result| result.state == JobState::Failed);
    let mut missing: HashSet<JobId> = failed.map(|result| result.job).collect();
    let mut errors = HashMap::new();
    let mut after = None;
    while !missing.is_empty() {
        let page = runs.jobs(run, after, Some(JobState::Failed)).await?;
        for job in page.jobs {
            if let Some(error) = job.error.filter(|_| missing.remove(&job.id)) {
                errors.insert(job.id, error);
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(errors)
}

async fn all_jobs(embedded: &Embedded, run: &RunView) -> Result<Vec<JobView>> {
    let mut jobs = Vec::new();
    let mut after = None;
    loop {
        let page = embedded.jobs(&run.id, after, None).await?;
        jobs.extend(page.jobs);
        after = page.next;
        if after.is_none() {
            return Ok(jobs);
        }
    }
}

impl From<JobView> for Job {
    fn from(job: JobView) -> Self {
        Self {
            id: job.id,
            name: job.name,
            item: job.item,
            build: job.build,
            language: job.language.as_str(),
            scope: job.scope,
            priority: job.priority,
            timeout: seconds(job.timeout_ms),
            retries: job.retries,
            status: status(job.state),
            parents: job.parents,
            error: job
                .error
                .filter(|_| job.state == JobState::Failed)
                .map(|error| JobError { message: error.message, trace: error.trace }),
        }
    }
}

/// Whole seconds as an integer, others with their decimals.
pub fn seconds(ms: u64) -> serde_json::Number {
    match (ms.is_multiple_of(1_000), serde_json::Number::from_f64(ms as f64 / 1_000.0)) {
        (false, Some(number)) => number,
        _ => (ms / 1_000).into(),
    }
}

fn status(state: JobState) -> &'static str {
    match state {
        JobState::Succeeded => "success",
        JobState::Failed => "error",
        JobState::Cancelled => "cancel",
        JobState::Waiting | JobState::Available | JobState::Leased => "queued",
    }
}

/// The first failed job as an error with the place of its step, or of its loop, in the script.
fn run_time_error(job: &JobView, plan: &Plan) -> Wrong {
    let error = job.error.as_ref();
    let loop_failed = job.build && error.is_some_and(|error| error.kind == ErrorKind::Loop);
    let step = plan.steps.iter().position(|step| step.name == job.name);
    let line_of_step = step.map_or(1, |step| plan.steps[step].line);
    let (kind, line) = if loop_failed {
        (DiagnosticKind::Loop, step.and_then(|step| line_of_loop(&plan.body, step as u32)).unwrap_or(line_of_step))
    } else {
        (DiagnosticKind::Step, line_of_step)
    };
    let reason = error.map_or("it failed", |error| error.message.as_str());
    Wrong { kind, line, column: 1, message: format!("`{}`: {reason}", job.name), hint: None }
}

/// Line of the first loop whose source ends with this step.
fn line_of_loop(body: &[Statement], step: u32) -> Option<u32> {
    body.iter().find_map(|statement| match statement {
        Statement::Loop(found) if found.source.steps.last() == Some(&step) => Some(found.line),
        Statement::Loop(outer) => line_of_loop(&outer.body, step),
        Statement::Call(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_seconds_where_they_are() {
        assert_eq!(seconds(1_200_000).to_string(), "1200");
        assert_eq!(seconds(1_500).to_string(), "1.5");
    }

    #[test]
    fn a_wrong_script_has_errors_and_no_jobs() {
        let diagnostic = Diagnostic {
            kind: DiagnosticKind::Name,
            severity: Severity::Error,
            file: "x.bue".to_owned(),
            line: 12,
            column: 8,
            end_line: 12,
            end_column: 16,
            message: "step `downlaod` is not defined".to_owned(),
            expected: None,
            hint: None,
            related: Vec::new(),
        };
        let warning = Diagnostic { severity: Severity::Warning, ..diagnostic.clone() };
        let text = serde_json::to_string(&Document::wrong(&[warning, diagnostic])).unwrap();
        let error = r#"{"kind":"name","line":12,"column":8,"message":"step `downlaod` is not defined"}"#;
        assert_eq!(text, format!(r#"{{"error":{error},"errors":[{error}]}}"#));
    }
}
