//! Typed identifiers. Each has one text form, which is also its JSON form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

/// Why a text is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdError {
    kind: &'static str,
    text: String,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a {}", self.text, self.kind)
    }
}

impl std::error::Error for IdError {}

fn id_error(kind: &'static str, text: &str) -> IdError {
    IdError { kind, text: text.chars().take(80).collect() }
}

macro_rules! text_form {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

/// Alphabet of [`RunId`]: digits and lower-case letters without i, l, o and u.
const RUN_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// One upload of a script: `r` and twelve characters, the first of which grow with time.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(String);

impl RunId {
    /// Characters after the leading `r`.
    const DIGITS: usize = 12;

    /// An identifier from a time (Unix seconds) and random bits; the caller brings both.
    #[must_use]
    pub fn new(unix_seconds: u64, random: u32) -> Self {
        // 33 bits of seconds last until 2242; 27 random bits part runs of one second.
        let bits = (u128::from(unix_seconds & 0x1_ffff_ffff) << 27) | u128::from(random >> 5);
        let digits =
            (0..Self::DIGITS).rev().map(|place| char::from(RUN_ALPHABET[((bits >> (5 * place)) & 31) as usize]));
        Self(std::iter::once('r').chain(digits).collect())
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RunId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix('r').unwrap_or_default().as_bytes();
        if digits.len() == Self::DIGITS && digits.iter().all(|digit| RUN_ALPHABET.contains(digit)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(id_error("run id (r and twelve characters)", text))
        }
    }
}

text_form!(RunId);

/// One job of a hub: `j` and a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "j{}", self.0)
    }
}

impl FromStr for JobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix('j').unwrap_or_default();
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            // Stores keep job numbers as signed 64-bit integers.
            if let Some(number) = digits.parse().ok().filter(|number| *number <= i64::MAX as u64) {
                return Ok(Self(number));
            }
        }
        Err(id_error("job id (j and a number)", text))
    }
}

text_form!(JobId);

/// A job as people and steps name it: `j12`, or with its run, as in `BUE_ATTEMPT_KEY`, `r6p1tx4rc5z7b/j12`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JobAddress {
    /// The run that the job must be of, where it is named.
    pub run: Option<RunId>,
    /// The job.
    pub job: JobId,
}

impl From<JobId> for JobAddress {
    fn from(job: JobId) -> Self {
        Self { run: None, job }
    }
}

impl fmt::Display for JobAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.run {
            Some(run) => write!(f, "{run}/{}", self.job),
            None => write!(f, "{}", self.job),
        }
    }
}

impl FromStr for JobAddress {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once('/') {
            Some((run, job)) => Ok(Self { run: Some(run.parse()?), job: job.parse()? }),
            None => Ok(Self { run: None, job: text.parse()? }),
        }
    }
}

text_form!(JobAddress);

/// The right to settle one attempt of one job: 16 random bytes, as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseToken(pub [u8; 16]);

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for LeaseToken {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| id_error("lease token (32 hex digits)", text))?;
        Ok(Self(bytes))
    }
}

text_form!(LeaseToken);

/// One life of a worker process: chosen at random by the worker when it starts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 8]);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", hex::encode(self.0))
    }
}

impl FromStr for SessionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 8];
        let digits = text.strip_prefix('w').unwrap_or_default();
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| id_error("session id (w and 16 hex digits)", text))?;
        Ok(Self(bytes))
    }
}

text_form!(SessionId);

/// SHA-256 of some content, as 64 hex digits: content-addressed things are named by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| id_error("digest (64 hex digits)", text))?;
        Ok(Self(bytes))
    }
}

text_form!(Digest);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_reads_back_and_grows_with_time() {
        let early = RunId::new(1_700_000_000, u32::MAX);
        let late = RunId::new(1_700_000_001, 0);
        assert!(early < late);
        assert_eq!(early.as_str().parse::<RunId>().unwrap(), early);
        assert_eq!(early.as_str().len(), 13);
    }

    #[test]
    fn ids_refuse_what_is_not_theirs() {
        for text in ["", "r", "r123", "rILOU00000000", "../../etc/pass", "r0123456789ab/"] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
        for text in ["", "j", "7", "j-1", "j+1", "j99999999999999999999", "j9223372036854775808"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
        assert_eq!("j7".parse::<JobId>().unwrap(), JobId(7));
    }

    #[test]
    fn a_job_is_named_with_or_without_its_run() {
        for text in ["j7", "r0123456789ab/j7"] {
            assert_eq!(text.parse::<JobAddress>().unwrap().to_string(), text);
        }
        for text in ["r0123456789ab", "r0123456789ab/", "/j7", "j7/j7", "j7/r0123456789ab", "r0123456789ab/j7/1"] {
            assert!(text.parse::<JobAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids_are_strings_in_json() {
        assert_eq!(serde_json::to_string(&JobId(7)).unwrap(), r#""j7""#);
        let token: LeaseToken = serde_json::from_str(r#""000102030405060708090a0b0c0d0e0f""#).unwrap();
        assert_eq!(token.0[15], 15);
    }
}
