-- The ledger's tables. The program makes the schema `ledger` and works in it.
--
-- Decimals are NUMERIC without bounds, exact. JSON is kept as it was written.

-- One row per account: the term of its owner, the number of its next event, the nonce of its last batch, and the history of the
-- database under which its books were last known to be whole. The account '' is nobody's: under it stand the events of the switches.
CREATE TABLE accounts (
    account    TEXT NOT NULL PRIMARY KEY,
    owner      TEXT NOT NULL,
    term       BIGINT NOT NULL CHECK (term >= 0),
    expires_at TIMESTAMPTZ,
    next_event BIGINT NOT NULL CHECK (next_event >= 1),
    batch      BIGINT NOT NULL,
    history    TEXT
) WITH (fillfactor = 50);

INSERT INTO accounts (account, owner, term, next_event, batch) VALUES ('', '', 0, 1, 0);

-- What names a batch of nobody's, for a day: several instances write there, so the row of accounts keeps only the last one's.
CREATE TABLE batches_of_nobody (
    batch BIGINT NOT NULL PRIMARY KEY,
    at    TIMESTAMPTZ NOT NULL
);

-- Lists go by the order of arrival, which ids, being hashes, don't tell; no foreign key to the parent, which would halve the insert rate.
CREATE TABLE orders (
    place               BIGINT GENERATED ALWAYS AS IDENTITY,
    client_order_id     TEXT NOT NULL PRIMARY KEY,
    kind                TEXT NOT NULL CHECK (kind IN ('parent', 'child', 'single')),
    strategy_id         TEXT NOT NULL,
    account             TEXT NOT NULL,
    symbol              TEXT NOT NULL,
    side                TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    qty                 NUMERIC NOT NULL,
    order_type          TEXT NOT NULL,
    limit_price         NUMERIC,
    stop_price          NUMERIC,
    trail_price         NUMERIC,
    trail_percent       NUMERIC,
    time_in_force       TEXT NOT NULL,
    extended_hours      BOOLEAN NOT NULL,
    status              TEXT NOT NULL,
    venue_status        TEXT,
    broker_order_id     TEXT,
    parent_order_id     TEXT,
    plan_version        BIGINT,
    slice_num           BIGINT,
    total_slices        BIGINT,
    scheduled_time      TIMESTAMPTZ NOT NULL,
    attempt             BIGINT NOT NULL,
    tries               BIGINT NOT NULL,
    claimed_at          TIMESTAMPTZ,
    absent_at           TIMESTAMPTZ,
    cancel_requested_at TIMESTAMPTZ,
    at_venue            BOOLEAN NOT NULL,
    reduces             BOOLEAN NOT NULL DEFAULT false,
    makes_up            NUMERIC,
    filled_qty          NUMERIC NOT NULL,
    filled_cost         NUMERIC NOT NULL,
    filled_avg_price    NUMERIC,
    reason_code         TEXT,
    error_message       TEXT,
    replaces            TEXT,
    replaces_broker_id  TEXT,
    replaced_by         TEXT,
    chain               TEXT,
    chain_place         BIGINT,
    caller              TEXT,
    idempotency_key     TEXT,
    request_hash        TEXT,
    created_at          TIMESTAMPTZ NOT NULL,
    updated_at          TIMESTAMPTZ NOT NULL,
    submitted_at        TIMESTAMPTZ,
    terminal_at         TIMESTAMPTZ,
    CHECK ((kind = 'child') = (parent_order_id IS NOT NULL)),
    CHECK ((kind = 'child' AND replaces IS NULL) = (caller IS NULL)),
    CHECK ((replaces IS NULL) = (replaces_broker_id IS NULL)),
    CHECK ((replaces IS NULL) = (chain IS NULL)),
    CHECK ((replaces IS NULL) = (chain_place IS NULL))
);

CREATE UNIQUE INDEX idx_orders_place ON orders (place);
-- A parent's slices, as its timers want them: in the order of their times.
CREATE INDEX idx_orders_parent ON orders (parent_order_id, scheduled_time, slice_num) WHERE parent_order_id IS NOT NULL;
CREATE INDEX idx_orders_open ON orders (status, scheduled_time) WHERE terminal_at IS NULL;
CREATE INDEX idx_orders_state_account ON orders (status, account);
CREATE INDEX idx_orders_marked ON orders (account) WHERE cancel_requested_at IS NOT NULL AND terminal_at IS NULL;
CREATE UNIQUE INDEX idx_orders_key ON orders (caller, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- The replacements of an order, by the first of them all.
CREATE INDEX idx_orders_chain ON orders (chain) WHERE chain IS NOT NULL;

-- What only a parent has; the rest is in its row of orders, and the two change together.
CREATE TABLE parents (
    client_order_id   TEXT NOT NULL PRIMARY KEY REFERENCES orders (client_order_id),
    schedule          JSON NOT NULL,
    interval_seconds  BIGINT NOT NULL,
    start_at          TIMESTAMPTZ NOT NULL,
    end_at            TIMESTAMPTZ NOT NULL,
    trade_date        DATE NOT NULL,
    catch_up          TEXT NOT NULL,
    completion        TEXT NOT NULL,
    working_qty       NUMERIC NOT NULL,
    unknown_qty       NUMERIC NOT NULL,
    pending_qty       NUMERIC NOT NULL,
    unexecuted_qty    NUMERIC NOT NULL,
    open_slices       BIGINT NOT NULL,
    rejected_slices   BIGINT NOT NULL,
    failed_slices     BIGINT NOT NULL,
    arrival_price     NUMERIC,
    benchmark_area    NUMERIC NOT NULL,
    benchmark_seconds NUMERIC NOT NULL,
    warnings          JSON NOT NULL,
    liquidity         JSON
);

CREATE FUNCTION is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is append-only', tg_table_name; END $$;

-- Everything that happened, numbered without gaps per account.
CREATE TABLE order_events (
    account         TEXT NOT NULL,
    number          BIGINT NOT NULL CHECK (number >= 1),
    client_order_id TEXT,
    event           TEXT NOT NULL,
    old_status      TEXT,
    new_status      TEXT,
    data            JSON NOT NULL,
    actor           TEXT NOT NULL,
    at              TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account, number)
);

