//! Steps that share an interpreter: beside each other, and yet each for itself.

use std::time::Duration;

use protocol::api::Settlement;
use protocol::{ErrorKind, Isolation, Outcome};

use crate::fake_hub::{Fleet, Work, log_text, python, until};

/// A step in a shared interpreter. All of one plan share it, and here each lease has a plan of its own: see [`many`].
fn shared(code: &str) -> Work {
    python(code).set(|settings| settings.runtime.isolation = Some(Isolation::Shared))
}

fn fleet() -> Fleet {
    Fleet::with(|config| config.slots = 8)
}

/// Runs attempts of one step, one for each input.
async fn many(fleet: &Fleet, code: &str, inputs: &[&str]) -> Vec<Settlement> {
    let leases = fleet.add_many(shared(code), inputs);
    let mut settlements = Vec::new();
    for lease in leases {
        settlements.push(fleet.hub.settlement(lease.job).await);
    }
    settlements
}

fn value(settlement: &Settlement) -> String {
    match &settlement.outcome {
        Outcome::Success { value, .. } => serde_json::to_string(&value.place).unwrap(),
        other => panic!("not a success: {other:?}"),
    }
}

fn error(settlement: &Settlement) -> &protocol::StepError {
    match &settlement.outcome {
        Outcome::Error(error) => error,
        other => panic!("not an error: {other:?}"),
    }
}

