//! A real PostgreSQL server on a free port, in a folder of its own: started by the first test that wants it, ended with the last.

#![allow(dead_code, missing_docs, reason = "each test file uses a part of it")]

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

use crate::fleet::{Fleet, eventually};

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// Environment variables of a server.
type Variables = Vec<(&'static str, PathBuf)>;

/// A running server.
pub struct Server {
    child: Child,
    port: u16,
    folder: TempDir,
    variables: Variables,
    databases: AtomicU32,
}

impl Server {
    /// The server of all tests that run now.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start());
        *shared = Arc::downgrade(&server);
        server
    }

    /// A server of one test, which may restart it.
    pub fn start() -> Self {
        Self::make(|_, _| (), Vec::new())
    }

    /// A server of one test with these further variables; the folder is readable for it, and its own.
    pub fn with(variables: impl FnOnce(&Path) -> Vec<(&'static str, PathBuf)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let variables = variables(folder.path());
        Self::make_in(folder, |_, _| (), variables)
    }

    /// A server of one test whose connections can be encrypted: it is `localhost`, by a certificate that it made itself.
    pub fn with_tls() -> Self {
        Self::make(
            |folder, data| {
                make_certificate(folder, data);
                let settings = data.join("postgresql.conf");
                let text = fs::read_to_string(&settings).unwrap();
                fs::write(&settings, format!("{text}\nssl = on\n")).unwrap();
            },
            Vec::new(),
        )
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    fn make(prepare: impl FnOnce(&Path, &Path), variables: Variables) -> Self {
        Self::make_in(tempfile::tempdir().unwrap(), prepare, variables)
    }

    fn make_in(folder: TempDir, prepare: impl FnOnce(&Path, &Path), variables: Variables) -> Self {
        let (data, sockets) = (folder.path().join("data"), folder.path().join("sockets"));
        for owned in [&data, &sockets] {
            fs::create_dir(owned).unwrap();
        }
        if is_root() {
            fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
            assert!(Command::new("chown").arg("postgres:postgres").args([&data, &sockets]).status().unwrap().success());
        }
        let password = folder.path().join("password");
        fs::write(&password, "open sesame\n").unwrap();
        let made = server_command("initdb")
            .args(["--no-sync", "--username=ada", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"])
            .arg(format!("--pwfile={}", password.display()))
            .arg("-D")
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        prepare(folder.path(), &data);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = serve(folder.path(), port, &variables);
        let server = Self { child, port, folder, variables, databases: AtomicU32::new(0) };
        server.wait_until_it_answers();
        server
    }

    /// Ends the server as a crash does, and starts it again.
    pub fn crash_and_restart(&mut self) {
        self.crash();
        self.child = serve(self.folder.path(), self.port, &self.variables);
        self.wait_until_it_answers();
    }

    /// Cuts all connections of hubs to a database; answers with how many there were.
    pub fn cut_hubs(&self, database: &str) -> usize {
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = '{database}' AND application_name = 'bue-hub'"
        );
        self.ask("postgres", &sql).parse().unwrap()
    }

    /// The address of a database as a hub takes it.
    pub fn address(&self, database: &str) -> String {
        format!("postgres://ada:open%20sesame@127.0.0.1:{}/{database}", self.port)
    }

    fn wait_until_it_answers(&self) {
        eventually("PostgreSQL", || self.try_ask("postgres", "SELECT 1"));
    }

    fn crash(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        // At once, and its own processes with it.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT);
        let _ = self.child.wait();
    }

    /// A database of its own, by its name.
    pub fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.ask("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// A fleet whose steps have this database.
    pub fn fleet(&self, database: &str) -> Fleet {
        Fleet::empty()
            .with("POSTGRES_HOST", "127.0.0.1")
            .with("POSTGRES_PORT", &self.port.to_string())
            .with("POSTGRES_USER", "ada")
            .with("POSTGRES_PASSWORD", "open sesame")
            .with("POSTGRES_DATABASE", database)
    }

    /// The folder of its socket.
    pub fn sockets(&self) -> PathBuf {
        self.folder.path().join("sockets")
    }

    /// What a query says, by psql: a line for each row.
    #[track_caller]
    pub fn ask(&self, database: &str, sql: &str) -> String {
        self.try_ask(database, sql).unwrap_or_else(|| panic!("{sql}\n{}", self.log()))
    }

    fn try_ask(&self, database: &str, sql: &str) -> Option<String> {
        let asked = Command::new(program("psql"))
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "ada"])
            .args(["-p", &self.port.to_string(), "-d", database, "-c", sql])
            .env("PGPASSWORD", "open sesame")
            .output()
            .unwrap();
        asked.status.success().then(|| String::from_utf8(asked.stdout).unwrap().trim_end().to_owned())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Starts the server of a folder.
fn serve(folder: &Path, port: u16, variables: &Variables) -> Child {
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    server_command("env")
        // For the server alone: what is preloaded must not have met the program that changes its user.
        .args(variables.iter().map(|(name, value)| format!("{name}={}", value.display())))
        .arg(program("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
        .args(["-c", &format!("unix_socket_directories={}", folder.join("sockets").display())])
        .args(["-c", "max_connections=60"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A certificate in `folder`, and with its key in the server's own.
fn make_certificate(folder: &Path, data: &Path) {
    let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for file in [&certificate, &key] {
        let copy = data.join(file.file_name().unwrap());
        fs::copy(file, &copy).unwrap();
        fs::set_permissions(&copy, Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            assert!(Command::new("chown").arg("postgres:postgres").arg(&copy).status().unwrap().success());
        }
    }
}

/// A program of the server; as root it runs as the user postgres, because it refuses root.
fn server_command(name: &str) -> Command {
    let program = program(name);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program).current_dir("/");
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Debian keeps the server's programs apart.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(name)).collect();
    places.sort();
    let place = places.into_iter().rev().find(|place| place.is_file());
    place.unwrap_or_else(|| Path::new(name).to_owned())
}