CREATE INDEX idx_order_events_order ON order_events (client_order_id) WHERE client_order_id IS NOT NULL;

CREATE TRIGGER order_events_never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON order_events
FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();

-- A trade is known by its order at the broker and the cumulative quantity; its own id is an attribute.
CREATE TABLE executions (
    broker_order_id TEXT NOT NULL,
    cum_qty         NUMERIC NOT NULL,
    client_order_id TEXT NOT NULL,
    execution_id    TEXT NOT NULL,
    account         TEXT NOT NULL,
    symbol          TEXT NOT NULL,
    side            TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    qty             NUMERIC NOT NULL,
    price           NUMERIC NOT NULL,
    fee             NUMERIC NOT NULL,
    at              TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (broker_order_id, cum_qty)
);

CREATE TABLE portfolio_positions (
    account      TEXT NOT NULL,
    symbol       TEXT NOT NULL,
    qty          NUMERIC NOT NULL,
    cost         NUMERIC NOT NULL,
    avg_price    NUMERIC,
    realised_pnl NUMERIC NOT NULL,
    fees         NUMERIC NOT NULL,
    last_price   NUMERIC,
    last_at      TIMESTAMPTZ,
    version      BIGINT NOT NULL CHECK (version >= 1),
    updated_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account, symbol),
    CHECK ((last_price IS NULL) = (last_at IS NULL))
);

CREATE INDEX idx_positions_updated ON portfolio_positions (updated_at DESC);

-- A switch whose row is missing counts as shut: these two rows are made here, once, and never again.
CREATE TABLE switches (
    switch     TEXT NOT NULL PRIMARY KEY,
    state      JSON NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

INSERT INTO switches (switch, state, updated_at) VALUES
(
    'kill_switch',
    '{"state":"ACTIVE","engaged_at":null,"engaged_by":null,"engagement_reason":null,"engagement_details":null,'
    '"disengaged_at":null,"disengaged_by":null,"disengagement_notes":null,"engagement_count_today":0,"counted_on":null,'
    '"engagement_id":null,"mode":null}',
    now()
),
(
    'circuit_breaker',
    '{"state":"OPEN","tripped_at":null,"trip_reason":null,"trip_details":null,"reset_at":null,"reset_by":null,'
    '"trip_count_today":0,"counted_on":null,"quiet_until":null}',
    now()
);

CREATE TABLE switch_history (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    switch    TEXT NOT NULL,
    event     TEXT NOT NULL,
    timestamp TIMESTAMPTZ NOT NULL,
    operator  TEXT NOT NULL,
    reason    TEXT,
    details   JSON
);

CREATE INDEX idx_switch_history ON switch_history (switch, id DESC);

CREATE TRIGGER switch_history_never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON switch_history
FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();

-- A symbol may be in quarantine for several causes, and is until an operator has cleared each of them. A cause is kept for ever: it
-- is known by the id of an order, so one that was cleared never comes back.
CREATE TABLE quarantine_causes (
    account         TEXT NOT NULL,
    cause           TEXT NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('orphan', 'not_what_was_sent')),
    symbol          TEXT NOT NULL,
    broker_order_id TEXT,
    found           JSON NOT NULL,
    since           TIMESTAMPTZ NOT NULL,
    cleared_at      TIMESTAMPTZ,
    cleared_by      TEXT,
    cleared_reason  TEXT,
    cleared_caller  TEXT,
    PRIMARY KEY (account, cause),
    CHECK ((cleared_at IS NULL) = (cleared_by IS NULL)),
    CHECK ((cleared_at IS NULL) = (cleared_reason IS NULL)),
    CHECK ((cleared_at IS NULL) = (cleared_caller IS NULL))
);

CREATE INDEX idx_quarantine_causes_open ON quarantine_causes (account, symbol, since, cause) WHERE cleared_at IS NULL;

CREATE TABLE position_differences (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account TEXT NOT NULL,
    symbol  TEXT NOT NULL,
    ours    NUMERIC NOT NULL,
    theirs  NUMERIC NOT NULL,
    at      TIMESTAMPTZ NOT NULL
);

-- The instances that work on this ledger, each telling every few seconds that it lives and where it is reached.
CREATE TABLE instance_metadata (
    instance_id  TEXT NOT NULL PRIMARY KEY,
    address      TEXT,
    version      TEXT NOT NULL,
    started_at   TIMESTAMPTZ NOT NULL,
    heartbeat_at TIMESTAMPTZ NOT NULL
);

-- Who has stopped its sends for an engagement of the kill switch, and which of them it cut off.
CREATE TABLE switch_confirmations (
    engagement_id TEXT NOT NULL,
    instance_id   TEXT NOT NULL,
    cut           JSON NOT NULL,
    confirmed_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (engagement_id, instance_id)
);
