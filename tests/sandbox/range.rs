//! The fleet that is attacked: a worker that insists on all layers, and things planted where no step may look.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::expected::Attack;
use crate::fleet::{Fleet, eventually};

/// What is planted; `attacks/attack.py` looks for it.
pub const CANARY: &str = "canary-7f3a91";
/// The user of a worker that is not root's, where root runs the tests.
const ORDINARY: u32 = 64_999;

/// Setting of steps that share an interpreter; attacks have another name there.
pub const SHARED: &str = "!isolation shared";

/// Whether the worker is root's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    Root,
    Ordinary,
}

/// How one attack ended.
#[derive(Debug)]
pub struct Ended {
    pub value: Option<String>,
    pub kind: Option<String>,
    #[expect(dead_code, reason = "shown where an attack did not end as it should")]
    message: Option<String>,
}

/// How all of them ended.
pub struct Report {
    ends: BTreeMap<String, Ended>,
    /// All that the hub tells of them.
    pub text: String,
}

impl Report {
    pub fn of(&self, name: &str) -> Option<&Ended> {
        self.ends.get(name)
    }
}

pub struct Range {
    fleet: Fleet,
    /// An argument that no other process has.
    mark: String,
    session: String,
    jobs: Vec<String>,
    _listeners: [UnixListener; 2],
}

impl Range {
    /// Starts a fleet whose worker insists on all layers, and plants what is to be found by nobody.
    pub fn prepare(user: User) -> Self {
        Self::with_sandbox(user, "strict")
    }

    /// The same with no sandbox at all: here attacks must get through, or they show nothing.
    pub fn prepare_without_sandbox(user: User) -> Self {
        Self::with_sandbox(user, "off")
    }

    fn with_sandbox(user: User, sandbox: &str) -> Self {
        let mut fleet = Fleet::empty()
            .with("PLANTED", CANARY)
            .with("BUE_WORKER_STOP_GRACE", "300ms")
            .with("BUE_STEP_SCRATCH_BYTES_MAX", "64MiB")
            .with("BUE_STEP_SCRATCH_FILES_MAX", "2000");
        let home = fleet.path().join("home");
        fleet = fleet.with("HOME", &home.display().to_string());
        fleet.write(".env", &format!("PLANTED_TOO={CANARY}\n"));
        fleet.write("home/.ssh/id_ed25519", CANARY);
        fleet.write("data/worker/planted", CANARY);
        if user == User::Ordinary && nix::unistd::geteuid().is_root() {
            // Another user can neither reach root's home nor the interpreter in it.
            fleet = fleet.owned_by(ORDINARY).with("BUE_PYTHON", "/usr/bin/python3");
        }
        let mark = format!("attacked-by-{}", fleet.path().file_name().unwrap().display());
        let listeners = [listen_on(&fleet.path().join("postgres.sock")), listen_abstractly(&mark)];
        fleet = fleet.with("BUE_DATA_DIR", "data");
        fleet.start_bucket();
        fleet.start_hub();
        fleet.start_worker(&["--sandbox", sandbox, "-n", "6"]);
        let session = workers(&mut fleet)[0]["session"].to_string();
        Self { fleet, mark, session, jobs: Vec::new(), _listeners: listeners }
    }

    /// Runs these attacks, each with further `settings`.
    pub fn attack(&mut self, attacks: &[&Attack], settings: &str) -> Report {
        self.place_attacks();
        self.fleet.write("attacks/all.bue", &script(attacks, settings));
        let told = self.run("attacks/all.bue");
        let mut report = Report { ends: BTreeMap::new(), text: told.to_string() };
        for job in told["jobs"].as_array().unwrap() {
            self.jobs.push(job["id"].as_str().unwrap().to_owned());
            let name = job["name"].as_str().unwrap();
            report.ends.insert(name.strip_prefix("in_company_").unwrap_or(name).to_owned(), ended(job));
        }
        report
    }

    fn place_attacks(&mut self) {
        let attacks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/attacks");
        for file in fs::read_dir(attacks).unwrap().map(|entry| entry.unwrap().path()) {
            let is_python = file.extension().is_some_and(|extension| extension == "py");
            if is_python {
                let name = format!("attacks/{}", file.file_name().unwrap().display());
                self.fleet.write(&name, &fs::read_to_string(&file).unwrap());
            }
        }
        let targets = self.targets();
        self.fleet.write("attacks/targets.json", &targets.to_string());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/attacks/evil.c");
        let library = self.fleet.path().join("attacks/evil.so");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(library).arg(source).status().unwrap();
        assert!(built.success());
    }

