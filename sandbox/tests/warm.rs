//! A warm program and its forks, as a worker without a broker speaks to it.

use std::fs::File;
use std::io::{IoSlice, PipeReader, Read, Write, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bue_sandbox::WARM_WORD;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, socketpair};

struct Warm {
    program: Child,
    control: OwnedFd,
}

/// The ends of a fork's streams that are the worker's.
struct Fork {
    input: File,
    answer: PipeReader,
    log: PipeReader,
}

impl Warm {
    fn start() -> Self {
        let (control, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let program = Command::new(env!("CARGO_BIN_EXE_bue-sandbox-launcher"))
            .arg(WARM_WORD)
            .env("OLD", "of the program")
            .stdin(Stdio::from(theirs))
            .spawn()
            .unwrap();
        Self { program, control }
    }

    fn say(&self, message: &str, descriptors: &[i32]) {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let rights = if descriptors.is_empty() { &[] } else { &rights[..] };
        let message = [IoSlice::new(message.as_bytes())];
        sendmsg::<()>(self.control.as_raw_fd(), &message, rights, MsgFlags::empty(), None).unwrap();
    }

    fn hear(&self) -> String {
        let mut message = [0; 1_024];
        let count = recv(self.control.as_raw_fd(), &mut message, MsgFlags::empty()).unwrap();
        String::from_utf8(message[..count].to_vec()).unwrap()
    }

    /// A fork, and its number.
    fn fork(&self, order: &str) -> (Fork, i32) {
        let ((their_input, input), (answer, their_answer), (log, their_log)) =
            (pipe().unwrap(), pipe().unwrap(), pipe().unwrap());
        self.say(order, &[their_input.as_raw_fd(), their_answer.as_raw_fd(), their_log.as_raw_fd()]);
        let told = self.hear();
        let pid = told.strip_prefix("forked 7 ").unwrap_or_else(|| panic!("{told}")).parse().unwrap();
        (Fork { input: OwnedFd::from(input).into(), answer, log }, pid)
    }
}

impl Fork {
    fn tell(&mut self, folder: &Path, step: &str) {
        let launch = format!(
            r#"{{"folder":{folder:?},"environment":{{"NEW":"of the step"}},"bounds":[[7,100,100],[999,1,1]]}}"#
        );
        self.input.write_all(format!("{launch}\n{step}").as_bytes()).unwrap();
    }

    /// What it answers, and what it printed.
    fn end(self) -> (String, String) {
        let Self { input, mut answer, mut log } = self;
        drop(input);
        let (mut answered, mut printed) = (String::new(), String::new());
        answer.read_to_string(&mut answered).unwrap();
        log.read_to_string(&mut printed).unwrap();
        (answered, printed)
    }
}

#[test]
fn each_fork_is_told_its_step_and_runs_where_that_says() {
    let warm = Warm::start();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    for order in ["fork 7 0", "early 7 0", "fork 7 1"] {
        let (mut fork, pid) = warm.fork(order);
        fork.tell(&folder, "a step\nof two lines");
        let (answer, log) = fork.end();
        assert_eq!(answer, format!(r#"Ok("a step\nof two lines") {} ["NEW=of the step"]"#, folder.display()));
        assert_eq!(log, if order.starts_with("early") { "early\nin the log\n" } else { "in the log\n" });
        let end = warm.hear();
        assert!(end.starts_with(&format!("ended {pid} 0 ")), "{end}");
    }
}

#[test]
fn a_fork_without_a_place_to_run_says_so() {
    let warm = Warm::start();
    let (mut fork, _) = warm.fork("fork 7 0");
    fork.tell(Path::new("/no/such/folder"), "a step");
    let (answer, _) = fork.end();
    assert!(answer.starts_with("Err(\"the step's folder cannot be entered: "), "{answer}");
}

#[test]
fn a_signal_ends_the_fork_that_it_is_for_and_no_other() {
    let warm = Warm::start();
    let forks: Vec<(Fork, i32)> = (0..2)
        .map(|_| {
            let (mut fork, pid) = warm.fork("fork 7 0");
            fork.tell(Path::new("/"), "wait");
            (fork, pid)
        })
        .collect();
    warm.say(&format!("signal {} 15", forks[1].1), &[]);
    let end = warm.hear();
    assert!(end.starts_with(&format!("ended {} -15 ", forks[1].1)), "{end}");
    warm.say(&format!("signal {} 9", forks[0].1), &[]);
    let end = warm.hear();
    assert!(end.starts_with(&format!("ended {} -9 ", forks[0].1)), "{end}");
}

#[test]
fn an_order_without_all_of_its_descriptors_is_refused() {
    let warm = Warm::start();
    let (reader, _writer) = pipe().unwrap();
    warm.say("fork 7 0", &[reader.as_raw_fd()]);
    assert_eq!(warm.hear(), "refused 7 too many files are open in the warm program");
    let (mut fork, _) = warm.fork("fork 7 0");
    fork.tell(Path::new("/"), "x");
    assert!(fork.end().0.starts_with("Ok(\"x\")"));
}

#[test]
fn nothing_is_left_when_the_worker_is_gone() {
    let mut warm = Warm::start();
    let (mut fork, _) = warm.fork("fork 7 0");
    fork.tell(Path::new("/"), "wait");
    let (nobody, _) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    drop(std::mem::replace(&mut warm.control, nobody));
    assert!(warm.program.wait().unwrap().success());
    // The streams are at their end when all that held them is gone.
    assert_eq!(fork.end(), (String::new(), String::new()));
}

impl Drop for Warm {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
