-- Pre-trade limits: the tightest of all that fit an order holds. Which revision they are of stands beside the switches.
CREATE TABLE limits (
    scope      TEXT NOT NULL CHECK (scope IN ('global', 'account', 'strategy', 'symbol')),
    scope_name TEXT NOT NULL,
    control    TEXT NOT NULL,
    value      TEXT NOT NULL,
    operator   TEXT NOT NULL,
    set_by     TEXT NOT NULL,
    set_at     TEXT NOT NULL,
    PRIMARY KEY (scope, scope_name, control),
    CHECK ((scope = 'global') = (scope_name = ''))
) STRICT;

-- What holds instead of a limit until a time.
CREATE TABLE limit_overrides (
    scope      TEXT NOT NULL CHECK (scope IN ('global', 'account', 'strategy', 'symbol')),
    scope_name TEXT NOT NULL,
    control    TEXT NOT NULL,
    value      TEXT NOT NULL,
    operator   TEXT NOT NULL,
    set_by     TEXT NOT NULL,
    set_at     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    until      TEXT NOT NULL,
    PRIMARY KEY (scope, scope_name, control),
    CHECK ((scope = 'global') = (scope_name = ''))
) STRICT;

-- Who may not open positions; an empty symbol is all of the account.
CREATE TABLE lockouts (
    account   TEXT NOT NULL,
    symbol    TEXT NOT NULL,
    rule      TEXT NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('cooldown', 'daily', 'permanent', 'external')),
    reason    TEXT NOT NULL,
    operator  TEXT NOT NULL,
    locked_by TEXT NOT NULL,
    since     TEXT NOT NULL,
    until     TEXT,
    PRIMARY KEY (account, symbol, rule),
    CHECK ((until IS NULL) = (kind IN ('permanent', 'external')))
) STRICT;
