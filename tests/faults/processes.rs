//! Processes that are killed in the middle of a run: nothing is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::fleet::{Fleet, eventually, is_alive};

/// A loop over `count` numbers; each pass notes its number in a file, takes a while and gives it back.
fn slow_loop(fleet: &Fleet, count: usize) -> String {
    let journal = fleet.path().join("journal");
    let journal = journal.display();
    let script = format!(
        "\
numbers:
    python
    numbers
    `def numbers(): return list(range({count}))`

slow:
    python
    slow
    `def slow(number):
    import os, time
    with open('{journal}', 'a') as file:
        file.write(f'{{number}}\\n')
    time.sleep(0.2)
    return number`

all_numbers = | numbers
one = | slow
for number in all_numbers():
    one(number)
"
    );
    fleet.write("s/slow.bue", &script).display().to_string()
}

fn journal(folder: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(folder.join("journal")).unwrap_or_default().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn a_hub_that_is_killed_and_started_again_loses_no_job() {
    let mut fleet = Fleet::unenclosed().start(2);
    let script = slow_loop(&fleet, 60);
    let upload = fleet.spawn(&["upload", "-f", &script, "--wait"]);
    eventually("some passes", || (journal(fleet.path()).len() >= 5).then_some(()));
    fleet.hub.as_mut().unwrap().kill();
    eventually("a client that notices", || upload.stderr().contains("trying again").then_some(()));
    fleet.start_hub();
    let ended = upload.end().expect(0).says(&["is back"]);
    let run = ended.stderr.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    let view = fleet.run_view(&run);
    assert_eq!(view["state"], "succeeded");
    assert_eq!(view["counts"]["succeeded"], 61);
    let counts = journal(fleet.path());
    assert_eq!(counts.len(), 60);
    // The workers lived on, so their steps did not run again.
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

#[test]
fn a_worker_that_is_killed_leaves_no_step_behind_and_its_job_runs_again() {
    let mut fleet = Fleet::unenclosed().with("BUE_LAPSE", "1s").with("BUE_BEAT", "200ms").start(1);
    let folder = fleet.path().display().to_string();
    let script = format!(
        "\
wait:
    python
    wait
    `def wait():
    import os, time
    with open('{folder}/pid-new', 'w') as file:
        file.write(str(os.getpid()))
    os.rename('{folder}/pid-new', '{folder}/pid')
    while not os.path.exists('{folder}/go'):
        time.sleep(0.01)
    return os.environ['BUE_ATTEMPT']`

p = | wait
v = p()
"
    );
    fleet.write("s/x.bue", &script);
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    let pid_file = fleet.path().join("pid");
    let pid: i32 = eventually("the step", || fs::read_to_string(&pid_file).ok()?.parse().ok());
    fs::remove_file(&pid_file).unwrap();
    fleet.workers.remove(0).kill();
    eventually("the end of the step of a killed worker", || (!is_alive(pid)).then_some(()));

    fleet.start_worker(&[]);
    eventually("a second attempt", || fs::read_to_string(&pid_file).ok());
    fleet.write("go", "");
    let ended = upload.end().expect(0);
    assert!(ended.stdout.contains("\"2\""), "{}", ended.stdout);
}

#[test]
fn a_bucket_that_is_killed_and_started_again_fails_no_job() {
    let mut fleet = Fleet::unenclosed().start(1);
    let folder = fleet.path().display().to_string();
    let script = format!(
        "\
large:
    python
    large
    `def large():
    import os, time
    open('{folder}/here', 'w').close()
    while not os.path.exists('{folder}/go'):
        time.sleep(0.01)
    return 'x' * 1000000`

size:
    python
    size
    `def size(text): return len(text)`

p = large | size
v = p()
"
    );
    fleet.write("s/x.bue", &script);
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    eventually("the step", || fleet.path().join("here").exists().then_some(()));
    fleet.bucket.as_mut().unwrap().kill();
    fleet.write("go", "");
    eventually("a worker that notices", || {
        fleet.workers[0]
            .stderr()
            .contains("bucket")
            .then(|| fleet.workers[0].stderr().contains("cannot be reached").then_some(()))?
    });
    fleet.start_bucket();
    let ended = upload.end().expect(0);
    assert!(ended.stdout.contains("1000000"), "{}", ended.stdout);
}

#[test]
fn a_local_run_that_is_stopped_leaves_no_step_behind() {
    let mut fleet = Fleet::unenclosed();
    let folder = fleet.path().display().to_string();
    fleet.write(
        "s/x.bue",
        &format!(
            "a:\n    python\n    f\n    `def f():\n    import os, time\n    open('{folder}/new', 'w').write(str(os.getpid()))\n    \
             os.rename('{folder}/new', '{folder}/pid')\n    time.sleep(1000)`\np = | a\np()\n"
        ),
    );
    let run = fleet.spawn(&["run", "s/x.bue"]);
    let pid: i32 = eventually("the step", || fs::read_to_string(fleet.path().join("pid")).ok()?.parse().ok());
    run.terminate();
    run.end().expect(1).says(&["stopped before the run had ended"]);
    eventually("the end of the step", || (!is_alive(pid)).then_some(()));
}

/// A step that starts a process of its own, notes its id, and never ends.
fn step_with_a_child(fleet: &Fleet) -> String {
    let folder = fleet.path().display().to_string();
    format!(
        "a:\n    python\n    f\n    `def f():\n    import os, subprocess, time\n    \
         child = subprocess.Popen(['sleep', '1000'])\n    \
         open('{folder}/new', 'w').write(str(child.pid))\n    os.rename('{folder}/new', '{folder}/pid')\n    \
         time.sleep(1000)`\np = | a\np()\n"
    )
}

#[test]
fn what_a_step_started_ends_with_a_worker_that_is_killed_or_told_twice_to_stop() {
    let mut fleet = Fleet::unenclosed().with("BUE_LAPSE", "1s").with("BUE_BEAT", "200ms").start(1);
    fleet.write("s/x.bue", &step_with_a_child(&fleet));
    fleet.bue(&["upload", "s/x.bue"]).expect(0);
    let pid_file = fleet.path().join("pid");
    let pid: i32 = eventually("the step's child", || fs::read_to_string(&pid_file).ok()?.parse().ok());
    fs::remove_file(&pid_file).unwrap();
    assert!(is_alive(pid));
    fleet.workers.remove(0).kill();
    eventually("the end of the child of a killed worker's step", || (!is_alive(pid)).then_some(()));

    fleet.start_worker(&[]);
    let pid: i32 = eventually("the child of a second attempt", || fs::read_to_string(&pid_file).ok()?.parse().ok());
    assert!(is_alive(pid));
    let mut worker = fleet.workers.remove(0);
    worker.terminate();
    worker.wait_for("finishing 1 attempt,");
    // At once it would be taken for the same word, said twice.
    std::thread::sleep(Duration::from_millis(300));
    worker.terminate();
    worker.end().expect(130).says(&["told twice"]);
    eventually("the end of the child of an impatient worker's step", || (!is_alive(pid)).then_some(()));
}

#[test]
fn what_a_killed_local_run_left_is_swept_by_the_next_one() {
    let fleet = Fleet::unenclosed();
    let temporary = fleet.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    let mut fleet = fleet.with("TMPDIR", temporary.to_str().unwrap());
    fleet.write("s/x.bue", &step_with_a_child(&fleet));
    let mut killed = fleet.spawn(&["run", "s/x.bue"]);
    let pid: i32 = eventually("the step", || fs::read_to_string(fleet.path().join("pid")).ok()?.parse().ok());
    killed.kill();
    eventually("the end of the step's child", || (!is_alive(pid)).then_some(()));
    let left = || fs::read_dir(&temporary).unwrap().count();
    assert_eq!(left(), 1);
    fleet.write("s/y.bue", "a:\n    python\n    f\n    `def f(): return 1`\np = | a\np()\n");
    fleet.bue(&["run", "s/y.bue"]).expect(0);
    assert_eq!(left(), 0);
}
