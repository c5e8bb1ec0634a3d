//! Progress of a run: a bar where a person watches, else a line whenever the counts have changed.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use protocol::RunState;
use protocol::api::{Counts, Pause, RunView};

use crate::commands::pause;
use crate::error::Result;
use crate::output;
use crate::runs::Runs;

/// Least time between two plain lines.
const LINE_PAUSE: Duration = Duration::from_secs(1);

/// Shows a run until nothing more can run; gives it as it ended.
pub async fn follow(runs: &impl Runs, mut run: RunView) -> Result<RunView> {
    let mut display = Display::new();
    display.show(&run);
    let mut way_to_reasons = runs.way_to_reasons(&run.id);
    while run.state == RunState::Running {
        let before = run.version;
        run = runs.run_after(&run.id, before).await?;
        display.show(&run);
        if stands_still(before, &run)
            && let Some(way) = way_to_reasons.take()
        {
            output::note(&format!("run {} does not get on at the moment: {way} says why", run.id));
        }
    }
    display.finish(&run);
    Ok(run)
}

/// Whether a run is as it was a while ago, and no worker is at it.
fn stands_still(before: u64, run: &RunView) -> bool {
    run.state == RunState::Running && run.version == before && run.counts.leased == 0
}

enum Display {
    Bar(ProgressBar),
    Lines { shown: Option<Counts>, paused: Vec<Pause>, at: Instant },
}

impl Display {
    fn new() -> Self {
        if !output::watched() {
            return Self::Lines { shown: None, paused: Vec::new(), at: Instant::now() };
        }
        let bar = ProgressBar::new(0);
        // The template is ours and well formed; a bar of the default style would do as well.
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} [{elapsed_precise}] {bar:30} {pos}/{len} jobs  {msg}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        output::set_bar(Some(bar.clone()));
        Self::Bar(bar)
    }

    fn show(&mut self, run: &RunView) {
        match self {
            Self::Bar(bar) => {
                bar.set_length(run.counts.total());
                bar.set_position(ended(&run.counts));
                bar.set_message(describe_rest(run));
            }
            Self::Lines { shown, paused, at } => {
                let due = shown.is_none() || at.elapsed() >= LINE_PAUSE;
                if due && *shown != Some(run.counts) {
                    *shown = Some(run.counts);
                    *at = Instant::now();
                    output::note(&line(run));
                }
                if *paused != run.paused {
                    paused.clone_from(&run.paused);
                    paused.iter().for_each(|what| output::note(&pause::sentence(what)));
                }
            }
        }
    }

    /// Says how it ended, unless the last line said so.
    fn finish(self, run: &RunView) {
        let said = matches!(&self, Self::Lines { shown, .. } if *shown == Some(run.counts));
        drop(self);
        if !said {
            output::note(&line(run));
        }
    }
}

/// Whoever stops looking takes the bar off the terminal, so that the next line does not end up in it.
impl Drop for Display {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            output::set_bar(None);
            bar.finish_and_clear();
        }
    }
}

fn ended(counts: &Counts) -> u64 {
    counts.succeeded + counts.failed + counts.cancelled
}

fn line(run: &RunView) -> String {
    let total = output::plural(run.counts.total(), "job", "jobs");
    let mut parts = vec![format!("{} succeeded", output::grouped(run.counts.succeeded))];
    parts.extend(parts_of_rest(&run.counts));
    format!("run {}: {total}, {}", run.id, parts.join(", "))
}

fn describe_rest(run: &RunView) -> String {
    let paused = pause::holds_all(&run.paused).then(|| "paused".to_owned());
    paused.into_iter().chain(parts_of_rest(&run.counts)).collect::<Vec<_>>().join(", ")
}

fn parts_of_rest(counts: &Counts) -> Vec<String> {
    let parts = [
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.leased, "leased"),
        (counts.available, "available"),
        (counts.pending, "parked"),
        (counts.waiting, "waiting"),
    ];
    parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", output::grouped(count)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(counts: Counts) -> RunView {
        RunView {
            id: protocol::RunId::new(0, 0),
            script: "x.bue".to_owned(),
            state: RunState::Running,
            counts,
            created_ms: 0,
            finished_ms: None,
            pinned: false,
            paused: Vec::new(),
            version: 1,
        }
    }

    #[test]
    fn a_line_names_what_there_is() {
        let run = run(Counts { waiting: 1_200, leased: 3, succeeded: 7, ..Counts::default() });
        assert_eq!(line(&run), "run r000000000000: 1,210 jobs, 7 succeeded, 3 leased, 1,200 waiting");
        let paused = RunView { paused: vec![Pause::Everything], ..run };
        assert_eq!(describe_rest(&paused), "paused, 3 leased, 1,200 waiting");
    }

    #[test]
    fn a_run_stands_still_when_nothing_of_it_has_changed_and_nothing_runs() {
        let idle = run(Counts { available: 3, ..Counts::default() });
        assert!(stands_still(1, &idle) && !stands_still(0, &idle));
        assert!(!stands_still(1, &run(Counts { available: 3, leased: 1, ..Counts::default() })));
        assert!(!stands_still(1, &RunView { state: RunState::Succeeded, ..idle }));
    }
}
