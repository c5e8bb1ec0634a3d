//! Answers that are lost on the way, a worker that freezes, requests that come twice or out of order.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::fleet::{Fleet, eventually};
use crate::load::{Load, Queue, history};
use crate::postgres::Server;
use crate::proxy::Proxy;

#[test]
fn lost_answers_cost_no_job_and_make_no_second_run() {
    let fleet = Fleet::unenclosed();
    let queue = Queue::of(&fleet);
    lose_answers(fleet, &queue);
}

#[test]
fn lost_answers_cost_no_job_and_make_no_second_run_in_postgresql() {
    let server = Server::shared();
    let database = server.database();
    let fleet = Fleet::unenclosed().with("BUE_POSTGRES", &server.address(&database));
    lose_answers(fleet, &Queue::Database(&server, &database));
}

fn lose_answers(fleet: Fleet, queue: &Queue<'_>) {
    let mut fleet = fleet.with("BUE_BEAT", "300ms").with("BUE_LAPSE", "2s").with("BUE_LOST_ON_THE_WAY", "1s").start(0);
    let proxy = Proxy::before(&fleet.noted("hub"), 5);
    fleet.start_worker(&["-b", &proxy.address(), "-n", "4"]);
    let load = Load::start(&mut fleet, 60, &["-b", &proxy.address()]);
    load.ends_well(&mut fleet, &[], queue);
    assert!(proxy.lost() >= 10, "only {} answers were lost", proxy.lost());
    let status: Value = serde_json::from_str(&fleet.bue(&["status", "--json"]).expect(0).stdout).unwrap();
    assert_eq!(status["runs"].as_array().unwrap().len(), 1, "a repeated upload makes no second run");
}

#[test]
fn a_worker_that_was_frozen_past_its_lease_settles_nothing_when_it_goes_on() {
    let mut fleet = Fleet::unenclosed().with("BUE_LAPSE", "1s").with("BUE_BEAT", "200ms").start(1);
    let folder = fleet.path().display().to_string();
    let script = format!(
        "\
wait:
    python
    wait
    `def wait():
    import os, time
    attempt = os.environ['BUE_ATTEMPT']
    open('{folder}/begun-' + attempt, 'w').write(os.environ['BUE_ATTEMPT_KEY'])
    while not os.path.exists('{folder}/go-' + attempt):
        time.sleep(0.01)
    return attempt`

p = | wait
v = p()
"
    );
    fleet.write("s/x.bue", &script);
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    let begun = |attempt: &str| {
        let file = fleet.path().join(format!("begun-{attempt}"));
        eventually("an attempt", || std::fs::read_to_string(&file).ok().filter(|key| !key.is_empty()))
    };
    let first = begun("1");
    fleet.workers[0].freeze();
    fleet.hub.as_mut().unwrap().wait_for("worker lost: its jobs are available again");
    fleet.write("go-1", "");
    fleet.start_worker(&[]);
    let file = fleet.path().join("begun-2");
    let second = eventually("a second attempt", || std::fs::read_to_string(&file).ok().filter(|key| !key.is_empty()));
    assert_eq!(first, second, "a job has one key, whatever its attempt");
    fleet.workers[0].thaw();
    let thawed = &fleet.workers[0];
    eventually("a worker that learns that its lease is gone", || {
        let said = thawed.stderr();
        (said.contains("revoked by the hub") || said.contains("settled too late")).then_some(())
    });
    fleet.write("go-2", "");
    let ended = upload.end().expect(0);
    assert!(ended.stdout.contains("\"2\""), "{}", ended.stdout);
    let queue = Queue::of(&fleet);
    assert_eq!(history(&mut fleet, &queue), (1, 0));
}

/// A hub as it is spoken to, without a client in between.
struct Wire {
    address: String,
    token: String,
}

