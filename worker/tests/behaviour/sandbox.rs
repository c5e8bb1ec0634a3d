//! Steps in their sandbox, with a hub in memory: that they work in it as they do without.

use std::time::Duration;

use bue_worker::{Config, Sandbox, Start, find_python};
use sandbox::{Identity, Layer, Level, probe};

use crate::fake_hub::{Fleet, log_text, python, sqlite};

/// The sandbox of this machine, as a worker would use it.
pub fn here(config: &mut Config) {
    let identity = match Identity::own() {
        Identity { user: 0, .. } => Identity { user: 65_530, group: 65_530 },
        own => own,
    };
    let folder = config.data_dir.join("sandbox");
    std::fs::create_dir_all(&folder).unwrap();
    let report = probe(&config.program, &folder, identity).unwrap();
    assert_eq!(report.missing(), Vec::<&sandbox::Finding>::new());
    config.sandbox =
        Sandbox { level: Level { report: Some(report) }, identity, readable: Vec::new(), writable: Vec::new() };
}

const WHERE: &str = "import os\ndef step():\n    return [os.getcwd(), os.getuid(), sorted(os.listdir('/proc'))[:3], os.getpid(), os.getppid()]\n";

#[tokio::test]
async fn a_step_runs_in_a_cell_forked_and_fresh_alike() {
    for start in [Start::Forked, Start::Fresh] {
        let fleet = Fleet::with(|config| {
            here(config);
            config.start = start;
        });
        let value = fleet.value(python(WHERE)).await;
        assert!(value.starts_with("[\"/run/step/files\","), "{start:?}: {value}");
        // A fork's parent is outside its cell, a fresh interpreter's is the first process of it.
        let parent = if start == Start::Forked { 0 } else { 1 };
        assert!(value.ends_with(&format!("[\"1\",\"2\",\"acpi\"],2,{parent}]")), "{start:?}: {value}");
        for _ in 0..20 {
            assert_eq!(fleet.value(python("def step():\n    return 1\n")).await, "1");
        }
    }
}

/// Does all that it can to the file that its table came in, and counts the rows.
const SPOIL: &str = "
import os

def attempt(action, *words):
    try:
        action(*words)
    except OSError:
        pass

def write(path, mode):
    with open(path, mode) as file:
        file.write('spoilt' * 100)

def step(rows):
    path = next(os.path.join('..', name) for name in os.listdir('..') if name.startswith('input'))
    attempt(write, path, 'r+')
    attempt(os.truncate, path, 10)
    attempt(os.chmod, path, 0o666)
    attempt(write, path, 'w')
    attempt(os.link, path, '../files/kept')
    attempt(write, '../files/kept', 'w')
    attempt(os.remove, path)
    attempt(write, path, 'w')
    return len(rows)
";

