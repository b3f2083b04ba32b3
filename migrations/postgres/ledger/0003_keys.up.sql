-- Who may: the text of a key is never stored, only a hash of its secret. A name may have several keys that live.
CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'trader', 'operator', 'admin')),
    hash       TEXT NOT NULL CHECK (length(hash) = 64),
    created_at TIMESTAMPTZ NOT NULL,
    revoked_at TIMESTAMPTZ
);

-- What people did whose word counts: who, what, and how it was before and after.
CREATE TABLE audit (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           TIMESTAMPTZ NOT NULL,
    account      TEXT,
    caller       TEXT NOT NULL,
    operator     TEXT,
    action       TEXT NOT NULL,
    subject      TEXT NOT NULL,
    state_before JSON,
    state_after  JSON,
    request_id   TEXT
);

CREATE TRIGGER audit_never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();

-- Answers to requests that carried a key, for a day: a repetition gets the first answer, and does nothing.
CREATE TABLE idempotency_keys (
    caller          TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_hash    TEXT NOT NULL,
    answer          JSON NOT NULL,
    at              TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (caller, idempotency_key)
);

CREATE INDEX idx_idempotency_keys_at ON idempotency_keys (at);
