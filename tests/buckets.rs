//! The same pipeline on every kind of bucket: a folder, `bue bucket`, and a real S3 service of somebody else.

mod fleet;
mod weed;

use fleet::{Ended, Fleet, eventually};
use serde_json::{Value, json};
use weed::Weed;

/// Values small and large, a table through SQL and back, a loop over a large list, and more than a part of an upload.
const SCRIPT: &str = "\
rows:
    python
    rows
    `def rows():
    return [{'id': n, 'name': f'é {n}', 'cents': n * 10} for n in range(60_000)]`

sums:
    sqlite3
    orders
    `SELECT count(*) AS n, sum(cents) AS cents FROM orders`

texts:
    python
    texts
    `def texts():
    return ['x' * 100_000 + str(n) for n in range(200)]`

length:
    python
    length
    `def length(text):
    return [len(text), text[100_000:]]`

order_sums = rows | sums
all_texts = | texts
one = | length
s = order_sums()
for text in all_texts():
    one(text)
";

fn upload(fleet: &mut Fleet) -> Ended {
    fleet.write("s/x.bue", SCRIPT);
    fleet.bue(&["upload", "s/x.bue", "--wait"])
}

#[track_caller]
fn check(fleet: &mut Fleet, ended: Ended) {
    let ended = ended.expect(0);
    let run = ended.stderr.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    let results: Value = serde_json::from_str(&fleet.bue(&["results", &run, "--json"]).expect(0).stdout).unwrap();
    let results = results["results"].as_array().unwrap();
    assert_eq!(results.len(), 201);
    assert_eq!(results[0]["value"], json!([{"n": 60_000, "cents": 17_999_700_000_i64}]));
    for (place, result) in results[1..].iter().enumerate() {
        let number = place.to_string();
        assert_eq!(result["value"], json!([100_000 + number.len(), number]));
    }
    assert_eq!(fleet.run_view(&run)["counts"]["failed"], 0);
}

/// Hub and worker over the bucket that the environment names.
fn start(fleet: &mut Fleet) {
    fleet.start_hub();
    fleet.start_worker(&[]);
}

/// Its worker keeps no tables, so that all of them go through the bucket.
fn without_tables_at_hand(fleet: Fleet) -> Fleet {
    fleet.with("BUE_WORKER_TABLES_BYTES_MAX", "0")
}

#[test]
fn a_folder() {
    let mut fleet = Fleet::empty();
    let url = format!("file://{}/values", fleet.path().display());
    fleet = without_tables_at_hand(fleet.with("BUE_BUCKET", &url));
    start(&mut fleet);
    let ended = upload(&mut fleet);
    check(&mut fleet, ended);
}

#[test]
fn the_server_of_bue_bucket() {
    let mut fleet = without_tables_at_hand(Fleet::empty()).start(1);
    let ended = upload(&mut fleet);
    check(&mut fleet, ended);
}

#[test]
fn an_s3_service_that_goes_away_in_the_middle_and_comes_back() {
    let mut weed = Weed::start();
    let mut fleet = without_tables_at_hand(weed.fleet());
    start(&mut fleet);
    fleet.write("s/x.bue", SCRIPT);
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    let run = eventually("a run", || upload.stderr().lines().next().map(str::to_owned));
    let run = run.rsplit(' ').next().unwrap().to_owned();
    eventually("some passes", || (fleet.run_view(&run)["counts"]["succeeded"].as_u64()? >= 20).then_some(()));
    weed.kill();
    let worker = fleet.workers[0].pid();
    eventually("a worker that notices", || {
        let stderr = fleet.workers[0].stderr();
        (stderr.contains("bucket") && stderr.contains("away") || stderr.contains("cannot be reached")).then_some(())
    });
    assert!(fleet::is_alive(worker));
    weed.restart();
    let ended = upload.end();
    check(&mut fleet, ended);
}

#[test]
fn a_bucket_that_is_away_for_longer_than_a_step_may_take_costs_no_retry() {
    let second = "1s";
    let mut fleet =
        Fleet::empty().with("BUE_TIMEOUT_GRACE", second).with("BUE_BEAT", "200ms").with("BUE_WORKER_BEAT", "200ms");
    fleet = fleet.start(1);
    fleet.bucket.take().unwrap().kill();
    let large = "`def large():\n    return 'x' * 100_000`";
    fleet.write(
        "s/x.bue",
        &format!("large:\n    python\n    !retries 0\n    !timeout 1\n    large\n    {large}\np = | large\np()\n"),
    );
    let run = fleet.bue(&["upload", "s/x.bue"]).expect(0).run();
    eventually("a value that waits", || fleet.workers[0].stderr().contains("cannot be reached").then_some(()));
    let waited = std::time::Instant::now();
    // Longer than time limit and grace together.
    eventually("a long outage", || (waited.elapsed() > std::time::Duration::from_secs(4)).then_some(()));
    assert_eq!(fleet.run_view(&run)["counts"]["leased"], 1, "{}", fleet.run_view(&run));
    fleet.start_bucket();
    eventually("a value", || (fleet.run_view(&run)["state"] == "succeeded").then_some(()));
    let jobs: Value = serde_json::from_str(&fleet.bue(&["status", &run, "--all", "--json"]).expect(0).stdout).unwrap();
    assert_eq!(jobs["jobs"][0]["attempts"], 1, "{jobs:#}");
}

#[test]
fn a_wrong_key_is_refused_by_name_and_costs_no_job() {
    let weed = Weed::start();
    let mut fleet = weed.fleet().with("AWS_SECRET_ACCESS_KEY", "wrong");
    let refused = fleet.bue(&["worker"]).expect(4);
    refused.says(&["refused us", "AWS_SECRET_ACCESS_KEY"]);
}
