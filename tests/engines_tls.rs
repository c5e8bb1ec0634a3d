//! `postgres` steps over encrypted connections and to databases by name, and workers that lack what a step needs.

mod fleet;
mod postgres;

use std::io::Write;
use std::process::Stdio;

use fleet::{Fleet, eventually};
use postgres::Server;
use serde_json::{Value, json};

const SCRIPT: &str = "query:\n    postgres\n    !connection warehouse\n    nothing\n    `SELECT ssl FROM pg_stat_ssl \
                      WHERE pid = pg_backend_pid()`\np = | query\np()\n";

fn value(fleet: &mut Fleet) -> Value {
    let document: Value = serde_json::from_str(&fleet.bue(&["run", "x.bue", "--json"]).expect(0).stdout).unwrap();
    document["results"][0]["value"].clone()
}

/// A folder whose steps know the server as `warehouse`.
fn with_warehouse(server: &Server, host: &str, options: &str) -> Fleet {
    let address = format!("postgres://ada:open%20sesame@{host}:{}/postgres{options}", server.port());
    let fleet = Fleet::empty().with("BUE_CONNECTION_WAREHOUSE", &address);
    fleet.write("x.bue", SCRIPT);
    fleet
}

#[test]
fn a_connection_is_encrypted_as_its_sslmode_says_and_a_server_is_verified() {
    let server = Server::with_tls();
    for (options, is_encrypted) in [("", true), ("?sslmode=require", true), ("?sslmode=disable", false)] {
        let mut fleet = with_warehouse(&server, "localhost", options);
        assert_eq!(value(&mut fleet), json!([{"ssl": is_encrypted}]), "{options}");
    }
    let certificate = server.certificate();
    let verified = format!("?sslmode=verify-full&sslrootcert={}", certificate.display());
    assert_eq!(value(&mut with_warehouse(&server, "localhost", &verified)), json!([{"ssl": true}]));
    let words = ["failed to connect to PostgreSQL", "certificate"];
    with_warehouse(&server, "127.0.0.1", &verified).bue(&["run", "x.bue"]).expect(1).says(&words);
    with_warehouse(&server, "localhost", "?sslmode=verify-full").bue(&["run", "x.bue"]).expect(1).says(&words);
}

#[test]
fn a_server_without_encryption_is_refused_where_it_is_required() {
    let server = Server::shared();
    assert_eq!(value(&mut with_warehouse(&server, "127.0.0.1", "")), json!([{"ssl": false}]));
    let mut fleet = with_warehouse(&server, "127.0.0.1", "?sslmode=require");
    fleet.bue(&["run", "x.bue"]).expect(1).says(&["failed to connect to PostgreSQL", "TLS"]);
}

#[test]
fn without_its_connection_a_step_of_bue_run_says_what_to_set() {
    let mut fleet = Fleet::empty();
    fleet.write("x.bue", SCRIPT);
    let words = ["BUE_CONNECTION_WAREHOUSE", "`!connection warehouse`"];
    fleet.bue(&["run", "x.bue"]).expect(1).says(&words);
    let mut fleet = Fleet::empty().with("BUE_CONNECTION_WAREHOUSE", "postgres://ada:hidden@db");
    let ended = fleet.bue(&["run", "hello.bue"]);
    assert!(!ended.stderr.contains("hidden"), "{}", ended.stderr);
}

#[test]
fn a_job_waits_for_a_worker_that_has_what_it_needs() {
    let server = Server::shared();
    let mut fleet = Fleet::empty().with("BUE_WORKER_RELEASE_DELAY", "200ms").start(1);
    fleet.write("s/x.bue", &SCRIPT.replace("ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "1 AS one"));
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    let run = eventually("a run", || upload.stderr().lines().next().map(str::to_owned));
    let run = run.rsplit(' ').next().unwrap().to_owned();
    let status = fleet.bue(&["status", &run, "--json"]).expect(0);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    let job = status["jobs"][0]["id"].as_str().unwrap().to_owned();
    eventually("a word of what is missing", || {
        fleet.bue(&["explain", &job]).expect(0).stdout.contains("can run postgres steps").then_some(())
    });
    let address = format!("postgres://ada:open%20sesame@127.0.0.1:{}/postgres", server.port());
    let mut other = fleet.command(&["worker"]);
    other.env("BUE_CONNECTION_WAREHOUSE", address);
    let mut other = fleet.spawn_command(other, "worker");
    other.wait_for("takes jobs from");
    let ended = upload.end().expect(0);
    assert!(ended.stdout.contains("one"), "{}", ended.stdout);
}

#[test]
fn the_address_of_a_named_database_can_be_a_secret_of_the_hub() {
    let server = Server::shared();
    let mut fleet = Fleet::empty().start(1);
    fleet.write("x.bue", SCRIPT);
    let waiting = fleet.bue(&["upload", "x.bue"]).expect(0).run();
    eventually("the job is handed back", || {
        fleet.workers[0].stderr().contains("no BUE_CONNECTION_WAREHOUSE").then_some(())
    });
    let set = |address: &str| {
        let mut command = fleet.command(&["secret", "set", "BUE_CONNECTION_WAREHOUSE"]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap();
        child.stdin.take().unwrap().write_all(address.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    set(&format!("postgres://ada:open%20sesame@127.0.0.1:{}/postgres", server.port()));
    eventually("the job has run", || (fleet.run_view(&waiting)["state"] == "succeeded").then_some(()));
    let told = "`DO $$ BEGIN RAISE NOTICE 'open sesame'; END $$`";
    fleet.write("y.bue", &format!("q:\n    postgres\n    !connection warehouse\n    t\n    {told}\np = | q\np()\n"));
    fleet.bue(&["upload", "y.bue", "--wait"]).expect(0);
    let log = fleet.bue(&["logs", "j2"]).expect(0).stdout;
    assert!(log.contains("***") && !log.contains("sesame"), "{log}");
}

#[test]
fn an_address_among_the_secrets_that_cannot_be_used_is_named_and_not_shown() {
    let mut fleet = Fleet::empty().start(1);
    let set = |address: &str| {
        let mut command = fleet.command(&["secret", "set", "BUE_CONNECTION_WAREHOUSE"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(address.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = set("nonsense-nonsense");
    assert!(code == Some(2) && told.contains("BUE_CONNECTION_WAREHOUSE is no address"), "{told}");
    assert!(told.contains("it is not of the form postgres://USER") && !told.contains("nonsense"), "{told}");
    // Files are those of the machine of the worker, which has no such one.
    assert_eq!(set("postgres://ada:nonsense@db/sales?sslmode=verify-full&sslrootcert=/not/here").0, Some(0));
    fleet.write("x.bue", &SCRIPT.replace("    !connection", "    !retries 0\n    !connection"));
    let ended = fleet.bue(&["upload", "x.bue", "--wait"]).expect(1);
    assert!(!ended.stderr.contains("nonsense"), "{}", ended.stderr);
    ended.says(&[
        "the secret BUE_CONNECTION_WAREHOUSE, for `!connection warehouse`, cannot be used: the certificates in `/not/here`",
    ]);
}
