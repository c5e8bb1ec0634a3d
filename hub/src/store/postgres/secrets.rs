//! Sealed secrets.

use super::rows::{PostgresRows, get};
use crate::store::Sealed;
use crate::store::rows::{Found, SecretRows};

impl SecretRows for PostgresRows<'_> {
    fn secrets(&mut self) -> Found<Vec<Sealed>> {
        self.all("SELECT name, sealed, changed_ms FROM secrets ORDER BY name", &[], |row| {
            Ok(Sealed { name: get(row, 0)?, sealed: get(row, 1)?, changed_ms: get(row, 2)? })
        })
    }

    fn put_secret(&mut self, secret: &Sealed) -> Found<()> {
        let sql = "INSERT INTO secrets (name, sealed, changed_ms) VALUES ($1, $2, $3)
            ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, changed_ms = excluded.changed_ms";
        self.execute(sql, &[&secret.name, &secret.sealed, &secret.changed_ms]).map(drop)
    }

    fn remove_secret(&mut self, name: &str) -> Found<bool> {
        Ok(self.execute("DELETE FROM secrets WHERE name = $1", &[&name])? > 0)
    }
}
