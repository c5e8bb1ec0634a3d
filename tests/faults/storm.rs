//! Worker, hub and bucket are killed at random moments, again and again, under load.
//!
//! `BUE_FAULTS_SEED` chooses the same victims again, `BUE_FAULTS_KILLS` how many there are.

use crate::fleet::Fleet;
use crate::load::{Load, Queue};
use crate::postgres::Server;

const PASSES: usize = 150;

/// Draws numbers from a seed.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let setting = std::env::var("BUE_FAULTS_SEED").ok();
        let seed = setting.map_or_else(|| u64::from(std::process::id()), |text| text.parse().expect("a number"));
        println!("BUE_FAULTS_SEED={seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// A fleet that notices losses early, and does not take a job for the killer of its workers.
fn hardened(fleet: Fleet) -> Fleet {
    fleet
        .with("BUE_LAPSE", "1500ms")
        .with("BUE_BEAT", "300ms")
        .with("BUE_LOST_ON_THE_WAY", "1s")
        .with("BUE_LOSSES_MAX", "1000")
}

fn kill_one(fleet: &mut Fleet, chance: &mut Chance) {
    match chance.below(5) {
        0..2 => {
            fleet.hub.as_mut().unwrap().kill();
            fleet.start_hub();
        }
        2..4 => {
            let victim = chance.below(fleet.workers.len());
            fleet.workers.remove(victim).kill();
            fleet.start_worker(&["-n", "4"]);
        }
        _ => {
            fleet.bucket.as_mut().unwrap().kill();
            fleet.start_bucket();
        }
    }
}

fn survives(mut fleet: Fleet, queue: &Queue<'_>) {
    let mut chance = Chance::new();
    fleet.start_bucket();
    fleet.start_hub();
    for _ in 0..2 {
        fleet.start_worker(&["-n", "4"]);
    }
    let mut load = Load::start(&mut fleet, PASSES, &[]);
    let kills = std::env::var("BUE_FAULTS_KILLS").map_or(8, |text| text.parse().expect("a number"));
    let mut killed = 0;
    while killed < kills && load.advances_by(1 + chance.below(15)) {
        kill_one(&mut fleet, &mut chance);
        killed += 1;
    }
    assert!(killed >= 3, "the load was over after {killed} kills");
    load.ends_well(&mut fleet, &[], queue);
}

#[test]
fn whatever_is_killed_whenever_nothing_is_lost_and_nothing_settled_twice() {
    let fleet = hardened(Fleet::unenclosed());
    let queue = Queue::of(&fleet);
    survives(fleet, &queue);
}

#[test]
fn whatever_is_killed_whenever_nothing_is_lost_and_nothing_settled_twice_in_postgresql() {
    let server = Server::shared();
    let database = server.database();
    let fleet = hardened(Fleet::unenclosed()).with("BUE_POSTGRES", &server.address(&database));
    survives(fleet, &Queue::Database(&server, &database));
}
