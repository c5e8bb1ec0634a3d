-- Schema 3: secrets. What seals them is not in here.

CREATE TABLE secrets (name TEXT PRIMARY KEY, sealed BLOB NOT NULL, changed_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
