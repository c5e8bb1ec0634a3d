//! Work for a fleet under faults: a loop whose values travel through the bucket, and the proof that all of it was done once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::fleet::{Fleet, Process, eventually};
use crate::postgres::Server;

/// A run that is on its way, with a client that waits for its end.
pub struct Load {
    upload: Process,
    journal: PathBuf,
    passes: usize,
}

/// Where the queue is kept, to look at its history.
pub enum Queue<'a> {
    File(PathBuf),
    Database(&'a Server, &'a str),
}

impl Load {
    /// Uploads a loop over `passes` numbers, with two jobs in each pass; further words go to `bue upload`.
    pub fn start(fleet: &mut Fleet, passes: usize, words: &[&str]) -> Self {
        let journal = fleet.path().join("journal");
        let script = script(passes, &journal.display().to_string());
        fleet.write("load/load.bue", &script);
        let mut all = vec!["upload", "load/load.bue", "--wait"];
        all.extend(words);
        Self { upload: fleet.spawn(&all), journal, passes }
    }

    /// Attempts of the loop's first step that have begun so far.
    pub fn begun(&self) -> usize {
        self.lines().len()
    }

    /// Waits until that many further attempts have begun; answers with whether the run goes on.
    pub fn advances_by(&mut self, attempts: usize) -> bool {
        let target = self.begun() + attempts;
        eventually("the run to go on", || (self.begun() >= target || self.upload.has_ended()).then_some(()));
        !self.upload.has_ended()
    }

    /// Waits for the end of the run; every job must have succeeded, once.
    #[track_caller]
    pub fn ends_well(self, fleet: &mut Fleet, words: &[&str], queue: &Queue<'_>) {
        self.ends(fleet, words).was_done_once(fleet, queue);
    }

    /// Waits for the end of the run; every job must have succeeded, with its value.
    #[track_caller]
    pub fn ends(self, fleet: &mut Fleet, words: &[&str]) -> Ended {
        let Self { upload, journal, passes } = self;
        let ended = upload.end().expect(0);
        let run = ended.run();
        let mut status = vec!["status", run.as_str(), "--json"];
        status.extend(words);
        let document: Value = serde_json::from_str(&fleet.bue(&status).expect(0).stdout).unwrap();
        assert_eq!(document["run"]["state"], "succeeded", "{:#}", document["run"]);
        assert_eq!(document["run"]["counts"]["succeeded"], 2 * passes + 1, "{:#}", document["run"]);
        let mut results = vec!["results", run.as_str(), "--json"];
        results.extend(words);
        let document: Value = serde_json::from_str(&fleet.bue(&results).expect(0).stdout).unwrap();
        let values: BTreeSet<u64> =
            document["results"].as_array().unwrap().iter().map(|result| result["value"].as_u64().unwrap()).collect();
        assert_eq!(values, (0..passes as u64).map(|number| 2 * number).collect(), "the values of all passes");
        Ended { journal: lines(&journal), passes }
    }

    fn lines(&self) -> Vec<String> {
        lines(&self.journal)
    }
}

/// A run that has come to its end.
pub struct Ended {
    journal: Vec<String>,
    passes: usize,
}

impl Ended {
    /// Every job has one success in the queue's history, and had one key.
    #[track_caller]
    pub fn was_done_once(self, fleet: &mut Fleet, queue: &Queue<'_>) {
        assert_eq!(history(fleet, queue), (2 * self.passes + 1, 0), "jobs with a success, and with more than one");
        each_has_one_key(&self.journal, self.passes);
    }
}

fn lines(journal: &Path) -> Vec<String> {
    fs::read_to_string(journal).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn script(passes: usize, journal: &str) -> String {
    format!(
        "\
numbers:
    python
    numbers
    `def numbers(): return list(range({passes}))`

work:
    python
    work
    `def work(number):
    import os, time
    with open('{journal}', 'a') as file:
        file.write(os.environ['BUE_ATTEMPT_KEY'] + f' {{number}}\\n')
    time.sleep(0.02)
    return {{'number': number, 'ballast': 'x' * 20000}}`

check:
    python
    check
    `def check(value):
    assert len(value['ballast']) == 20000
    return 2 * value['number']`

all_numbers = | numbers
one = work | check
for number in all_numbers():
    one(number)
"
    )
}

/// Whatever number of attempts a pass took, its steps saw one key: effects that are made under it are made once.
fn each_has_one_key(journal: &[String], passes: usize) {
    let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in journal {
        let (key, number) = line.split_once(' ').unwrap();
        keys.entry(number).or_default().insert(key);
    }
    assert_eq!(keys.len(), passes, "passes that ran");
    assert!(keys.values().all(|keys| keys.len() == 1), "{keys:?}");
}

const JOBS_DONE: &str = "SELECT count(DISTINCT job) FROM attempts WHERE outcome = 'success'";
const DONE_TWICE: &str = "SELECT count(*) FROM (SELECT job FROM attempts WHERE outcome = 'success' GROUP BY job HAVING count(*) > 1) AS twice";

/// Jobs of which the queue's history has a success, and those of which it has several.
pub fn history(fleet: &mut Fleet, queue: &Queue<'_>) -> (usize, usize) {
    (ask(fleet, queue, JOBS_DONE), ask(fleet, queue, DONE_TWICE))
}

/// Asks the queue's database for a number.
pub fn ask(fleet: &mut Fleet, queue: &Queue<'_>, sql: &str) -> usize {
    let text = match queue {
        Queue::File(file) => ask_file(fleet, file, sql),
        Queue::Database(server, database) => server.ask(database, &format!("SET search_path = bue; {sql}")),
    };
    text.trim().parse().unwrap()
}

impl Queue<'_> {
    /// The file of the fleet's own hub.
    pub fn of(fleet: &Fleet) -> Self {
        Self::File(fleet.path().join(".bue/hub/queue.db"))
    }
}

/// Asks the queue's file, also while the hub runs on it.
fn ask_file(fleet: &mut Fleet, file: &Path, sql: &str) -> String {
    let mut command = Command::new("python3");
    let program = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])";
    command.args(["-c", program]).arg(file).arg(sql);
    fleet.spawn_command(command, "sqlite").end().expect(0).stdout
}
