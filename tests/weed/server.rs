//! The process of SeaweedFS, as `scripts/test` installs it, on free ports and a folder of its own.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

const KEYS: &str = r#"{"identities":[{"name":"ada","credentials":[{"accessKey":"key","secretKey":"secret"}],
    "actions":["Admin","Read","Write","List","Tagging"]}]}"#;

/// A process that takes objects some time after it was started.
pub struct Server {
    child: Child,
    folder: TempDir,
    ports: Vec<u16>,
}

impl Server {
    /// Starts it.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("s3.json"), KEYS).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
        let child = serve(&folder, &ports);
        Self { child, folder, ports }
    }

    /// The address of a bucket of it, for the keys `key` and `secret`.
    pub fn url(&self) -> String {
        format!("s3://values/prefix?endpoint=http://127.0.0.1:{}", self.ports[0])
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, with what it had.
    pub fn restart(&mut self) {
        self.child = serve(&self.folder, &self.ports);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, or does so now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(folder: &TempDir, ports: &[u16]) -> Child {
    let program = std::env::var_os("BUE_WEED").map_or_else(|| PathBuf::from("weed"), PathBuf::from);
    let path = folder.path();
    let mut command = Command::new(&program);
    command.arg("mini").arg(format!("-dir={}", path.join("data").display()));
    command.arg(format!("-s3.config={}", path.join("s3.json").display()));
    let places = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-admin.ui=false", "-webdav=false"];
    command.args(places);
    for (name, port) in ["s3.port", "master.port", "volume.port", "filer.port"].iter().zip(ports) {
        command.arg(format!("-{name}={port}"));
    }
    let log = fs::OpenOptions::new().create(true).append(true).open(path.join("log")).unwrap();
    let child = command.current_dir(path).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
    child.unwrap_or_else(|error| panic!("{} does not start ({error}): scripts/test installs it", program.display()))
}

/// Below those from which it makes further ones by adding ten thousand.
fn free_port() -> u16 {
    let of_the_system = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = (0..1_000).map(|_| of_the_system() % 20_000 + 10_000).find(|port| {
        TcpListener::bind(("127.0.0.1", *port)).is_ok() && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok()
    });
    port.expect("a free port")
}
