//! Python steps, run for real by the runner that the crate carries.

use std::time::Duration;

use crate::fake_hub::{Fleet, log_text, python};
use bue_worker::{Mode, Start};
use protocol::{ErrorKind, Outcome, Place};

#[tokio::test]
async fn a_step_gets_its_inputs_and_returns_a_value() {
    let fleet = Fleet::start();
    let work = python("def step(a, b):\n    return {'sum': a['x'] + b, 'big': 2 ** 100}\n");
    let value = fleet.value(work.input(r#"{"x": 1}"#).input("2")).await;
    assert_eq!(value, r#"{"sum":3,"big":1267650600228229401496703205376}"#);
    let summary = fleet.stop().await;
    assert_eq!((summary.succeeded, summary.failed), (1, 0));
}

#[tokio::test]
async fn what_a_step_prints_goes_to_its_log_and_never_into_the_protocol() {
    let fleet = Fleet::start();
    let code = "import os, sys\n\ndef step():\n    print('{\"type\": \"result\"}')\n    os.write(1, b'raw\\n')\n    \
                os.system('echo from a shell')\n    print('warned', file=sys.stderr)\n    return sys.stdin.read()\n";
    let settlement = fleet.run(python(code)).await;
    let log = log_text(&settlement).to_owned();
    for line in ["Z {\"type\": \"result\"}\n", "Z raw\n", "Z from a shell\n", "Z warned\n"] {
        assert!(log.contains(line), "{line:?} is not in {log}");
    }
    assert!(matches!(settlement.outcome, Outcome::Success { .. }), "{settlement:?}");
}

#[tokio::test]
async fn an_exception_has_its_text_and_the_lines_of_the_script() {
    let fleet = Fleet::start();
    let error = fleet
        .error(python("def step():\n    return check({})\n\ndef check(d):\n    raise ValueError('no id')\n"))
        .await;
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Exception, "ValueError: no id"));
    let trace = error.trace.unwrap();
    assert!(trace.contains("File \"script.bue\", line 6, in step"), "{trace}");
    assert!(trace.contains("File \"script.bue\", line 9, in check\n    raise ValueError('no id')"), "{trace}");
    assert!(!trace.contains("runner"), "{trace}");
}

#[tokio::test]
async fn a_source_that_cannot_be_loaded_is_named() {
    let fleet = Fleet::start();
    let error = fleet.error(python("def stop():\n    pass\n")).await;
    assert_eq!(error.kind, ErrorKind::Load);
    assert_eq!(error.message, "script.bue has no function `step`; did you mean `stop`?");
    let error = fleet.error(python("def step(:\n")).await;
    assert_eq!(error.kind, ErrorKind::Load);
    assert!(error.message.starts_with("SyntaxError") && error.message.contains("line 5"), "{error:?}");
    let error = fleet.error(python("").in_file("jobs/gone.py")).await;
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Load, "the file jobs/gone.py cannot be read: No such file or directory")
    );
}

#[tokio::test]
async fn every_status_reaches_the_hub() {
    let fleet = Fleet::start();
    let outcome = async |answer: &str| {
        let code = format!("from buelon.core.step import Result, StepStatus\ndef step():\n    return {answer}\n");
        fleet.run(python(&code)).await.outcome
    };
    assert!(matches!(outcome("Result(status=StepStatus.pending)").await, Outcome::Pending { priority: None }));
    assert!(matches!(outcome("(StepStatus.pending, None, 7, None)").await, Outcome::Pending { priority: Some(7) }));
    assert!(matches!(outcome("Result(StepStatus.reset)").await, Outcome::Reset));
    assert!(matches!(outcome("StepStatus.cancel, None").await, Outcome::Cancel));
    assert!(matches!(outcome("Result(data=1, priority=3)").await, Outcome::Success { priority: Some(3), .. }));
    assert!(matches!(outcome("Result(StepStatus.error, data='why')").await, Outcome::Error(error)
        if error.message == "the step returned StepStatus.error: 'why'"));
}

#[tokio::test]
async fn every_way_a_process_can_end_has_a_name() {
    let fleet = Fleet::start();
    let error = fleet.error(python("import sys\ndef step():\n    sys.exit(3)\n")).await;
    assert_eq!(error.kind, ErrorKind::Exit);
    assert_eq!(error.message, "step `work` (j1, attempt 1) ended with exit code 3 before it returned");
    // As the library below numpy does where it has no memory.
    let gives_up = "import os\ndef step():\n    os.write(2, b'OpenBLAS error: Memory allocation still failed after 10 retries')\n    os._exit(1)\n";
    let error = fleet.error(python(gives_up)).await;
    assert_eq!(error.kind, ErrorKind::Memory);
    assert!(error.message.contains("gave up for lack of memory, as its log says; `!memory` sets"), "{error:?}");
    let error = fleet.error(python("import os\ndef step():\n    os.kill(os.getpid(), 9)\n")).await;
    assert_eq!(error.kind, ErrorKind::Signal);
    assert!(error.message.ends_with("was ended by signal 9 (SIGKILL)"), "{error:?}");
    let slow = python("import time\ndef step():\n    print('begun')\n    time.sleep(60)\n")
        .timeout(Duration::from_millis(700));
    let settlement = fleet.run(slow).await;
    assert!(
        matches!(&settlement.outcome, Outcome::Error(error) if error.kind == ErrorKind::Timeout
        && error.message.ends_with("took longer than its timeout of 0.7 s")),
        "{settlement:?}"
    );
    assert!(log_text(&settlement).ends_with("Z begun\n"));
}

