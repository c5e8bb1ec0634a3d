//! The queue alone: a real `bue hub` on a real disk, driven over HTTP by workers that run nothing; SQLite first, PostgreSQL beside it.
//!
//! `cargo bench --bench engine` prints medians of several rounds, the hub's CPU time for each job and its peak memory.
//! `BUE_BENCH_JOBS` sets the size of a round (default 40,000), `BUE_BENCH_ROUNDS` their number (default 3). Words after `--` choose
//! parts: idle, sqlite, postgres, hubs, latency, parked, loop.

mod rig;

use std::time::{Duration, Instant};

use rig::postgres::Postgres;
use rig::{Hub, is_wanted, median, setting};
use serde_json::json;

/// Workers that lease and settle at the same time.
const WORKERS: usize = 4;

/// Jobs a worker leases at once.
const SLOTS: usize = 256;

/// How long a hub is left alone, before it is looked at and while it is.
const IDLE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let jobs = setting("BUE_BENCH_JOBS", 40_000);
    let rounds = setting("BUE_BENCH_ROUNDS", 3);
    println!("| what | figure |\n|---|---|");
    if is_wanted("idle") {
        idle().await;
    }
    if is_wanted("sqlite") {
        throughput(jobs, rounds, None).await;
    }
    if is_wanted("postgres") {
        throughput(jobs, rounds, Some(&Postgres::start())).await;
    }
    if is_wanted("hubs") {
        two_hubs(jobs, rounds, &Postgres::start()).await;
    }
    if is_wanted("latency") {
        latency().await;
    }
    if is_wanted("parked") {
        parked().await;
    }
    if is_wanted("loop") {
        long_loop().await;
    }
}

/// Part of a processor that a hub uses while nobody asks it for anything, in percent.
async fn idle_share(hub: &Hub) -> f64 {
    let before = hub.cpu();
    tokio::time::sleep(IDLE).await;
    (hub.cpu() - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0
}

async fn idle() {
    let hub = Hub::start();
    tokio::time::sleep(IDLE).await;
    println!("| idle hub | {:.1} MB resident, {:.2} % CPU |", hub.resident_mb(), idle_share(&hub).await);
}

/// A loop over `jobs` items of one step each: leased and settled as fast as the hub gives them.
async fn throughput(jobs: usize, rounds: usize, server: Option<&Postgres>) {
    let (mut rates, mut costs, mut peak, mut disk) = (Vec::new(), Vec::new(), 0.0_f64, 0.0);
    for _ in 0..rounds {
        let database = server.map(|server| (server, server.database()));
        let hub = match &database {
            None => Hub::start(),
            Some((server, database)) => Hub::start_on(&server.address(database)),
        };
        hub.loop_over(jobs).await;
        let cpu = hub.cpu();
        let took: Duration = drain(&[&hub], jobs).await.iter().sum();
        rates.push(jobs as f64 / took.as_secs_f64());
        costs.push((hub.cpu() - cpu).as_secs_f64() * 1e6 / jobs as f64);
        peak = peak.max(hub.peak_mb());
        let bytes = database.map_or_else(|| hub.disk_bytes(), |(server, database)| server.disk_bytes(&database));
        disk = bytes as f64 / jobs as f64;
    }
    let store = if server.is_some() { "PostgreSQL" } else { "SQLite" };
    println!(
        "| {store}: leased and settled, {WORKERS} workers of {SLOTS} slots, {jobs} jobs | {:.0} jobs/s |",
        median(&mut rates)
    );
    println!("| {store}: CPU of the hub for each job | {:.0} µs |", median(&mut costs));
    println!("| {store}: peak memory of the hub | {peak:.0} MB |");
    let parts = if server.is_some() { "without the server's log" } else { "write-ahead log included" };
    println!("| {store}: disk for each finished job, {parts} | {disk:.0} bytes |");
}

/// The same loop with one hub and with two over one database, in turn: what their turns at writing cost.
async fn two_hubs(jobs: usize, rounds: usize, server: &Postgres) {
    let (mut alone, mut shared) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (count, rates) in [(1, &mut alone), (2, &mut shared)] {
            let address = server.address(&server.database());
            let hubs: Vec<Hub> = (0..count).map(|_| Hub::start_on(&address)).collect();
            hubs[0].loop_over(jobs).await;
            let took: Duration = drain(&hubs.iter().collect::<Vec<_>>(), jobs).await.iter().sum();
            rates.push(jobs as f64 / took.as_secs_f64());
        }
    }
    let (alone, shared) = (median(&mut alone), median(&mut shared));
    println!(
        "| PostgreSQL: one hub, and two hubs with half of the workers each | {alone:.0} and {shared:.0} jobs/s ({:.2}) |",
        shared / alone
    );
}