#[tokio::test]
async fn a_step_that_spoils_the_file_of_its_table_spoils_it_for_nobody_else() {
    for change in [here, without_namespaces, |_: &mut Config| ()] {
        let fleet = Fleet::with(change);
        let make = "def step():\n    return [{'n': n, 's': str(n)} for n in range(10_000)]\n";
        let table = fleet.stored(python(make)).await;
        let result = fleet.stored(sqlite("SELECT n, s FROM orders").value(table.clone())).await;
        for value in [table, result] {
            for _ in 0..2 {
                assert_eq!(fleet.value(python(SPOIL).value(value.clone())).await, "10000");
            }
            let sum = sqlite("SELECT count(*) AS c, sum(n) AS n, sum(length(s)) AS s FROM orders");
            assert_eq!(fleet.value(sum.value(value)).await, r#"[{"c":10000,"n":49995000,"s":38890}]"#);
        }
    }
}

/// The sandbox of a machine on which no user can make namespaces, as in a container.
fn without_namespaces(config: &mut Config) {
    here(config);
    // The steps' user must reach its folders at their own places.
    for folder in [config.data_dir.parent().unwrap(), &config.data_dir] {
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    }
    config.python = find_python(Some("/usr/bin/python3".as_ref())).unwrap();
    let program = config.data_dir.parent().unwrap().join("program");
    std::fs::copy(&config.program, &program).unwrap();
    config.program = program;
    let missing = [Layer::Users, Layer::Processes, Layer::Files, Layer::Attempts, Layer::Network];
    for finding in &mut config.sandbox.level.report.as_mut().unwrap().findings {
        finding.missing = missing.contains(&finding.layer).then(|| "not on this machine".to_owned());
    }
}

const ALONE: &str = r#"
import os, time

def wait_for(path):
    end = time.monotonic() + 60
    while not os.path.exists(path) and time.monotonic() < end:
        time.sleep(0.01)

def step(part, shared):
    return keep(shared) if part == "keep" else look(shared)

def keep(shared):
    with open("canary", "w") as file:
        file.write("canary of another attempt")
    open(f"{shared}/kept", "w").close()
    wait_for(f"{shared}/looked")
    return [os.getuid(), open("canary").read()]

def look(shared):
    wait_for(f"{shared}/kept")
    finds, folder = [], os.path.dirname(os.path.dirname(os.getcwd()))
    for name in map(str, range(10)):
        for way in (os.listdir, lambda path: open(f"{path}/files/canary").read()):
            try:
                way(f"{folder}/{name}")
                finds.append(name)
            except OSError:
                pass
    try:
        os.listdir(folder)
        finds.append(folder)
    except OSError:
        pass
    open(f"{shared}/looked", "w").close()
    status = open("/proc/self/status").read()
    rights = [line.split()[1] for line in status.splitlines() if line.startswith(("CapEff", "CapPrm"))]
    return [sorted(set(finds)) == [os.path.basename(os.path.dirname(os.getcwd()))], set(rights) == {"0" * 16}]
"#;

#[tokio::test]
async fn without_namespaces_attempts_are_another_user_and_shut_off_from_each_other() {
    for start in [Start::Forked, Start::Fresh] {
        let shared = tempfile::tempdir().unwrap();
        std::fs::set_permissions(shared.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let fleet = Fleet::with(|config| {
            without_namespaces(config);
            config.start = start;
            config.sandbox.writable.push(shared.path().to_owned());
        });
        let input = format!("{:?}", shared.path());
        let work = |part: &str| python(ALONE).input(&format!("{part:?}")).input(&input);
        let (kept, looked) = tokio::join!(fleet.value(work("keep")), fleet.value(work("look")));
        let Identity { user, .. } = match Identity::own() {
            Identity { user: 0, .. } => Identity { user: 65_530, group: 65_530 },
            own => own,
        };
        assert_eq!(kept, format!("[{user},\"canary of another attempt\"]"), "{start:?}");
        assert_eq!(looked, "[true,true]", "{start:?}");
        let bounded = python("def step():\n    pass\n").set(|settings| settings.runtime.processes = Some(8));
        assert!(log_text(&fleet.run(bounded).await).contains("`!processes` does not hold"));
        for number in ["[{\"n\":1}]", "[{\"n\":2}]"] {
            assert_eq!(fleet.value(sqlite("SELECT n FROM orders").input(number)).await, number, "{start:?}");
        }
    }
}

/// With one slot an attempt begins when all of the one before is cleared away.
fn one_after_another(config: &mut Config) {
    here(config);
    config.slots = 1;
}

/// What an attempt finds: in its folder, among its processes, and on the folder itself.
const LOOK: &str = "import os
def step():
    files = sorted(os.path.join(top, name) for top, folders, files in os.walk('/run/step') for name in folders + files)
    others = [pid for pid in os.listdir('/proc') if pid.isdigit() and pid not in ('1', str(os.getpid()))]
    return [files, others, oct(os.stat('/run/step').st_mode), os.listxattr('/run/step')]
";

#[tokio::test]
async fn a_cell_serves_again_after_an_attempt_that_left_nothing() {
    let fleet = Fleet::with(one_after_another);
    let own_pid = || python("import os\ndef step():\n    return os.getpid()\n").of_one_bundle();
    for expected in ["2", "3", "4"] {
        assert_eq!(fleet.value(own_pid()).await, expected);
    }
    // What is too large for a line is a file, and is gone with its attempt.
    let large = fleet.value(python("def step():\n    return 'x' * 100_000\n").of_one_bundle()).await;
    assert_eq!(large.len(), 100_002);
    assert_eq!(fleet.value(own_pid()).await, "6");
    let found = "[[\"/run/step/files\",\"/run/step/files/script.bue\",\"/run/step/tmp\"],[],\"0o40755\",[]]";
    assert_eq!(fleet.value(python(LOOK).of_one_bundle()).await, found);
}

#[tokio::test]
async fn sql_steps_one_after_another_find_nothing_of_each_other_in_their_cell() {
    let fleet = Fleet::with(one_after_another);
    for number in ["1", "2", "3"] {
        let sql = format!(
            "CREATE TABLE left_behind (n); INSERT INTO left_behind VALUES ({number}); SELECT * FROM left_behind"
        );
        assert_eq!(fleet.value(sqlite(&sql).of_one_bundle()).await, format!("[{{\"n\":{number}}}]"));
        // A table is a file, and is gone with its attempt.
        let rows = fleet
            .stored(
                sqlite("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT i FROM n")
                    .of_one_bundle(),
            )
            .await;
        assert_eq!(rows.passes(), Some(20_000));
    }
    let too_much = sqlite("SELECT randomblob(100000000) AS b");
    let error =
        fleet.error(too_much.of_one_bundle().set(|settings| settings.runtime.memory_bytes = Some(32 << 20))).await;
    assert_eq!(error.kind, protocol::ErrorKind::Memory, "{error:?}");
    assert_eq!(fleet.value(sqlite("SELECT 4 AS n").of_one_bundle()).await, "[{\"n\":4}]");
}

/// How long its process has been there, in seconds.
const AGE: &str = "import os, time
def step():
    began = int(open('/proc/self/stat').read().rpartition(')')[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf('SC_CLK_TCK')
";

#[tokio::test]
async fn a_process_waits_for_the_next_attempt_of_a_bundle() {
    let fleet = Fleet::with(one_after_another);
    for attempt in 0..3 {
        let age: f64 = fleet.value(python(AGE).of_one_bundle()).await.parse().unwrap();
        assert!(attempt == 0 || age > 1.0, "the process of attempt {attempt} was there for {age} s only");
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }
    // The one that waits is not for another bundle's.
    let other =
        fleet.value(python("import os\ndef step():\n    return sorted(os.listdir())\n").file("a.txt", "a")).await;
    assert_eq!(other, "[\"a.txt\",\"script.bue\"]");
}

#[tokio::test]
async fn whatever_an_attempt_leaves_behind_is_not_there_for_the_next_one() {
    let fleet = Fleet::with(one_after_another);
    let untouched = fleet.value(python(LOOK).of_one_bundle()).await;
    let deeds = [
        ("another content of a file of its bundle", "open('script.bue', 'r+').write('!')"),
        ("no file of its bundle", "os.remove('script.bue')"),
        ("a file in its folder", "open('left', 'w').close()"),
        ("a file in its home", "open(os.environ['HOME'] + '/left', 'w').close()"),
        ("a file in /tmp", "open('/tmp/left', 'w').close()"),
        ("shared memory", "open('/dev/shm/left', 'w').close()"),
        ("a file beside its folder", "open('/run/step/left', 'w').close()"),
        ("what looks like a value", "open('/run/step/value.json', 'w').close()"),
        ("a folder that looks like a value", "os.mkdir('/run/step/value')"),
        ("a link that looks like a value", "os.symlink('/etc/passwd', '/run/step/value.arrow')"),
        ("no right to its own folder", "os.chmod('/run/step', 0o700)"),
        ("no right to its files", "os.chmod('/run/step/files', 0o500)"),
        ("a note on the folder", "os.setxattr('/run/step', 'user.note', b'left')"),
        (
            "another folder in place of its own",
            "os.chdir('/'); shutil.rmtree('/run/step/files'); os.mkdir('/run/step/files')",
        ),
        ("a process", "os.fork() or time.sleep(60)"),
        ("a process of another session", "os.fork() or (os.setsid(), os.fork(), time.sleep(60))"),
        (
            "a process that ignores signals",
            "os.fork() or ([signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)], time.sleep(60))",
        ),
        // A child of its own parent, where nobody would look for it.
        ("a sibling", "ctypes.CDLL(None, use_errno=True).syscall(56, 0x8000 | 17, 0, 0, 0, 0) or time.sleep(60)"),
    ];
    for (what, deed) in deeds {
        let code = format!("import ctypes, os, shutil, signal, time\ndef step():\n    {deed}\n    return 1\n");
        assert_eq!(fleet.value(python(&code).of_one_bundle()).await, "1", "{what}");
        assert_eq!(fleet.value(python(LOOK).of_one_bundle()).await, untouched, "after {what}");
    }
}
