-- Schema 1 of the queue. Append-only: a change is a new file and a higher user_version.
--
-- Times are Unix milliseconds. `state` numbers are those of job/state.rs. `rank` orders jobs within a scope: the
-- negative priority, or the priority itself where lower ones go first.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE files (digest BLOB PRIMARY KEY, content BLOB NOT NULL) STRICT;
CREATE TABLE bundles (digest BLOB PRIMARY KEY, manifest TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- A plan with its bundle; `digest` is over both.
CREATE TABLE plans (digest BLOB PRIMARY KEY, bundle BLOB NOT NULL, body TEXT NOT NULL) STRICT;

CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    key TEXT UNIQUE,
    plan BLOB NOT NULL,
    script TEXT NOT NULL,
    root INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    finished_ms INTEGER,
    cancelled INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 1,
    -- Numbers of jobs by state; those of passes still to be made count as waiting.
    n_waiting INTEGER NOT NULL DEFAULT 0,
    n_ready INTEGER NOT NULL DEFAULT 0,
    n_parked INTEGER NOT NULL DEFAULT 0,
    n_leased INTEGER NOT NULL DEFAULT 0,
    n_succeeded INTEGER NOT NULL DEFAULT 0,
    n_failed INTEGER NOT NULL DEFAULT 0,
    n_cancelled INTEGER NOT NULL DEFAULT 0,
    -- Loops with passes still to be made.
    n_cursors INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One execution of a block: the script itself (loop IS NULL), or one pass of a loop.
CREATE TABLE frames (
    number INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    loop INTEGER,
    pass INTEGER NOT NULL DEFAULT 0,
    item INTEGER
) STRICT;
CREATE INDEX frames_by_loop ON frames (loop, pass) WHERE loop IS NOT NULL;

-- One loop in one frame. `length` is known, and `value` set, when its source has succeeded; `next` is the first pass still to be made.
CREATE TABLE loops (
    number INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    loop INTEGER NOT NULL,
    frame INTEGER NOT NULL,
    source INTEGER NOT NULL,
    length INTEGER,
    next INTEGER NOT NULL DEFAULT 0,
    -- Place of its entries in the ready index while there are passes to be made.
    age INTEGER,
    value TEXT
) STRICT;
CREATE INDEX loops_by_source ON loops (source);
CREATE INDEX loops_by_frame ON loops (frame);
CREATE INDEX loops_by_run ON loops (run);

-- Results that deeper blocks use: the last job of a call in a frame.
CREATE TABLE bindings (
    frame INTEGER NOT NULL, call INTEGER NOT NULL, job INTEGER NOT NULL,
    PRIMARY KEY (frame, call)
) STRICT, WITHOUT ROWID;

-- An item of a loop is a job with `call` NULL; its value is that of its loop at the pass of its frame.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    frame INTEGER NOT NULL,
    call INTEGER,
    position INTEGER NOT NULL,
    followers INTEGER NOT NULL,
    step INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    state INTEGER NOT NULL,
    open_parents INTEGER NOT NULL,
    -- Ids of jobs and items whose values it takes, in order, as a JSON list.
    parents TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    pendings INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0,
    from_ms INTEGER,
    value TEXT,
    error TEXT
) STRICT;
CREATE INDEX jobs_by_run ON jobs (run, frame);

CREATE TABLE edges (
    parent INTEGER NOT NULL, child INTEGER NOT NULL,
    PRIMARY KEY (parent, child)
) STRICT, WITHOUT ROWID;

-- What can run now, in the order in which it will. `entry` is a job, or the negative number of a loop with passes still to be made.
CREATE TABLE ready (
    scope INTEGER NOT NULL, rank INTEGER NOT NULL, run INTEGER NOT NULL, age INTEGER NOT NULL, entry INTEGER NOT NULL,
    PRIMARY KEY (scope, rank, run, age, entry)
) STRICT, WITHOUT ROWID;

-- What could run now if its run were not paused: moved here from `ready`, and back.
CREATE TABLE held (
    run INTEGER NOT NULL, scope INTEGER NOT NULL, rank INTEGER NOT NULL, age INTEGER NOT NULL, entry INTEGER NOT NULL,
    PRIMARY KEY (run, scope, rank, age, entry)
) STRICT, WITHOUT ROWID;

-- What is paused, as JSON.
CREATE TABLE pauses (what TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- What can run later.
CREATE TABLE parked (
    from_ms INTEGER NOT NULL, job INTEGER NOT NULL,
    PRIMARY KEY (from_ms, job)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    job INTEGER PRIMARY KEY,
    token BLOB NOT NULL,
    session BLOB NOT NULL,
    scope INTEGER NOT NULL,
    since_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX leases_by_session ON leases (session);

-- History: one row for each settled attempt, the newest few of each job.
CREATE TABLE attempts (
    job INTEGER NOT NULL,
    number INTEGER NOT NULL,
    token BLOB NOT NULL,
    session BLOB NOT NULL,
    since_ms INTEGER NOT NULL,
    settled_ms INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    error TEXT,
    log TEXT,
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE scopes (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
