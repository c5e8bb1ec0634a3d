//! The text of `bue explain RUN`: why a run is, or is not, getting on.

use std::time::Duration;

use protocol::JobState;
use protocol::api::{After, OpenJobs, Pause, Reason, RunExplanation};

use super::status::{run_line, since, span, until};
use super::{explain, pause};
use crate::output::{grouped, plural};
use crate::show::job_word;

/// A line for the run, one for all jobs that have the same in their way, and what can be done about failed ones.
pub fn text(explanation: &RunExplanation) -> String {
    let RunExplanation { run, open } = explanation;
    let mut lines = vec![run_line(run)];
    let is_told = |what: &&Pause| {
        let reason = Reason::Paused((*what).clone());
        open.iter().any(|open| open.reasons.contains(&reason))
    };
    lines.extend(run.paused.iter().filter(|what| !is_told(what)).map(pause::sentence));
    lines.extend(open.iter().map(|open| format!("- {}", line(open))));
    if open.is_empty() {
        lines.push("all of its jobs have ended".to_owned());
    }
    if run.counts.failed > 0 {
        let (failed, id) = (plural(run.counts.failed, "job has", "jobs have"), &run.id);
        lines.push(format!(
            "{failed} failed, and what follows waits: `bue status {id} --state failed` lists them, `bue reset {id}` starts them over"
        ));
    }
    lines.join("\n")
}

fn line(open: &OpenJobs) -> String {
    let more = if open.or_more { "at least " } else { "" };
    let mut text = format!("{more}{} {}", grouped(open.jobs), word(open));
    if let Some(example) = &open.example {
        text.push_str(&match (open.passes, open.since_ms.and_then(since)) {
            (true, _) => format!(", over the value of {} (`{}`)", example.job, example.name),
            (false, Some(time)) => format!(", {} (`{}`) for {}", example.job, example.name, span(time)),
            (false, None) => format!(", such as {} (`{}`)", example.job, example.name),
        });
    }
    let mut reasons: Vec<String> = open.reasons.iter().map(reason).collect();
    if reasons.is_empty() && open.state == JobState::Available {
        reasons.push("workers take them in their turn".to_owned());
    }
    if reasons.is_empty() { text } else { format!("{text}: {}", reasons.join("; ")) }
}

fn word(open: &OpenJobs) -> &'static str {
    let is_until = |reason: &Reason| matches!(reason, Reason::Until { .. });
    match open.state {
        _ if open.passes => "of loop passes that are made as workers get near them",
        JobState::Leased if open.example.is_some() => "leased, the one that runs longest",
        JobState::Available if open.reasons.iter().any(is_until) => "parked",
        state => job_word(state),
    }
}

/// What a reason comes to for jobs that are alike; of parents and places in the queue it is that of the example.
fn reason(reason: &Reason) -> String {
    match reason {
        Reason::ScopeNotServed { scope } => {
            format!("no worker serves scope `{scope}`: `bue worker -s {scope}` starts one that does")
        }
        Reason::EngineMissing { engine } => {
            format!("no worker that serves their scope can run {engine} steps: docs/data.md says what they need")
        }
        Reason::WorkersFull { workers } => {
            format!("none of the workers that could run them ({workers}) has a free slot: they run when one has")
        }
        Reason::Until { from_ms, after } => {
            let pause = span(until(*from_ms).unwrap_or(Duration::ZERO));
            let why = match after {
                After::Pending => "they said pending",
                After::Error => "their last attempts failed",
                After::Release => "their workers handed them back, for what they need is away",
            };
            format!("{why}, the next one runs again in {pause}")
        }
        Reason::Parents(_) | Reason::Paused(_) | Reason::Behind { .. } | Reason::WorkersWait { .. } => {
            explain::sentence(reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::JobId;
    use protocol::api::JobName;

    use super::*;

    fn open(state: JobState, reasons: Vec<Reason>) -> OpenJobs {
        let example = Some(JobName { job: JobId(7), name: "poll".to_owned() });
        OpenJobs { state, jobs: 1_200, or_more: false, passes: false, example, since_ms: None, reasons }
    }

    #[test]
    fn a_line_says_how_many_what_and_why() {
        let unserved = Reason::ScopeNotServed { scope: "slow".to_owned() };
        assert_eq!(
            line(&open(JobState::Available, vec![unserved])),
            "1,200 available, such as j7 (`poll`): no worker serves scope `slow`: `bue worker -s slow` starts one that does"
        );
        assert_eq!(
            line(&open(JobState::Available, Vec::new())),
            "1,200 available, such as j7 (`poll`): workers take them in their turn"
        );
        let passes = OpenJobs { passes: true, or_more: true, ..open(JobState::Waiting, Vec::new()) };
        assert_eq!(
            line(&passes),
            "at least 1,200 of loop passes that are made as workers get near them, over the value of j7 (`poll`)"
        );
        let until = Reason::Until { from_ms: 0, after: After::Error };
        assert_eq!(
            line(&open(JobState::Available, vec![until])),
            "1,200 parked, such as j7 (`poll`): their last attempts failed, the next one runs again in 0.0 s"
        );
        let long_ago = OpenJobs { since_ms: Some(0), ..open(JobState::Leased, Vec::new()) };
        assert!(line(&long_ago).starts_with("1,200 leased, the one that runs longest, j7 (`poll`) for "));
    }
}
