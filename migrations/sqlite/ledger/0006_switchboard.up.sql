-- Who has stopped its sends for an engagement of the kill switch, and which of them it cut off.
CREATE TABLE switch_confirmations (
    engagement_id TEXT NOT NULL,
    instance_id   TEXT NOT NULL,
    cut           TEXT NOT NULL CHECK (json_valid(cut)),
    confirmed_at  TEXT NOT NULL,
    PRIMARY KEY (engagement_id, instance_id)
) STRICT;

-- On a ledger that was in use before, the first start is over: a key that is missing in a switchboard beside it is never
-- made up.
INSERT INTO switches (switch, state, updated_at)
SELECT
    'first_start',
    json_object('at', strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), 'by', 'migration', 'created', json_array()),
    strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
WHERE EXISTS (SELECT 1 FROM accounts WHERE account <> '');
