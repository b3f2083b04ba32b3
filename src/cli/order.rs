//! `tranche order …`: what a trader does with a running server.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::CliError;
use super::client::{Client, ClientArgs};
use super::output::Out;
use super::tables::{self, print, read};
use super::views::{Order, Parent, Plan};
use super::{progress, report, watch};

#[derive(Debug, Args)]
pub(super) struct OrderArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: OrderCommand,
}

#[derive(Debug, Subcommand)]
enum OrderCommand {
    /// Work a large order into the market as slices over time (TWAP).
    Slice(SliceArgs),
    /// Send a single order.
    Submit(SubmitArgs),
    /// Show an order, or a parent with its slices.
    Show {
        /// Its client order id.
        id: String,
    },
    /// List orders, newest first.
    List(ListArgs),
    /// Cancel an order, or what is left of a parent.
    Cancel {
        /// Its client order id.
        id: String,
    },
    /// Let a parent go on that is paused; `show` says why it is.
    Resume {
        /// Its client order id.
        parent: String,
    },
    /// Put an order of another quantity or price in the place of a live one.
    Replace(ReplaceArgs),
    /// Follow a parent until it has ended.
    Watch {
        /// Its client order id.
        parent: String,
    },
    /// Show what happened to an order, oldest first.
    Events {
        /// Its client order id.
        id: String,
    },
    /// Settle by hand an order that can't be resolved otherwise.
    Resolve(ResolveArgs),
}

/// What both kinds of order have. The server judges the values, so that there is one judge.
#[derive(Debug, Args)]
struct TermsArgs {
    /// `buy` or `sell`.
    side: String,
    /// How much.
    qty: String,
    /// What.
    symbol: String,
    /// `market`, `limit`, `stop` or `stop_limit`; a single order also `trailing_stop`.
    #[arg(long = "type", default_value = "market", value_name = "TYPE")]
    order_type: String,
    /// The worst price that is acceptable.
    #[arg(long)]
    limit_price: Option<String>,
    /// The price that triggers.
    #[arg(long)]
    stop_price: Option<String>,
    /// `day`, `gtc`, `ioc` or `fok`; a single order also `opg` or `cls`.
    #[arg(long = "tif", value_name = "TIF")]
    time_in_force: Option<String>,
    /// Who decided to trade.
    #[arg(long)]
    strategy_id: Option<String>,
    /// The broker account.
    #[arg(long)]
    account: Option<String>,
    /// An id of your own.
    #[arg(long)]
    client_order_id: Option<String>,
    /// The date that joins the id, YYYY-MM-DD.
    #[arg(long)]
    trade_date: Option<String>,
    /// Makes this order another one than an equal one of the same day.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
struct SliceArgs {
    #[command(flatten)]
    terms: TermsArgs,
    /// How long to work it, in seconds.
    #[arg(long, conflicts_with = "duration_minutes", required_unless_present = "duration_minutes")]
    duration_seconds: Option<u64>,
    /// How long to work it, in minutes.
    #[arg(long)]
    duration_minutes: Option<u64>,
    /// Time between two slices, in seconds.
    #[arg(long)]
    interval_seconds: Option<u64>,
    /// The largest slice.
    #[arg(long)]
    max_slice_qty: Option<String>,
    /// When to begin, as 2026-11-21T14:30:00Z.
    #[arg(long)]
    start_time: Option<String>,
    /// `leave` or `cancel` slices that are open at the end.
    #[arg(long)]
    completion: Option<String>,
    /// Show the plan, and store nothing.
    #[arg(long)]
    preview: bool,
    /// Follow it until it has ended.
    #[arg(long, conflicts_with_all = ["preview", "json"])]
    watch: bool,
}

#[derive(Debug, Args)]
struct SubmitArgs {
    #[command(flatten)]
    terms: TermsArgs,
    /// How far a trailing stop follows, as a distance.
    #[arg(long)]
    trail_price: Option<String>,
    /// How far a trailing stop follows, in hundredths of the price.
    #[arg(long)]
    trail_percent: Option<String>,
}

#[derive(Debug, Args)]
struct ReplaceArgs {
    /// Its client order id.
    id: String,
    /// The new quantity: the whole, what has traded included.
    #[arg(long)]
    qty: Option<String>,
    /// The new worst price that is acceptable.
    #[arg(long)]
    limit_price: Option<String>,
    /// The new price that triggers.
    #[arg(long)]
    stop_price: Option<String>,
    /// How far a trailing stop follows from now on, as a distance.
    #[arg(long)]
    trail_price: Option<String>,
    /// How far a trailing stop follows from now on, in hundredths of the price.
    #[arg(long)]
    trail_percent: Option<String>,
    /// Makes it safe to repeat this command.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Parents instead of single orders and slices.
    #[arg(long)]
    parents: bool,
    /// Only those in this status.
    #[arg(long)]
    status: Option<String>,
    /// Only those of this symbol.
    #[arg(long)]
    symbol: Option<String>,
    /// Only those of this strategy.
    #[arg(long)]
    strategy_id: Option<String>,
    /// Only slices of this parent.
    #[arg(long)]
    parent: Option<String>,
    /// Only those made at or after this time.
    #[arg(long)]
    since: Option<String>,
    /// At most so many.
    #[arg(long)]
    limit: Option<u32>,
    /// Where the page before ended.
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Args)]
struct ResolveArgs {
    /// Its client order id.
    id: String,
    /// `canceled`, `rejected` or `filled`.
    #[arg(long = "as", value_name = "END")]
    end: String,
    /// Why.
    #[arg(long)]
    reason: String,
    /// How much traded, with `--as filled`.
    #[arg(long)]
    filled_qty: Option<String>,
    /// At which average price, with `--as filled`.
    #[arg(long)]
    filled_avg_price: Option<String>,
}

