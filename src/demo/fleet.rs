//! The demo's fleet: a simulated API, a bucket, a hub and three workers, on free ports, with a data folder of their own.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::example;
use super::process::Process;
use crate::address::Address;
use crate::data_dir::{DataDir, DataDirError, Service};
use crate::error::{Error, Result};
use crate::output;

/// Workers of the fleet.
const WORKERS: usize = 3;
/// Slots of each worker.
const SLOTS: usize = 8;
/// Longest time for a process to be ready.
const READY_MAX: Duration = Duration::from_secs(30);
/// How long processes that were told to end may take.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Pause between two looks at a process.
const PAUSE: Duration = Duration::from_millis(20);

/// Where everything of one demo is.
pub struct Layout {
    /// The folder of all.
    pub root: PathBuf,
    /// State of the fleet.
    pub data_dir: DataDir,
}

impl Layout {
    /// In a folder that exists.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), data_dir: DataDir::new(root.join("state")) }
    }

    /// The script and its files.
    pub fn pipeline(&self) -> PathBuf {
        self.root.join("pipeline")
    }

    /// What the pipeline loads into.
    pub fn database(&self) -> PathBuf {
        self.warehouse().join("warehouse.sqlite")
    }

    /// The folder it is in, which steps may write.
    fn warehouse(&self) -> PathBuf {
        self.root.join("warehouse")
    }

    /// Steps may run as another user; nobody else reaches what is in the folder of the demo.
    fn make_warehouse(&self) -> Result {
        let folder = self.warehouse();
        let made =
            fs::create_dir_all(&folder).and_then(|()| fs::set_permissions(&folder, Permissions::from_mode(0o777)));
        made.map_err(|error| DataDirError::new("make the folder", &folder, error).into())
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{}.log", name.replace(' ', "-")))
    }
}

/// The processes of one demo.
pub struct Fleet {
    processes: Vec<Process>,
    /// Where the simulated API listens.
    pub api: Address,
    /// Where the bucket listens.
    pub bucket: Address,
    /// Where the hub listens.
    pub hub: Address,
}

impl Fleet {
    /// Starts all processes and waits until they are ready.
    pub async fn start(layout: &Layout, python: &Path) -> Result<Self> {
        let logs = layout.root.join("logs");
        fs::create_dir_all(&logs).map_err(|error| DataDirError::new("make the folder", &logs, error))?;
        example::write(&layout.pipeline())?;
        layout.make_warehouse()?;

        let program = std::env::current_exe().map_err(Error::machine)?;
        let mut api = start_api(layout, python)?;
        let port_file = port_file(layout);
        let port: u16 = ready(&mut api, || fs::read_to_string(&port_file).ok()?.trim().parse().ok()).await?;
        api.restarts_with("0", &port.to_string());
        let api_address = Address::loopback(port);
        example::write_settings(&layout.pipeline(), &api_address.url(), &layout.database())?;

        let bue = Bue { program, layout };
        let (bucket, bucket_address) = bue.start_service(Service::Bucket, &[]).await?;
        let keeps = ["-k".to_owned(), bucket_address.to_string()];
        let (hub, hub_address) = bue.start_service(Service::Hub, &keeps).await?;
        let mut processes = vec![api, bucket, hub];
        for number in 1..=WORKERS {
            let python = python.display().to_string();
            let mut words = vec!["-b".to_owned(), hub_address.to_string(), "-n".to_owned(), SLOTS.to_string()];
            words.extend(["--python".to_owned(), python]);
            words.extend(["--writable".to_owned(), layout.warehouse().display().to_string()]);
            words.extend(keeps.clone());
            processes.push(bue.start(&format!("worker {number}"), "worker", &words)?);
        }
        Ok(Self { processes, api: api_address, bucket: bucket_address, hub: hub_address })
    }

    /// What people need to reach its parts and to start them again.
    pub fn describe(&self, layout: &Layout) -> String {
        let mut lines = vec![
            format!("hub      {}", self.hub.url()),
            format!("bucket   {}", self.bucket.url()),
            format!("ads API  {}", self.api.url()),
            format!("state    {}", layout.data_dir.path().display()),
            format!("logs     {}", layout.root.join("logs").display()),
            String::new(),
            "processes, each with the command that starts it again:".to_owned(),
        ];
        for process in &self.processes {
            lines.push(format!("  {} (pid {}): {}", process.name(), process.pid(), process.command_line()));
        }
        lines.join("\n")
    }

    /// Waits until one of its processes ends; tells which and how, and the end of its log.
    pub async fn watch(&mut self) -> Fallen {
        loop {
            for process in &mut self.processes {
                if let Some(status) = process.newly_ended() {
                    return Fallen {
                        what: format!("{} (pid {}) ended: {status}", process.name(), process.pid()),
                        log: process.log_tail(),
                        command: process.command_line(),
                    };
                }
            }
            tokio::time::sleep(PAUSE * 10).await;
        }
    }

    /// Ends all processes, politely first.
    pub async fn stop(mut self) {
        for process in &mut self.processes {
            process.terminate();
        }
        let deadline = Instant::now() + STOP_GRACE;
        while self.processes.iter_mut().any(|process| !process.has_ended()) && Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
        }
        for process in &mut self.processes {
            if !process.has_ended() {
                output::note(&format!("{} did not end in time and is killed", process.name()));
                process.kill();
            }
        }
    }
}

/// A process that ended while it should not have.
pub struct Fallen {
    /// Which, and how.
    pub what: String,
    /// The end of its log.
    pub log: String,
    /// What starts it again.
    pub command: String,
}

/// Starts processes of this very program.
struct Bue<'a> {
    program: PathBuf,
    layout: &'a Layout,
}

impl Bue<'_> {
    fn start(&self, name: &str, command: &str, words: &[String]) -> Result<Process> {
        let mut line = vec![self.program.clone().into(), OsString::from("--data-dir")];
        line.push(self.layout.data_dir.path().into());
        line.push(command.into());
        line.extend(words.iter().map(OsString::from));
        Process::start(name, line, &self.layout.root, self.layout.log_of(name))
    }

    /// Starts a service on a free port. The line that starts it again names that port, so that it is found there again.
    async fn start_service(&self, service: Service, words: &[String]) -> Result<(Process, Address)> {
        let any_port = Address::loopback(0).to_string();
        let mut all = vec!["-b".to_owned(), any_port.clone()];
        all.extend_from_slice(words);
        let mut process = self.start(service.name(), service.name(), &all)?;
        let address = ready(&mut process, || self.layout.data_dir.noted_address(service)).await?;
        process.restarts_with(&any_port, &address.to_string());
        Ok((process, address))
    }
}

fn port_file(layout: &Layout) -> PathBuf {
    layout.root.join("ads-api.port")
}

fn start_api(layout: &Layout, python: &Path) -> Result<Process> {
    let mut line = vec![python.into(), layout.pipeline().join(example::API).into()];
    line.extend(["--port", "0", "--port-file"].map(OsString::from));
    line.push(port_file(layout).into());
    Process::start("ads API", line, &layout.root, layout.log_of("ads API"))
}

/// Waits until `look` finds something; fails when the process ends before, or takes too long.
async fn ready<T>(process: &mut Process, look: impl Fn() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if let Some(status) = process.newly_ended() {
            return Err(Error::machine(format_args!(
                "{} ended before it was ready: {status}\n{}",
                process.name(),
                process.log_tail()
            )));
        }
        if Instant::now() > deadline {
            return Err(Error::machine(format_args!(
                "{} was not ready after {} s\n{}",
                process.name(),
                READY_MAX.as_secs(),
                process.log_tail()
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
