//! `bue lsp`: serves an editor over standard input and output, by the Language Server Protocol 3.17.
//!
//! - [`transport`]: messages with their headers.
//! - [`server`]: which message is answered by what.
//! - [`document`]: an open script, and the files beside it.
//! - [`answers`]: hover, definition, completion, symbols, formatting.
//!
//! Everything is worked out from the text when it is asked for: a script is compiled in less time than a key takes.

mod answers;
mod document;
mod server;
mod transport;

use std::io::{BufReader, stdin, stdout};

use crate::error::{Error, Kind, Result};

/// Serves until the editor says that it is done.
pub fn run() -> Result {
    let ended = server::Server::default().serve(&mut BufReader::new(stdin().lock()), &mut stdout().lock());
    match ended {
        Ok(server::Ended::Properly) => Ok(()),
        Ok(server::Ended::Abruptly) => Err(Error::told(Kind::Failed)),
        Err(error) => Err(Error::usage(format_args!("cannot talk to the editor: {error}"))),
    }
}
