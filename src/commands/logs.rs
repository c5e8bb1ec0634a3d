//! `bue logs`: what one job, or each job of a run, has printed; and what it prints while it runs.

use futures::stream::{self, StreamExt};
use protocol::api::JobView;
use protocol::log::LogNews;
use protocol::{JobId, JobState, RunId, RunState};

use crate::cli::{LogsArguments, RunOrJob};
use crate::client::Client;
use crate::context::{Context, block_on};
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::runs::PAGE;

/// Logs of a run that are fetched at once.
const LOGS_AT_ONCE: usize = 8;
/// What the worker writes into a log where its middle is left out, around the number of bytes.
const LEFT_OUT: (&str, &str) = ("\n… ", " bytes left out …\n");

/// Prints, and follows where that is asked for.
pub fn run(context: &Context, arguments: &LogsArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    match &arguments.what {
        RunOrJob::Job(job) => block_on(async {
            let job = client.find(job).await?;
            if arguments.follow { follow(&client, job).await } else { show(&client, job, arguments.attempt).await }
        }),
        RunOrJob::Run(run) if arguments.follow || arguments.attempt.is_some() => {
            let error = Error::usage("--follow and --attempt are for one job");
            Err(error.hint(format_args!("`bue status {run} --all` lists the jobs")))
        }
        RunOrJob::Run(run) => block_on(show_run(&client, run)),
    }
}

/// The last attempt, also while it runs, or another one.
async fn show(client: &Client, job: JobId, attempt: Option<u32>) -> Result {
    let view = client.explain(job).await?.job;
    if let Some(number) = attempt {
        if number == 0 || number > view.attempts {
            return Err(no_attempt(&view, number));
        }
        let text = client.log(job, Some(number)).await?;
        if text.is_empty() {
            output::note(&format!("attempt {number} of job {job} has left no log"));
        }
        return output::print_part(&text).map(drop);
    }
    if view.state == JobState::Leased {
        let nothing = LogNews { state: JobState::Leased, attempt: view.attempts, from: 0, text: String::new() };
        let news = client.log_news_now(job, &nothing).await?;
        output::note(&format!("job {job} is running attempt {}: `bue logs {job} -f` goes on with it", news.attempt));
        return output::print_part(&news.text).map(drop);
    }
    let text = client.log(job, None).await?;
    if text.is_empty() {
        let is_over = matches!(view.state, JobState::Succeeded | JobState::Failed | JobState::Cancelled);
        let so_far = if is_over { "" } else { " so far" };
        output::note(&format!("job {job} has printed nothing{so_far}"));
        return Ok(());
    }
    output::print_content(&text)
}

fn no_attempt(job: &JobView, number: u32) -> Error {
    let had = match job.attempts {
        0 => "none has begun".to_owned(),
        1 => "there is attempt 1 only".to_owned(),
        count => format!("there are {count}, numbered from 1"),
    };
    let id = job.id;
    Error::usage(format_args!("job {id} (`{}`) has no attempt {number}: {had}", job.name))
        .hint(format_args!("`bue explain {id}` lists them"))
}

