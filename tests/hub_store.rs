//! Where a hub keeps its queue: copies of the file, and PostgreSQL for several hubs.

mod fleet;
mod postgres;

use std::fs;

use fleet::{Fleet, Process, eventually};
use postgres::Server;
use serde_json::Value;

const LOOP: &str = "\
numbers:
    python
    numbers
    `def numbers(): return list(range(20))`

double:
    python
    double
    `def double(number):
    import time
    time.sleep(0.1)
    return 2 * number`

all_numbers = | numbers
one = | double
for number in all_numbers():
    one(number)
";

#[test]
fn a_copy_made_while_the_hub_works_takes_the_place_of_the_queue() {
    let mut fleet = Fleet::empty().start(0);
    fleet.write("s/x.bue", LOOP);
    let run = fleet.bue(&["upload", "s/x.bue"]).expect(0).run();
    fleet.bue(&["hub", "backup", "copy.db"]).expect(0).says(&["copy.db"]);
    fleet.bue(&["hub", "backup", "copy.db"]).expect(5).says(&["copy.db"]);
    fleet.bue(&["hub", "restore", "copy.db"]).expect(5).says(&["in use"]);
    fleet.hub.as_mut().unwrap().kill();
    for entry in fs::read_dir(fleet.path().join(".bue/hub")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("queue.db") {
            fs::remove_file(path).unwrap();
        }
    }
    fleet.write("no-copy", "this is no queue");
    fleet.bue(&["hub", "restore", "no-copy"]).expect(5).says(&["no-copy"]);
    fleet.bue(&["hub", "restore", "copy.db"]).expect(0);
    fleet.start_hub();
    fleet.start_worker(&[]);
    eventually("the run from the copy", || (fleet.run_view(&run)["state"] == "succeeded").then_some(()));
}

#[test]
fn a_queue_in_postgresql_is_not_taken_for_an_old_file_when_it_is_copied() {
    let mut fleet = Fleet::empty().start(0);
    fleet.hub.as_mut().unwrap().kill();
    let mut fleet = fleet.with("BUE_POSTGRES", "postgres://ada@db.example/queue");
    fleet.bue(&["hub", "backup", "copy.db"]).expect(2).says(&["pg_dump"]);
    assert!(!fleet.path().join("copy.db").exists());
    fleet.write("copy.db", "a copy");
    fleet.bue(&["hub", "restore", "copy.db"]).expect(2).says(&["pg_restore"]);
}

fn second_hub(fleet: &mut Fleet) -> (Process, String) {
    let mut hub = fleet.spawn(&["--data-dir", "second", "hub", "-b", "127.0.0.1:0", "-p"]);
    hub.wait_for("hub listens on http://");
    let address = fs::read_to_string(fleet.path().join("second/hub/address")).unwrap().trim().to_owned();
    (hub, address)
}

#[test]
fn a_queue_in_postgresql_is_reached_by_encrypted_connections_to_a_trusted_server_only() {
    let server = Server::with_tls();
    let database = server.database();
    let address = format!("{}?sslmode=require", server.address(&database).replace("127.0.0.1", "localhost"));
    let mut fleet = Fleet::empty().with("BUE_POSTGRES", &address);
    fleet.start_bucket();
    fleet.bue(&["hub", "-b", "127.0.0.1:0"]).expect(5).says(&["certificate"]);
    let mut fleet = fleet.with("SSL_CERT_FILE", server.certificate().to_str().unwrap());
    fleet.start_hub();
    fleet.start_worker(&[]);
    fleet.write("s/x.bue", LOOP);
    fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(0);
    let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'bue-hub' AND NOT ssl";
    assert_eq!(server.ask("postgres", plain), "0", "connections of the hub that are not encrypted");
}

#[test]
fn two_hubs_share_a_queue_in_postgresql_and_one_of_them_is_killed() {
    let server = Server::shared();
    let database = server.database();
    let mut fleet = server.fleet(&database).with("BUE_TOKEN", "a-token-of-all-hubs");
    fleet.start_bucket();
    let mut first = fleet.spawn(&["hub", "-b", "127.0.0.1:0", "-p"]);
    first.wait_for("hub listens on http://");
    let (_second, address) = second_hub(&mut fleet);
    fleet.start_worker(&["-b", &address, "-n", "2"]);
    fleet.write("s/x.bue", LOOP);
    let run = fleet.bue(&["upload", "s/x.bue"]).expect(0).run();
    first.kill();
    let state = |fleet: &mut Fleet| {
        let ended = fleet.bue(&["status", &run, "--json", "-b", &address]).expect(0);
        serde_json::from_str::<Value>(&ended.stdout).unwrap()["run"].take()
    };
    let view = eventually("the run", || Some(state(&mut fleet)).filter(|run| run["state"] != "running"));
    assert_eq!((&view["state"], &view["counts"]["succeeded"]), (&"succeeded".into(), &21.into()), "{view:#}");
    assert_eq!(server.ask(&database, "SELECT count(*) FROM bue.runs"), "1");
}
