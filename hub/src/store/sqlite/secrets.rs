//! Sealed secrets.

use rusqlite::params;

use super::SqliteRows;
use crate::store::Sealed;
use crate::store::rows::{Found, SecretRows};

impl SecretRows for SqliteRows<'_> {
    fn secrets(&mut self) -> Found<Vec<Sealed>> {
        self.all("SELECT name, sealed, changed_ms FROM secrets ORDER BY name", [], |row| {
            Ok(Sealed { name: row.get(0)?, sealed: row.get(1)?, changed_ms: row.get(2)? })
        })
    }

    fn put_secret(&mut self, secret: &Sealed) -> Found<()> {
        let sql = "INSERT OR REPLACE INTO secrets (name, sealed, changed_ms) VALUES (?1, ?2, ?3)";
        self.execute(sql, params![secret.name, secret.sealed, secret.changed_ms]).map(drop)
    }

    fn remove_secret(&mut self, name: &str) -> Found<bool> {
        Ok(self.execute("DELETE FROM secrets WHERE name = ?1", [name])? > 0)
    }
}
