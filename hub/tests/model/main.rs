//! Random events against both stores and a small model of what they promise.
//!
//! `BUE_MODEL_SEED` replays a run, `BUE_MODEL_EVENTS` makes it longer, `BUE_MODEL_FOLDER` names where SQLite's file is made.

mod chance;
mod deeds;
mod reference;
#[path = "../rig/mod.rs"]
mod rig;
mod shapes;
mod world;

use world::{Place, World};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.replace('_', "").parse().expect("a number"))
}

async fn run(place: Place, events: u64) {
    let random = || getrandom::u64().expect("random bytes");
    let seed = setting("BUE_MODEL_SEED").unwrap_or_else(random);
    let events = setting("BUE_MODEL_EVENTS").unwrap_or(events);
    println!("BUE_MODEL_SEED={seed} BUE_MODEL_EVENTS={events}");
    let started = std::time::Instant::now();
    let mut world = World::new(place, seed).await;
    while world.events < events {
        world.step().await;
    }
    world.finish().await;
    println!("{} events in {:.1} s: {:?}", world.events, started.elapsed().as_secs_f64(), world.tally);
}

#[tokio::test]
async fn sqlite_does_what_the_model_says() {
    let folder = std::env::var("BUE_MODEL_FOLDER").map_or_else(|_| tempfile::tempdir(), tempfile::tempdir_in);
    run(Place::Folder(folder.expect("a folder")), 2_000).await;
}

#[tokio::test]
async fn postgres_does_what_the_model_says() {
    run(Place::Database(rig::postgres::database().await), 1_000).await;
}
