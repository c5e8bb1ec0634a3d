-- Schema 1 of the queue on PostgreSQL. Append-only: a change is a new file and a higher version.
--
-- Times are Unix milliseconds. `state` numbers are those of job/state.rs. `rank` orders jobs within a scope: the
-- negative priority, or the priority itself where lower ones go first. Hot rows leave room in their pages, so that an update stays
-- in its page and touches no index; queues are vacuumed by the number of rows that went through them, not by their size.

CREATE TABLE numbers (
    job bigint NOT NULL, frame bigint NOT NULL, loop bigint NOT NULL, run bigint NOT NULL, scope bigint NOT NULL,
    reverse_priority boolean NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
INSERT INTO numbers VALUES (1, 1, 1, 1, 1, false);

CREATE TABLE files (digest bytea PRIMARY KEY, content bytea NOT NULL, stored_ms bigint NOT NULL);
ALTER TABLE files ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE TABLE bundles (digest bytea PRIMARY KEY, manifest text NOT NULL);
-- A plan with its bundle; `digest` is over both.
CREATE TABLE plans (digest bytea PRIMARY KEY, bundle bytea NOT NULL, body text NOT NULL);

CREATE TABLE runs (
    number bigint PRIMARY KEY,
    id text NOT NULL UNIQUE,
    key text UNIQUE,
    plan bytea NOT NULL,
    script text NOT NULL,
    root bigint NOT NULL,
    created_ms bigint NOT NULL,
    finished_ms bigint,
    cancelled boolean NOT NULL DEFAULT false,
    retired boolean NOT NULL DEFAULT false,
    version bigint NOT NULL DEFAULT 1,
    -- Numbers of jobs by state; those of passes still to be made count as waiting.
    n_waiting bigint NOT NULL DEFAULT 0,
    n_ready bigint NOT NULL DEFAULT 0,
    n_parked bigint NOT NULL DEFAULT 0,
    n_leased bigint NOT NULL DEFAULT 0,
    n_succeeded bigint NOT NULL DEFAULT 0,
    n_failed bigint NOT NULL DEFAULT 0,
    n_cancelled bigint NOT NULL DEFAULT 0,
    -- Loops with passes still to be made.
    n_cursors bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX runs_retired ON runs (number) WHERE retired;
CREATE INDEX runs_by_plan ON runs (plan);

-- One execution of a block: the script itself (loop IS NULL), or one pass of a loop.
CREATE TABLE frames (
    number bigint PRIMARY KEY, run bigint NOT NULL, loop bigint, pass bigint NOT NULL, item bigint
);
CREATE INDEX frames_by_loop ON frames (loop, pass) WHERE loop IS NOT NULL;

-- One loop in one frame. `length` is known, and `value` set, when its source has succeeded; `next` is the first pass still to be made.
CREATE TABLE loops (
    number bigint PRIMARY KEY,
    run bigint NOT NULL,
    loop integer NOT NULL,
    frame bigint NOT NULL,
    source bigint NOT NULL,
    length bigint,
    next bigint NOT NULL,
    -- Place of its entries in the ready index while there are passes to be made.
    age bigint,
    value text
) WITH (fillfactor = 70);
CREATE INDEX loops_by_source ON loops (source);
CREATE INDEX loops_by_frame ON loops (frame);
CREATE INDEX loops_by_run ON loops (run);

-- Results that deeper blocks use: the last job of a call in a frame.
CREATE TABLE bindings (frame bigint NOT NULL, call integer NOT NULL, job bigint NOT NULL, PRIMARY KEY (frame, call));

-- An item of a loop is a job with `call` NULL; its value is that of its loop at the pass of its frame.
CREATE TABLE jobs (
    id bigint PRIMARY KEY,
    run bigint NOT NULL,
    frame bigint NOT NULL,
    priority bigint NOT NULL,
    from_ms bigint,
    call integer,
    position integer NOT NULL,
    followers integer NOT NULL,
    step integer NOT NULL,
    open_parents integer NOT NULL,
    attempts integer NOT NULL,
    failures integer NOT NULL,
    pendings integer NOT NULL,
    losses integer NOT NULL,
    state smallint NOT NULL,
    -- Jobs and items whose values it takes, in order.
    parents bigint[] NOT NULL,
    value text,
    error text
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX jobs_by_run ON jobs (run, frame, id);

CREATE TABLE edges (parent bigint NOT NULL, child bigint NOT NULL, PRIMARY KEY (parent, child));

CREATE TABLE scopes (number bigint PRIMARY KEY, name text NOT NULL UNIQUE);

-- What can run now, in the order in which it will. `entry` is a job, or the negative number of a loop with passes still to be made.
CREATE TABLE ready (
    scope bigint NOT NULL, rank bigint NOT NULL, run bigint NOT NULL, age bigint NOT NULL, entry bigint NOT NULL,
    PRIMARY KEY (scope, rank, run, age, entry)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

-- What could run now if its run were not paused: moved here from `ready`, and back.
CREATE TABLE held (
    run bigint NOT NULL, scope bigint NOT NULL, rank bigint NOT NULL, age bigint NOT NULL, entry bigint NOT NULL,
    PRIMARY KEY (run, scope, rank, age, entry)
);

-- What is paused, as JSON.
CREATE TABLE pauses (what text PRIMARY KEY);

-- What can run later.
CREATE TABLE parked (
    from_ms bigint NOT NULL, job bigint NOT NULL, PRIMARY KEY (from_ms, job)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE leases (
    job bigint PRIMARY KEY,
    token bytea NOT NULL,
    session bytea NOT NULL,
    scope bigint NOT NULL,
    since_ms bigint NOT NULL,
    -- Time of the step and of grace.
    time_ms bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX leases_by_session ON leases (session);

-- History: one row for each settled attempt, the newest few of each job.
CREATE TABLE attempts (
    job bigint NOT NULL,
    number integer NOT NULL,
    token bytea NOT NULL,
    session bytea NOT NULL,
    since_ms bigint NOT NULL,
    settled_ms bigint NOT NULL,
    outcome text NOT NULL,
    error text,
    log text,
    PRIMARY KEY (job, number)
);

-- Workers heard from of late, by whichever hub: written every few seconds for all of them at once. Times are the database's.
CREATE TABLE sessions (
    session bytea PRIMARY KEY, heard_ms bigint NOT NULL, info text NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
