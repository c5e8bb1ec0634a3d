-- Schema 2: numbers that are never given twice, times of leases, retention.

CREATE TABLE numbers (
    job INTEGER NOT NULL, frame INTEGER NOT NULL, loop INTEGER NOT NULL, run INTEGER NOT NULL, scope INTEGER NOT NULL
) STRICT;
INSERT INTO numbers SELECT
    1 + max((SELECT ifnull(max(id), 0) FROM jobs), (SELECT ifnull(max(age), 0) FROM loops)),
    1 + (SELECT ifnull(max(number), 0) FROM frames),
    1 + (SELECT ifnull(max(number), 0) FROM loops),
    1 + (SELECT ifnull(max(number), 0) FROM runs),
    1 + (SELECT ifnull(max(number), 0) FROM scopes);

-- Before, a loop kept its last place in the ready index when all its passes were made.
UPDATE loops SET age = NULL WHERE length IS NULL OR next >= length;

-- Time of the step and of grace; a lease of before has no end.
ALTER TABLE leases ADD COLUMN time_ms INTEGER NOT NULL DEFAULT 4611686018427387903;

-- A retired run is hidden, and deleted bit by bit.
ALTER TABLE runs ADD COLUMN retired INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_retired ON runs (number) WHERE retired = 1;
CREATE INDEX runs_by_plan ON runs (plan);

ALTER TABLE files ADD COLUMN stored_ms INTEGER NOT NULL DEFAULT 0;
