//! Steps in their sandbox, with a hub in memory: that they work in it as they do without.

use bue_worker::{Config, Sandbox, Start};
use sandbox::{Identity, Level, probe};

use crate::fake_hub::{Fleet, python};

/// The sandbox of this machine, as a worker would use it.
pub fn here(config: &mut Config) {
    let identity = match Identity::own() {
        Identity { user: 0, .. } => Identity { user: 65_530, group: 65_530 },
        own => own,
    };
    let folder = config.data_dir.join("sandbox");
    std::fs::create_dir_all(&folder).unwrap();
    let report = probe(&config.program, &folder, identity).unwrap();
    assert_eq!(report.missing(), Vec::<&sandbox::Finding>::new());
    config.sandbox =
        Sandbox { level: Level { report: Some(report) }, identity, readable: Vec::new(), writable: Vec::new() };
}

const WHERE: &str = "import os\ndef step():\n    return [os.getcwd(), os.getuid(), sorted(os.listdir('/proc'))[:3], os.getpid(), os.getppid()]\n";

#[tokio::test]
async fn a_step_runs_in_a_cell_forked_and_fresh_alike() {
    for start in [Start::Forked, Start::Fresh] {
        let fleet = Fleet::with(|config| {
            here(config);
            config.start = start;
        });
        let value = fleet.value(python(WHERE)).await;
        assert!(value.starts_with("[\"/run/step/files\","), "{start:?}: {value}");
        // A fork's parent is outside its cell, a fresh interpreter's is the first process of it.
        let parent = if start == Start::Forked { 0 } else { 1 };
        assert!(value.ends_with(&format!("[\"1\",\"2\",\"acpi\"],2,{parent}]")), "{start:?}: {value}");
        for _ in 0..20 {
            assert_eq!(fleet.value(python("def step():\n    return 1\n")).await, "1");
        }
    }
}
