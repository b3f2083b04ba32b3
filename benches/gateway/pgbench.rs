//! What PostgreSQL itself does with the rows of a submission, by its own benchmark.

use std::fmt::Write;

use tranche_servers::{pgbench, sql};

use super::server::Folder;

/// Each of pgbench's runs, in seconds.
const SECONDS: &str = "3";
/// Where pgbench's rate is sought at its best.
const CLIENTS: [usize; 4] = [8, 16, 32, 64];

/// How pgbench writes the rows of one submission.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// All of them in one statement, and nothing else.
    OneStatement,
    /// One statement each, in one transaction with the row of the account.
    EachWithAccount,
}

/// A database that holds one submitted parent, whose rows are written again under ids of their own.
pub(crate) struct Rows<'a> {
    url: &'a str,
    parent: String,
}

impl<'a> Rows<'a> {
    /// The rows of the first parent there.
    pub(crate) fn of_first_parent(url: &'a str) -> Self {
        let parent = sql(url, "SELECT client_order_id FROM ledger.orders WHERE kind = 'parent' ORDER BY place LIMIT 1");
        Self { url, parent: parent.trim().to_owned() }
    }

    /// Submissions a second, of so many clients.
    pub(crate) fn rate(&self, way: Way, clients: usize) -> f64 {
        let folder = Folder::new();
        let file = folder.path().join("submission.sql");
        std::fs::write(&file, self.script(way)).unwrap();
        let clients = clients.to_string();
        let file = file.display().to_string();
        let said = pgbench(self.url, &["-n", "-M", "prepared", "-j", "2", "-T", SECONDS, "-c", &clients, "-f", &file]);
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.unwrap_or_else(|| panic!("pgbench said: {said}"))
    }

    /// The same at the number of clients that suits it best.
    pub(crate) fn best_rate(&self, way: Way) -> f64 {
        CLIENTS.map(|clients| self.rate(way, clients)).into_iter().fold(0.0, f64::max)
    }

    fn script(&self, way: Way) -> String {
        let (id, tables) = (&self.parent, ["orders", "parents", "order_events"]);
        let mine = [
            format!("client_order_id = '{id}' OR parent_order_id = '{id}'"),
            format!("client_order_id = '{id}'"),
            format!("client_order_id = '{id}'"),
        ];
        let inserts = tables.iter().zip(&mine).map(|(table, mine)| (*table, self.values(table, mine)));
        let inserts = inserts.collect::<Vec<_>>();
        assert_eq!(inserts.iter().map(|(_, rows)| rows.len()).sum::<usize>(), 13, "the rows of a parent of ten slices");
        let mut script =
            "\\set id random(1, 9000000000000000000)\n\\set number random(1000000000, 9000000000000000000)\n"
                .to_owned();
        match way {
            Way::OneStatement => {
                let parts = inserts.iter().map(|(table, rows)| self.insert(table, &rows.join(", ")));
                let parts = parts.zip(tables).map(|(insert, table)| format!("{table}_in AS ({insert})"));
                writeln!(script, "WITH {} SELECT 1;", parts.collect::<Vec<_>>().join(", ")).unwrap();
            }
            Way::EachWithAccount => {
                script.push_str("BEGIN;\n");
                script.push_str("UPDATE ledger.accounts SET next_event = next_event + 1 WHERE account = 'default';\n");
                for (table, rows) in &inserts {
                    for row in rows {
                        writeln!(script, "{};", self.insert(table, row)).unwrap();
                    }
                }
                script.push_str("COMMIT;\n");
            }
        }
        script
    }

    fn insert(&self, table: &str, rows: &str) -> String {
        format!("INSERT INTO ledger.{table} ({}) VALUES {rows}", self.columns(table).join(", "))
    }

    fn columns(&self, table: &str) -> Vec<String> {
        let names = sql(
            self.url,
            &format!(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = 'ledger'
                AND table_name = '{table}' AND is_identity = 'NO' ORDER BY ordinal_position"
            ),
        );
        names.lines().map(str::to_owned).collect()
    }

    /// The rows as SQL has them, with every id of theirs made anew for each run of the script.
    fn values(&self, table: &str, mine: &str) -> Vec<String> {
        let cells = self.columns(table).iter().map(|name| cell(name)).collect::<Vec<_>>().join(" || ', ' || ");
        let rows = sql(self.url, &format!("SELECT '(' || {cells} || ')' FROM ledger.{table} WHERE {mine}"));
        rows.lines().map(str::to_owned).collect()
    }
}

/// What a column's value is written as: an expression of pgbench's variables for ids, else what it is.
fn cell(name: &str) -> String {
    match name {
        "client_order_id" => "'(:id || ''-' || right(client_order_id, 16) || ''')'".to_owned(),
        "parent_order_id" => "coalesce('(:id || ''-' || right(parent_order_id, 16) || ''')', 'NULL')".to_owned(),
        "idempotency_key" => "CASE WHEN idempotency_key IS NULL THEN 'NULL' ELSE '(:id || ''-key'')' END".to_owned(),
        "number" => "':number'".to_owned(),
        // What follows a colon at once is a variable to pgbench, also within quotes.
        _ => format!("quote_nullable(replace({name}::text, '\":', '\": '))"),
    }
}
