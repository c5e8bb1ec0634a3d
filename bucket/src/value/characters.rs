//! How many characters a JSON string has, however long it is: none of it is kept.

use std::io::BufRead;

use serde::de::Error as _;

/// Where in a document the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    Within,
    Escape,
    /// Behind `\u`: how many digits there were, and what they come to.
    Digits(u8, u16),
    Behind,
}

struct Counter {
    state: State,
    /// The first half of a pair stands just before.
    half: bool,
    characters: u64,
}

/// Reads a document that is one string, from its beginning to its end, and says how many characters it has.
pub(super) fn count(mut reader: impl BufRead) -> Result<u64, serde_json::Error> {
    let mut counter = Counter { state: State::Before, half: false, characters: 0 };
    // What was left over of a character at the end of the last piece.
    let mut rest = Vec::new();
    loop {
        let piece = reader.fill_buf().map_err(serde_json::Error::io)?;
        if piece.is_empty() {
            break;
        }
        let length = piece.len();
        counter.see(piece).map_err(serde_json::Error::custom)?;
        rest.extend_from_slice(piece);
        let valid = match std::str::from_utf8(&rest) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(serde_json::Error::custom(NOT_UNICODE)),
        };
        rest.drain(..valid);
        reader.consume(length);
    }
    match counter.state {
        State::Behind if rest.is_empty() => Ok(counter.characters),
        _ => Err(serde_json::Error::custom("the text ends within a string")),
    }
}

const NOT_UNICODE: &str = "a string is no valid Unicode";
const CONTROL: &str = "a string has a control character that is not escaped";
const NO_ESCAPE: &str = "a string has a backslash that begins no escape";
const TRAILING: &str = "there is more behind the string";

impl Counter {
    fn see(&mut self, piece: &[u8]) -> Result<(), &'static str> {
        let mut left = piece;
        while let Some((&byte, behind)) = left.split_first() {
            if self.state == State::Within {
                left = self.within(left)?;
                continue;
            }
            left = behind;
            self.state = match (self.state, byte) {
                (State::Before | State::Behind, b' ' | b'\t' | b'\n' | b'\r') => self.state,
                (State::Before, b'"') => State::Within,
                (State::Before | State::Behind, _) => return Err(TRAILING),
                (State::Escape, b'u') => State::Digits(0, 0),
                (State::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                    self.whole(1)?;
                    State::Within
                }
                (State::Digits(count, value), digit) => {
                    let digit = char::from(digit).to_digit(16).ok_or(NO_ESCAPE)? as u16;
                    let value = value << 4 | digit;
                    match count {
                        3 => {
                            self.unit(value)?;
                            State::Within
                        }
                        _ => State::Digits(count + 1, value),
                    }
                }
                (State::Escape | State::Within, _) => return Err(NO_ESCAPE),
            };
        }
        Ok(())
    }

    /// Goes on to where an escape begins or the string ends; gives what is behind that.
    fn within<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], &'static str> {
        let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(text.len());
        let (plain, behind) = text.split_at(end);
        if plain.iter().any(|byte| *byte < b' ') {
            return Err(CONTROL);
        }
        if !plain.is_empty() {
            // All bytes but the later ones of a character.
            self.whole(plain.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u64)?;
        }
        let Some((&byte, behind)) = behind.split_first() else { return Ok(behind) };
        if byte == b'"' {
            self.whole(0)?;
            self.state = State::Behind;
        } else {
            self.state = State::Escape;
        }
        Ok(behind)
    }

    fn whole(&mut self, characters: u64) -> Result<(), &'static str> {
        self.characters += characters;
        if self.half { Err(NOT_UNICODE) } else { Ok(()) }
    }

    /// What stands for a character of its own, or for half of one.
    fn unit(&mut self, unit: u16) -> Result<(), &'static str> {
        match unit {
            0xd800..=0xdbff => {
                self.whole(1)?;
                self.half = true;
            }
            0xdc00..=0xdfff if !self.half => return Err(NOT_UNICODE),
            0xdc00..=0xdfff => self.half = false,
            _ => self.whole(1)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// What strings, and what is none, are made of.
    const PIECES: [&[u8]; 16] = [
        b"a",
        "é".as_bytes(),
        "😀".as_bytes(),
        b"\\n",
        b"\\\"",
        b"\\u00e9",
        b"\\ud83d\\ude00",
        b"\\uD83D",
        b"\\uDE00",
        b"\"",
        b"\\",
        b"\\u1",
        b"\n",
        b"\x01",
        b" ",
        b"\xff",
    ];

    #[test]
    fn it_counts_and_refuses_as_the_parser_of_json_does() {
        let (mut right, mut wrong) = (0, 0);
        for number in 0..PIECES.len().pow(4) {
            let chosen = (0..4).map(|place| PIECES[number / PIECES.len().pow(place) % PIECES.len()]);
            let text = [b"\"".to_vec(), chosen.collect::<Vec<_>>().concat(), b"\" ".to_vec()].concat();
            let parsed: Option<String> = serde_json::from_slice(&text).ok();
            let expected = parsed.map(|parsed| parsed.chars().count() as u64);
            let counted = count(BufReader::with_capacity(1 + number % 5, &text[..])).ok();
            assert_eq!(counted, expected, "{}", String::from_utf8_lossy(&text));
            if expected.is_some() { right += 1 } else { wrong += 1 }
        }
        assert!(right > 1_000 && wrong > 1_000, "{right} {wrong}");
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_refused() {
        for text in ["", " ", "\"", "\"abc", "\"abc\\", "\"abc\\u12", "\"a\" 1", "\"a\"\"b\"", "'a'"] {
            assert!(count(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(count(" \"\" \n".as_bytes()).unwrap(), 0);
    }
}