impl Wire {
    fn to(fleet: &Fleet) -> Self {
        let token = std::fs::read_to_string(fleet.path().join(".bue/hub/token")).unwrap();
        Self { address: fleet.noted("hub"), token: token.trim().to_owned() }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (address, token, body) = (&self.address, &self.token, body.to_string());
        let request = format!(
            "{method} /v1/{path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    fn lease(&self, slots: u32) -> Vec<Value> {
        let body = json!({"session": SESSION, "scopes": ["default"], "slots": slots, "wait_ms": 0});
        let (status, mut answer) = self.ask("POST", "lease", &body);
        assert_eq!(status, 200, "{answer}");
        serde_json::from_value(answer["leases"].take()).unwrap()
    }

    /// The status of the answer, and what became of each settlement.
    fn settle(&self, settlements: &[Value]) -> (u16, Value) {
        let (status, mut answer) = self.ask("POST", "settle", &json!({"session": SESSION, "settlements": settlements}));
        (status, answer["answers"].take())
    }

    /// Leases that are no longer the worker's.
    fn beat(&self, held: &[&Value]) -> Value {
        let held: Vec<Value> = held.iter().map(|lease| json!({"job": lease["job"], "token": lease["token"]})).collect();
        let (status, mut answer) = self.ask("POST", "beat", &json!({"session": SESSION, "held": held}));
        assert_eq!(status, 200, "{answer}");
        answer["revoked"].take()
    }

    fn job(&self, lease: &Value) -> Value {
        self.ask("GET", &format!("jobs/{}", lease["job"].as_str().unwrap()), &Value::Null).1
    }
}

const SESSION: &str = "w00000000000000aa";

fn success(lease: &Value, number: u32) -> Value {
    let outcome = json!({"success": {"value": {"kind": "number", "place": {"json": number}}}});
    json!({"job": lease["job"], "attempt": lease["attempt"], "token": lease["token"], "outcome": outcome})
}

fn error(lease: &Value) -> Value {
    let outcome = json!({"error": {"kind": "exception", "message": "ValueError: no"}});
    json!({"job": lease["job"], "attempt": lease["attempt"], "token": lease["token"], "outcome": outcome})
}

const TWO_CHAINS: &str = "a:\n    python\n    f\n    `def f(): return 1`\nb:\n    python\n    f\n    `def f(x): return x`\n\
                          p = a | b\np()\np()\n";

#[test]
fn requests_that_come_twice_late_or_out_of_order_change_nothing_twice() {
    let fleet = Fleet::unenclosed();
    let queue = Queue::of(&fleet);
    repeat_requests(fleet, &queue);
}

#[test]
fn requests_that_come_twice_late_or_out_of_order_change_nothing_twice_in_postgresql() {
    let server = Server::shared();
    let database = server.database();
    let fleet = Fleet::unenclosed().with("BUE_POSTGRES", &server.address(&database));
    repeat_requests(fleet, &Queue::Database(&server, &database));
}

fn repeat_requests(fleet: Fleet, queue: &Queue<'_>) {
    let mut fleet = fleet.with("BUE_LOST_ON_THE_WAY", "1ms").start(0);
    fleet.write("s/x.bue", TWO_CHAINS);
    let run = fleet.bue(&["upload", "s/x.bue"]).expect(0).run();
    let wire = Wire::to(&fleet);
    let leases = wire.lease(10);
    let [first, second] = leases.as_slice() else { panic!("{leases:?}") };

    // The same settlement again and again, also with another outcome: the first one counts.
    for settlement in [success(first, 1), success(first, 1), error(first), success(first, 2)] {
        assert_eq!(wire.settle(&[settlement]), (200, json!(["settled"])));
    }
    let job = wire.job(first);
    assert_eq!((&job["state"], &job["value"]["place"]["json"]), (&json!("succeeded"), &json!(1)), "{job:#}");

    // A beat from before the lease's answer arrived gives the lease up; what comes under it afterwards is stale.
    eventually("a lease that was lost on the way", || {
        wire.beat(&[]);
        (wire.job(second)["state"] == "available").then_some(())
    });
    assert_eq!(wire.settle(&[success(second, 1)]), (409, json!(["stale"])));
    assert_eq!(wire.beat(&[second]), json!([second["token"]]));
    let again = wire.lease(10);
    let [third, fourth] = again.as_slice() else { panic!("{again:?}") };
    let second_again = if third["job"] == second["job"] { third } else { fourth };
    let follower = if third["job"] == second["job"] { fourth } else { third };
    assert_eq!(second_again["attempt"], 2);
    assert_eq!(wire.settle(&[success(second, 1), success(second_again, 3)]), (200, json!(["stale", "settled"])));
    assert_eq!(wire.job(second)["value"]["place"]["json"], 3);

    // A job that follows is settled by many at once, while a beat from before says that it is not held.
    std::thread::scope(|scope| {
        let sending: Vec<_> = (0..8).map(|_| scope.spawn(|| wire.settle(&[success(follower, 4)]))).collect();
        for sent in sending {
            assert_eq!(sent.join().unwrap(), (200, json!(["settled"])));
        }
    });
    let made_up = json!({"job": follower["job"], "attempt": 1, "token": "00".repeat(16)});
    assert_eq!(wire.settle(&[success(&made_up, 9)]), (409, json!(["stale"])));
    let last = wire.lease(10);
    assert_eq!(last.len(), 1, "{last:?}");
    assert_eq!(wire.settle(&[success(&last[0], 5)]), (200, json!(["settled"])));

    let view = fleet.run_view(&run);
    assert_eq!((&view["state"], &view["counts"]["succeeded"]), (&json!("succeeded"), &json!(4)), "{view:#}");
    assert_eq!(history(&mut fleet, queue), (4, 0));
    assert!(fleet.hub.as_ref().unwrap().stderr().contains("refused a stale settlement"));
}
