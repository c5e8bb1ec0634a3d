//! Real `bue` processes on free ports, in a folder of their own, with one log file each. Only its own processes are ended.

#![allow(dead_code, missing_docs, reason = "each test file uses a part of it")]

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

/// Longest time for anything that is waited for; slow machines get through well below it.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until there is something to see.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(PAUSE);
    }
}

/// What a command came to.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Panics with all there is to see unless the exit code is this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The id in `x.bue is run r…`.
    #[track_caller]
    pub fn run(&self) -> String {
        let said = self.stderr.split_once("is run ").unwrap_or_else(|| panic!("no run in:\n{}", self.stderr));
        said.1.split_whitespace().next().unwrap().to_owned()
    }

    /// Panics unless standard error has all of these.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in:\n{}", self.stderr);
        }
        self
    }
}

/// A running `bue`.
pub struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    fn start(mut command: Command, log: &Path) -> Self {
        let (out, err) = (log.with_extension("out"), log.with_extension("err"));
        command.stdin(Stdio::null());
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Self { child: command.spawn().unwrap(), out, err }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn stdout(&self) -> String {
        read(&self.out)
    }

    pub fn stderr(&self) -> String {
        read(&self.err)
    }

    /// Waits until its standard error has `text`.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        eventually(text, || {
            if self.stderr().contains(text) {
                return Some(());
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended ({ended:?}) before `{text}`:\n{}", self.stderr());
            None
        });
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Stops it where it is: it keeps its memory and its sockets, and does nothing.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Sends SIGKILL and waits.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let status = eventually("the end of a command", || self.child.try_wait().unwrap());
        Ended { code: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, or does so now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// A folder in which `bue` is called, with what was started there.
pub struct Fleet {
    pub folder: TempDir,
    pub bucket: Option<Process>,
    pub hub: Option<Process>,
    pub workers: Vec<Process>,
    environment: Vec<(String, String)>,
    /// Another user than the one who runs the tests.
    user: Option<u32>,
    started: usize,
}

impl Fleet {
    /// A folder in which nothing runs.
    pub fn empty() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// The same in memory.
    pub fn in_memory() -> Self {
        Self::within(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn within(folder: tempfile::TempDir) -> Self {
        Self { folder, bucket: None, hub: None, workers: Vec::new(), environment: Vec::new(), user: None, started: 0 }
    }

    /// The same where steps have no sandbox: some write where a test looks, or say who they are on this machine.
    pub fn unenclosed() -> Self {
        Self::empty().with("BUE_SANDBOX", "off")
    }

    /// The same where all that is started belongs to another user, as only root can have it. What is there is given to them.
    pub fn owned_by(mut self, user: u32) -> Self {
        let program = self.path().join("bin/bue");
        fs::create_dir(self.path().join("bin")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_bue"), program).unwrap();
        give(self.path(), user);
        self.user = Some(user);
        self
    }

    /// The same with this variable in the environment of all that is started.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A bucket, a hub and some workers.
    pub fn start(self, workers: usize) -> Self {
        let mut fleet = self;
        fleet.start_bucket();
        fleet.start_hub();
        for _ in 0..workers {
            fleet.start_worker(&[]);
        }
        fleet
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A command in the folder, with none of the settings of who runs the tests.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = match self.user {
            None => Command::new(env!("CARGO_BIN_EXE_bue")),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]);
                command.arg(self.path().join("bin/bue"));
                command
            }
        };
        command.args(words).current_dir(self.path());
        let ours = ["BUE_", "AWS_", "PIPE", "BUCKET_", "POSTGRES_", "N_WORKER", "REVERSE_"];
        for (name, _) in std::env::vars() {
            if ours.iter().any(|prefix| name.starts_with(prefix)) && name != "BUE_PYTHON" {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a command.
    pub fn spawn(&mut self, words: &[&str]) -> Process {
        let command = self.command(words);
        self.spawn_command(command, words[0])
    }

    pub fn spawn_command(&mut self, command: Command, name: &str) -> Process {
        self.started += 1;
        let logs = self.path().join(".logs");
        fs::create_dir_all(&logs).unwrap();
        Process::start(command, &logs.join(format!("{}-{name}", self.started)))
    }

    /// Starts a service whose folder, a `folder` of the fleet, is a small file system that no other process sees; the second answer is
    /// that folder by way of the process, there when it is ready.
    pub fn spawn_on_small_disk(&mut self, folder: &str, megabytes: u32, words: &[&str]) -> (Process, PathBuf) {
        const SCRIPT: &str = r#"mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@""#;
        let folder = self.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        // Its variables are those of every other command of the fleet.
        let own = self.command(words);
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh", &format!("{megabytes}m")]);
        command.arg(&folder).arg(own.get_program()).args(own.get_args()).current_dir(self.path());
        for (name, value) in own.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let process = self.spawn_command(command, "small-disk");
        let root = Path::new("/proc").join(process.pid().to_string()).join("root");
        (process, root.join(folder.strip_prefix("/").unwrap()))
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn bue(&mut self, words: &[&str]) -> Ended {
        self.spawn(words).end()
    }

    /// Starts a bucket: on any port, or on the one it had before.
    pub fn start_bucket(&mut self) {
        let place = self.noted("bucket");
        let mut bucket = self.spawn(&["bucket", "-b", &place]);
        bucket.wait_for("bucket listens on http://");
        self.bucket = Some(bucket);
    }

    /// Starts a hub: on any port, or on the one it had before.
    pub fn start_hub(&mut self) {
        let place = self.noted("hub");
        let mut hub = self.spawn(&["hub", "-b", &place]);
        hub.wait_for("hub listens on http://");
        self.hub = Some(hub);
    }

    /// Starts a worker with further words.
    pub fn start_worker(&mut self, words: &[&str]) {
        let mut all = vec!["worker"];
        all.extend(words);
        let mut worker = self.spawn(&all);
        worker.wait_for("takes jobs from");
        self.workers.push(worker);
    }

    /// Where a service listens or has listened.
    pub fn noted(&self, service: &str) -> String {
        let note = self.path().join(".bue").join(service).join("address");
        fs::read_to_string(note).map_or_else(|_| "127.0.0.1:0".to_owned(), |text| text.trim().to_owned())
    }

    /// What `bue status RUN --json` says of the run.
    #[track_caller]
    pub fn run_view(&mut self, run: &str) -> serde_json::Value {
        let ended = self.bue(&["status", run, "--json"]).expect(0);
        serde_json::from_str::<serde_json::Value>(&ended.stdout).unwrap()["run"].take()
    }
}

/// Gives a folder with all that is in it to a user.
fn give(folder: &Path, user: u32) {
    chown(folder, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => give(&entry.path(), user),
            false => chown(entry.path(), Some(user), Some(user)).unwrap(),
        }
    }
}

/// Whether a process is there.
pub fn is_alive(pid: i32) -> bool {
    // One that has ended and was not waited for is no longer alive.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')))
}
