-- Schema 3: the time that the hubs of this database go by. The latest under which anything was written; 0 before the first.

ALTER TABLE numbers ADD COLUMN time_ms bigint NOT NULL DEFAULT 0;
