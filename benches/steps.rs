//! Steps from end to end: a real bucket, hub and worker as processes, each step forked in a process of its own.
//!
//! `cargo bench --bench steps` prints medians of several rounds. `BUE_BENCH_STEPS` sets how many trivial steps there are
//! (default 10,000), `BUE_BENCH_CHAINS` how many chains (1,000), `BUE_BENCH_SLEEPS` how many sleeping steps (2,000),
//! `BUE_BENCH_SINGLES` how many single ones (200), `BUE_BENCH_IMPORTS` how many steps that import something
//! (1,000), `BUE_BENCH_SQL` how many of SQL (1,000), `BUE_BENCH_FIBOS` how many one after another (40), `BUE_BENCH_ROUNDS` the
//! rounds (3). Words after `--` choose parts: idle, latency, trivial, imports, sql, chains, fibo, sleeps, shared, awaits.

mod rig;

use std::time::{Duration, Instant};

use rig::fleet::{Cost, Fleet};
use rig::{is_wanted, median, setting};

/// Slots of the worker where steps compute; they have two processors or so.
const SLOTS: usize = 16;
/// Pause before a single step.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a worker is left alone before its memory is measured.
const SETTLING: Duration = Duration::from_secs(2);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let rounds = setting("BUE_BENCH_ROUNDS", 3).max(1);
    println!("| what | figure |\n|---|---|");
    if is_wanted("idle") {
        idle().await;
    }
    if is_wanted("latency") {
        latency(setting("BUE_BENCH_SINGLES", 200)).await;
    }
    if is_wanted("trivial") {
        trivial(setting("BUE_BENCH_STEPS", 10_000), rounds).await;
    }
    if is_wanted("imports") {
        imports(setting("BUE_BENCH_IMPORTS", 1_000), rounds).await;
    }
    if is_wanted("sql") {
        sql(setting("BUE_BENCH_SQL", 1_000), rounds).await;
    }
    if is_wanted("chains") {
        chains(setting("BUE_BENCH_CHAINS", 1_000), rounds).await;
    }
    if is_wanted("fibo") {
        one_after_another(setting("BUE_BENCH_FIBOS", 40), rounds).await;
    }
    if is_wanted("sleeps") {
        sleeps(setting("BUE_BENCH_SLEEPS", 2_000)).await;
    }
    if is_wanted("shared") {
        shared(setting("BUE_BENCH_STEPS", 10_000), rounds).await;
    }
    if is_wanted("awaits") {
        shared_sleeps(setting("BUE_BENCH_SLEEPS", 2_000), rounds).await;
    }
    forks(setting("BUE_BENCH_SINGLES", 200));
    interpreters(setting("BUE_BENCH_SINGLES", 200).min(50));
}

async fn idle() {
    let fleet = Fleet::start(SLOTS);
    tokio::time::sleep(SETTLING).await;
    println!("| idle worker with its warm interpreter | {:.1} MB |", fleet.worker_mb());
}

/// A script that runs `steps`, joined by pipes, once for each of `count` items.
fn loop_over(count: usize, first: &str, rest: &[&str]) -> String {
    loop_with("", count, first, rest)
}

/// The same with steps that share an interpreter.
fn shared_loop_over(count: usize, step: &str) -> String {
    loop_with("    !isolation shared\n", count, step, &[])
}

fn loop_with(setting: &str, count: usize, first: &str, rest: &[&str]) -> String {
    let mut script = format!("items:\n    python\n    items\n    `def items(): return list(range({count}))`\n");
    let mut pipe = Vec::new();
    for (number, code) in [first].iter().chain(rest).enumerate() {
        script.push_str(&format!("step{number}:\n{setting}    python\n    step\n    `{code}`\n"));
        pipe.push(format!("step{number}"));
    }
    let pipe = if pipe.len() == 1 { format!("| {}", pipe[0]) } else { pipe.join(" | ") };
    script.push_str(&format!("source = | items\nwork = {pipe}\nfor item in source():\n    work(item)\n"));
    script
}