/// The logs of all jobs that left one, in the order of the jobs.
async fn show_run(client: &Client, run: &RunId) -> Result {
    let mut after = None;
    let mut is_empty = true;
    loop {
        let page = client.logged_jobs(run, after, PAGE).await?;
        let mut logs = stream::iter(&page.jobs)
            .map(async |job| Ok::<_, Error>((job, client.log(job.id, None).await?)))
            .buffered(LOGS_AT_ONCE);
        while let Some(log) = logs.next().await {
            let (job, text) = log?;
            is_empty = false;
            let end = if text.ends_with('\n') { "" } else { "\n" };
            if !output::print_part(&format!("--- {} {}\n{text}{end}", job.id, job.name))? {
                return Ok(());
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if is_empty {
        let so_far = if client.run(run).await?.state == RunState::Running { " so far" } else { "" };
        output::note(&format!("no job of run {run} has left a log{so_far}"));
    }
    Ok(())
}

/// Prints attempt after attempt as they print, until the job has ended or nobody reads on.
async fn follow(client: &Client, job: JobId) -> Result {
    let mut known = LogNews { state: JobState::Waiting, attempt: 0, from: 0, text: String::new() };
    loop {
        let mut news = client.log_news(job, &known).await?;
        let has_ended = known.is_running() && (news.attempt != known.attempt || !news.is_running());
        if has_ended && !finish(client, job, known.attempt, printed(&known)).await? {
            return Ok(());
        }
        for attempt in missed(&known, &news) {
            announce(job, attempt);
            if !finish(client, job, attempt, 0).await? {
                return Ok(());
            }
        }
        if news.is_running() {
            let place = if news.attempt == known.attempt { printed(&known) } else { 0 };
            if news.attempt != known.attempt {
                announce(job, news.attempt);
            }
            if news.from > place {
                output::note(&format!("… {} bytes left out …", news.from - place));
            }
            if !output::print_part(&news.text)? {
                return Ok(());
            }
        } else {
            // What there was of it has been printed as a whole.
            (news.from, news.text) = (printed(&known), String::new());
        }
        if news.is_over() {
            return verdict(job, news.state);
        }
        known = news;
    }
}

/// Attempts that began and ended between two looks; of those before the first look the last one.
fn missed(known: &LogNews, news: &LogNews) -> std::ops::RangeInclusive<u32> {
    let last = if news.is_running() { news.attempt.saturating_sub(1) } else { news.attempt };
    let first = match known.attempt {
        0 if news.is_running() => news.attempt,
        0 => last.max(1),
        attempt => attempt + 1,
    };
    first..=last
}

/// Says which attempt it is, unless it is the first.
fn announce(job: JobId, attempt: u32) {
    if attempt > 1 {
        output::note(&format!("job {job}: attempt {attempt}"));
    }
}

/// Bytes of the attempt's log that were printed.
fn printed(known: &LogNews) -> u64 {
    known.from + known.text.len() as u64
}

/// Prints what is left of the log of an attempt that is over, and tells whether there is somebody who reads on.
async fn finish(client: &Client, job: JobId, attempt: u32, printed: u64) -> Result<bool> {
    let text = client.log(job, Some(attempt)).await?;
    output::print_part(rest(&text, printed))
}

/// What comes after `printed` bytes of a log, of which the middle may be left out.
fn rest(text: &str, printed: u64) -> &str {
    let after = |text: &'_ str, place: u64| {
        text.ceil_char_boundary(usize::try_from(place).unwrap_or(usize::MAX).min(text.len()))
    };
    let Some((first, number, last)) = left_out(text) else { return &text[after(text, printed)..] };
    let last_begins = first.len() as u64 + number;
    if printed <= first.len() as u64 {
        &text[after(text, printed)..]
    } else {
        &last[after(last, printed.saturating_sub(last_begins))..]
    }
}

/// A log around what is left out of it, and how many bytes that are.
fn left_out(text: &str) -> Option<(&str, u64, &str)> {
    let (head, last) = text.split_once(LEFT_OUT.1)?;
    let (first, number) = head.rsplit_once(LEFT_OUT.0)?;
    Some((first, number.parse().ok()?, last))
}

fn verdict(job: JobId, state: JobState) -> Result {
    match state {
        JobState::Failed => Err(Error::new(Kind::Failed, format_args!("job {job} has failed"))
            .hint(format_args!("`bue explain {job}` shows its error"))),
        JobState::Cancelled => {
            output::note(&format!("job {job} was cancelled"));
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_log_begins_where_the_printed_part_ends() {
        assert_eq!(rest("one\ntwo\n", 0), "one\ntwo\n");
        assert_eq!(rest("one\ntwo\n", 4), "two\n");
        assert_eq!(rest("one\ntwo\n", 100), "");
    }

    #[test]
    fn attempts_that_were_over_between_two_looks_are_shown_too() {
        let look = |state, attempt| LogNews { state, attempt, from: 0, text: String::new() };
        let missed = |known, news: LogNews| missed(&known, &news).collect::<Vec<_>>();
        let (leased, failed, waiting) = (JobState::Leased, JobState::Failed, JobState::Waiting);
        assert_eq!(missed(look(leased, 1), look(failed, 3)), [2, 3]);
        assert_eq!(missed(look(leased, 1), look(leased, 3)), [2]);
        assert_eq!(missed(look(leased, 1), look(failed, 1)), [0; 0]);
        assert_eq!(missed(look(waiting, 0), look(failed, 3)), [3]);
        assert_eq!(missed(look(waiting, 0), look(leased, 3)), [0; 0]);
        assert_eq!(missed(look(waiting, 0), look(waiting, 0)), [0; 0]);
    }

    #[test]
    fn of_a_log_without_its_middle_the_last_part_is_found() {
        let text = "first\n… 100 bytes left out …\nlast lines\n";
        assert_eq!(rest(text, 5), "\n… 100 bytes left out …\nlast lines\n");
        assert_eq!(rest(text, 50), "last lines\n");
        assert_eq!(rest(text, 110), "lines\n");
    }
}