    fn targets(&self) -> Value {
        let data = self.fleet.path().join("data");
        serde_json::json!({
            "worker": self.fleet.workers[0].pid(),
            "folder": self.fleet.path(),
            "home": self.fleet.path().join("home"),
            "data": data,
            "hub": fs::read_to_string(data.join("hub/address")).unwrap().trim(),
            "bucket": fs::read_to_string(data.join("bucket/address")).unwrap().trim(),
            "socket": self.fleet.path().join("postgres.sock"),
            "abstract": self.mark,
            "mark": self.mark,
        })
    }

    /// Uploads a script and waits for its end; tells of the run and its jobs.
    fn run(&mut self, script: &str) -> Value {
        let uploaded = self.fleet.bue(&["upload", script]);
        let run = uploaded.stdout.trim().to_owned();
        assert!(run.starts_with('r'), "{uploaded:?}");
        eventually("the end of a run", || {
            let told = self.fleet.bue(&["status", &run, "--json"]).expect(0);
            let told: Value = serde_json::from_str(&told.stdout).unwrap();
            (told["run"]["state"] != "running").then_some(told)
        })
    }

    /// The hub's token.
    pub fn token(&self) -> String {
        fs::read_to_string(self.fleet.path().join("data/hub/token")).unwrap().trim().to_owned()
    }

    /// Jobs whose log holds `secret`.
    pub fn logs_with(&mut self, secret: &str) -> Vec<String> {
        let jobs = self.jobs.clone();
        jobs.into_iter().filter(|job| self.fleet.bue(&["logs", job]).stdout.contains(secret)).collect()
    }

    /// Processes that attacks left.
    pub fn lingering(&self) -> Vec<i32> {
        processes_with(&self.mark)
    }

    /// The same worker does what it always did.
    pub fn expect_work_as_before(&mut self) {
        let script =
            "plain:\n    python\n    step\n    `\ndef step():\n    return \"as before\"\n`\np = | plain\np()\n";
        self.fleet.write("plain/plain.bue", script);
        let told = self.run("plain/plain.bue");
        assert_eq!(ended(&told["jobs"][0]).value.as_deref(), Some("as before"), "{told}");
        let workers = workers(&mut self.fleet);
        assert_eq!(workers.len(), 1);
        assert_eq!(workers[0]["session"].to_string(), self.session);
        assert_eq!(workers[0]["info"]["sandbox"], "full");
        let said = self.fleet.workers[0].stderr();
        assert!(!said.contains("fault of the worker") && !said.contains("no warm interpreter"), "{said}");
    }
}

/// Processes of this machine that were started with this argument.
pub fn processes_with(mark: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_marked = |pid: &i32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == mark.as_bytes())
    };
    pids.filter(is_marked).collect()
}

fn workers(fleet: &mut Fleet) -> Vec<Value> {
    eventually("the worker at the hub", || {
        let told = fleet.bue(&["status", "--json"]).expect(0);
        let told: Value = serde_json::from_str(&told.stdout).unwrap();
        told["workers"].as_array().filter(|workers| !workers.is_empty()).cloned()
    })
}

fn ended(job: &Value) -> Ended {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ended {
        value: text(&job["value"]["place"]["json"]),
        kind: text(&job["error"]["kind"]),
        message: text(&job["error"]["message"]),
    }
}

/// A step and a call for each attack, and one more step whose file the attack after it looks for.
fn script(attacks: &[&Attack], settings: &str) -> String {
    let mut script = String::from("import python (leave_file_for_next_step) files.py\n");
    let name_of = |attack: &Attack| match settings {
        SHARED => format!("in_company_{}", attack.name),
        _ => attack.name.to_owned(),
    };
    for attack in attacks {
        let (name, own) = (name_of(attack), attack.settings);
        script.push_str(&format!("import python ({name} {own} {settings}) {}.py\n", attack.file));
    }
    for attack in attacks {
        let name = name_of(attack);
        let before = if name == "find_file_of_last_step" { "leave_file_for_next_step" } else { "" };
        script.push_str(&format!("p_{name} = {before} | {name}\np_{name}()\n"));
    }
    script
}

/// A service on a socket that has a place among the files, as databases have them: open to all, and never heard from.
fn listen_on(path: &PathBuf) -> UnixListener {
    let listener = UnixListener::bind(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    greet(listener)
}

/// The same on a socket that has only a name.
fn listen_abstractly(name: &str) -> UnixListener {
    greet(UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap())
}

fn greet(listener: UnixListener) -> UnixListener {
    let greeter = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        for client in greeter.incoming() {
            let Ok(mut client) = client else { return };
            let _ = client.write_all(CANARY.as_bytes());
        }
    });
    listener
}
