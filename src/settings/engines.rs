//! What the SQL steps of a worker need: a database, a program.

use worker::{Engines, Postgres};

use super::source::{SettingError, Sources};
use super::table;

/// Reads it. What is missing is said by the steps that need it.
pub fn read(sources: &Sources) -> Result<Engines, SettingError> {
    let postgres = Postgres {
        host: sources.read(&table::POSTGRES_HOST)?,
        port: sources.read(&table::POSTGRES_PORT)?,
        user: sources.read(&table::POSTGRES_USER)?,
        password: sources.read(&table::POSTGRES_PASSWORD)?,
        database: sources.read(&table::POSTGRES_DATABASE)?,
    };
    Ok(Engines { postgres, duckdb: sources.read(&table::BUE_DUCKDB)? })
}

/// The address of the database that keeps the hub's queue, where it is not a file: of a flag, of BUE_POSTGRES, or, for a
/// flag without an address, put together from POSTGRES_HOST and the others.
pub fn database_of_hub(flag: Option<&str>, sources: &Sources) -> Result<Option<String>, SettingError> {
    match flag {
        Some("") => {
            let Postgres { host, port, user, password, database } = read(sources)?.postgres;
            let login = [user, password].into_iter().flatten().map(|part| encoded(&part)).collect::<Vec<_>>().join(":");
            let at = if login.is_empty() { "" } else { "@" };
            let host = host.unwrap_or_else(|| "localhost".to_owned());
            let (port, database) = (port.unwrap_or(5432), encoded(&database.unwrap_or_default()));
            Ok(Some(format!("postgres://{login}{at}{host}:{port}/{database}")))
        }
        Some(address) => Ok(Some(address.to_owned())),
        None => sources.read(&table::BUE_POSTGRES),
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
    fn a_password_cannot_end_the_address() {
        assert_eq!(encoded("p@ss/w:rd ü"), "p%40ss%2Fw%3Ard%20%C3%BC");
    }
}
