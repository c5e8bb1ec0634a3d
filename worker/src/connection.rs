//! Databases of PostgreSQL steps: the default one, and those that a step names by `!connection`.

use std::fmt;
use std::str::FromStr;

use protocol::Step;
use protocol::frame::{PostgresFrame, PostgresTls};
use tokio_postgres::config::Host;

use crate::config::Limits;

/// Where PostgreSQL listens when nobody says.
const POSTGRES_PORT: u16 = 5432;
/// What an address must look like.
const FORM: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…";

/// A database of PostgreSQL steps, as far as it is known. Steps that need what is missing say so.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Postgres {
    /// Name or address of its machine, or the folder of its socket.
    pub host: Option<String>,
    /// Its port; `None`: 5432.
    pub port: Option<u16>,
    /// Who connects.
    pub user: Option<String>,
    /// The user's password, where one is needed.
    pub password: Option<String>,
    /// Name of the database.
    pub database: Option<String>,
    /// Whether and how the connection is encrypted.
    pub tls: PostgresTls,
    /// PEM text of the certificates that the server is verified by; `None`: those of the system.
    pub certificates: Option<String>,
}

/// Without the password.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, user, database, tls, .. } = self;
        write!(f, "Postgres({user:?}@{host:?}:{port:?}/{database:?}, {tls:?})")
    }
}

impl FromStr for Postgres {
    type Err = String;

    /// An address, as PostgreSQL's own programs take it. The reason it cannot be used names no part of it: it may hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        if !address.starts_with("postgres://") && !address.starts_with("postgresql://") {
            return Err(format!("it is not of the form {FORM}"));
        }
        let config: tokio_postgres::Config = address.parse().map_err(|_| format!("it is not of the form {FORM}"))?;
        let host = match config.get_hosts() {
            [Host::Tcp(name)] => Some(name.clone()),
            [Host::Unix(folder)] => Some(folder.to_string_lossy().into_owned()),
            [] => None,
            _ => return Err("it names several machines; name one".to_owned()),
        };
        let mut postgres = Self {
            host,
            port: config.get_ports().first().copied(),
            user: config.get_user().map(str::to_owned),
            password: config.get_password().map(|password| String::from_utf8_lossy(password).into_owned()),
            database: config.get_dbname().map(str::to_owned),
            tls: PostgresTls::default(),
            certificates: None,
        };
        if postgres.missing().next().is_some() {
            return Err(format!("it lacks a part: it must be of the form {FORM}"));
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("sslmode", mode) => postgres.tls = tls(mode)?,
                ("sslrootcert", file) => postgres.certificates = Some(certificates(file)?),
                (other, _) => return Err(format!("its `{other}` is none of sslmode and sslrootcert")),
            }
        }
        Ok(postgres)
    }
}

/// The meaning of a word for `sslmode`.
///
/// # Errors
/// It is none of the words.
pub fn tls(word: &str) -> Result<PostgresTls, String> {
    match word {
        "disable" => Ok(PostgresTls::Disable),
        "prefer" => Ok(PostgresTls::Prefer),
        "require" => Ok(PostgresTls::Require),
        "verify-full" => Ok(PostgresTls::VerifyFull),
        _ => Err("its sslmode is none of disable, prefer, require and verify-full".to_owned()),
    }
}

/// The text of a file with certificates.
///
/// # Errors
/// It cannot be read.
pub fn certificates(file: &str) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("the certificates in `{file}` cannot be read: {error}"))
}

impl Postgres {
    /// What the process of a step is told; the names of what is missing, where it cannot be.
    pub(crate) fn frame(&self, step: &Step, limits: &Limits) -> Result<PostgresFrame, Vec<&'static str>> {
        let (Some(host), Some(user), Some(database)) = (&self.host, &self.user, &self.database) else {
            return Err(self.missing().collect());
        };
        Ok(PostgresFrame {
            host: host.clone(),
            port: self.port.unwrap_or(POSTGRES_PORT),
            user: user.clone(),
            password: self.password.clone(),
            database: database.clone(),
            connect_timeout_ms: u64::try_from(limits.postgres_connect_timeout.as_millis()).unwrap_or(u64::MAX),
            statement_timeout_ms: step.settings.timeout_ms,
            tls: self.tls,
            certificates: self.certificates.clone(),
        })
    }

    /// The last parts of the names of settings that are not set and must be.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &'static str> {
        let settings = [("HOST", &self.host), ("USER", &self.user), ("DATABASE", &self.database)];
        settings.into_iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_all_its_parts() {
        let postgres: Postgres = "postgres://ada:p%40ss@db.example:6432/sales?sslmode=verify-full".parse().unwrap();
        assert_eq!(postgres.host.as_deref(), Some("db.example"));
        assert_eq!(postgres.port, Some(6_432));
        assert_eq!(postgres.password.as_deref(), Some("p@ss"));
        assert_eq!((postgres.database.as_deref(), postgres.tls), (Some("sales"), PostgresTls::VerifyFull));
        let short: Postgres = "postgresql://ada@db/sales".parse().unwrap();
        assert_eq!((short.port, short.tls), (Some(POSTGRES_PORT), PostgresTls::Prefer));
    }

    #[test]
    fn what_is_no_address_is_refused_without_showing_it() {
        for (text, part) in [
            ("mysql://ada:hidden@db/sales", "form"),
            ("postgres://ada:hidden@db", "lacks a part"),
            ("postgres://ada:hidden@db/sales?sslmode=maybe", "sslmode"),
            ("postgres://ada:hidden@db/sales?colour=red", "colour"),
            ("postgres://ada:hidden@db/sales?sslrootcert=/nonexistent.pem", "/nonexistent.pem"),
        ] {
            let error = text.parse::<Postgres>().unwrap_err();
            assert!(error.contains(part) && !error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let postgres: Postgres = "postgres://ada:hidden@db/sales".parse().unwrap();
        assert!(!format!("{postgres:?}").contains("hidden"));
    }
}
