//! The key pair that opens a bucket. Its secret parts never show in `Debug`.

use std::fmt;

/// An S3 key pair, with a session token where it is a temporary one.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The public half: names the pair.
    pub access_key: String,
    /// The secret half: signs requests and never travels.
    pub secret_key: String,
    /// Comes with temporary pairs of AWS.
    pub session_token: Option<String>,
}

impl Credentials {
    /// A lasting pair.
    #[must_use]
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into(), session_token: None }
    }

    /// What `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` say; `None` unless both keys are set.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Some(Self {
            access_key: variable("AWS_ACCESS_KEY_ID")?,
            secret_key: variable("AWS_SECRET_ACCESS_KEY")?,
            session_token: variable("AWS_SESSION_TOKEN"),
        })
    }

    /// A fresh random pair: 20 hex digits and 40 hex digits.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 30];
        getrandom::fill(&mut bytes)?;
        let (access, secret) = bytes.split_at(10);
        Ok(Self::new(hex::encode(access), hex::encode(secret)))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let mut credentials = Credentials::new("public", "hidden-secret");
        credentials.session_token = Some("hidden-token".to_owned());
        let text = format!("{credentials:?}");
        assert!(text.contains("public") && !text.contains("hidden"), "{text}");
    }

    #[test]
    fn random_pairs_differ() {
        let (one, other) = (Credentials::random().unwrap(), Credentials::random().unwrap());
        assert_ne!(one, other);
        assert_eq!((one.access_key.len(), one.secret_key.len()), (20, 40));
    }
}