#[tokio::test]
async fn attempts_wait_beside_each_other_in_one_interpreter() {
    let fleet = fleet();
    // Each waits for the other: one after the other they would never end.
    let code = "import asyncio, os\nhere = []\nboth = asyncio.Event()\nasync def step(name):\n    here.append(name)\n    \
                if len(here) == 2:\n        both.set()\n    await both.wait()\n    return [sorted(here), os.getpid()]\n";
    let settlements = many(&fleet, code, &["\"a\"", "\"b\""]).await;
    assert!(value(&settlements[0]).contains(r#"[[\"a\",\"b\"],"#) || value(&settlements[0]).contains(r#"[["a","b"],"#));
    assert_eq!(value(&settlements[0]), value(&settlements[1]));
}

#[tokio::test]
async fn each_attempt_has_its_own_log_and_variables() {
    let fleet = fleet();
    let code = "import asyncio, logging, os\nasync def step(name):\n    for _ in range(3):\n        \
                print('from', name)\n        await asyncio.sleep(0.01)\n    await asyncio.to_thread(print, 'thread of', name)\n    \
                logging.getLogger('api').info('log of %s', name)\n    return os.environ['BUE_JOB'] + os.getenv('BUE_ATTEMPT')\n";
    let settlements = many(&fleet, code, &["1", "2"]).await;
    for (number, settlement) in settlements.iter().enumerate() {
        let (own, other) = (number + 1, 2 - number);
        let log = log_text(settlement);
        assert_eq!(log.matches(&format!("Z from {own}\n")).count(), 3, "{log}");
        assert!(log.contains(&format!("thread of {own}")) && log.contains(&format!("INFO api: log of {own}")), "{log}");
        assert!(!log.contains(&format!("from {other}")), "{log}");
        assert!(value(settlement).contains(&format!("{}1", settlement.job)), "{settlement:?}");
    }
}

#[tokio::test]
async fn only_async_steps_can_share() {
    let fleet = fleet();
    let error = fleet.error(shared("def step():\n    return 1\n")).await;
    assert_eq!(error.kind, ErrorKind::Load);
    assert!(error.message.contains("`step` is not `async def`"), "{error:?}");
    let error = fleet.error(shared("async def step(:\n")).await;
    assert!(error.message.starts_with("SyntaxError"), "{error:?}");
}

#[tokio::test]
async fn what_one_raises_leaves_the_others_alone() {
    let fleet = fleet();
    let code = "import asyncio\nasync def step(name):\n    await asyncio.sleep(0)\n    if name == 'bad':\n        \
                raise ValueError('no')\n    await asyncio.sleep(0.05)\n    return name * 10000 if name == 'big' else [{'a': 1}]\n";
    let settlements = many(&fleet, code, &["\"bad\"", "\"big\"", "\"table\""]).await;
    assert_eq!(error(&settlements[0]).message, "ValueError: no");
    let trace = error(&settlements[0]).trace.as_ref().unwrap();
    assert!(trace.contains("File \"script.bue\", line 9, in step"), "{trace}");
    assert!(value(&settlements[1]).contains("object"), "a value that is too large for a line goes by a file");
    assert!(value(&settlements[2]).contains("a"), "{:?}", settlements[2]);
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_cancelled_and_the_others_go_on() {
    let fleet = fleet();
    let code = "import asyncio\nasync def step(seconds):\n    try:\n        await asyncio.sleep(seconds)\n    finally:\n        \
                print('over')\n    return seconds\n";
    let work = shared(code).timeout(Duration::from_millis(1_500));
    let leases = fleet.add_many(work, &["60", "0.01"]);
    let late = fleet.hub.settlement(leases[0].job).await;
    assert_eq!(error(&late).kind, ErrorKind::Timeout);
    assert!(log_text(&late).contains("Z over\n"), "{late:?}");
    value(&fleet.hub.settlement(leases[1].job).await);
}

#[tokio::test]
async fn one_that_blocks_the_interpreter_is_ended_and_the_others_are_handed_back() {
    let fleet = fleet();
    let code = "import asyncio, time\nasync def step(name):\n    print('begun', name)\n    try:\n        await asyncio.sleep(60)\n    \
                except asyncio.CancelledError:\n        time.sleep(60)\n";
    let leases = fleet.add_many(shared(code), &["\"block\"", "\"wait\""]);
    until("both are at it", || fleet.hub.told.lock().unwrap().matches("begun").count() == 2).await;
    fleet.hub.revoke(leases[0].token);
    let waiting = fleet.hub.settlement(leases[1].job).await;
    assert!(
        matches!(&waiting.outcome, Outcome::Release { reason, .. } if reason.contains("another attempt")),
        "{waiting:?}"
    );
    assert!(log_text(&waiting).contains("begun wait"), "{waiting:?}");
}

#[tokio::test]
async fn one_that_blocks_for_a_while_does_not_use_up_the_time_of_others() {
    let fleet = Fleet::with(|config| {
        config.slots = 8;
        config.limits.stop_grace = Duration::from_secs(30);
    });
    let code = "import asyncio, time\nasync def step(name):\n    await asyncio.sleep(0.2)\n    if name == 'block':\n        time.sleep(4.5)\n    \
                await asyncio.sleep(0.5)\n    return name\n";
    let work = shared(code).timeout(Duration::from_secs(3));
    let leases = fleet.add_many(work, &["\"block\"", "\"a\"", "\"b\"", "\"c\""]);
    let blocking = fleet.hub.settlement(leases[0].job).await;
    assert_eq!(error(&blocking).kind, ErrorKind::Timeout);
    for lease in &leases[1..] {
        value(&fleet.hub.settlement(lease.job).await);
    }
}

#[tokio::test]
async fn a_crash_ends_all_attempts_by_name_and_the_next_one_has_a_new_interpreter() {
    let fleet = fleet();
    let code = "import asyncio, os\nhere = []\nasync def step(name):\n    here.append(name)\n    while len(here) < 2 and name != 'next':\n        \
                await asyncio.sleep(0.01)\n    if name == 'crash':\n        os.kill(os.getpid(), 9)\n    \
                if name == 'wait':\n        await asyncio.sleep(60)\n    return here\n";
    let settlements = many(&fleet, code, &["\"crash\"", "\"wait\""]).await;
    for settlement in &settlements {
        let error = error(settlement);
        assert_eq!(error.kind, ErrorKind::Signal, "{error:?}");
        assert!(error.message.contains("1 other attempt shared its interpreter"), "{error:?}");
    }
    let next = fleet.run(shared(code).input("\"next\"")).await;
    assert!(value(&next).contains("next") && !value(&next).contains("crash"), "{next:?}");
}

#[tokio::test]
async fn a_revoked_attempt_is_cancelled_in_its_interpreter() {
    let fleet = fleet();
    let place = fleet.folder.path().join("cancelled");
    let code = format!(
        "import asyncio\nasync def step():\n    print('begun')\n    try:\n        await asyncio.sleep(60)\n    except asyncio.CancelledError:\n        \
         open({:?}, 'w').write('yes\\n')\n        raise\n",
        place.display().to_string()
    );
    let lease = fleet.add(shared(&code));
    until("the step is at it", || fleet.hub.told.lock().unwrap().contains("begun")).await;
    fleet.hub.revoke(lease.token);
    assert_eq!(crate::fake_hub::written(&place).await, "yes");
}

#[tokio::test]
async fn an_interpreter_gives_way_to_another_after_so_many_attempts() {
    let fleet = Fleet::with(|config| {
        config.slots = 1;
        config.limits.shared_attempts_max = 2;
    });
    let code = "import os\nasync def step(number):\n    return os.getpid()\n";
    let settlements = many(&fleet, code, &["1", "2", "3", "4", "5"]).await;
    let pids: std::collections::BTreeSet<String> = settlements.iter().map(value).collect();
    assert!(pids.len() >= 2, "{pids:?}");
}

#[tokio::test]
async fn other_secrets_mean_another_interpreter() {
    let fleet = fleet();
    let code = "import os\nasync def step():\n    return [os.environ['TOKEN'], os.getpid()]\n";
    let with_secret = || shared(code).set(|settings| settings.runtime.secrets = vec!["TOKEN".to_owned()]);
    let mut seen = Vec::new();
    for secret in ["first", "second"] {
        fleet.hub.secrets.lock().unwrap().insert("TOKEN".to_owned(), secret.to_owned());
        let settlement = fleet.run(with_secret()).await;
        assert!(value(&settlement).contains(secret), "{settlement:?}");
        seen.push(value(&settlement));
    }
    assert_ne!(seen[0].rsplit(',').next(), seen[1].rsplit(',').next());
}

#[tokio::test]
async fn one_that_blocks_while_hundreds_wait_to_begin_is_ended_and_costs_the_others_nothing() {
    let fleet = Fleet::with(|config| {
        config.limits.shared_slots = 2_000;
        config.limits.slot_memory_bytes = 1;
        config.limits.memory_reserve_bytes = 1;
    });
    let code = "import asyncio, time\nasync def step(name):\n    if name == 'block':\n        print('blocks')\n        \
                time.sleep(60)\n    await asyncio.sleep(0.01)\n    return name\n";
    let inputs: Vec<&str> = std::iter::once("\"block\"").chain(std::iter::repeat_n("1", 1_499)).collect();
    let work = shared(code).timeout(Duration::from_secs(6));
    let leases = fleet.add_many(work, &inputs);
    let blocking = fleet.hub.settlement(leases[0].job).await;
    assert_eq!(error(&blocking).kind, ErrorKind::Timeout);
    assert!(log_text(&blocking).contains("Z blocks\n"), "{blocking:?}");
    for lease in &leases[1..] {
        let settlement = fleet.hub.settlement(lease.job).await;
        assert!(!matches!(settlement.outcome, Outcome::Error(_)), "{settlement:?}");
    }
}

#[tokio::test]
async fn a_very_long_print_is_kept_as_far_as_a_log_goes_and_harms_nobody() {
    let fleet = fleet();
    let code = "import asyncio\nasync def step(name):\n    if name == 'long':\n        print('\\u1234' * 6_000_000)\n    \
                await asyncio.sleep(0.2)\n    return name\n";
    let settlements = many(&fleet, code, &["\"long\"", "\"other\""]).await;
    assert!(value(&settlements[0]).contains("long") && value(&settlements[1]).contains("other"));
    assert!(settlements[0].log.is_some());
}

#[tokio::test]
async fn what_attempts_leave_in_the_folder_they_share_is_bounded() {
    let fleet = Fleet::with(|config| {
        crate::sandbox::here(config);
        config.limits.step_scratch_files_max = 100;
    });
    let code = "import asyncio\nasync def step(name):\n    for number in range(200):\n        open(f'{number}.txt', 'w').close()\n    \
                await asyncio.sleep(60)\n";
    let error = fleet.error(shared(code).input("1")).await;
    assert_eq!(error.kind, ErrorKind::Disk, "{error:?}");
    assert!(error.message.contains("more than 100 files"), "{error:?}");
}
