//! A PostgreSQL server for the tests of one binary, and a database in it for each test.
//!
//! A shell watches it: when the test process ends, however it does, its end of the pipe closes, and the shell ends the server by its
//! pid and removes its folder.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

/// Makes the data folder, runs the server until standard input ends, then ends it and removes the folder.
const SUPERVISOR: &str = r#"
cd "$FOLDER"
trap 'rm -rf "$FOLDER"' EXIT
$AS "$BIN/initdb" --auth=trust --no-sync --username=postgres --encoding=UTF8 --locale=C.UTF-8 -D "$FOLDER/data" >initdb.log 2>&1 \
    || { touch "$FOLDER/failed"; read -r _; exit 1; }
$AS "$BIN/postgres" -D "$FOLDER/data" -p 5432 -c listen_addresses= -c unix_socket_directories="$FOLDER" \
    -c fsync=off -c full_page_writes=off -c max_connections=200 -c shared_buffers=64MB -c max_wal_size=512MB >server.log 2>&1 &
server=$!
read -r _
kill -QUIT "$server"
wait "$server"
"#;

/// How long the server may take to start.
const START_MAX: Duration = Duration::from_secs(60);

struct Server {
    folder: PathBuf,
    /// The shell; its standard input is closed when this process ends.
    _shell: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();

fn programs() -> PathBuf {
    if let Ok(folder) = std::env::var("BUE_TEST_POSTGRES_BIN") {
        return folder.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("postgres").exists()).collect();
    found.sort();
    found.pop().expect(
        "PostgreSQL's server is needed: apt-get install postgresql, or name its folder in BUE_TEST_POSTGRES_BIN",
    )
}

fn server() -> &'static Server {
    SERVER.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("bue-postgres-").tempdir().expect("a folder").keep();
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).expect("a folder for everybody");
        // The server refuses to run as root.
        let is_root =
            std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap_or(1) == 0;
        let other = if is_root { "setpriv --reuid=postgres --regid=postgres --init-groups" } else { "" };
        let shell = Command::new("sh")
            .args(["-c", SUPERVISOR])
            .env("FOLDER", &folder)
            .env("BIN", programs())
            .env("AS", other)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        Server { folder, _shell: shell }
    })
}

fn address(database: &str) -> String {
    let folder = server().folder.display().to_string().replace('/', "%2F");
    format!("postgres://postgres@{folder}:5432/{database}")
}

/// The address of a new, empty database.
pub async fn database() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    execute("postgres", &format!("CREATE DATABASE {name}")).await;
    address(&name)
}

/// Cuts all connections to the database at `url`.
pub async fn cut_connections(url: &str) {
    let database = url.rsplit('/').next().expect("a database");
    let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
    execute("postgres", &sql).await;
}

/// The lock whose holder may write, taken from the hubs.
pub struct Turn {
    client: tokio_postgres::Client,
    serving: tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>,
}

impl Turn {
    /// Takes it from the hubs of the database at `url`: what they are asked for meanwhile comes to one batch.
    pub async fn take(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
        let serving = tokio::spawn(connection);
        client.batch_execute("SELECT pg_advisory_lock(27713624369790977)").await.expect("the lock");
        Self { client, serving }
    }

    /// Gives it back.
    pub async fn end(self) {
        drop(self.client);
        self.serving.await.expect("the connection ends").expect("in good order");
    }
}

/// Changes something behind the hubs' back.
pub async fn change(url: &str, sql: &str) {
    execute(url.rsplit('/').next().expect("a database"), sql).await;
}

async fn execute(database: &str, sql: &str) {
    let started = Instant::now();
    loop {
        match tokio_postgres::connect(&address(database), NoTls).await {
            Ok((client, connection)) => {
                let serving = tokio::spawn(connection);
                client.batch_execute(sql).await.expect("the server does it");
                drop(client);
                serving.await.expect("the connection ends").expect("in good order");
                return;
            }
            Err(error) => {
                let failed = server().folder.join("failed").exists();
                let said = || std::fs::read_to_string(server().folder.join("initdb.log")).unwrap_or_default();
                assert!(!failed && started.elapsed() < START_MAX, "PostgreSQL did not start: {error}\n{}", said());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
