//! `bue status`: the hub at a glance, or the jobs of one run.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::api::{Counts, JobView, Pause, RunView, ScopeView, StatusAnswer, WorkerInfo, WorkerView};
use protocol::{JobState, RunId};
use serde::Serialize;

use super::pause;
use crate::cli::{StateName, StatusArguments};
use crate::client::Client;
use crate::context::{Context, block_on};
use crate::error::{Error, Result};
use crate::output::{self, grouped, plural};
use crate::runs::PAGE;
use crate::show::value::{describe, drawn, shortened};
use crate::show::{failures, job_word, run_word};

/// Jobs of one run that are listed.
const JOBS_MAX: usize = 100;

/// Shows it.
pub fn run(context: &Context, arguments: &StatusArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    match &arguments.run {
        Some(run) => block_on(show_run(&client, run, arguments)),
        None => block_on(show_hub(&client, arguments.json)),
    }
}

async fn show_hub(client: &Client, json: bool) -> Result {
    let status = client.status().await?;
    if json {
        return print_json(&status);
    }
    output::print(&hub_text(client, &status))
}

async fn show_run(client: &Client, run: &RunId, arguments: &StatusArguments) -> Result {
    let run = client.run(run).await?;
    if arguments.json {
        let jobs = jobs(client, &run, arguments.state, usize::MAX).await?;
        return print_json(&RunDocument { run, jobs });
    }
    let jobs = jobs(client, &run, arguments.state, if arguments.all { usize::MAX } else { JOBS_MAX }).await?;
    let mut text = run_line(&run);
    let mut table = drawn(&["job", "step", "scope", "state", "attempts", "value or error"]);
    for job in &jobs {
        table.add_row([
            job.id.to_string(),
            job.name.clone(),
            job.scope.clone(),
            state_of(job),
            job.attempts.to_string(),
            outcome_of(job),
        ]);
    }
    for paused in run.paused.iter().map(pause::sentence) {
        text.push_str(&format!("\n{paused}"));
    }
    if !jobs.is_empty() {
        text.push_str(&format!("\n{table}"));
    }
    if !arguments.all && jobs.len() >= JOBS_MAX {
        text.push_str(&format!("\n… these are the first {} jobs; --all shows all", jobs.len()));
    }
    output::print(&text)?;
    failures::show(client, &run).await
}

/// What `--json` prints of a run.
#[derive(Serialize)]
struct RunDocument {
    run: RunView,
    jobs: Vec<JobView>,
}

/// The first jobs of a run, page by page: all, or those in one state.
async fn jobs(client: &Client, run: &RunView, state: Option<StateName>, most: usize) -> Result<Vec<JobView>> {
    let asked = state.map(StateName::state);
    let is_wanted = |job: &JobView| state != Some(StateName::Parked) || is_parked(job);
    let mut jobs = Vec::new();
    let mut after = None;
    loop {
        let page = client.jobs(&run.id, after, asked, PAGE.min(most)).await?;
        jobs.extend(page.jobs.into_iter().filter(is_wanted).take(most - jobs.len()));
        after = page.next;
        if after.is_none() || jobs.len() >= most {
            return Ok(jobs);
        }
    }
}

fn print_json(answer: &impl Serialize) -> Result {
    output::print(&serde_json::to_string_pretty(answer).map_err(Error::internal)?)
}

fn hub_text(client: &Client, status: &StatusAnswer) -> String {
    let mut parts = vec![
        format!("hub {} at {}: {}", status.version, client.address(), counts_text(&status.counts)),
        workers_text(&status.workers),
    ];
    parts.extend(status.paused.iter().map(pause::sentence));
    parts.extend(status.scopes.iter().filter(|scope| scope.available > 0 && !scope.served).map(unserved));
    if status.runs.is_empty() {
        parts.push("no runs yet: `bue upload FILE` makes one".to_owned());
    } else {
        parts.push(runs_text(&status.runs, &status.paused));
    }
    parts.join("\n")
}

fn unserved(scope: &ScopeView) -> String {
    let (jobs, scope) = (plural(scope.available, "job waits", "jobs wait"), &scope.scope);
    format!("{jobs} in scope `{scope}`, which no worker serves: start one with `bue worker -s {scope}`")
}

/// What is available of a worker's memory; nothing where it does not tell.
fn memory_text(info: &WorkerInfo) -> String {
    let gibibytes = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    match info.memory_bytes {
        0 => String::new(),
        all => format!("{:.1} of {:.1} GiB", gibibytes(info.memory_available_bytes), gibibytes(all)),
    }
}

