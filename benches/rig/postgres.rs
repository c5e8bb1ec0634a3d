//! A PostgreSQL server of its own, with the durability it has by itself: a commit is on disk when it is answered.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest time for the server to answer.
const START_MAX: Duration = Duration::from_secs(60);
/// Pause between two looks at it.
const PAUSE: Duration = Duration::from_millis(50);

/// A running server; ended when dropped.
pub struct Postgres {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Postgres {
    /// A server on a free port of loopback.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder for the data");
        if is_root() {
            fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a folder that can be entered");
            let given = Command::new("chown").arg("postgres:postgres").arg(&data).status();
            assert!(given.expect("chown").success());
        }
        let mut made = server_command("initdb");
        made.args(["--username=ada", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-D"]).arg(&data);
        assert!(made.stdout(Stdio::null()).status().expect("initdb").success());
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let mut server = server_command("postgres");
        server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        server.args(["-c", "unix_socket_directories=", "-c", "shared_buffers=256MB"]);
        let process = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres starts");
        let server = Self { process, port, _folder: folder };
        let started = Instant::now();
        while server.ask("postgres", "SELECT 1").is_none() {
            assert!(started.elapsed() < START_MAX, "PostgreSQL does not answer");
            std::thread::sleep(PAUSE);
        }
        server
    }

    /// A new, empty database; answers with its name.
    pub fn database(&self) -> String {
        let name = format!("bench{:x}", std::time::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos()));
        self.ask("postgres", &format!("CREATE DATABASE {name}")).expect("a database");
        name
    }

    /// The address of a database as a hub takes it.
    pub fn address(&self, database: &str) -> String {
        format!("postgres://ada@127.0.0.1:{}/{database}", self.port)
    }

    /// Size of a database on disk, without the server's log of all databases.
    pub fn disk_bytes(&self, database: &str) -> u64 {
        let size = self.ask("postgres", &format!("SELECT pg_database_size('{database}')"));
        size.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn ask(&self, database: &str, sql: &str) -> Option<String> {
        let mut asking = Command::new(program("psql"));
        asking.args(["-X", "-A", "-t", "-q", "-h", "127.0.0.1", "-U", "ada", "-p", &self.port.to_string()]);
        let asked = asking.args(["-d", database, "-c", sql]).output().ok()?;
        asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).trim().to_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT ends its own processes too.
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

/// A program of the server; as root it runs as the user postgres, because it refuses root.
fn server_command(name: &str) -> Command {
    if !is_root() {
        return Command::new(program(name));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program(name)).current_dir("/");
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Debian keeps the server's programs apart.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(name)).collect();
    places.sort();
    places.into_iter().rev().find(|place| place.is_file()).unwrap_or_else(|| Path::new(name).to_owned())
}
