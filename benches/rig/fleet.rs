//! A whole fleet as processes on a folder of its own: bucket, hub, and one worker.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http;

/// Variables that an interpreter and the search for it need.
const PASSED_ON: [&str; 3] = ["PATH", "HOME", "LANG"];
/// Pause between two looks at a run, where an answer at once is not needed.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Settings go along, so that what they do can be measured.
fn is_passed_on(name: &str) -> bool {
    PASSED_ON.contains(&name) || (name.starts_with("BUE_") && !name.starts_with("BUE_BENCH_"))
}

/// A running `bue`; ended when dropped.
pub struct Service(Child);

impl Service {
    /// Starts it and waits for the line that says it is ready.
    fn start(folder: &Path, words: &[&str], ready: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bue"));
        command.args(words).current_dir(folder).env_clear().stderr(Stdio::piped());
        command.envs(std::env::vars_os().filter(|(name, _)| is_passed_on(&name.to_string_lossy())));
        command.envs(settings.iter().copied());
        let mut process = command.spawn().expect("bue starts");
        let mut lines = BufReader::new(process.stderr.take().expect("its messages")).lines().map_while(Result::ok);
        let said: Vec<String> = lines.by_ref().take_while(|line| !line.contains(ready)).collect();
        let is_alive = process.try_wait().expect("its state").is_none();
        assert!(is_alive, "{words:?} did not start: {said:?}");
        std::thread::spawn(move || lines.for_each(drop));
        Self(process)
    }

    /// Processor time of it and of all processes below it that have ended and been waited for, and of those that run.
    fn cpu(&self) -> Duration {
        let ticks: u64 = family(self.0.id()).iter().map(|pid| ticks(*pid)).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Memory of it and of all processes below it, shared pages divided among those that share them.
    fn memory_mb(&self) -> f64 {
        family(self.0.id()).iter().map(|pid| proportional_kb(*pid)).sum::<f64>() / 1024.0
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a run cost.
pub struct Cost {
    pub took: Duration,
    pub worker_cpu: Duration,
    pub hub_cpu: Duration,
    /// Of the worker and its steps; 0 where it was not looked at.
    pub peak_mb: f64,
}

/// Bucket, hub and worker.
pub struct Fleet {
    worker: Service,
    hub: Service,
    _bucket: Service,
    _folder: tempfile::TempDir,
    http: reqwest::Client,
    address: String,
    token: String,
}

impl Fleet {
    /// A fleet whose worker has this many slots.
    pub fn start(slots: usize) -> Self {
        Self::start_with(slots, &[])
    }

    /// The same, with further settings of the worker.
    pub fn start_with(slots: usize, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let bucket = Service::start(path, &["bucket", "-b", "127.0.0.1:0"], "listens on", &[]);
        let hub = Service::start(path, &["hub", "-b", "127.0.0.1:0"], "listens on", &[]);
        let worker = Service::start(path, &["worker", "-n", &slots.to_string()], "takes jobs from", settings);
        let read = |name: &str| fs::read_to_string(path.join(".bue/hub").join(name)).expect("what the hub notes down");
        let (address, token) = (format!("http://{}", read("address").trim()), read("token").trim().to_owned());
        Self { worker, hub, _bucket: bucket, http: http(), address, token, _folder: folder }
    }

    /// Memory of the worker and its warm interpreter.
    pub fn worker_mb(&self) -> f64 {
        self.worker.memory_mb()
    }

    /// Sends a script's file, so that its runs need nothing but `submit`.
    pub async fn prepare(&self, script: &str) {
        let digest = protocol::Digest::of(script.as_bytes());
        let request = self.http.put(format!("{}/v1/files/{digest}", self.address)).bearer_auth(&self.token);
        let answer = request.body(script.to_owned()).send().await.expect("the hub answers");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
    }

    /// Starts a run of a script that was sent, and answers with its id.
    pub async fn submit(&self, script: &str) -> String {
        let digest = protocol::Digest::of(script.as_bytes());
        let file = protocol::FileEntry { path: "bench.bue".into(), digest, bytes: script.len() as u64 };
        let manifest = protocol::Manifest::new(vec![file]);
        let request = self.http.post(format!("{}/v1/runs", self.address)).bearer_auth(&self.token);
        let answer = request.json(&json!({"manifest": manifest, "script": "bench.bue"})).send().await;
        let answer: Value = answer.expect("the hub answers").json().await.expect("JSON");
        let run = answer["run"].as_str().or_else(|| answer["id"].as_str()).or_else(|| answer["run"]["id"].as_str());
        run.unwrap_or_else(|| panic!("a run: {answer}")).to_owned()
    }

    /// Waits for the end of a run, told of each change at once.
    pub async fn ended(&self, run: &str) {
        let mut view = self.look(run, "").await;
        while view["finished_ms"].is_null() {
            let version = view["version"].as_u64().unwrap_or(0);
            view = self.look(run, &format!("?version={version}&wait_ms=10000")).await;
        }
        check(&view);
    }

    /// Runs a script to its end; `is_watched` measures memory meanwhile, which costs time of its own.
    pub async fn run(&self, script: &str, is_watched: bool) -> Cost {
        self.prepare(script).await;
        let (started, worker_cpu, hub_cpu) = (Instant::now(), self.worker.cpu(), self.hub.cpu());
        let run = self.submit(script).await;
        let mut peak_mb = 0.0_f64;
        loop {
            let view = self.look(&run, "").await;
            if !view["finished_ms"].is_null() {
                check(&view);
                break;
            }
            if is_watched {
                peak_mb = peak_mb.max(self.worker.memory_mb());
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        let (worker_cpu, hub_cpu) =
            (self.worker.cpu().saturating_sub(worker_cpu), self.hub.cpu().saturating_sub(hub_cpu));
        Cost { took: started.elapsed(), worker_cpu, hub_cpu, peak_mb }
    }

    async fn look(&self, run: &str, query: &str) -> Value {
        let request = self.http.get(format!("{}/v1/runs/{run}{query}", self.address)).bearer_auth(&self.token);
        request.send().await.expect("the hub answers").json().await.expect("JSON")
    }
}

/// A figure of a run that failed is none.
fn check(view: &Value) {
    assert_eq!(view["counts"]["failed"].as_u64().unwrap_or(0), 0, "steps failed: {view}");
}

/// A process and all below it.
fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut place = 0;
    while place < found.len() {
        let threads = fs::read_dir(format!("/proc/{}/task", found[place])).into_iter().flatten().flatten();
        let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        let children: Vec<u32> = lists.flat_map(|list| parse_all(&list)).collect();
        found.extend(children);
        place += 1;
    }
    found
}

fn parse_all(list: &str) -> Vec<u32> {
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// User and system time, its own and that of the children it has waited for.
fn ticks(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or("").split(' ').collect();
    (11..15).filter_map(|place| fields.get(place)?.parse::<u64>().ok()).sum()
}

fn proportional_kb(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse().ok()).unwrap_or(0.0)
}