/// Runs workers of some hubs until `jobs` jobs are settled, or none is left; answers with how long each tenth of them took.
async fn drain(hubs: &[&Hub], jobs: usize) -> Vec<Duration> {
    let (counted, mut count) = tokio::sync::mpsc::unbounded_channel();
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..WORKERS {
        let (client, counted) = (hubs[number % hubs.len()].client(), counted.clone());
        workers.spawn(async move {
            let session = format!("w{number:016x}");
            loop {
                let leases = client.lease(&session, "default", SLOTS, 200).await;
                let settled = client.settle(&session, &leases, json!({"kind": "number", "place": {"json": 1}})).await;
                // Nobody listens once all are settled.
                if counted.send(settled).is_err() || (settled == 0 && client.left().await == 0) {
                    break;
                }
            }
        });
    }
    drop(counted);
    let mut tenths = Vec::new();
    let mut done = 0;
    while done < jobs
        && let Some(settled) = count.recv().await
    {
        done += settled;
        while tenths.len() < done * 10 / jobs.max(1) {
            tenths.push(started.elapsed());
        }
    }
    drop(count);
    while workers.join_next().await.is_some() {}
    tenths
        .iter()
        .enumerate()
        .map(|(number, end)| *end - tenths.get(number.wrapping_sub(1)).copied().unwrap_or_default())
        .collect()
}

/// From the request of an upload to the lease in the hands of a waiting worker.
async fn latency() {
    let hub = Hub::start();
    let client = hub.client();
    client.prepare("p()\n").await;
    let mut times = Vec::new();
    for _ in 0..200 {
        let waiting = client.clone();
        let worker = tokio::spawn(async move {
            let leases = waiting.lease("w00000000000000aa", "default", 1, 5_000).await;
            (leases, Instant::now())
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        let started = Instant::now();
        client.submit("p()\n").await;
        let (leases, at) = worker.await.expect("the worker answers");
        times.push((at - started).as_secs_f64() * 1e3);
        client.settle("w00000000000000aa", &leases, json!({"kind": "null", "place": {"json": null}})).await;
    }
    let p50 = median(&mut times);
    println!("| upload → first lease | p50 {p50:.2} ms, p99 {:.2} ms |", times[times.len() * 99 / 100]);
}

/// Leases beside a hundred thousand pending jobs.
async fn parked() {
    let count = setting("BUE_BENCH_PARKED", 100_000);
    let hub = Hub::start();
    hub.loop_over(count).await;
    let client = hub.client();
    let mut parked = 0;
    while parked < count {
        let leases = client.lease("w0000000000000001", "default", 1_000, 200).await;
        parked += client
            .outcome("w0000000000000001", &leases, json!({"release": {"reason": "bench", "delay_ms": 3_000_000}}))
            .await;
    }
    let mut times = Vec::new();
    client.prepare("p()\n").await;
    for _ in 0..300 {
        client.submit("p()\n").await;
        let started = Instant::now();
        let leases = client.lease("w0000000000000001", "default", 1, 1_000).await;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        client.settle("w0000000000000001", &leases, json!({"kind": "null", "place": {"json": null}})).await;
    }
    let share = idle_share(&hub).await;
    let p50 = median(&mut times);
    println!(
        "| lease beside {count} parked jobs | p50 {p50:.2} ms, p99 {:.2} ms; idle {share:.2} % CPU, {:.0} MB resident |",
        times[times.len() * 99 / 100],
        hub.resident_mb()
    );
}

/// A loop over a million items: accepted, then drained; its last tenth beside its first.
async fn long_loop() {
    let items = setting("BUE_BENCH_ITEMS", 1_000_000);
    let hub = Hub::start();
    let accepted = hub.loop_over(items).await;
    println!("| loop over {items} items accepted | {:.3} s |", accepted.as_secs_f64());
    let tenths = drain(&[&hub], items).await;
    let rate = |tenth: &Duration| (items / 10) as f64 / tenth.as_secs_f64();
    let (first, last) = (rate(&tenths[0]), rate(&tenths[tenths.len() - 1]));
    println!("| its first and its last tenth | {first:.0} and {last:.0} jobs/s ({:.2}) |", last / first);
    println!("| peak memory of the hub | {:.0} MB |", hub.peak_mb());
    println!(
        "| disk for each finished job, write-ahead log included | {:.0} bytes |",
        hub.disk_bytes() as f64 / items as f64
    );
}
