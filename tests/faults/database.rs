//! PostgreSQL is restarted and its connections are cut in the middle of a run; of two hubs over it one is killed.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fleet::{Fleet, eventually};
use crate::load::{Load, Queue};
use crate::postgres::Server;

#[test]
fn cut_connections_and_a_crashed_server_cost_a_run_nothing() {
    let mut server = Server::start();
    let database = server.database();
    let mut fleet = Fleet::unenclosed().with("BUE_POSTGRES", &server.address(&database)).start(0);
    fleet.start_worker(&["-n", "4"]);
    let mut load = Load::start(&mut fleet, 120, &[]);
    let mut cut = 0;
    for _ in 0..6 {
        assert!(load.advances_by(8), "the load was over too early");
        cut += server.cut_hubs(&database);
    }
    assert!(cut >= 6, "only {cut} connections were cut");
    for _ in 0..2 {
        assert!(load.advances_by(8), "the load was over too early");
        server.crash_and_restart();
    }
    load.ends_well(&mut fleet, &[], &Queue::Database(&server, &database));
    let log = fleet.hub.as_ref().unwrap().stderr();
    for line in ["the connection to the database was lost; trying again", "the database is back"] {
        assert!(log.contains(line), "`{line}` is not in:\n{log}");
    }
}

/// A copy of the ads-report example that asks the API at this port.
fn ads_report(fleet: &Fleet, port: &str) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ads-report");
    for entry in fs::read_dir(source).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            let name = entry.file_name().into_string().unwrap();
            fleet.write(&format!("ads/{name}"), &fs::read_to_string(entry.path()).unwrap());
        }
    }
    let database = fleet.path().join("warehouse.sqlite");
    let settings = serde_json::json!({
        "api": format!("http://127.0.0.1:{}", port.trim()), "database": database, "patience_s": 100,
    });
    fleet.write("ads/settings.json", &settings.to_string());
}

fn python(fleet: &Fleet, words: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(words).current_dir(fleet.path().join("ads"));
    command
}

#[test]
fn the_ads_report_on_two_hubs_loads_every_account_once_while_one_of_them_is_killed() {
    let server = Server::shared();
    let database = server.database();
    let mut fleet = Fleet::unenclosed()
        .with("BUE_POSTGRES", &server.address(&database))
        .with("BUE_TOKEN", "a-token-of-all-hubs")
        .with("BUE_LAPSE", "2s")
        .with("BUE_BEAT", "500ms");
    ads_report(&fleet, "0");
    let port_file = fleet.path().join("ads/port");
    let words = ["ads_api.py", "--port", "0", "--port-file", "port", "--accounts", "8", "--seconds", "2"];
    let command = python(&fleet, &words);
    let _api = fleet.spawn_command(command, "api");
    let port = eventually("the API", || fs::read_to_string(&port_file).ok().filter(|text| !text.trim().is_empty()));
    ads_report(&fleet, &port);
    fs::remove_file(port_file).unwrap();

    fleet.start_bucket();
    let bucket = fleet.noted("bucket");
    let mut first = fleet.spawn(&["--data-dir", "first", "hub", "-b", "127.0.0.1:0", "-k", &bucket]);
    first.wait_for("hub listens on http://");
    let of_first = fs::read_to_string(fleet.path().join("first/hub/address")).unwrap().trim().to_owned();
    fleet.start_hub();
    let of_second = fleet.noted("hub");
    fleet.start_worker(&["-b", &of_first, "-n", "4"]);
    fleet.start_worker(&["-b", &of_second, "-n", "4"]);
    let upload = fleet.spawn(&["upload", "ads/ads_report.bue", "--wait", "-b", &of_second]);
    let done = "SELECT count(*) FROM bue.attempts WHERE outcome = 'success'";
    eventually("some jobs", || (server.ask(&database, done).parse::<u32>().unwrap() >= 6).then_some(()));
    first.kill();
    upload.end().expect(0);
    let command = python(&fleet, &["check.py"]);
    let checked = fleet.spawn_command(command, "check").end().expect(0);
    assert!(checked.stdout.contains("8 accounts are loaded, each exactly once"), "{}", checked.stdout);
}
