//! Secrets: what users and workers ask of a hub about them.
//!
//! A value goes one way: from a user to the hub, and from there to the worker that holds a lease on a step that declares
//! it. Nothing that is read by users holds one.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{JobId, LeaseToken, SessionId};

/// Longest name of a secret, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Names that begin so are the engine's own.
const OWN_PREFIX: &str = "BUE_";

/// What the setting of a database begins with that steps name by `!connection`, and the secret that stands in for it.
pub const CONNECTION_PREFIX: &str = "BUE_CONNECTION_";

/// The end of that name: capitals, and `_` for all that is neither letter nor digit.
#[must_use]
pub fn connection_suffix(connection: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' };
    connection.chars().map(plain).collect()
}

/// Text that must not be shown: `Debug` shows that there is one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(pub String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Sets a secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretRequest {
    /// Its new value.
    pub value: SecretText,
}

/// A secret, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// When it was last set: Unix time in milliseconds.
    pub changed_ms: i64,
}

/// A worker asks for what the step of one of its leases declares.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretsRequest {
    /// Who asks.
    pub session: SessionId,
    /// The job.
    pub job: JobId,
    /// Token of its lease.
    pub token: LeaseToken,
}

/// What the step of a lease declares.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SecretsAnswer {
    /// Values by name.
    pub secrets: BTreeMap<String, SecretText>,
    /// Names that nobody has set.
    #[serde(default)]
    pub missing: Vec<String>,
}

/// Why a text is no name of a secret, or `None`. Steps get secrets as variables, so their names are those of variables.
#[must_use]
pub fn name_defect(name: &str) -> Option<String> {
    let shown: String = name.chars().take(80).collect();
    let shown = shown.escape_debug();
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !starts_well || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Some(format!("`{shown}` is no name of a secret: expected letters, digits and `_`, such as API_TOKEN"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("`{shown}…` is no name of a secret: it is longer than {NAME_BYTES_MAX} bytes"));
    }
    let is_connection = name.strip_prefix(CONNECTION_PREFIX).is_some_and(|connection| !connection.is_empty());
    if name.starts_with(OWN_PREFIX) && !is_connection {
        return Some(format!(
            "`{shown}` is no name of a secret: those with {OWN_PREFIX} are the engine's own, except {CONNECTION_PREFIX}…"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_a_variable() {
        for name in ["API_TOKEN", "_x", "a1", "BUE_CONNECTION_WAREHOUSE"] {
            assert_eq!(name_defect(name), None, "{name}");
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for name in ["", "1a", "a-b", "a b", "a=b", "ä", "BUE_TOKEN", "BUE_CONNECTION_", "a\0", &long] {
            assert!(name_defect(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn a_secret_is_not_shown_for_debugging() {
        let request = SecretRequest { value: SecretText("hunter2".to_owned()) };
        assert!(!format!("{request:?}").contains("hunter2"));
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"value":"hunter2"}"#);
    }
}
