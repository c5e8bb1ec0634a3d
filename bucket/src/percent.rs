//! Percent-encoding (RFC 3986, section 2.1) with a set of plain bytes that the caller chooses.

use std::fmt::Write;

/// `text` with every byte that is not `plain` written as `%` and two lower-case hex digits.
pub(crate) fn encode(text: &str, plain: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) && byte.is_ascii() && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02x}");
        }
    }
    encoded
}

/// The text that `encoded` stands for, or `None` where an escape is cut off or the bytes are not UTF-8.
pub(crate) fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = rest.split_at_checked(2)?;
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok()?;
            bytes.push(byte[0]);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_encoding() {
        for text in ["", "plain", "a b", "100%", "é/ü", "\u{0}\n", "%2e"] {
            let encoded = encode(text, |byte| byte.is_ascii_alphanumeric());
            assert!(encoded.bytes().all(|byte| byte == b'%' || byte.is_ascii_alphanumeric()), "{encoded}");
            assert_eq!(decode(&encoded).as_deref(), Some(text));
        }
    }

    #[test]
    fn broken_escapes_are_refused() {
        for encoded in ["%", "%2", "%zz", "a%f", "%ff"] {
            assert_eq!(decode(encoded), None, "{encoded}");
        }
    }
}
