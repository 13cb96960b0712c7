-- What runs do, as it was when they began. Each definition is kept once, as long as there is a run that follows it.
CREATE TABLE definitions (
    hash BLOB PRIMARY KEY, -- SHA-256 of the body
    body TEXT NOT NULL
) STRICT;

-- Runs. Their log is in `run_rows`; here is what lists, recovery and retention read.
CREATE TABLE runs (
    id               INTEGER PRIMARY KEY,
    run_id           TEXT NOT NULL UNIQUE,
    orchestration_id TEXT, -- null for a chat
    agent_id         TEXT,
    session_id       TEXT,
    name             TEXT NOT NULL,
    definition       BLOB REFERENCES definitions (hash),
    principal        TEXT NOT NULL,
    created_at       INTEGER NOT NULL, -- all times are milliseconds since 1970, UTC
    background       INTEGER NOT NULL,
    status           TEXT NOT NULL, -- running, paused, completed, failed or cancelled
    wake_at          INTEGER, -- when a paused run has to be looked at again
    ended_at         INTEGER,
    cost             REAL NOT NULL, -- US dollars
    input_tokens     INTEGER NOT NULL,
    output_tokens    INTEGER NOT NULL,
    epoch            INTEGER NOT NULL, -- how often it changed hands; a row of an older epoch is refused
    owner            INTEGER NOT NULL, -- the start of the server to which it belongs, or belonged; 0 where it was given back
    crashes          INTEGER NOT NULL, -- how often in a row its owner died, without a result in between
    rows             INTEGER NOT NULL, -- also the number of the newest row: numbers are dense, from 1
    events           INTEGER NOT NULL  -- also the id of the newest event: ids are dense, from 1
) STRICT;

CREATE INDEX runs_by_time ON runs (created_at, id);
CREATE INDEX runs_of_orchestration_by_time ON runs (orchestration_id, created_at, id);
CREATE INDEX runs_of_orchestrations_by_time ON runs (created_at, id) WHERE orchestration_id IS NOT NULL;
CREATE INDEX runs_of_agent_by_time ON runs (agent_id, created_at, id) WHERE agent_id IS NOT NULL;
CREATE INDEX runs_of_status_by_time ON runs (status, created_at, id);
CREATE INDEX runs_of_definition ON runs (definition) WHERE definition IS NOT NULL;
CREATE INDEX runs_that_run ON runs (owner) WHERE status = 'running';
CREATE INDEX runs_to_wake ON runs (wake_at) WHERE status = 'paused' AND wake_at IS NOT NULL;
CREATE INDEX runs_by_end ON runs (ended_at, id) WHERE ended_at IS NOT NULL;

CREATE TABLE run_rows (
    run         INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    first_event INTEGER NOT NULL,
    events      INTEGER NOT NULL,
    body        TEXT NOT NULL, -- JSON: the records
    UNIQUE (run, number)
) STRICT;

-- Requests with an idempotency key, and where the answer to each begins.
CREATE TABLE repeats (
    principal   TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL, -- SHA-256 of the request
    run         INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    after_event INTEGER NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX repeats_of_run ON repeats (run);

-- What is written to see whether the disk takes as much as a small run again.
CREATE TABLE trials (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    filler BLOB NOT NULL
) STRICT;

PRAGMA user_version = 3;
