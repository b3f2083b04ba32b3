-- Who may: the text of a key is never stored, only a hash of its secret. A name may have several keys that live.
CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'trader', 'operator', 'admin')),
    hash       TEXT NOT NULL CHECK (length(hash) = 64),
    created_at TEXT NOT NULL,
    revoked_at TEXT
) STRICT, WITHOUT ROWID;

-- What people did whose word counts: who, what, and how it was before and after.
CREATE TABLE audit (
    id           INTEGER PRIMARY KEY,
    at           TEXT NOT NULL,
    account      TEXT,
    caller       TEXT NOT NULL,
    operator     TEXT,
    action       TEXT NOT NULL,
    subject      TEXT NOT NULL,
    state_before TEXT,
    state_after  TEXT,
    request_id   TEXT
) STRICT;

CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit
BEGIN SELECT raise(ABORT, 'audit is append-only'); END;
CREATE TRIGGER audit_never_goes BEFORE DELETE ON audit
BEGIN SELECT raise(ABORT, 'audit is append-only'); END;

-- Answers to requests that carried a key, for a day: a repetition gets the first answer, and does nothing.
CREATE TABLE idempotency_keys (
    caller          TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_hash    TEXT NOT NULL,
    answer          TEXT NOT NULL,
    at              TEXT NOT NULL,
    PRIMARY KEY (caller, idempotency_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idx_idempotency_keys_at ON idempotency_keys (at);
