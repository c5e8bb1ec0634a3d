//! What the SQL steps of a worker need: a database, a program.

use std::collections::BTreeMap;

use protocol::frame::PostgresTls;
use protocol::secret::CONNECTION_PREFIX;
use worker::{Engines, Postgres};

use super::source::{SettingError, Sources};
use super::table;
use super::value::Value;

/// Reads it. What is missing is said by the steps that need it.
pub fn read(sources: &Sources) -> Result<Engines, SettingError> {
    let tls = sources.read::<SslMode>(&table::POSTGRES_SSLMODE)?.map(|mode| mode.0).unwrap_or_default();
    let certificates = sources.read::<Certificates>(&table::POSTGRES_SSLROOTCERT)?.map(|file| file.0);
    let postgres = Postgres {
        tls,
        certificates,
        host: sources.read(&table::POSTGRES_HOST)?,
        port: sources.read(&table::POSTGRES_PORT)?,
        user: sources.read(&table::POSTGRES_USER)?,
        password: sources.read(&table::POSTGRES_PASSWORD)?,
        database: sources.read(&table::POSTGRES_DATABASE)?,
    };
    Ok(Engines { postgres, connections: connections(sources)?, duckdb: sources.read(&table::BUE_DUCKDB)? })
}

fn connections(sources: &Sources) -> Result<BTreeMap<String, Postgres>, SettingError> {
    let connection = |(name, text, origin): (&str, &str, _)| {
        let parsed = text.parse().map_err(|reason: String| SettingError::Malformed {
            name: format!("{CONNECTION_PREFIX}{name}"),
            origin,
            found: "not usable".to_owned(),
            expected: format!("the address of a database: {reason}"),
        });
        Ok((name.to_owned(), parsed?))
    };
    sources.starting_with(CONNECTION_PREFIX).into_iter().map(connection).collect()
}

/// Why the address of a database cannot be used; no part of it is in the reason. The file with certificates that it may name is one of
/// the workers' machines.
pub fn address_defect(address: &str) -> Option<String> {
    let (place, query) = address.split_once('?').unwrap_or((address, ""));
    let here: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("sslrootcert=")).collect();
    format!("{place}?{}", here.join("&")).parse::<Postgres>().err()
}

/// A word for `sslmode`.
struct SslMode(PostgresTls);

impl Value for SslMode {
    const EXPECTED: &'static str = "disable, prefer, require or verify-full";

    fn parse(text: &str) -> Option<Self> {
        worker::tls(text).ok().map(Self)
    }
}

/// The certificates in a file.
struct Certificates(String);

impl Value for Certificates {
    const EXPECTED: &'static str = "a file with certificates that can be read";

    fn parse(text: &str) -> Option<Self> {
        worker::certificates(text).ok().map(Self)
    }
}

/// The address of the database that keeps the hub's queue, where it is not a file: of a flag, of BUE_POSTGRES, or, for a
/// flag without an address, put together from POSTGRES_HOST and the others.
pub fn database_of_hub(flag: Option<&str>, sources: &Sources) -> Result<Option<String>, SettingError> {
    match flag {
        Some("") => {
            let Postgres { host, port, user, password, database, .. } = read(sources)?.postgres;
            let login = [user, password].into_iter().flatten().map(|part| encoded(&part)).collect::<Vec<_>>().join(":");
            let at = if login.is_empty() { "" } else { "@" };
            let host = host.unwrap_or_else(|| "localhost".to_owned());
            let (port, database) = (port.unwrap_or(5432), encoded(&database.unwrap_or_default()));
            Ok(Some(format!("postgres://{login}{at}{host}:{port}/{database}")))
        }
        Some(address) => Ok(Some(address.to_owned())),
        None => sources.read_by(&table::BUE_POSTGRES, |address| {
            let is_one = ["postgres://", "postgresql://"].iter().any(|scheme| address.starts_with(scheme));
            let expected = "the address of a database, `postgres://user:password@host:port/database`";
            if is_one { Ok(address.to_owned()) } else { Err(expected.to_owned()) }
        }),
    }
}

/// A part of an address, with all that could end it escaped.
fn encoded(part: &str) -> String {
    let mut text = String::new();
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_read_by_their_names_and_a_wrong_one_is_named_without_its_password() {
        let sources = Sources::of(&[("BUE_CONNECTION_WAREHOUSE", "postgres://ada:x@db/sales?sslmode=require")], &[]);
        let engines = read(&sources).unwrap();
        assert_eq!(engines.connections["WAREHOUSE"].tls, PostgresTls::Require);
        let sources = Sources::of(&[("BUE_CONNECTION_WAREHOUSE", "postgres://ada:hidden@db")], &[]);
        let error = read(&sources).unwrap_err().to_string();
        assert!(error.contains("BUE_CONNECTION_WAREHOUSE") && !error.contains("hidden"), "{error}");
    }

    #[test]
    fn an_address_is_looked_at_without_the_files_of_other_machines() {
        assert_eq!(address_defect("postgres://ada:x@db/sales?sslrootcert=/not/here&sslmode=verify-full"), None);
        assert_eq!(address_defect("postgres://ada:x@db/sales"), None);
        for address in ["hidden", "postgres://ada:hidden@db", "postgres://ada:hidden@db/sales?sslmode=hidden"] {
            assert!(!address_defect(address).unwrap().contains("hidden"), "{address}");
        }
    }

    #[test]
    fn a_password_cannot_end_the_address() {
        assert_eq!(encoded("p@ss/w:rd ü"), "p%40ss%2Fw%3Ard%20%C3%BC");
    }
}
