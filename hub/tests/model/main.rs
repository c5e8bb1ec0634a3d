//! Random events against both stores and a small model of what they promise.
//!
//! `BUE_MODEL_SEED` replays a run, `BUE_MODEL_EVENTS` makes it longer, `BUE_MODEL_FOLDER` names where SQLite's file is made: in memory
//! (`/dev/shm`) it goes several times faster. PostgreSQL's database is shared by two hubs.

mod chance;
mod deeds;
mod reference;
#[path = "../rig/mod.rs"]
mod rig;
mod shapes;
mod transcript;
mod world;

use world::{Place, World};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.replace('_', "").parse().expect("a number"))
}

/// A seed and a number of events, as they were asked for, or drawn and `events`.
fn settings(events: u64) -> (u64, u64) {
    let random = || getrandom::u64().expect("random bytes");
    (setting("BUE_MODEL_SEED").unwrap_or_else(random), setting("BUE_MODEL_EVENTS").unwrap_or(events))
}

fn folder() -> Place {
    let folder = std::env::var("BUE_MODEL_FOLDER").map_or_else(|_| tempfile::tempdir(), tempfile::tempdir_in);
    Place::Folder(folder.expect("a folder"))
}

async fn database() -> Place {
    Place::Database(rig::postgres::database().await)
}

/// Answers with the digest of all that was seen.
async fn run(place: Place, seed: u64, events: u64) -> u64 {
    println!("BUE_MODEL_SEED={seed} BUE_MODEL_EVENTS={events}");
    let started = std::time::Instant::now();
    let mut world = World::new(place, seed).await;
    while world.events < events {
        world.step().await;
    }
    world.finish().await;
    println!("{} events in {:.1} s: {:?}", world.events, started.elapsed().as_secs_f64(), world.tally);
    world.transcript.digest()
}

#[tokio::test]
async fn sqlite_does_what_the_model_says() {
    let (seed, events) = settings(2_000);
    run(folder(), seed, events).await;
}

#[tokio::test]
async fn postgres_does_what_the_model_says_to_two_hubs() {
    let (seed, events) = settings(1_000);
    run(database().await, seed, events).await;
}

#[tokio::test]
async fn a_seed_replays_the_same_events_and_states_on_sqlite() {
    let (seed, _) = settings(0);
    let first = run(folder(), seed, 1_500).await;
    assert_eq!(run(folder(), seed, 1_500).await, first);
    assert_ne!(run(folder(), seed.wrapping_add(1), 1_500).await, first);
}

#[tokio::test]
async fn a_seed_replays_the_same_events_and_states_on_postgres() {
    let (seed, _) = settings(0);
    let first = run(database().await, seed, 700).await;
    assert_eq!(run(database().await, seed, 700).await, first);
}
