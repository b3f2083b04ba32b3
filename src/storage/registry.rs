//! Every store by name: its durability, its file, its migrations.

use super::migrations::Migration;
use super::profiles::Profile;

/// What there is to know of a store before it is opened.
#[derive(Debug)]
pub struct StoreSpec {
    /// Its name.
    pub name: &'static str,
    /// What its loss would cost, and so how durable its commits are.
    pub profile: Profile,
    /// Its file in the data folder, where the backend is SQLite.
    pub sqlite_file: &'static str,
    /// Its schema on SQLite, in the order of the versions, which count from 1.
    pub sqlite_migrations: &'static [Migration],
    /// Its schema on PostgreSQL, under its name, in the same order.
    pub postgres_migrations: &'static [Migration],
}

/// Whatever decides whether an order may leave, and what must never be lost.
pub static LEDGER: StoreSpec = StoreSpec {
    name: "ledger",
    profile: Profile::Ledger,
    sqlite_file: "ledger.db",
    sqlite_migrations: &[
        Migration {
            version: 1,
            description: "orders, parents, events, executions, positions, switches",
            up: include_str!("../../migrations/sqlite/ledger/0001_ledger.up.sql"),
            down: include_str!("../../migrations/sqlite/ledger/0001_ledger.down.sql"),
        },
        Migration {
            version: 2,
            description: "several causes of quarantine for a symbol, each cleared by an operator",
            up: include_str!("../../migrations/sqlite/ledger/0002_causes_of_quarantine.up.sql"),
            down: include_str!("../../migrations/sqlite/ledger/0002_causes_of_quarantine.down.sql"),
        },
        Migration {
            version: 3,
            description: "replacement of orders",
            up: include_str!("../../migrations/sqlite/ledger/0003_replacement.up.sql"),
            down: include_str!("../../migrations/sqlite/ledger/0003_replacement.down.sql"),
        },
        Migration {
            version: 4,
            description: "the limit by volume that a parent's plan kept to",
            up: include_str!("../../migrations/sqlite/ledger/0004_liquidity.up.sql"),
            down: include_str!("../../migrations/sqlite/ledger/0004_liquidity.down.sql"),
        },
        Migration {
            version: 5,
            description: "the instances that work on the ledger",
            up: include_str!("../../migrations/sqlite/ledger/0005_instances.up.sql"),
            down: include_str!("../../migrations/sqlite/ledger/0005_instances.down.sql"),
        },
        Migration {
            version: 6,
            description: "who has stopped for an engagement, and that the first start is over",
            up: include_str!("../../migrations/sqlite/ledger/0006_switchboard.up.sql"),
            down: include_str!("../../migrations/sqlite/ledger/0006_switchboard.down.sql"),
        },
        Migration {
            version: 7,
            description: "that the ledger was put back from a copy",
            up: include_str!("../../migrations/sqlite/ledger/0007_restored.up.sql"),
            down: include_str!("../../migrations/sqlite/ledger/0007_restored.down.sql"),
        },
        Migration {
            version: 8,
            description: "what an account is worth, and the results of its trading days",
            up: include_str!("../../migrations/sqlite/ledger/0008_equity.up.sql"),
            down: include_str!("../../migrations/sqlite/ledger/0008_equity.down.sql"),
        },
        Migration {
            version: 9,
            description: "API keys, audit, idempotency keys",
            up: include_str!("../../migrations/sqlite/ledger/0009_keys.up.sql"),
            down: include_str!("../../migrations/sqlite/ledger/0009_keys.down.sql"),
        },
    ],
    postgres_migrations: &[
        Migration {
            version: 1,
            description: "orders, parents, events, executions, positions, switches, instances",
            up: include_str!("../../migrations/postgres/ledger/0001_ledger.up.sql"),
            down: include_str!("../../migrations/postgres/ledger/0001_ledger.down.sql"),
        },
        Migration {
            version: 2,
            description: "what an account is worth, and the results of its trading days",
            up: include_str!("../../migrations/postgres/ledger/0002_equity.up.sql"),
            down: include_str!("../../migrations/postgres/ledger/0002_equity.down.sql"),
        },
        Migration {
            version: 3,
            description: "API keys, audit, idempotency keys",
            up: include_str!("../../migrations/postgres/ledger/0003_keys.up.sql"),
            down: include_str!("../../migrations/postgres/ledger/0003_keys.down.sql"),
        },
    ],
};
