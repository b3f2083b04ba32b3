-- A symbol may be in quarantine for several causes, and is until an operator has cleared each of them. A cause is kept for ever: it
-- is known by the id of an order, so one that was cleared never comes back.
CREATE TABLE quarantine_causes (
    account         TEXT NOT NULL,
    cause           TEXT NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('orphan', 'not_what_was_sent')),
    symbol          TEXT NOT NULL,
    broker_order_id TEXT,
    found           TEXT NOT NULL CHECK (json_valid(found)),
    since           TEXT NOT NULL,
    cleared_at      TEXT,
    cleared_by      TEXT,
    cleared_reason  TEXT,
    cleared_caller  TEXT,
    PRIMARY KEY (account, cause),
    CHECK ((cleared_at IS NULL) = (cleared_by IS NULL)),
    CHECK ((cleared_at IS NULL) = (cleared_reason IS NULL)),
    CHECK ((cleared_at IS NULL) = (cleared_caller IS NULL))
) STRICT;

CREATE INDEX idx_quarantine_causes_open ON quarantine_causes (account, symbol, since, cause) WHERE cleared_at IS NULL;

-- What was in quarantine was never cleared yet. An orphan goes by the broker's id, everything else by ours.
INSERT INTO quarantine_causes (account, cause, kind, symbol, broker_order_id, found, since)
SELECT
    account,
    coalesce(iif(reason = 'orphan', broker_order_id, NULL), data ->> 'client_order_id', symbol),
    reason, symbol, broker_order_id, data, since
FROM quarantine
WHERE cleared_at IS NULL;

DROP TABLE quarantine;
