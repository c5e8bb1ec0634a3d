//! What the database says, in a sentence that names its place: the line of the script, the input, the address.

use std::error::Error as _;
use std::time::Duration;

use protocol::ErrorKind;
use protocol::frame::ErrorFrame;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use crate::sql::split::Statement;
use crate::sql::{Sql, failure};

/// A statement of a script.
pub(super) struct Place<'a> {
    pub(super) sql: &'a Sql<'a>,
    pub(super) statement: &'a Statement<'a>,
    pub(super) address: &'a str,
}

impl Place<'_> {
    /// The error of this statement.
    pub(super) fn fault(&self, error: &Error) -> ErrorFrame {
        let Some(database) = error.as_db_error() else {
            return self.without_words(error);
        };
        let offset = match database.position() {
            Some(ErrorPosition::Original(position)) => byte_of(self.statement.text, *position),
            _ => 0,
        };
        let kind = kind(database);
        let place = format!("({}, line {})", self.sql.script, line(self.sql, self.statement.start + offset));
        failure(kind, format!("{} {place}{}", database.message(), more(database)))
    }

    /// An error of this statement in our own words.
    pub(super) fn failure(&self, reason: &str) -> ErrorFrame {
        let line = line(self.sql, self.statement.start);
        failure(ErrorKind::Sql, format!("the statement of {}, line {line}: {reason}", self.sql.script))
    }

    fn without_words(&self, error: &Error) -> ErrorFrame {
        if error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()) {
            return failure(ErrorKind::Sql, format!("the connection to PostgreSQL at {} was lost", self.address));
        }
        if self.statement.words.first().is_some_and(|word| word == "copy") {
            return self.failure("COPY from STDIN or to STDOUT has nobody to talk to; use INSERT or SELECT");
        }
        self.failure(&error.to_string())
    }
}

/// The line of the script on which a byte of the text stands.
pub(super) fn line(sql: &Sql<'_>, byte: usize) -> usize {
    let before = sql.text.get(..byte).unwrap_or(sql.text);
    sql.line as usize + before.matches('\n').count()
}

/// The byte at which a character stands; characters count from 1.
fn byte_of(text: &str, position: u32) -> usize {
    let characters = usize::try_from(position).unwrap_or(usize::MAX).saturating_sub(1);
    text.char_indices().nth(characters).map_or(text.len(), |(byte, _)| byte)
}

fn kind(error: &DbError) -> ErrorKind {
    // The database has one code for everything that is cancelled; nobody else cancels.
    if *error.code() == SqlState::QUERY_CANCELED { ErrorKind::Timeout } else { ErrorKind::Sql }
}

fn more(error: &DbError) -> String {
    let detail = error.detail().map(|detail| format!("; {detail}"));
    let context = error.where_().map(|context| format!("; {}", context.replace('\n', ", ")));
    let hint = error.hint().map(|hint| format!("; hint: {hint}"));
    [detail, context, hint].into_iter().flatten().collect()
}

/// The error of making a table of an input.
pub(super) fn of_input(error: &Error, table: &str) -> ErrorFrame {
    let reason =
        error.as_db_error().map_or_else(|| error.to_string(), |error| format!("{}{}", error.message(), more(error)));
    failure(ErrorKind::Input, format!("input `{table}` cannot be made a table: {reason}"))
}

/// The error of connecting.
pub(super) fn of_connecting(error: &Error, address: &str) -> ErrorFrame {
    let message = match error.as_db_error() {
        Some(error) => format!("PostgreSQL at {address} refuses the connection: {}{}", error.message(), more(error)),
        None => {
            let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            format!("failed to connect to PostgreSQL at {address}: {reason}; {WAY_OUT}")
        }
    };
    failure(if is_away(error) { ErrorKind::Away } else { ErrorKind::Sql }, message)
}

/// Whether it is a matter of time: nobody is there, or nobody who takes connections yet or still.
fn is_away(error: &Error) -> bool {
    let for_a_while = [
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::TOO_MANY_CONNECTIONS,
    ];
    if let Some(state) = error.code() {
        return for_a_while.contains(state);
    }
    let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|error| {
        use std::io::ErrorKind as Io;
        let of_places =
            [Io::ConnectionRefused, Io::HostUnreachable, Io::NetworkUnreachable, Io::NotFound, Io::TimedOut];
        let of_ends = [Io::ConnectionReset, Io::ConnectionAborted, Io::BrokenPipe, Io::UnexpectedEof];
        of_places.contains(&error.kind()) || of_ends.contains(&error.kind())
    })
}

/// The server cannot be verified.
pub(super) fn of_certificates(reason: &str, address: &str) -> ErrorFrame {
    failure(ErrorKind::Sql, format!("cannot connect to PostgreSQL at {address} as sslmode asks for: {reason}"))
}

const WAY_OUT: &str = "POSTGRES_HOST and the other POSTGRES_ settings of the worker say where and who, or BUE_CONNECTION_NAME \
     where the step says `!connection name`";

/// Nobody answered in time.
pub(super) fn no_answer(address: &str, limit: Duration) -> ErrorFrame {
    let seconds = limit.as_secs_f64();
    let message = format!("PostgreSQL at {address} does not answer within {seconds} s; {WAY_OUT}");
    failure(ErrorKind::Away, message)
}

/// The error of the commit.
pub(super) fn of_commit(error: &Error, address: &str) -> ErrorFrame {
    let message = match error.as_db_error() {
        Some(error) => format!("the commit failed: {}{}", error.message(), more(error)),
        None => format!("the connection to PostgreSQL at {address} was lost in the commit, which may have happened"),
    };
    failure(ErrorKind::Sql, message)
}
