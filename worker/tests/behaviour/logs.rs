//! Logs: told while an attempt runs, kept when it is over, whatever ended it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::api::LogRef;
use protocol::{ErrorKind, Isolation, Outcome};

use crate::fake_hub::{Fleet, Work, log_text, python, until};

/// A step that prints a line with a secret and then takes longer than any test.
fn long_step() -> Work {
    let code =
        "import os, time\n\ndef step():\n    print('with', os.environ['TOKEN'], flush=True)\n    time.sleep(600)\n";
    python(code).set(|settings| settings.runtime.secrets = vec!["TOKEN".to_owned()])
}

fn has_late_log(fleet: &Fleet) -> bool {
    !fleet.hub.late.lock().unwrap().is_empty()
}

#[tokio::test]
async fn what_a_step_prints_is_told_while_it_runs() {
    let fleet = Fleet::start();
    let code = "import os, time\n\ndef step():\n    print('begun', flush=True)\n    time.sleep(60)\n";
    let lease = fleet.add(python(code));
    until("the log is told", || fleet.hub.told.lock().unwrap().contains("Z begun\n")).await;
    assert!(!fleet.hub.is_settled(lease.job));
    fleet.hub.revoke(lease.token);
    fleet.stop().await;
}

#[tokio::test]
async fn a_secret_is_not_told_while_the_step_runs() {
    let fleet = Fleet::start();
    fleet.hub.secrets.lock().unwrap().insert("TOKEN".to_owned(), "hunter2".to_owned());
    let code =
        "import os, time\n\ndef step():\n    print('with', os.environ['TOKEN'], flush=True)\n    time.sleep(60)\n";
    let lease = fleet.add(python(code).set(|settings| settings.runtime.secrets = vec!["TOKEN".to_owned()]));
    until("the log is told", || fleet.hub.told.lock().unwrap().contains("with ***")).await;
    assert!(!fleet.hub.told.lock().unwrap().contains("hunter2"));
    fleet.hub.revoke(lease.token);
    fleet.stop().await;
}

#[tokio::test]
async fn a_step_that_is_killed_by_its_time_limit_or_by_itself_keeps_its_log() {
    let fleet = Fleet::start();
    let code = "import time\ndef step():\n    print('before', flush=True)\n    time.sleep(60)\n";
    let settlement = fleet.run(python(code).timeout(Duration::from_millis(1_500))).await;
    assert_eq!(settlement.sandbox.as_deref(), Some("off"), "a worker tells its sandbox with each attempt");
    assert!(matches!(&settlement.outcome, Outcome::Error(error) if error.kind == ErrorKind::Timeout));
    assert!(log_text(&settlement).contains("Z before\n"));
    let code = "import os\ndef step():\n    print('before', flush=True)\n    os.kill(os.getpid(), 9)\n";
    let settlement = fleet.run(python(code)).await;
    assert!(matches!(&settlement.outcome, Outcome::Error(error) if error.kind == ErrorKind::Signal));
    assert!(log_text(&settlement).contains("Z before\n"));
}

#[tokio::test]
async fn an_attempt_that_is_handed_back_keeps_its_log() {
    let fleet = Fleet::with(|config| config.limits.drain = Duration::from_millis(10));
    let lease = fleet.add(python("import time\ndef step():\n    print('before', flush=True)\n    time.sleep(60)\n"));
    until("the log is told", || fleet.hub.told.lock().unwrap().contains("before")).await;
    let hub = std::sync::Arc::clone(&fleet.hub);
    fleet.stop().await;
    let settlement = hub.settlement(lease.job).await;
    assert!(matches!(settlement.outcome, Outcome::Release { .. }), "{settlement:?}");
    assert!(matches!(&settlement.log, Some(LogRef::Text(text)) if text.contains("Z before\n")), "{settlement:?}");
}

#[tokio::test]
async fn an_attempt_whose_lease_is_taken_hands_in_its_log_without_its_secrets() {
    let fleet = Fleet::start();
    fleet.hub.secrets.lock().unwrap().insert("TOKEN".to_owned(), "hunter2".to_owned());
    let lease = fleet.add(long_step());
    until("the log is told", || fleet.hub.told.lock().unwrap().contains("with ***")).await;
    fleet.hub.revoke(lease.token);
    until("the log is handed in", || has_late_log(&fleet)).await;
    let late = fleet.hub.late.lock().unwrap()[0].clone();
    assert_eq!((late.job, late.attempt, late.sandbox.as_deref()), (lease.job, lease.attempt, Some("off")));
    assert!(matches!(&late.log, Some(LogRef::Text(text)) if text.contains("Z with ***\n")), "{late:?}");
    assert!(!fleet.hub.is_settled(lease.job));
    assert_eq!(fleet.stop().await.lost, 1);
}

