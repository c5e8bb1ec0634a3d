//! What a command tells its user when it fails: a message, the way out, and an exit code that scripts can rely on.
//!
//! Errors are typed next to the code that fails; here they become one of few kinds.

use std::fmt;
use std::process::ExitCode;

/// How a command failed; each kind has its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command did its work, but a job or a run failed, or a value of it is lost.
    Failed,
    /// Wrong usage, a wrong setting, or a wrong script.
    Usage,
    /// The hub or the bucket does not answer.
    Unreachable,
    /// The hub or the bucket answered that the token or the keys are wrong.
    Refused,
    /// This machine is in the way: a port, a folder, Python.
    Machine,
    /// A bug, or an answer that makes no sense.
    Internal,
}

impl Kind {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Refused => 4,
            Self::Machine => 5,
            Self::Internal => 70,
        }
    }
}

/// Why a command failed, as its user should read it.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: Message,
    hint: Option<String>,
}

#[derive(Debug)]
enum Message {
    /// One sentence; printed after `error: `.
    Sentence(String),
    /// The user has been told already, for example by the script's diagnostics.
    Told,
}

/// What every command returns.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with a message that names the thing and the place.
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: Message::Sentence(message.to_string()), hint: None }
    }

    /// A failure that has been shown to the user already.
    pub fn told(kind: Kind) -> Self {
        Self { kind, message: Message::Told, hint: None }
    }

    /// Wrong usage.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Something of this machine is in the way.
    pub fn machine(message: impl fmt::Display) -> Self {
        Self::new(Kind::Machine, message)
    }

    /// A bug, or an answer that makes no sense.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// The same error with the way out.
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What went wrong, in one sentence; empty where the user knows.
    pub fn message(&self) -> &str {
        match &self.message {
            Message::Sentence(message) => message,
            Message::Told => "",
        }
    }

    /// Tells the user on standard error, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        if let Message::Sentence(_) = self.message {
            crate::output::note(&self.to_string());
        }
        ExitCode::from(self.kind.code())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message::Sentence(message) = &self.message else { return Ok(()) };
        write!(f, "error: {message}")?;
        match &self.hint {
            Some(hint) => write!(f, "\n hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_message_and_the_way_out() {
        let error = Error::machine("port 1 on 127.0.0.1 is in use").hint("choose another");
        assert_eq!(error.to_string(), "error: port 1 on 127.0.0.1 is in use\n hint: choose another");
        assert_eq!(error.kind().code(), 5);
    }

    #[test]
    fn what_the_user_was_told_is_not_told_again() {
        assert_eq!(Error::told(Kind::Usage).to_string(), "");
    }
}