/// From the request of an upload to the answer that says it is done, one after another.
async fn latency(count: usize) {
    let script = "one:\n    python\n    one\n    `def one(): return 1`\np = | one\np()\n";
    let fleet = Fleet::start(SLOTS);
    fleet.prepare(script).await;
    let mut times = Vec::new();
    for _ in 0..count.max(1) {
        // One that comes to a fleet at rest, not on the heels of another.
        tokio::time::sleep(PAUSE).await;
        let started = Instant::now();
        let run = fleet.submit(script).await;
        fleet.ended(&run).await;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let p50 = median(&mut times);
    println!("| one step, upload → done | p50 {p50:.1} ms, p95 {:.1} ms |", times[times.len() * 95 / 100]);
}

async fn trivial(count: usize, rounds: usize) {
    let script = loop_over(count, "def step(x): return x + 1", &[]);
    report(&format!("{count} trivial steps"), &script, count, rounds).await;
}

async fn shared(count: usize, rounds: usize) {
    let script = shared_loop_over(count, "async def step(x): return x + 1");
    report(&format!("{count} trivial steps that share an interpreter"), &script, count, rounds).await;
}

/// Steps that import what a call of an API needs, from the interpreter's own modules: loaded beforehand, and by each of them.
async fn imports(count: usize, rounds: usize) {
    let step = "import csv, datetime, json, logging, ssl, urllib.request\ndef step(x): return x";
    let script = loop_over(count, step, &[]);
    let mut rates = Vec::new();
    for settings in [&[][..], &[("BUE_PRELOADS_MAX", "0")]] {
        let fleet = Fleet::start_with(SLOTS, settings);
        // The first attempts have them loaded.
        fleet.run(&loop_over(SLOTS * 2, step, &[]), false).await;
        tokio::time::sleep(SETTLING).await;
        rates.push(count as f64 / seconds(&fleet, &script, rounds).await);
    }
    let ratio = rates[0] / rates[1];
    println!("| {count} steps that import urllib.request, ssl and others | {:.0} steps/s |", rates[0]);
    println!(
        "| … where each of them loads these itself | {:.0} steps/s; the other way is {ratio:.1} times as fast |",
        rates[1]
    );
}

/// Small SQL steps, each with a table of one row: forked from a program that stays, and in a process started for each.
async fn sql(count: usize, rounds: usize) {
    let has_duckdb = std::path::Path::new(env!("CARGO_BIN_EXE_bue")).with_file_name("bue-duckdb").is_file();
    for engine in ["sqlite3", "duckdb"] {
        if engine == "duckdb" && !has_duckdb {
            println!("| small steps of duckdb | not measured: bue-duckdb is not beside bue |");
            continue;
        }
        let mut rates = Vec::new();
        for setting in ["", "    !isolation fresh\n"] {
            let script = format!(
                "items:\n    python\n    items\n    `def items(): return [[{{'x': n}}] for n in range({count})]`\n\
                 compute:\n{setting}    {engine}\n    t\n    `SELECT x * 2 AS y FROM t`\n\
                 source = | items\nwork = | compute\nfor item in source():\n    work(item)\n"
            );
            let fleet = Fleet::start(SLOTS);
            rates.push(count as f64 / seconds(&fleet, &script, rounds).await);
        }
        let ratio = rates[0] / rates[1];
        println!("| {count} small steps of {engine} | {:.0} steps/s |", rates[0]);
        println!(
            "| … in a process started for each | {:.0} steps/s; the other way is {ratio:.1} times as fast |",
            rates[1]
        );
    }
}

/// In one slot: what each step takes from its lease to its settlement, and the way between.
async fn one_after_another(count: usize, rounds: usize) {
    let fibo = "def step(x):\n    fibo = lambda n: n if n < 2 else fibo(n - 1) + fibo(n - 2)\n    return fibo(10)";
    let script = loop_over(count, fibo, &[]);
    let fleet = Fleet::start(1);
    println!("| {count} × fibo(10), one after another | {:.2} s |", seconds(&fleet, &script, rounds).await);
}

async fn shared_sleeps(count: usize, rounds: usize) {
    let script = shared_loop_over(count, "import asyncio\nasync def step(x):\n    await asyncio.sleep(1)");
    let fleet = Fleet::start(SLOTS);
    println!("| {count} × await asyncio.sleep(1) at once | {:.1} s |", seconds(&fleet, &script, rounds).await);
    let cost = fleet.run(&script, true).await;
    println!("| … peak memory of the worker and its steps | {:.0} MB |", cost.peak_mb);
}

/// Four steps after another, each with a value of 10 KB for the next.
async fn chains(count: usize, rounds: usize) {
    let make = "def step(x): return str(x % 10) * 10_000";
    let pass_on = "def step(text): return text[1:] + text[:1]";
    let script = loop_over(count, make, &[pass_on, pass_on, pass_on]);
    report(&format!("{count} chains of 4 with 10 KB values"), &script, 4 * count, rounds).await;
}

/// The median of several runs.
async fn seconds(fleet: &Fleet, script: &str, rounds: usize) -> f64 {
    let mut times = Vec::new();
    for _ in 0..rounds {
        times.push(fleet.run(script, false).await.took.as_secs_f64());
    }
    median(&mut times)
}

/// Prints rate and costs; memory in a further round, as looking at it takes time.
async fn report(what: &str, script: &str, steps: usize, rounds: usize) {
    let fleet = Fleet::start(SLOTS);
    let mut costs = Vec::new();
    for _ in 0..rounds {
        costs.push(fleet.run(script, false).await);
    }
    let peak_mb = fleet.run(script, true).await.peak_mb;
    let of = |figure: fn(&Cost) -> Duration| {
        median(&mut costs.iter().map(|cost| figure(cost).as_secs_f64()).collect::<Vec<_>>()) / steps as f64
    };
    println!("| {what} | {:.0} steps/s |", 1.0 / of(|cost| cost.took));
    println!("| … processor time for each: worker and step | {:.2} ms |", of(|cost| cost.worker_cpu) * 1e3);
    println!("| … processor time for each: hub | {:.2} ms |", of(|cost| cost.hub_cpu) * 1e3);
    println!("| … peak memory of the worker and its steps | {peak_mb:.0} MB |");
}

/// As many slots as steps, so that all sleep at once.
async fn sleeps(count: usize) {
    let fleet = Fleet::start(count);
    let script = loop_over(count, "import time\ndef step(x):\n    time.sleep(1)", &[]);
    let cost = fleet.run(&script, false).await;
    println!("| {count} × time.sleep(1) at once | {:.1} s |", cost.took.as_secs_f64());
    let cost = fleet.run(&script, true).await;
    println!("| … peak memory of the worker and its steps | {:.0} MB |", cost.peak_mb);
}

/// What no fork of an interpreter with the runner in it can be faster than: one that ends at once, without sandbox, pipes or a step.
fn forks(count: usize) {
    let python = worker::find_python(None).expect("a Python");
    let script = format!(
        "import gc, os, sys, time\nsys.path.insert(0, 'runner-python')\nfrom buelon.runner import warm\ngc.freeze()\n\
         def fork():\n    started = time.perf_counter()\n    pid = os.fork()\n    if pid == 0: os._exit(0)\n    os.waitpid(pid, 0)\n    \
         return time.perf_counter() - started\nprint(sorted(fork() for _ in range({count}))[{count} // 2] * 1000)"
    );
    let output = std::process::Command::new(&python.path).args(["-I", "-c", &script]).output().expect("Python starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let milliseconds: f64 = said.trim().parse().unwrap_or_else(|_| panic!("{said} {output:?}"));
    println!("| a fork that ends at once, alone | {milliseconds:.2} ms |");
}

/// What a new interpreter for each step would cost at least, beside which the figures above stand.
fn interpreters(count: usize) {
    let python = worker::find_python(None).expect("a Python");
    let mut times = Vec::new();
    for _ in 0..count.max(1) {
        let started = Instant::now();
        let status = std::process::Command::new(&python.path).args(["-I", "-c", "import json"]).status();
        assert!(status.expect("Python starts").success());
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    println!("| a fresh interpreter instead of a fork, alone and without a step | {:.1} ms |", median(&mut times));
}
