-- One row for each symbol again: the oldest cause that nobody has cleared.
CREATE TABLE quarantine (
    account         TEXT NOT NULL,
    symbol          TEXT NOT NULL,
    reason          TEXT NOT NULL,
    broker_order_id TEXT,
    data            TEXT NOT NULL,
    since           TEXT NOT NULL,
    cleared_at      TEXT,
    cleared_by      TEXT,
    PRIMARY KEY (account, symbol)
) STRICT;

INSERT INTO quarantine (account, symbol, reason, broker_order_id, data, since)
SELECT account, symbol, kind, broker_order_id, found, since
FROM quarantine_causes
WHERE cleared_at IS NULL
ORDER BY since
ON CONFLICT (account, symbol) DO NOTHING;

DROP TABLE quarantine_causes;
