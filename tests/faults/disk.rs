//! No room for the hub's queue: requests are refused with a word, nothing is lost, service goes on when there is room.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::fleet::{Fleet, Process};
use crate::load::{Load, Queue};

/// A hub whose folder is a small file system that no other process sees.
struct SmallHub {
    process: Process,
    address: String,
    /// Its folder, by way of the process that has it.
    folder: PathBuf,
}

impl SmallHub {
    fn start(fleet: &mut Fleet) -> Self {
        let (mut process, folder) =
            fleet.spawn_on_small_disk("small/hub", 24, &["--data-dir", "small", "hub", "-b", "127.0.0.1:0"]);
        process.wait_for("hub listens on http://");
        let said = process.stderr();
        let address =
            said.split("hub listens on http://").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        Self { process, address, folder }
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.folder.join("ballast")).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while ballast.write_all(&vec![7; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.folder.join("ballast")).unwrap();
    }

    /// A copy of the queue, which nobody else can look at.
    fn copy(&self, to: &Path) -> PathBuf {
        for file in ["queue.db", "queue.db-wal"] {
            fs::copy(self.folder.join(file), to.join(file)).unwrap();
        }
        to.join("queue.db")
    }
}

#[test]
fn a_full_disk_refuses_requests_loses_nothing_and_is_over_when_there_is_room() {
    let mut fleet = Fleet::unenclosed().with("BUE_TOKEN", "a-token-for-all-of-them");
    fleet.start_bucket();
    let mut hub = SmallHub::start(&mut fleet);
    let address = hub.address.clone();
    fleet.start_worker(&["-b", &address, "-n", "4"]);
    let mut load = Load::start(&mut fleet, 60, &["-b", &address]);
    assert!(load.advances_by(10), "the load was over too early");
    hub.fill();
    hub.process.wait_for("the queue could not be written");

    let refused = fleet.bue(&["upload", "load/load.bue", "-b", &address]);
    assert_ne!(refused.code, Some(0), "{}", refused.stderr);
    let refused = refused.says(&["disk is full", "look at the database and its disk"]);
    assert!(!refused.stderr.contains("is run"), "{}", refused.stderr);
    fleet.bue(&["status", "-b", &address]).expect(0);

    hub.make_room();
    let copy = fleet.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let ended = load.ends(&mut fleet, &["-b", &address]);
    let queue = Queue::File(hub.copy(&copy));
    ended.was_done_once(&mut fleet, &queue);
}
