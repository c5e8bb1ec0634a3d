-- Schema 2: secrets. What seals them is not in here.

CREATE TABLE secrets (name text PRIMARY KEY, sealed bytea NOT NULL, changed_ms bigint NOT NULL);