fn workers_text(workers: &[WorkerView]) -> String {
    if workers.is_empty() {
        return "no workers: `bue worker` starts one".to_owned();
    }
    let mut table =
        drawn(&["worker", "machine", "busy", "slots", "free", "memory", "version", "python", "sandbox", "heard from"]);
    for worker in workers {
        table.add_row([
            worker.session.to_string(),
            format!("{} ({})", worker.info.host, worker.info.pid),
            worker.info.busy.to_string(),
            worker.info.slots.to_string(),
            worker.info.free.to_string(),
            memory_text(&worker.info),
            worker.info.version.clone(),
            worker.info.python.clone(),
            worker.info.sandbox.clone(),
            ago(Duration::from_millis(worker.silent_ms)),
        ]);
    }
    let waiting = workers.iter().filter(|worker| !worker.info.trouble.is_empty());
    let lines = waiting.map(|worker| format!("worker {} waits: {}", worker.session, worker.info.trouble));
    std::iter::once(table.to_string()).chain(lines).collect::<Vec<_>>().join("\n")
}

fn runs_text(runs: &[RunView], paused: &[Pause]) -> String {
    let mut table = drawn(&["run", "script", "state", "jobs", "begun"]);
    for run in runs {
        table.add_row([
            run.id.to_string(),
            run.script.clone(),
            state_text(run, paused.contains(&Pause::Run(run.id.clone()))),
            counts_text(&run.counts),
            since(run.created_ms).map(ago).unwrap_or_default(),
        ]);
    }
    table.to_string()
}

/// How a run stands, and whether it is paused and pinned.
fn state_text(run: &RunView, is_paused: bool) -> String {
    let paused = if is_paused { ", paused" } else { "" };
    let pinned = if run.pinned { ", pinned" } else { "" };
    format!("{}{paused}{pinned}", run_word(run.state))
}

/// A run and how it stands, in one line.
pub fn run_line(run: &RunView) -> String {
    let took = run
        .finished_ms
        .and_then(|end| u64::try_from(end - run.created_ms).ok())
        .map(|took| format!(", took {}", span(Duration::from_millis(took))))
        .unwrap_or_default();
    format!(
        "run {} of {} {}{took}: {}",
        run.id,
        run.script,
        state_text(run, pause::holds_all(&run.paused)),
        counts_text(&run.counts)
    )
}

fn counts_text(counts: &Counts) -> String {
    let parts: Vec<String> = [
        (counts.succeeded, "succeeded"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.leased, "leased"),
        (counts.available, "available"),
        (counts.pending, "parked"),
        (counts.waiting, "waiting"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{} {word}", grouped(count)))
    .collect();
    let total = plural(counts.total(), "job", "jobs");
    if parts.is_empty() { total } else { format!("{total}: {}", parts.join(", ")) }
}

fn state_of(job: &JobView) -> String {
    match job.available_at_ms {
        Some(at) if is_parked(job) => match until(at) {
            Some(pause) => format!("parked, again in {}", span(pause)),
            None => "parked".to_owned(),
        },
        _ => job_word(job.state).to_owned(),
    }
}

fn is_parked(job: &JobView) -> bool {
    job.state == JobState::Available && job.available_at_ms.is_some()
}

fn outcome_of(job: &JobView) -> String {
    match (&job.value, &job.error) {
        (Some(value), _) => match &value.place {
            protocol::Place::Json(text) => shortened(text.get()),
            _ => describe(value),
        },
        (None, Some(error)) => shortened(&error.message),
        (None, None) => String::new(),
    }
}

/// Time since `unix_ms`; `None` when it lies ahead.
pub fn since(unix_ms: i64) -> Option<Duration> {
    now().checked_sub(Duration::from_millis(u64::try_from(unix_ms).ok()?))
}

/// Time until `unix_ms`; `None` when it has passed.
pub fn until(unix_ms: i64) -> Option<Duration> {
    Duration::from_millis(u64::try_from(unix_ms).ok()?).checked_sub(now())
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// How long ago something was.
pub fn ago(time: Duration) -> String {
    if time < Duration::from_secs(1) { "just now".to_owned() } else { format!("{} ago", span(time)) }
}

/// A length of time as people say it.
pub fn span(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(span(Duration::from_millis(1_540)), "1.5 s");
        assert_eq!(span(Duration::from_secs(300)), "5 min");
        assert_eq!(ago(Duration::from_millis(3)), "just now");
        assert_eq!(ago(Duration::from_secs(86_400 * 3)), "3 days ago");
    }

    #[test]
    fn counts_name_only_what_there_is() {
        let counts = Counts { succeeded: 3, failed: 1, ..Counts::default() };
        assert_eq!(counts_text(&counts), "4 jobs: 3 succeeded, 1 failed");
        assert_eq!(counts_text(&Counts::default()), "0 jobs");
    }
}
