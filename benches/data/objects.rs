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
/// Rounds of large objects: disks of virtual machines are several times as quick in one second as in another.
const ROUNDS: usize = 15;

pub fn measure() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        bucket::install_tls();
        let loopback = loopback_mb_per_s();
        println!("| loopback, one connection, no disk | {loopback:.0} MB/s |");
        let mut fleet = Fleet::empty();
        fleet.start_bucket();
        let url = fleet.noted("bucket").parse().expect("a bucket's address");
        let bucket = Bucket::open(&url, Some(&keys(fleet.path()))).expect("a bucket");
        report("bue bucket", &bucket, fleet.path(), loopback).await;
        match Weed::start().await {
            Some(weed) => {
                let bucket = weed.bucket().await.expect("its bucket");
                report("SeaweedFS", &bucket, fleet.path(), loopback).await;
            }
            None => println!("| SeaweedFS | not measured: BUE_WEED names no program that starts |"),
        }
    });
}

async fn report(name: &str, bucket: &Bucket, folder: &Path, loopback: f64) {
    let content = Bytes::from(vec![7; 1_024]);
    let (mut times, mut bare) = (Vec::new(), Vec::new());
    for number in 0..SMALL_COUNT {
        bare.push(bare_ms(folder, &content));
        let key = format!("bench/small/{number}");
        let started = Instant::now();
        let stored = bucket.put(&key, content.clone()).await.expect("a put");
        bucket.get_verified(&key, stored).await.expect("a get");
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "| disk, a file of 1 KB synced, renamed, its folder synced, before each put | p50 {:.2} ms |",
        median(&mut bare)
    );
    let p50 = median(&mut times);
    println!("| {name}: put and get of 1 KB | p50 {p50:.2} ms, p95 {:.2} ms |", times[times.len() * 95 / 100]);
    let source = folder.join("large");
    let noise = noise(LARGE_BYTES);
    std::fs::write(&source, &noise).expect("a file");
    let (mut disks, mut puts, mut gets) = (Vec::new(), Vec::new(), Vec::new());
    let (mut put_shares, mut get_shares) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Disks of virtual machines have bursts: each round is compared with the disk as it is then.
        let disk = disk_mb_per_s(&folder.join("written"), &noise);
        let key = format!("bench/large/{round}");
        let started = Instant::now();
        let file = File::open(&source).expect("the file");
        let stored = bucket.put_file(&key, file, u64::MAX).await.expect("a put");
        puts.push(speed(started));
        let target = folder.join("got");
        let started = Instant::now();
        bucket.get_to_file(&key, &target, stored).await.expect("a get");
        gets.push(speed(started));
        std::fs::remove_file(&target).expect("it goes");
        bucket.delete(&key).await.expect("it goes");
        let (put, get) = (puts[round], gets[round]);
        disks.push(disk);
        put_shares.push(put / disk * 100.0);
        get_shares.push(get / loopback.min(disk) * 100.0);
    }
    let size = LARGE_BYTES >> 20;
    println!("| disk, {size} MiB written and flushed before each put | {:.0} MB/s |", median(&mut disks));
    let (put, share) = (median(&mut puts), median(&mut put_shares));
    println!("| {name}: put of {size} MiB | {put:.0} MB/s, {share:.0} % of the disk |");
    let (get, share) = (median(&mut gets), median(&mut get_shares));
    println!("| {name}: get of {size} MiB into a file | {get:.0} MB/s, {share:.0} % of the slower of both |");
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

/// How long the disk takes for a small file that survives a loss of power, in milliseconds: no object can come to it quicker by much.
fn bare_ms(folder: &Path, content: &[u8]) -> f64 {
    let (draft, path) = (folder.join("bare.draft"), folder.join("bare"));
    let started = Instant::now();
    let mut file = File::create_new(&draft).expect("a file");
    file.write_all(content).and_then(|()| file.sync_all()).expect("a disk that takes it");
    std::fs::rename(&draft, &path).expect("its name");
    File::open(folder).and_then(|folder| folder.sync_all()).expect("a folder");
    started.elapsed().as_secs_f64() * 1e3
}

/// How fast this much is written to a file, and on the disk.
fn disk_mb_per_s(path: &Path, content: &[u8]) -> f64 {
    let mut file = File::create(path).expect("a file");
    let started = Instant::now();
    file.write_all(content).and_then(|()| file.sync_all()).expect("a disk that takes it");
    let speed = speed(started);
    std::fs::remove_file(path).expect("it goes");
    speed
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