#[tokio::test]
async fn an_answer_that_is_no_frame_or_too_long_is_an_error_of_the_protocol() {
    let fleet = Fleet::with(|config| config.limits.frame_bytes_max = 100_000);
    let on_channel = |bytes: &str| {
        let code = "import os\ndef step():\n    for fd in os.listdir('/proc/self/fd'):\n        link = os.readlink(f'/proc/self/fd/{fd}') if \
                    os.path.exists(f'/proc/self/fd/{fd}') else ''\n        if link.startswith('pipe') and int(fd) > 2:\n            \
                    os.write(int(fd), BYTES)\n";
        python(&code.replace("BYTES", bytes))
    };
    let error = fleet.error(on_channel("b'hello\\n'")).await;
    assert_eq!(error.kind, ErrorKind::Protocol);
    assert!(error.message.contains("\"hello\""), "{error:?}");
    let error = fleet.error(on_channel("b'x' * 200000")).await;
    assert_eq!(error.kind, ErrorKind::Protocol);
    assert!(error.message.contains("over the limit of 100000 bytes"), "{error:?}");
}

#[tokio::test]
async fn values_that_cannot_be_stored_are_named_by_their_place() {
    let fleet = Fleet::start();
    let error = fleet.error(python("def step():\n    return [0, {'user': {'avatar': b'x'}}]\n")).await;
    assert_eq!(error.kind, ErrorKind::Value);
    assert!(error.message.contains("[1].user.avatar is a bytes"), "{error:?}");
}

