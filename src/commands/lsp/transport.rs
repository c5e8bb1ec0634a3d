//! Messages of the protocol: a header with the length, then JSON.

use std::io::{self, BufRead, Read, Write};

use serde_json::Value;

/// The largest message that is taken.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest line of a header.
const HEADER_BYTES_MAX: u64 = 8 * 1024;

/// Why no message could be read.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The other side is gone, or the pipe is broken.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The header lacks its length, or has a senseless one.
    #[error("a message has no usable Content-Length")]
    Length,
    /// The message is too large.
    #[error("a message of {0} bytes is larger than the {MESSAGE_BYTES_MAX} allowed")]
    Large(usize),
}

/// What came.
#[derive(Debug)]
pub enum Incoming {
    /// A message.
    Message(Value),
    /// Something that is no JSON.
    Nonsense,
    /// The other side has closed the pipe.
    End,
}

/// Reads the next message.
pub fn read(from: &mut dyn BufRead) -> Result<Incoming, TransportError> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if (&mut *from).take(HEADER_BYTES_MAX).read_line(&mut line)? == 0 {
            return Ok(Incoming::End);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let length = length.ok_or(TransportError::Length)?;
    if length > MESSAGE_BYTES_MAX {
        return Err(TransportError::Large(length));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body).map_or(Incoming::Nonsense, Incoming::Message))
}

/// Writes a message.
pub fn write(to: &mut dyn Write, message: &Value) -> io::Result<()> {
    let body = message.to_string();
    write!(to, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    to.flush()
}
