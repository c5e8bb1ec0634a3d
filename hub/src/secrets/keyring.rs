//! The keys of secrets: the first one seals, each of them opens.
//!
//! A sealed secret is one byte for the form, eight that name its key, a random nonce, and the value under
//! ChaCha20-Poly1305 (RFC 8439). Its name goes into the seal, so that no value can be moved to another name in the store.

use std::fmt;

use protocol::Digest;
use protocol::secret::SecretText;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::error::QueueError;

/// The form of sealed secrets.
const FORM: u8 = 1;
/// Bytes that name a key.
const NAME_LEN: usize = 8;
/// Bytes before the ciphertext.
const HEAD_LEN: usize = 1 + NAME_LEN + NONCE_LEN;
/// Bytes of a key.
const KEY_LEN: usize = 32;

/// Some keys, at least one.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    /// The beginning of the key's digest, by which a sealed secret says what opens it.
    name: [u8; NAME_LEN],
    bytes: [u8; KEY_LEN],
}

/// Why a text holds no keys.
#[derive(Debug, thiserror::Error)]
#[error("expected keys of 64 hex digits each, with commas or line ends between them")]
pub struct KeyringError;

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.keys.len())
    }
}

impl Keyring {
    /// Reads keys, the one that seals first.
    ///
    /// # Errors
    /// There is none, or one is no key.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let words = text.split([',', '\n']).map(str::trim).filter(|word| !word.is_empty());
        let keys = words.map(Key::parse).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(KeyringError) } else { Ok(Self { keys }) }
    }

    /// Seals a value for the store.
    pub(crate) fn seal(&self, name: &str, value: &SecretText) -> Result<Vec<u8>, QueueError> {
        let impossible = |what: &str| QueueError::Unavailable(format!("secret {name} cannot be sealed: {what}"));
        let key = self.keys.first().ok_or_else(|| impossible("there is no key"))?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| impossible(&error.to_string()))?;
        let mut sealed = value.0.clone().into_bytes();
        key.cipher()
            .and_then(|cipher| {
                cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut sealed)
            })
            .map_err(|error| impossible(&error.to_string()))?;
        Ok([&[FORM][..], &key.name, &nonce, &sealed].concat())
    }

    /// Opens what the store has.
    pub(crate) fn open(&self, name: &str, sealed: &[u8]) -> Result<SecretText, QueueError> {
        let damaged =
            || QueueError::Unreadable(format!("secret {name} is damaged; set it again with `bue secret set {name}`"));
        let (head, ciphertext) = sealed.split_at_checked(HEAD_LEN).ok_or_else(damaged)?;
        if head[0] != FORM {
            return Err(damaged());
        }
        let Some(key) = self.keys.iter().find(|key| key.name == head[1..=NAME_LEN]) else {
            return Err(QueueError::Unreadable(format!(
                "secret {name} was sealed with a key that this hub does not have; give it that key with BUE_SECRET_KEY, \
                 or set the secret again with `bue secret set {name}`"
            )));
        };
        let nonce = Nonce::try_assume_unique_for_key(&head[1 + NAME_LEN..]).map_err(|_| damaged())?;
        let mut text = ciphertext.to_vec();
        let opened = key.cipher().and_then(|cipher| {
            let value = cipher.open_in_place(nonce, Aad::from(name), &mut text)?;
            Ok(value.to_vec())
        });
        let value = opened.map_err(|_| damaged())?;
        String::from_utf8(value).map(SecretText).map_err(|_| damaged())
    }

    /// Whether the first key sealed it.
    pub(crate) fn is_current(&self, sealed: &[u8]) -> bool {
        self.keys.first().is_some_and(|key| sealed.get(1..=NAME_LEN) == Some(&key.name[..]))
    }
}

impl Key {
    fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut bytes = [0; KEY_LEN];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyringError)?;
        let mut name = [0; NAME_LEN];
        name.copy_from_slice(&Digest::of(&bytes).0[..NAME_LEN]);
        Ok(Self { name, bytes })
    }

    fn cipher(&self) -> Result<LessSafeKey, ring::error::Unspecified> {
        UnboundKey::new(&CHACHA20_POLY1305, &self.bytes).map(LessSafeKey::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0101010101010101010101010101010101010101010101010101010101010101";
    const NEW: &str = "0202020202020202020202020202020202020202020202020202020202020202";

    fn keyring(text: &str) -> Keyring {
        Keyring::parse(text).unwrap()
    }

    fn text(value: &str) -> SecretText {
        SecretText(value.to_owned())
    }

    #[test]
    fn what_is_sealed_opens_again_and_never_looks_the_same_twice() {
        let keys = keyring(OLD);
        let (one, two) = (keys.seal("A", &text("hunter2")).unwrap(), keys.seal("A", &text("hunter2")).unwrap());
        assert_ne!(one, two);
        assert!(!one.windows(7).any(|part| part == b"hunter2"));
        assert_eq!(keys.open("A", &one).unwrap(), text("hunter2"));
    }

    #[test]
    fn a_sealed_value_opens_under_its_own_name_only_and_when_it_is_whole() {
        let keys = keyring(OLD);
        let sealed = keys.seal("A", &text("hunter2")).unwrap();
        assert!(keys.open("B", &sealed).is_err());
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(keys.open("A", &changed).is_err(), "{place}");
            assert!(keys.open("A", &sealed[..place]).is_err(), "{place}");
        }
    }

    #[test]
    fn older_keys_open_and_the_first_one_seals() {
        let sealed = keyring(OLD).seal("A", &text("x")).unwrap();
        let both = keyring(&format!("{NEW}\n{OLD}\n"));
        assert!(!both.is_current(&sealed));
        assert_eq!(both.open("A", &sealed).unwrap(), text("x"));
        assert!(both.is_current(&both.seal("A", &text("x")).unwrap()));
        let error = keyring(NEW).open("A", &sealed).unwrap_err().to_string();
        assert!(error.contains("BUE_SECRET_KEY") && error.contains("bue secret set A"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", ",", "abc", &OLD[1..], &format!("{OLD},x")] {
            assert!(Keyring::parse(text).is_err(), "{text:?}");
        }
        assert!(!format!("{:?}", keyring(OLD)).contains("0101"));
    }
}