#[tokio::test]
async fn an_attempt_in_a_shared_interpreter_whose_lease_is_taken_hands_in_its_log() {
    let fleet = Fleet::start();
    let code = "import asyncio\nasync def step():\n    print('before', flush=True)\n    await asyncio.sleep(600)\n";
    let lease = fleet.add(python(code).set(|settings| settings.runtime.isolation = Some(Isolation::Shared)));
    until("the log is told", || fleet.hub.told.lock().unwrap().contains("before")).await;
    fleet.hub.revoke(lease.token);
    until("the log is handed in", || has_late_log(&fleet)).await;
    let late = fleet.hub.late.lock().unwrap()[0].clone();
    assert!(matches!(&late.log, Some(LogRef::Text(text)) if text.contains("Z before\n")), "{late:?}");
    fleet.stop().await;
}

#[tokio::test]
async fn a_long_log_of_an_attempt_whose_lease_is_taken_is_in_the_bucket() {
    let fleet = Fleet::start();
    let code =
        "import time\ndef step():\n    print('x' * 10000)\n    print('the end', flush=True)\n    time.sleep(600)\n";
    let lease = fleet.add(python(code));
    until("the log is told", || fleet.hub.told.lock().unwrap().contains("the end")).await;
    fleet.hub.revoke(lease.token);
    until("the log is handed in", || has_late_log(&fleet)).await;
    let late = fleet.hub.late.lock().unwrap()[0].clone();
    let Some(LogRef::Object { key, bytes }) = late.log else { panic!("{late:?}") };
    let content = fleet.bucket.get(&key, 1 << 20).await.unwrap();
    assert_eq!(content.len() as u64, bytes);
    assert!(content.ends_with(b"the end\n"));
    fleet.stop().await;
}

#[tokio::test]
async fn a_hub_that_is_away_for_a_moment_gets_the_log_later() {
    let fleet = Fleet::start();
    let lease = fleet.add(python("import time\ndef step():\n    print('before', flush=True)\n    time.sleep(600)\n"));
    until("the log is told", || fleet.hub.told.lock().unwrap().contains("before")).await;
    fleet.hub.late_outage.store(2, Ordering::SeqCst);
    fleet.hub.revoke(lease.token);
    until("the log is handed in", || has_late_log(&fleet)).await;
    assert_eq!(fleet.hub.late_outage.load(Ordering::SeqCst), 0, "it was asked again");
    fleet.stop().await;
}

#[tokio::test]
async fn a_hub_that_knows_neither_late_logs_nor_goodbyes_holds_up_neither_work_nor_the_end() {
    let fleet = Fleet::with(|config| config.slots = 1);
    fleet.hub.is_old.store(true, Ordering::SeqCst);
    let lease = fleet.add(python("import time\ndef step():\n    print('before', flush=True)\n    time.sleep(600)\n"));
    until("the log is told", || fleet.hub.told.lock().unwrap().contains("before")).await;
    fleet.hub.revoke(lease.token);
    let settlement = fleet.run(python("def step():\n    return 1\n")).await;
    assert!(matches!(settlement.outcome, Outcome::Success { .. }), "{settlement:?}");
    let hub = std::sync::Arc::clone(&fleet.hub);
    fleet.stop().await;
    assert!(hub.late.lock().unwrap().is_empty() && hub.goodbyes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_logging_says_is_in_the_log_with_its_level() {
    let fleet = Fleet::start();
    let code = "import logging\nlogger = logging.getLogger('api')\ndef step():\n    logger.info('asked %s', 1)\n    \
                logger.warning('slow')\n    logger.debug('not this')\n    return 1\n";
    let settlement = fleet.run(python(code)).await;
    let log = log_text(&settlement);
    assert!(log.contains("Z INFO api: asked 1\n") && log.contains("Z WARNING api: slow\n"), "{log}");
    assert!(!log.contains("not this"), "{log}");
}

#[tokio::test]
async fn a_step_that_sets_logging_up_itself_has_it_its_own_way() {
    let fleet = Fleet::start();
    let code = "import logging\n\ndef step():\n    logging.basicConfig(level=logging.DEBUG, format='own %(message)s')\n    \
                logging.debug('this')\n    return 1\n";
    let settlement = fleet.run(python(code)).await;
    assert!(log_text(&settlement).contains("Z own this\n"), "{settlement:?}");
}

#[tokio::test]
async fn a_line_without_an_end_is_in_the_log_of_a_step_that_took_too_long() {
    for start in [bue_worker::Start::Forked, bue_worker::Start::Fresh] {
        let fleet = Fleet::with(|config| config.start = start);
        let code = "import time\ndef step():\n    print('no end', end='')\n    time.sleep(60)\n";
        let settlement = fleet.run(python(code).timeout(Duration::from_secs(3))).await;
        assert!(log_text(&settlement).contains("Z no end"), "{start:?}: {settlement:?}");
    }
}
