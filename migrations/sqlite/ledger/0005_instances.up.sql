-- The instances that work on this ledger, each telling every few seconds that it lives and where it is reached.
CREATE TABLE instance_metadata (
    instance_id  TEXT NOT NULL PRIMARY KEY,
    address      TEXT,
    version      TEXT NOT NULL,
    started_at   TEXT NOT NULL,
    heartbeat_at TEXT NOT NULL
) STRICT;
