-- Schema 4: pinned runs, which are kept whatever the bounds.

ALTER TABLE runs ADD COLUMN pinned boolean NOT NULL DEFAULT false;