#[tokio::test]
async fn modules_and_data_files_of_the_bundle_are_there() {
    let fleet = Fleet::start();
    let work = python("")
        .in_file("jobs/statistics.py")
        .file(
            "jobs/statistics.py",
            "import helper, shared\ndef step():\n    return [helper.NAME, shared.NAME, open('data/x.txt').read()]\n",
        )
        .file("jobs/helper.py", "NAME = 'helper'\n")
        .file("shared.py", "NAME = 'shared'\n")
        .file("data/x.txt", "text");
    assert_eq!(fleet.value(work).await, r#"["helper","shared","text"]"#);
}

#[tokio::test]
async fn what_a_step_writes_is_gone_and_not_seen_by_the_next() {
    let fleet = Fleet::start();
    let step = || {
        python("import os\ndef step():\n    seen = os.path.exists('mark')\n    open('mark', 'w').write('x')\n    open('data.txt', 'w').write('x')\n    return seen\n").file("data.txt", "original")
    };
    assert_eq!(fleet.value(step()).await, "false");
    assert_eq!(fleet.value(step()).await, "false");
    let read = python("def step():\n    return open('data.txt').read()\n").file("data.txt", "original");
    assert_eq!(fleet.value(read).await, "\"original\"");
}

#[tokio::test]
async fn the_environment_is_the_attempts_own() {
    let fleet = Fleet::start();
    let code = "import os\ndef step():\n    e = os.environ\n    return [e['BUE_ATTEMPT_KEY'], e['BUE_ATTEMPT'], e['HOME'] == e['TMPDIR'], 'CARGO_MANIFEST_DIR' in e]\n";
    let value = fleet.value(python(code)).await;
    let run = protocol::RunId::new(1, 0);
    assert_eq!(value, format!(r#"["{run}/j1","1",true,false]"#));
}

#[tokio::test]
async fn large_values_travel_through_the_bucket() {
    let fleet = Fleet::start();
    let records = "def step():\n    return [{'n': i, 'name': f'row {i}', 'share': i / 7, 'even': i % 2 == 0} for i in range(5000)]\n";
    let value = fleet.stored(python(records)).await;
    assert!(matches!(&value.place, Place::Object { key, .. } if key.contains("/j1/1-")), "{value:?}");
    assert_eq!((value.length, value.passes()), (Some(5_000), Some(5_000)));
    let check = "def step(rows):\n    return [len(rows), rows[4999], sum(r['n'] for r in rows), type(rows[0]['even']).__name__]\n";
    let seen = fleet.value(python(check).value(value)).await;
    assert_eq!(
        seen,
        format!(r#"[5000,{{"n":4999,"name":"row 4999","share":{},"even":false}},12497500,"bool"]"#, 4999.0 / 7.0)
    );
    let nested = fleet.stored(python("def step():\n    return {'rows': [[i] for i in range(20000)]}\n")).await;
    let seen = fleet.value(python("def step(d):\n    return d['rows'][-1]\n").value(nested)).await;
    assert_eq!(seen, "[19999]");
}

#[tokio::test]
async fn asynchronous_steps_are_awaited_and_generators_collected() {
    let fleet = Fleet::start();
    let code = "import asyncio\nasync def step(n):\n    await asyncio.sleep(0)\n    return n + 1\n";
    assert_eq!(fleet.value(python(code).input("1")).await, "2");
    assert_eq!(fleet.value(python("def step():\n    yield 1\n    yield (2, None)\n")).await, "[1,[2,null]]");
    assert_eq!(
        fleet.value(python("def step(n, mut):\n    mut['n'] = n\n    return mut\n").input("1")).await,
        r#"{"n":1}"#
    );
}

#[tokio::test]
async fn a_long_log_goes_to_the_bucket() {
    let fleet = Fleet::start();
    let settlement = fleet.run(python("def step():\n    for i in range(1000):\n        print('line', i)\n")).await;
    let Some(protocol::api::LogRef::Object { key, bytes }) = &settlement.log else { panic!("{settlement:?}") };
    let text = fleet.bucket.get(key, 1 << 20).await.unwrap();
    assert_eq!(text.len() as u64, *bytes);
    assert!(String::from_utf8_lossy(&text).ends_with("Z line 999\n"));
}

#[tokio::test]
async fn a_process_the_step_forks_answers_nothing() {
    let fleet = Fleet::start();
    let value = fleet.value(python("import os\ndef step():\n    child = os.fork()\n    return 'child' if child == 0 else os.waitpid(child, 0)[1]\n")).await;
    assert_eq!(value, "0");
}

#[tokio::test]
async fn a_fresh_interpreter_does_the_same_as_a_forked_one() {
    for start in [Start::Fresh, Start::Forked] {
        let fleet = Fleet::with(|config| config.start = start);
        let code = "import os, sys\ndef step(a):\n    print('seen')\n    return [a, sys.argv, sys.path[0] == os.getcwd(), os.environ['BUE_ATTEMPT'], sys.stdin.read()]\n";
        let settlement = fleet.run(python(code).input("1")).await;
        assert!(log_text(&settlement).ends_with("Z seen\n"));
        let Outcome::Success { value, .. } = settlement.outcome else { panic!("{settlement:?}") };
        let Place::Json(text) = value.place else { panic!("{value:?}") };
        assert_eq!(text.get(), r#"[1,["work"],true,"1",""]"#);
    }
}

#[tokio::test]
async fn steps_of_one_interpreter_see_nothing_of_each_other() {
    let fleet = Fleet::start();
    let code = "import builtins, os, sys\nseen = getattr(builtins, 'mark', None)\nbuiltins.mark = 1\nos.environ['MARK'] = '1'\ndef step():\n    return [seen, sys.path.count(os.getcwd())]\n";
    for _ in 0..2 {
        assert_eq!(fleet.value(python(code)).await, "[null,1]");
    }
    let check = "import os\ndef step():\n    return 'MARK' in os.environ\n";
    assert_eq!(fleet.value(python(check)).await, "false");
}

#[tokio::test]
async fn an_interpreter_that_was_killed_is_replaced_and_costs_no_retry() {
    let fleet = Fleet::start();
    // Waits for its own end: a forked process goes with its interpreter.
    let kill = "import os, signal, time\ndef step():\n    os.kill(os.getppid(), signal.SIGKILL)\n    time.sleep(60)\n";
    let settlement = fleet.run(python(kill)).await;
    assert!(matches!(settlement.outcome, Outcome::Release { .. }), "{settlement:?}");
    assert_eq!(fleet.value(python("def step():\n    return 1\n")).await, "1");
}

#[tokio::test]
async fn as_the_user_a_step_runs_in_the_scripts_folder_with_the_users_environment() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("helper.py"), "NAME = 'mine'\n").unwrap();
    let root = folder.path().to_owned();
    let fleet = Fleet::with(|config| config.mode = Mode::Local { folder: root });
    let code = "import os, helper\ndef step():\n    open('made.txt', 'w').write('x')\n    return [helper.NAME, 'CARGO_MANIFEST_DIR' in os.environ, 'BUE_ATTEMPT_KEY' in os.environ]\n";
    assert_eq!(fleet.value(python(code)).await, r#"["mine",true,true]"#);
    assert!(folder.path().join("made.txt").exists());
}

#[tokio::test]
async fn a_module_that_starts_threads_when_it_is_imported_is_no_trouble_for_a_fork() {
    let fleet = Fleet::start();
    let module = "import queue, threading\nasked, answers = queue.Queue(), queue.Queue()\ndef work():\n    while True:\n        \
                  answers.put(asked.get() + 1)\nthreading.Thread(target=work, daemon=True).start()\n";
    let code = "import helper\ndef step():\n    helper.asked.put(1)\n    return helper.answers.get(timeout=20)\n";
    for _ in 0..3 {
        assert_eq!(fleet.value(python(code).file("helper.py", module)).await, "2");
    }
}