/// Runs a command of `tranche order`.
pub(super) async fn run(args: OrderArgs, out: &mut Out) -> Result<(), CliError> {
    let client = args.client.client()?;
    let json = args.client.json;
    match args.command {
        OrderCommand::Slice(args) => slice(&client, &args, json, out).await,
        OrderCommand::Submit(args) => {
            let mut body = args.terms.body();
            texts(&mut body, [("trail_price", &args.trail_price), ("trail_percent", &args.trail_percent)]);
            let body = Value::Object(body);
            let key = args.terms.idempotency_key.as_deref();
            let answer = client.post("/orders", &body, key).await?;
            print(&answer, json, out, tables::fields)
        }
        OrderCommand::Show { id } => show(&client, checked(&id)?, json, out).await,
        OrderCommand::List(args) => list(&client, &args, json, out).await,
        OrderCommand::Cancel { id } => cancel(&client, checked(&id)?, json, out).await,
        OrderCommand::Resume { parent } => {
            let path = format!("/orders/{}/resume", checked(&parent)?);
            let answer = client.post(&path, &json!({}), None).await?;
            print(&answer, json, out, tables::fields)
        }
        OrderCommand::Replace(args) => replace(&client, &args, json, out).await,
        OrderCommand::Watch { parent } if json => {
            let ended = watch_json(&client, checked(&parent)?).await?;
            Ok(out.json(&ended)?)
        }
        OrderCommand::Watch { parent } => watch::watch(&client, checked(&parent)?, out).await,
        OrderCommand::Events { id } => {
            let path = format!("/orders/{}/events", checked(&id)?);
            let answer = client.get::<Value>(&path).await?.body;
            print(&answer, json, out, tables::events)
        }
        OrderCommand::Resolve(args) => resolve(&client, &args, json, out).await,
    }
}

/// An id goes into a path: only what an id may be made of can.
fn checked(id: &str) -> Result<&str, CliError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
    if id.is_empty() || id.len() > 128 || !id.bytes().all(plain) || id.bytes().all(|b| b == b'.') {
        return Err(CliError::Usage(format!("{id:?} is not the id of an order")));
    }
    Ok(id)
}

impl TermsArgs {
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        for (name, value) in [("side", &self.side), ("qty", &self.qty), ("symbol", &self.symbol)] {
            body.insert(name.to_owned(), json!(value));
        }
        body.insert("order_type".to_owned(), json!(self.order_type));
        let optional = [
            ("limit_price", &self.limit_price),
            ("stop_price", &self.stop_price),
            ("time_in_force", &self.time_in_force),
            ("strategy_id", &self.strategy_id),
            ("account", &self.account),
            ("client_order_id", &self.client_order_id),
            ("trade_date", &self.trade_date),
        ];
        texts(&mut body, optional);
        body
    }
}

impl SliceArgs {
    fn body(&self) -> Value {
        let mut body = self.terms.body();
        let number = |value: Option<u64>| value.map(|number| json!(number));
        let text = |value: &Option<String>| value.as_ref().map(|text| json!(text));
        put(
            &mut body,
            [
                ("duration_seconds", number(self.duration_seconds)),
                ("duration_minutes", number(self.duration_minutes)),
                ("interval_seconds", number(self.interval_seconds)),
                ("max_slice_qty", text(&self.max_slice_qty)),
                ("start_time", text(&self.start_time)),
                ("completion", text(&self.completion)),
            ],
        );
        Value::Object(body)
    }
}

