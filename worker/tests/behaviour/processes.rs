//! Processes of steps: they end when their attempt ends, with all they have started.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::{ErrorKind, Outcome};

use crate::fake_hub::{Fleet, python, until, written};

/// Starts a process that would outlive the step, and writes its number to a file.
fn with_daemon(pid_file: &Path, environment: &str, end: &str) -> String {
    format!(
        "import subprocess, time, os\ndef step():\n    child = subprocess.Popen(['sleep', '1000'], start_new_session=True, \
         env={environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n    \
         open('{}', 'w').write(str(child.pid) + '\\n')\n    {end}\n",
        pid_file.display()
    )
}

fn is_alive(pid: &str) -> bool {
    PathBuf::from("/proc").join(pid).exists()
}

#[tokio::test]
async fn a_daemon_does_not_outlive_its_attempt() {
    let fleet = Fleet::start();
    let file = fleet.folder.path().join("pid");
    for environment in ["None", "{}"] {
        fleet.stored(python(&with_daemon(&file, environment, "return 1"))).await;
        assert!(!is_alive(&written(&file).await));
    }
}

#[tokio::test]
async fn a_daemon_of_a_running_attempt_is_left_alone() {
    let fleet = Fleet::start();
    let file = fleet.folder.path().join("pid");
    let release = fleet.folder.path().join("release");
    // Its parent is gone at once, so it is an orphan while its step still runs.
    let code = format!(
        "import os, subprocess, time\ndef step():\n    subprocess.run(['sh', '-c', 'setsid sleep 1000 >/dev/null 2>&1 & echo $! > {}'])\n    \
         while not os.path.exists('{}'):\n        time.sleep(0.01)\n    return 1\n",
        file.display(),
        release.display()
    );
    let slow = fleet.add(python(&code));
    let pid = written(&file).await;
    fleet.stored(python("def step():\n    return 1\n")).await;
    assert!(is_alive(&pid));
    std::fs::write(release, "").unwrap();
    fleet.hub.settlement(slow.job).await;
    assert!(!is_alive(&pid));
}

#[tokio::test]
async fn a_daemon_that_becomes_one_program_after_another_is_left_alone() {
    let fleet = Fleet::start();
    let (file, release) = (fleet.folder.path().join("pid"), fleet.folder.path().join("release"));
    let program = fleet.folder.path().join("again.sh");
    std::fs::write(&program, format!("exec sh '{}'\n", program.display())).unwrap();
    let code = format!(
        "import os, subprocess, time\ndef step():\n    subprocess.run(['sh', '-c', 'setsid sh {} >/dev/null 2>&1 & echo $! > {}'])\n    \
         while not os.path.exists('{}'):\n        time.sleep(0.01)\n    return 1\n",
        program.display(),
        file.display(),
        release.display()
    );
    let slow = fleet.add(python(&code));
    let pid = written(&file).await;
    for _ in 0..30 {
        fleet.stored(python("def step():\n    return 1\n")).await;
        assert!(is_alive(&pid));
    }
    std::fs::write(release, "").unwrap();
    fleet.hub.settlement(slow.job).await;
    assert!(!is_alive(&pid));
}

#[tokio::test]
async fn a_timeout_ends_the_whole_group_also_where_it_ignores_the_polite_signal() {
    let fleet = Fleet::start();
    let file = fleet.folder.path().join("pid");
    let end = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)";
    let work = python(&with_daemon(&file, "None", end)).timeout(Duration::from_millis(800));
    let error = fleet.error(work).await;
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(!is_alive(&written(&file).await));
}

#[tokio::test]
async fn a_revoked_lease_stops_its_attempt_and_settles_nothing() {
    let fleet = Fleet::start();
    let file = fleet.folder.path().join("pid");
    let lease = fleet.add(python(&with_daemon(&file, "None", "time.sleep(1000)")));
    let pid = written(&file).await;
    fleet.hub.revoke(lease.token);
    until("the step's process ends", || !is_alive(&pid)).await;
    fleet.stored(python("def step():\n    return 1\n")).await;
    assert!(!fleet.hub.is_settled(lease.job));
    assert_eq!(fleet.stop().await.lost, 1);
}

#[tokio::test]
async fn a_shutdown_lets_short_steps_finish_and_hands_long_ones_back() {
    let fleet = Fleet::with(|config| config.limits.drain = Duration::from_millis(1_500));
    let marks = ["short", "long"].map(|name| fleet.folder.path().join(name));
    let code = |mark: &Path, seconds: &str| {
        format!(
            "import time\ndef step():\n    open('{}', 'w').write('1\\n')\n    time.sleep({seconds})\n    return 1\n",
            mark.display()
        )
    };
    let short = fleet.add(python(&code(&marks[0], "0.2")));
    let long = fleet.add(python(&code(&marks[1], "1000")));
    let never = fleet.add(python("def step():\n    return 1\n"));
    written(&marks[0]).await;
    written(&marks[1]).await;
    let hub = std::sync::Arc::clone(&fleet.hub);
    let summary = fleet.stop().await;
    assert!(matches!(hub.settlement(short.job).await.outcome, Outcome::Success { .. }));
    assert!(matches!(hub.settlement(long.job).await.outcome, Outcome::Release { delay_ms: 0, .. }));
    assert!(!hub.is_settled(never.job));
    assert_eq!((summary.succeeded, summary.released), (1, 1));
}

