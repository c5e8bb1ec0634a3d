//! Single objects: small ones by latency, large ones by speed, beside the disk and the loopback of this machine.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use bucket::{Bucket, Credentials};
use bytes::Bytes;

use crate::fleet::Fleet;
use crate::median;
use crate::weed::Weed;

/// Size of a large object.
const LARGE_BYTES: usize = 256 << 20;
/// Small objects that are put and got, one after another.
const SMALL_COUNT: usize = 300;
/// Rounds of large objects.
const ROUNDS: usize = 3;

pub fn measure() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        bucket::install_tls();
        let disk = disk_mb_per_s();
        let loopback = loopback_mb_per_s();
        println!("| disk, {} MiB written and flushed | {disk:.0} MB/s |", LARGE_BYTES >> 20);
        println!("| loopback, one connection, no disk | {loopback:.0} MB/s |");
        let mut fleet = Fleet::empty();
        fleet.start_bucket();
        let url = fleet.noted("bucket").parse().expect("a bucket's address");
        let bucket = Bucket::open(&url, Some(&keys(fleet.path()))).expect("a bucket");
        report("bue bucket", &bucket, fleet.path(), disk, loopback).await;
        match Weed::start().await {
            Some(weed) => {
                let bucket = weed.bucket().await.expect("its bucket");
                report("SeaweedFS", &bucket, fleet.path(), disk, loopback).await;
            }
            None => println!("| SeaweedFS | not measured: BUE_WEED names no program that starts |"),
        }
    });
}

async fn report(name: &str, bucket: &Bucket, folder: &Path, disk: f64, loopback: f64) {
    let content = Bytes::from(vec![7; 1_024]);
    let mut times = Vec::new();
    for number in 0..SMALL_COUNT {
        let key = format!("bench/small/{number}");
        let started = Instant::now();
        let stored = bucket.put(&key, content.clone()).await.expect("a put");
        bucket.get_verified(&key, stored).await.expect("a get");
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let p50 = median(&mut times);
    println!("| {name}: put and get of 1 KB | p50 {p50:.2} ms, p95 {:.2} ms |", times[times.len() * 95 / 100]);
    let source = folder.join("large");
    std::fs::write(&source, noise(LARGE_BYTES)).expect("a file");
    let (mut puts, mut gets) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let key = format!("bench/large/{round}");
        let started = Instant::now();
        let file = File::open(&source).expect("the file");
        let stored = bucket.put_file(&key, file, u64::MAX).await.expect("a put");
        puts.push(speed(started));
        let started = Instant::now();
        bucket.get_to_file(&key, &folder.join("got"), stored).await.expect("a get");
        gets.push(speed(started));
        bucket.delete(&key).await.expect("it goes");
    }
    let (put, get) = (median(&mut puts), median(&mut gets));
    println!("| {name}: put of {} MiB | {put:.0} MB/s, {:.0} % of the disk |", LARGE_BYTES >> 20, put / disk * 100.0);
    let share = get / loopback.min(disk) * 100.0;
    println!(
        "| {name}: get of {} MiB into a file | {get:.0} MB/s, {share:.0} % of the slower of both |",
        LARGE_BYTES >> 20
    );
}

fn speed(started: Instant) -> f64 {
    LARGE_BYTES as f64 / 1e6 / started.elapsed().as_secs_f64()
}

/// Bytes that nothing makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(bytes);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise
}

fn disk_mb_per_s() -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let content = noise(LARGE_BYTES);
    let mut figures: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let mut file = File::create(folder.path().join(round.to_string())).expect("a file");
            let started = Instant::now();
            file.write_all(&content).and_then(|()| file.sync_all()).expect("a disk that takes it");
            speed(started)
        })
        .collect();
    median(&mut figures)
}

fn loopback_mb_per_s() -> f64 {
    let mut figures: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("its address");
            let sender = std::thread::spawn(move || {
                let content = vec![7; 1 << 20];
                let (mut stream, _) = listener.accept().expect("a connection");
                (0..LARGE_BYTES >> 20).for_each(|_| stream.write_all(&content).expect("a reader"));
            });
            let mut stream = TcpStream::connect(address).expect("a connection");
            let (started, mut buffer) = (Instant::now(), vec![0; 1 << 20]);
            while stream.read(&mut buffer).expect("a sender") > 0 {}
            sender.join().expect("it ends");
            speed(started)
        })
        .collect();
    median(&mut figures)
}

/// The key pair that a bucket noted in its folder.
fn keys(folder: &Path) -> Credentials {
    let text = std::fs::read_to_string(folder.join(".bue/bucket/credentials")).expect("its keys");
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a key");
        line.trim_start_matches([' ', '=']).trim().to_owned()
    };
    Credentials::new(value("aws_access_key_id"), value("aws_secret_access_key"))
}
