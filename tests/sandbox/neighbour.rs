//! An attempt that runs beside a hostile one, of the same upload and of another: nothing of it is seen, and it goes on.

use crate::fleet::{Fleet, eventually};
use crate::range::CANARY;

/// Keeps something wherever a step can keep it, and says that it is still there.
const VICTIM: &str = r#"
victim:
    python
    victim
    `
import os, subprocess, sys, time

SECRET = '-'.join(['canary', '7f3a91'])

def victim():
    os.environ['SECRET'] = SECRET
    for folder in ('.', '/tmp', '/dev/shm', '/var/tmp'):
        with open(os.path.join(folder, 'kept'), 'w') as file:
            file.write(SECRET)
    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', SECRET])
    number = 0
    while True:
        number += 1
        print('still here', number, flush=True)
        time.sleep(0.05)
`
"#;

/// Looks into all that it can reach, ends whom it can end, and tells what it found.
const ATTACKER: &str = r#"
attacker:
    python
    attacker
    `
import os, signal

SECRET = '-'.join(['canary', '7f3a91']).encode()

def holds(path):
    try:
        with open(path, 'rb') as file:
            return SECRET in file.read(1 << 20)
    except OSError:
        return False

def attacker():
    found = []
    for root in ('/run', '/tmp', '/var/tmp', '/dev', '/.attempts', '/proc/1/root', '/proc/1/cwd', '..'):
        for folder, _, names in os.walk(root):
            found += [path for path in (os.path.join(folder, name) for name in names) if name_is_kept(path)]
    own = {str(os.getpid())}
    others = [pid for pid in os.listdir('/proc') if pid.isdigit() and pid not in own]
    for pid in others:
        found += [path for path in (f'/proc/{pid}/{name}' for name in ('environ', 'cmdline', 'mem')) if holds(path)]
    # All at once, then one by one.
    for pid in (-1, *range(2, 400)):
        if str(pid) not in own:
            try:
                os.kill(pid, signal.SIGKILL)
                found.append(f'process {pid}')
            except OSError:
                pass
    return ' '.join(found) or 'nothing'

def name_is_kept(path):
    return os.path.basename(path) == 'kept' and holds(path)
`
"#;

fn job(fleet: &mut Fleet, run: &str, name: &str) -> String {
    eventually("a job", || {
        let told = fleet.bue(&["status", run, "--json"]).expect(0);
        let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
        let jobs = told["jobs"].as_array().unwrap();
        Some(jobs.iter().find(|job| job["name"] == name)?["id"].as_str()?.to_owned())
    })
}

/// Waits for another sign of life of a victim.
fn still_there(fleet: &mut Fleet, victim: &str) {
    let signs = |fleet: &mut Fleet| fleet.bue(&["logs", victim]).stdout.matches("still here").count();
    let before = signs(fleet);
    eventually("a sign of life", || (signs(fleet) > before).then_some(()));
}

#[test]
fn an_attempt_that_runs_beside_a_hostile_one_is_not_seen_and_goes_on() {
    let mut fleet = Fleet::empty().start(0);
    fleet.start_worker(&["--sandbox", "strict", "-n", "3"]);
    let upload = |fleet: &mut Fleet, name: &str, text: &str| {
        fleet.write(&format!("{name}/{name}.bue"), text);
        fleet.bue(&["upload", &format!("{name}/{name}.bue")]).expect(0).stdout.trim().to_owned()
    };
    // One upload holds both, so that they come of one interpreter and one bundle.
    let together = format!("{VICTIM}{ATTACKER}p = | victim\nq = | attacker\np()\nq()\n");
    let run = upload(&mut fleet, "together", &together);
    let victim = job(&mut fleet, &run, "victim");
    still_there(&mut fleet, &victim);
    for other in ["one", "two"] {
        let run = upload(&mut fleet, other, &format!("{ATTACKER}q = | attacker\nv = q()\n"));
        let attacker = job(&mut fleet, &run, "attacker");
        let state = eventually("the attacker's end", || {
            let view = fleet.run_view(&run)["state"].as_str()?.to_owned();
            (view != "running").then_some(view)
        });
        assert_eq!(state, "succeeded", "{}", fleet.bue(&["explain", &attacker]).stdout);
        assert_eq!(fleet.bue(&["value", &attacker]).expect(0).stdout.trim(), "\"nothing\"");
        still_there(&mut fleet, &victim);
    }
    // The one beside it in its own run found as little.
    let beside = job(&mut fleet, &run, "attacker");
    assert_eq!(fleet.bue(&["value", &beside]).expect(0).stdout.trim(), "\"nothing\"");
    fleet.bue(&["cancel", &run]).expect(0);
    assert!(!fleet.bue(&["logs", &beside]).stdout.contains(CANARY));
}
