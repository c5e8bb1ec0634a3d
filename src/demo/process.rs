//! One process of the demo's fleet: started with nothing of this environment's settings, ended with the demo.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::data_dir::DataDirError;
use crate::error::{Error, Result};
use crate::settings::table;

/// Last bytes of a log that are shown when its process ends too early.
const LOG_TAIL_BYTES: u64 = 2_000;

/// A running process, or one that has ended and was not looked after yet.
pub struct Process {
    name: String,
    line: Vec<OsString>,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts a program in `folder`, with its output in `log`.
    ///
    /// It ends when the thread that called this ends: to be called from the main thread.
    pub fn start(name: &str, line: Vec<OsString>, folder: &Path, log: PathBuf) -> Result<Self> {
        let output = File::create(&log).map_err(|error| DataDirError::new("write", &log, error))?;
        let errors = output.try_clone().map_err(Error::machine)?;
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).current_dir(folder).stdin(Stdio::null()).stdout(output).stderr(errors);
        without_settings(&mut command);
        // A Ctrl-C on the terminal is for the demo, which then ends its fleet in order.
        command.process_group(0);
        let parent = nix::unistd::getpid();
        // SAFETY: between fork and exec only two system calls are made, which touch no memory of this process.
        unsafe { command.pre_exec(move || die_with(parent)) };
        let child = command.spawn().map_err(|error| Error::machine(format_args!("cannot start {name}: {error}")))?;
        Ok(Self { name: name.to_owned(), line, child, log, ended: None })
    }

    /// What it is, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has the line that starts it again say `known` where it was started with `open`.
    pub fn restarts_with(&mut self, open: &str, known: &str) {
        for word in self.line.iter_mut().filter(|word| *word == open) {
            *word = known.into();
        }
    }

    /// What starts it again, as a line for a shell.
    pub fn command_line(&self) -> String {
        self.line.iter().map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
    }

    /// How it ended, if it did and nobody was told yet.
    pub fn newly_ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_some() {
            return None;
        }
        self.ended = self.child.try_wait().ok().flatten();
        self.ended
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.newly_ended();
        self.ended.is_some()
    }

    /// The end of its log, each line indented.
    pub fn log_tail(&self) -> String {
        let text = read_tail(&self.log).unwrap_or_else(|error| format!("its log cannot be read: {error}"));
        text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
    }

    /// Asks it to end.
    pub fn terminate(&mut self) {
        self.signal(Signal::SIGTERM);
    }

    /// Ends it for good.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        // It cannot refuse; where it is gone already there is nothing to wait for.
        let _ = self.child.wait();
    }

    fn signal(&mut self, signal: Signal) {
        // A process that was not waited for keeps its number, so that this cannot meet another one.
        if !self.has_ended()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.kill();
        }
    }
}

/// Has this process killed when its parent ends. For use between fork and exec.
fn die_with(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have ended before the line above.
    if nix::unistd::getppid() == parent { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
}

/// The demo's fleet must not meet the user's real one.
fn without_settings(command: &mut Command) {
    for setting in table::ALL {
        command.env_remove(setting.name);
    }
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"BUE_") {
            command.env_remove(name);
        }
    }
}

fn read_tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_given_to_a_shell() {
        let folder = tempfile::tempdir().unwrap();
        let line: Vec<OsString> = ["/bin/echo", "a b", "it's", "--x=1"].map(OsString::from).into();
        let mut process = Process::start("echo", line, folder.path(), folder.path().join("log")).unwrap();
        assert_eq!(process.command_line(), r"/bin/echo 'a b' 'it'\''s' --x=1");
        process.child.wait().unwrap();
        assert!(process.newly_ended().is_some() && process.newly_ended().is_none());
        assert_eq!(process.log_tail(), "    a b it's --x=1");
    }

    #[test]
    fn a_process_ends_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let line: Vec<OsString> = ["/bin/sleep", "1000"].map(OsString::from).into();
        let process = Process::start("sleep", line, folder.path(), folder.path().join("log")).unwrap();
        let pid = Pid::from_raw(i32::try_from(process.pid()).unwrap());
        assert!(kill(pid, None).is_ok());
        drop(process);
        assert!(kill(pid, None).is_err());
    }
}
