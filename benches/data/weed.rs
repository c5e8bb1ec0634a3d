//! A real S3 service of somebody else on this machine: SeaweedFS.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use bucket::{Bucket, Credentials};
use tempfile::TempDir;

/// A running server with one bucket.
pub struct Weed {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Weed {
    /// Starts it, where its program is there.
    pub async fn start() -> Option<Self> {
        let program = std::env::var_os("BUE_WEED").map(PathBuf::from)?;
        let folder = tempfile::tempdir().expect("a folder");
        let keys = r#"{"identities":[{"name":"ada","credentials":[{"accessKey":"key","secretKey":"secret"}],
            "actions":["Admin","Read","Write","List","Tagging"]}]}"#;
        let config = folder.path().join("s3.json");
        fs::write(&config, keys).expect("its keys");
        let port = free_port();
        let mut command = Command::new(program);
        command.arg("mini").arg(format!("-dir={}", folder.path().display())).arg(format!("-s3.port={port}"));
        command.arg(format!("-s3.config={}", config.display()));
        command.args([
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-admin.ui=false",
            "-webdav=false",
        ]);
        for name in ["master.port", "volume.port", "filer.port"] {
            command.arg(format!("-{name}={}", free_port()));
        }
        let child = command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let weed = Self { child: child.expect("weed starts"), port, _folder: folder };
        weed.bucket().await.map(|_| weed)
    }

    /// Its bucket, made where it is missing, once it answers.
    pub async fn bucket(&self) -> Option<Bucket> {
        let url = format!("s3://bench?endpoint=http://127.0.0.1:{}", self.port).parse().expect("a URL");
        let bucket = Bucket::open(&url, Some(&Credentials::new("key", "secret"))).expect("a bucket");
        for _ in 0..300 {
            if bucket.check().await.is_ok() || bucket.put("check", bytes::Bytes::from_static(b"x")).await.is_ok() {
                return Some(bucket);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        None
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Below the ports that its own second ports are made of by adding ten thousand.
fn free_port() -> u16 {
    (0..1_000)
        .map(|_| TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port())
        .map(|port| port % 20_000 + 10_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
