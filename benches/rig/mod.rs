//! A real hub process on a folder of its own, and clients that speak its HTTP interface.

#![allow(dead_code)]

pub mod fleet;
pub mod postgres;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::{Value, json};

/// Whether a part of a benchmark is to run: all do unless the command line names some.
pub fn is_wanted(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|word| word == part)
}

/// A number from the environment.
pub fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(default)
}

/// Sorts, and answers with the middle.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub struct Hub {
    process: Child,
    folder: tempfile::TempDir,
    address: String,
    token: String,
}

impl Hub {
    /// A hub with its queue in a file.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A hub with its queue in PostgreSQL.
    pub fn start_on(address: &str) -> Self {
        Self::start_with(&[("BUE_POSTGRES", address)])
    }

    fn start_with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = Command::new(env!("CARGO_BIN_EXE_bue"))
            .args(["hub", "-b", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path())
            .current_dir(folder.path())
            .env_clear()
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bue hub starts");
        let mut lines = BufReader::new(process.stderr.take().expect("its messages")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                line.find("http://").map(|place| line[place..].split_whitespace().next().unwrap_or("").to_owned())
            })
            .expect("the hub says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        let token = std::fs::read_to_string(folder.path().join("hub/token")).expect("the hub's token");
        Self { process, folder, address, token: token.trim().to_owned() }
    }

    pub fn client(&self) -> Client {
        Client { http: http(), address: self.address.clone(), token: self.token.clone() }
    }

    /// Submits a loop and settles its source with a list of `items` elements; answers with the time until the hub had accepted it.
    pub async fn loop_over(&self, items: usize) -> Duration {
        let client = self.client();
        let text = "for x in p():\n    q(x)\n";
        client.prepare(text).await;
        client.submit(text).await;
        let leases = client.lease("w00000000000000ff", "default", 1, 5_000).await;
        let list = json!({"object": {"key": "none", "format": "json", "bytes": 1, "sha256": "0".repeat(64)}});
        let started = Instant::now();
        client.settle("w00000000000000ff", &leases, json!({"kind": "list", "length": items, "place": list})).await;
        started.elapsed()
    }

    /// CPU time of the process so far, with that of threads that have ended.
    pub fn cpu(&self) -> Duration {
        let pid = Pid::from_raw(self.process.id().cast_signed());
        let clock = nix::time::clock_getcpuclockid(pid).expect("the clock of a process that runs");
        clock.now().expect("its time").into()
    }

    fn status_mb(&self, name: &str) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or("");
        line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }

    pub fn resident_mb(&self) -> f64 {
        self.status_mb("VmRSS")
    }

    pub fn peak_mb(&self) -> f64 {
        self.status_mb("VmHWM")
    }

    /// Size of the queue's files: the database, its write-ahead log and that log's index.
    pub fn disk_bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.folder.path().join("hub")).into_iter().flatten().flatten();
        let of_queue = files.filter(|file| file.file_name().to_string_lossy().starts_with("queue.db"));
        of_queue.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn http() -> reqwest::Client {
    bucket::install_tls();
    reqwest::Client::builder().pool_max_idle_per_host(8).build().expect("an HTTP client")
}

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: String,
    token: String,
}

const STEPS: &str = "a:\n    python\n    f\n    `def f(): return 1`\nb:\n    python\n    f\n    `def f(x): return 1`\np = | a\nq = | b\n";

impl Client {
    async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.address)).bearer_auth(&self.token).json(body);
        let answer = request.send().await.expect("the hub answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap_or_default());
        answer.json().await.expect("JSON")
    }

    /// Sends the script's file.
    pub async fn prepare(&self, rest: &str) {
        let text = format!("{STEPS}{rest}");
        let digest = protocol::Digest::of(text.as_bytes());
        let request = self.http.put(format!("{}/v1/files/{digest}", self.address)).bearer_auth(&self.token);
        request.body(text).send().await.expect("the hub answers");
    }

    pub async fn submit(&self, rest: &str) -> Value {
        let text = format!("{STEPS}{rest}");
        let digest = protocol::Digest::of(text.as_bytes());
        let file = protocol::FileEntry { path: "bench.bue".into(), digest, bytes: text.len() as u64 };
        let manifest = protocol::Manifest::new(vec![file]);
        self.post("/v1/runs", &json!({"manifest": manifest, "script": "bench.bue"})).await
    }

    pub async fn lease(&self, session: &str, scope: &str, slots: usize, wait_ms: u64) -> Vec<Value> {
        let body = json!({"session": session, "scopes": [scope], "slots": slots, "wait_ms": wait_ms});
        match self.post("/v1/lease", &body).await["leases"].take() {
            Value::Array(leases) => leases,
            _ => Vec::new(),
        }
    }

    pub async fn settle(&self, session: &str, leases: &[Value], value: Value) -> usize {
        self.outcome(session, leases, json!({"success": {"value": value}})).await
    }

    pub async fn outcome(&self, session: &str, leases: &[Value], outcome: Value) -> usize {
        if leases.is_empty() {
            return 0;
        }
        let settlements: Vec<Value> = leases
            .iter()
            .map(|lease| json!({"job": lease["job"], "attempt": lease["attempt"], "token": lease["token"], "outcome": outcome}))
            .collect();
        self.post("/v1/settle", &json!({"session": session, "settlements": settlements})).await;
        leases.len()
    }

    /// Jobs that have not ended.
    pub async fn left(&self) -> u64 {
        let request = self.http.get(format!("{}/v1/status", self.address)).bearer_auth(&self.token);
        let status: Value = request.send().await.expect("the hub answers").json().await.expect("JSON");
        ["waiting", "available", "pending", "leased"].iter().filter_map(|word| status["counts"][word].as_u64()).sum()
    }
}