#[tokio::test]
async fn there_are_never_more_leases_than_slots() {
    let fleet = Fleet::with(|config| config.slots = 3);
    let leases: Vec<_> = (0..10).map(|_| fleet.add(python("def step():\n    return 1\n"))).collect();
    for lease in leases {
        fleet.hub.settlement(lease.job).await;
    }
    assert_eq!(fleet.hub.open_max.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn scratch_folders_are_gone_when_the_worker_is() {
    let fleet = Fleet::start();
    let code = "import os\ndef step():\n    os.mkdir('deep')\n    open('deep/file', 'w').close()\n    os.chmod('deep', 0)\n    return os.getcwd()\n";
    let folder = fleet.value(python(code)).await;
    let folder = PathBuf::from(folder.trim_matches('"'));
    until("the attempt's folder is gone", || !folder.exists()).await;
    let scratch = fleet.folder.path().join("worker/scratch");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 2);
    fleet.shutdown.cancel();
    until("the scratch folder is empty", || std::fs::read_dir(&scratch).unwrap().count() == 0).await;
}

#[tokio::test]
async fn a_worker_whose_memory_is_short_runs_one_attempt_at_a_time() {
    let fleet = Fleet::with(|config| {
        config.slots = 8;
        config.limits.memory_reserve_bytes = u64::MAX;
    });
    let leases: Vec<_> = (0..3).map(|_| fleet.add(python("def step():\n    return 1\n"))).collect();
    for lease in leases {
        let settlement = fleet.hub.settlement(lease.job).await;
        assert!(matches!(settlement.outcome, Outcome::Success { .. }), "{settlement:?}");
    }
    assert_eq!(fleet.hub.open_max.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn folders_nested_deeper_than_any_path_go_with_their_attempt() {
    let fleet = Fleet::start();
    // From the inside, for what is deep takes long.
    let code = "import os\ndef step():\n    os.mkdir('in')\n    for _ in range(3_000):\n        os.mkdir('out')\n        \
                os.rename('in', 'out/in')\n        os.rename('out', 'in')\n    return 1\n";
    fleet.stored(python(code)).await;
    let scratch = fleet.folder.path().join("worker/scratch");
    let sessions = || std::fs::read_dir(&scratch).unwrap().flatten().filter(|entry| entry.path().is_dir());
    let is_of_attempt = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let attempts = |session: std::fs::DirEntry| {
        let entries = std::fs::read_dir(session.path()).unwrap().flatten();
        entries.filter(|entry| is_of_attempt(&entry.file_name().to_string_lossy())).count()
    };
    until("the folder is gone", || sessions().map(attempts).sum::<usize>() == 0).await;
    fleet.stored(python("def step():\n    return 1\n")).await;
}

#[tokio::test]
async fn a_step_that_ignores_the_signal_about_its_time_on_a_processor_is_killed_and_told_why() {
    let fleet = Fleet::start();
    let code = "import signal\ndef step():\n    signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n    while True:\n        pass\n";
    let error = fleet.error(python(code).set(|settings| settings.runtime.cpu_ms = Some(1_000))).await;
    assert_eq!(error.kind, ErrorKind::Cpu, "{error:?}");
}

#[tokio::test]
async fn a_worker_that_ends_says_goodbye_when_all_it_held_is_settled() {
    let fleet = Fleet::with(|config| config.limits.drain = Duration::from_millis(10));
    fleet.add(python("import time\ndef step():\n    print('begun', flush=True)\n    time.sleep(600)\n"));
    until("the step", || fleet.hub.told.lock().unwrap().contains("begun")).await;
    assert!(fleet.hub.goodbyes.lock().unwrap().is_empty());
    let hub = std::sync::Arc::clone(&fleet.hub);
    assert_eq!(fleet.stop().await.released, 1);
    assert_eq!(*hub.goodbyes.lock().unwrap(), [0], "leases that were open at the goodbye");
}

#[tokio::test]
async fn a_hub_that_is_away_holds_up_no_goodbye() {
    let fleet = Fleet::start();
    fleet.run(python("def step():\n    return 1\n")).await;
    fleet.hub.outage.store(u32::MAX, Ordering::SeqCst);
    let hub = std::sync::Arc::clone(&fleet.hub);
    assert_eq!(fleet.stop().await.succeeded, 1);
    assert!(hub.goodbyes.lock().unwrap().is_empty());
}