fn texts<const N: usize>(body: &mut Map<String, Value>, fields: [(&str, &Option<String>); N]) {
    put(body, fields.map(|(name, value)| (name, value.as_ref().map(|text| json!(text)))));
}

fn put<const N: usize>(body: &mut Map<String, Value>, fields: [(&str, Option<Value>); N]) {
    for (name, value) in fields {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    }
}

async fn slice(client: &Client, args: &SliceArgs, json: bool, out: &mut Out) -> Result<(), CliError> {
    let path = if args.preview { "/orders/slice/preview" } else { "/orders/slice" };
    let key = args.terms.idempotency_key.as_deref();
    let answer = client.post::<Value>(path, &args.body(), key).await?;
    print(&answer, json, out, tables::plan)?;
    if args.watch {
        let plan = read::<Plan>(&answer)?;
        return watch::watch(client, &plan.parent_order_id, out).await;
    }
    Ok(())
}

async fn show(client: &Client, id: &str, json: bool, out: &mut Out) -> Result<(), CliError> {
    let answer = client.get::<Value>(&format!("/orders/{id}")).await?.body;
    if answer.get("kind").and_then(Value::as_str) != Some("parent") || json {
        return print(&answer, json, out, tables::fields);
    }
    let slices = client.get::<Vec<Order>>(&format!("/orders/{id}/slices")).await?.body;
    let parent = read::<Parent>(&answer)?;
    out.line(&format!("{}: {}", parent.status, progress::summary(&parent)))?;
    if let Some(why) = &parent.error_message {
        out.line(why)?;
    }
    for line in report::lines(&parent) {
        out.line(&line)?;
    }
    out.line("")?;
    Ok(out.line(&tables::orders(&slices))?)
}

async fn list(client: &Client, args: &ListArgs, json: bool, out: &mut Out) -> Result<(), CliError> {
    let limit = args.limit.map(|limit| limit.to_string());
    let kind = args.parents.then(|| "parent".to_owned());
    let query = [
        ("kind", &kind),
        ("status", &args.status),
        ("symbol", &args.symbol),
        ("strategy_id", &args.strategy_id),
        ("parent", &args.parent),
        ("since", &args.since),
        ("limit", &limit),
        ("cursor", &args.cursor),
    ];
    let mut url = reqwest::Url::parse("http://unused/orders").map_err(|error| CliError::Failed(error.to_string()))?;
    for (name, value) in query {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    let path = match url.query() {
        Some(query) => format!("/orders?{query}"),
        None => "/orders".to_owned(),
    };
    let answer = client.get::<Value>(&path).await?.body;
    let parents = args.parents;
    print(&answer, json, out, |answer| tables::list(answer, parents))
}

/// A parent is asked for first: a single order's cancel would not stop its slices.
async fn cancel(client: &Client, id: &str, json: bool, out: &mut Out) -> Result<(), CliError> {
    let answer = match client.delete::<Value>(&format!("/orders/{id}/slices")).await {
        Err(error) if error.is_not_found() => {
            let path = format!("/orders/{id}/cancel");
            client.post(&path, &json!({}), None).await?
        }
        answer => answer?,
    };
    print(&answer, json, out, tables::fields)
}

async fn replace(client: &Client, args: &ReplaceArgs, json: bool, out: &mut Out) -> Result<(), CliError> {
    let mut body = Map::new();
    let changes = [
        ("qty", &args.qty),
        ("limit_price", &args.limit_price),
        ("stop_price", &args.stop_price),
        ("trail_price", &args.trail_price),
        ("trail_percent", &args.trail_percent),
    ];
    texts(&mut body, changes);
    let path = format!("/orders/{}", checked(&args.id)?);
    let answer = client.patch(&path, &Value::Object(body), args.idempotency_key.as_deref()).await?;
    print(&answer, json, out, tables::fields)
}

async fn watch_json(client: &Client, parent: &str) -> Result<Value, CliError> {
    let mut nowhere = Out::nowhere();
    watch::follow(client, parent, &mut nowhere).await?;
    Ok(client.get(&format!("/orders/{parent}")).await?.body)
}

async fn resolve(client: &Client, args: &ResolveArgs, json: bool, out: &mut Out) -> Result<(), CliError> {
    let mut body = Map::new();
    body.insert("as".to_owned(), json!(args.end));
    body.insert("reason".to_owned(), json!(args.reason));
    let optional = [("filled_qty", &args.filled_qty), ("filled_avg_price", &args.filled_avg_price)];
    texts(&mut body, optional);
    let path = format!("/orders/{}/resolve", checked(&args.id)?);
    let answer = client.post(&path, &Value::Object(body), None).await?;
    print(&answer, json, out, tables::fields)
}
