-- Schema 4: pinned runs, which are kept whatever the bounds.

ALTER TABLE runs ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
