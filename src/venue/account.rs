//! One account: its book, and what only the venue's own face knows of its orders.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use tranche_actors::domain::names::{BrokerOrderId, OrderId, Symbol};
use tranche_actors::domain::position::Position;
use tranche_actors::domain::terms::Side;
use tranche_actors::domain::venue::{Execution, VenueStatus};
use tranche_actors::market::book::{BookOrder, BookState, Change};
use tranche_actors::market::engine::{Engine, Rules};
use tranche_actors::market::quotes::Quotes;
use uuid::Uuid;

use super::journal::{Entry, OrderLine};
use super::shape;
use crate::brokers::paper::rows::OrderRow;

/// What the book doesn't know of an order.
#[derive(Clone, Debug)]
pub(super) struct Card {
    pub(super) id: Uuid,
    /// The client's id as it was sent.
    pub(super) client_order_id: String,
    /// How much money it was to move, where that was asked instead of a quantity.
    pub(super) notional: Option<Decimal>,
}

/// An account.
pub(super) struct Account {
    pub(super) name: String,
    pub(super) id: Uuid,
    pub(super) engine: Engine,
    seed: u64,
    cards: BTreeMap<u64, Card>,
    by_id: BTreeMap<Uuid, BrokerOrderId>,
    holdings: BTreeMap<Symbol, Position>,
    /// The status of each order when it was last told, so that a change can be told by its name.
    told: BTreeMap<u64, VenueStatus>,
}

/// What the journal says of an account.
#[derive(Default)]
pub(super) struct Kept {
    cash: Decimal,
    orders: BTreeMap<u64, (OrderRow, Card)>,
    trades: Vec<Execution>,
}

/// Something that is told on the stream.
#[derive(Clone, Debug)]
pub(super) struct Happening {
    pub(super) event: &'static str,
    pub(super) order: BookOrder,
    pub(super) execution: Option<Execution>,
    /// What is held of the symbol after it.
    pub(super) position: Decimal,
}

impl Kept {
    /// A new account.
    pub(super) fn opened(cash: Decimal) -> Self {
        Self { cash, ..Self::default() }
    }

    /// Takes up a line of the journal.
    pub(super) fn take(&mut self, line: OrderLine) {
        let card = Card { id: line.id, client_order_id: line.client_order_id, notional: line.notional };
        self.orders.insert(line.row.seq, (line.row, card));
        self.trades.extend(line.execution);
    }
}

impl Account {
    /// The account as the journal has it.
    ///
    /// # Errors
    /// What can't be in the journal.
    pub(super) fn restore(name: &str, seed: u64, rules: Rules, quotes: Quotes, kept: Kept) -> Result<Self, String> {
        let mut account = Self {
            name: name.to_owned(),
            id: Uuid::nil(),
            engine: Engine::new(rules.clone(), quotes.clone(), BookState::default()),
            seed,
            cards: BTreeMap::new(),
            by_id: BTreeMap::new(),
            holdings: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        account.id = account.named("account", "");
        let mut state = BookState { cash: kept.cash, ..BookState::default() };
        for (seq, (row, card)) in kept.orders {
            let held = BookOrder::try_from(row)?;
            account.told.insert(seq, held.order.status);
            account.file(seq, &held.order.broker_order_id, card);
            state.orders.push(held);
        }
        for trade in kept.trades {
            let of = state.orders.iter().find(|held| held.order.broker_order_id == trade.broker_order_id);
            let held = of.ok_or_else(|| format!("the trade {} is of no order", trade.execution_id))?;
            let instruction = &held.order.instruction;
            let signed = instruction.side.sign() * trade.qty.get();
            state.cash -= signed * trade.price.get() + trade.fee;
            *state.positions.entry(instruction.symbol.clone()).or_default() += signed;
            account.hold(&instruction.symbol.clone(), instruction.side, &trade);
            state.executions.push(trade);
        }
        account.engine = Engine::new(rules, quotes, state);
        Ok(account)
    }

    /// A UUID that the seed, the account and a name decide.
    pub(super) fn named(&self, kind: &str, name: &str) -> Uuid {
        named(self.seed, &format!("{}|{kind}|{name}", self.name))
    }

    pub(super) fn order_uuid(&self, id: &BrokerOrderId) -> Uuid {
        self.named("order", id.as_str())
    }

    /// An asset is the same in every account.
    pub(super) fn asset_uuid(&self, symbol: &Symbol) -> Uuid {
        named(self.seed, &format!("asset|{symbol}"))
    }

    fn file(&mut self, seq: u64, id: &BrokerOrderId, card: Card) {
        self.by_id.insert(card.id, id.clone());
        self.cards.insert(seq, card);
    }

    /// Notes what a new order is called and how it was asked for. Before anything of it is told.
    pub(super) fn note(&mut self, held: &BookOrder, client_order_id: String, notional: Option<Decimal>) {
        let id = self.order_uuid(&held.order.broker_order_id);
        self.file(held.seq, &held.order.broker_order_id, Card { id, client_order_id, notional });
    }

    pub(super) fn card(&self, held: &BookOrder) -> Card {
        let unnamed = || Card { id: Uuid::nil(), client_order_id: String::new(), notional: None };
        self.cards.get(&held.seq).cloned().unwrap_or_else(unnamed)
    }

    /// The order of an id of ours.
    pub(super) fn order(&self, id: Uuid) -> Option<&BookOrder> {
        self.engine.book().get(self.by_id.get(&id)?)
    }

    /// The order of a client's id.
    pub(super) fn order_of_client(&self, id: &str) -> Option<&BookOrder> {
        self.engine.book().find(&internal_id(id)?)
    }

    pub(super) fn holding(&self, symbol: &Symbol) -> Position {
        self.holdings.get(symbol).cloned().unwrap_or_default()
    }

    /// What is held and not flat.
    pub(super) fn holdings(&self) -> impl Iterator<Item = (&Symbol, &Position)> {
        self.holdings.iter().filter(|(_, held)| !held.qty.is_zero())
    }

    /// How much of a symbol open orders of this side are for.
    pub(super) fn open_qty(&self, symbol: &Symbol, side: Side) -> Decimal {
        let live = self.engine.book().live().filter(|held| {
            let instruction = &held.order.instruction;
            instruction.symbol == *symbol
                && instruction.side == side
                && held.order.status != VenueStatus::PendingReplace
        });
        live.map(BookOrder::remaining).sum()
    }

    /// The price that a symbol is worth.
    pub(super) fn price(&self, symbol: &Symbol, now: DateTime<Utc>) -> Decimal {
        self.engine.quote(symbol, now).last
    }

    /// What is held, at the present prices.
    pub(super) fn value(&self, now: DateTime<Utc>, side: Side) -> Decimal {
        let of_side = self.holdings().filter(|(_, held)| held.qty * side.sign() > Decimal::ZERO);
        of_side.map(|(symbol, held)| held.qty * self.price(symbol, now)).sum()
    }

    fn hold(&mut self, symbol: &Symbol, side: Side, trade: &Execution) {
        let held = self.holdings.remove(symbol).unwrap_or_default();
        let cost = trade.qty.get() * trade.price.get();
        self.holdings.insert(symbol.clone(), held.traded(side, trade.qty.get(), cost));
    }

    /// What changes look like in the journal and on the stream.
    pub(super) fn tell(&mut self, changes: Vec<Change>) -> (Vec<Entry>, Vec<Happening>) {
        let (mut entries, mut happenings) = (Vec::new(), Vec::new());
        for Change { order, execution } in changes {
            let before = self.told.insert(order.seq, order.order.status);
            if let Some(trade) = &execution {
                let instruction = &order.order.instruction;
                self.hold(&instruction.symbol, instruction.side, trade);
            }
            let card = self.card(&order);
            entries.push(Entry::Order(Box::new(OrderLine {
                account: self.name.clone(),
                is_new: before.is_none(),
                id: card.id,
                client_order_id: card.client_order_id,
                status: shape::status_word(&order).to_owned(),
                filled_qty: order.order.filled_qty,
                notional: card.notional,
                row: OrderRow::from(&order),
                execution: execution.clone(),
            })));
            let position = self.holding(&order.order.instruction.symbol).qty;
            for event in events(before, order.order.status, execution.is_some()) {
                let waits = *event == "new" && self.waits(&order);
                if !waits {
                    let (order, execution) = (order.clone(), execution.clone());
                    happenings.push(Happening { event, order, execution, position });
                }
            }
            // A replacement that came too late is told of the order that it was to replace, too.
            let late = order.order.replaces.as_ref().filter(|_| order.order.status == VenueStatus::Rejected);
            if let Some(old) = late.and_then(|id| self.engine.book().get(id)).cloned() {
                happenings.push(Happening { event: "order_replace_rejected", order: old, execution: None, position });
            }
            // With its place a replacement gets its first event.
            let placed = order.order.replaced_by.as_ref().and_then(|id| self.engine.book().get(id)).cloned();
            if let Some(placed) = placed.filter(|placed| self.told.contains_key(&placed.seq)) {
                happenings.push(Happening { event: "new", order: placed, execution: None, position });
            }
        }
        (entries, happenings)
    }

    fn waits(&self, held: &BookOrder) -> bool {
        let before = held.order.replaces.as_ref().and_then(|id| self.engine.book().get(id));
        before.is_some_and(|before| before.replacement.is_some())
    }
}

/// The names of a change.
const fn events(before: Option<VenueStatus>, after: VenueStatus, traded: bool) -> &'static [&'static str] {
    match (before, after) {
        (_, VenueStatus::Filled) => &["fill"],
        (_, _) if traded => &["partial_fill"],
        (None, _) => &["pending_new", "new"],
        (Some(VenueStatus::PendingCancel), VenueStatus::PendingCancel)
        | (Some(VenueStatus::PendingReplace), VenueStatus::PendingReplace) => &[],
        (Some(_), VenueStatus::PendingCancel) => &["pending_cancel"],
        (Some(_), VenueStatus::PendingReplace) => &["pending_replace"],
        (Some(_), VenueStatus::Canceled) => &["canceled"],
        (Some(_), VenueStatus::Expired) => &["expired"],
        (Some(_), VenueStatus::Rejected) => &["rejected"],
        (Some(_), VenueStatus::Replaced) => &["replaced"],
        // A mark that moved, or a stop that traded: nobody is told.
        (Some(_), VenueStatus::Accepted | VenueStatus::PartiallyFilled | VenueStatus::Other) => &[],
    }
}

/// The id under which the book keeps a client's order: the client's own where the book can hold it, else its hash.
pub(super) fn internal_id(client_order_id: &str) -> Option<OrderId> {
    let hashed = || OrderId::parse(&format!("hashed.{}", hex(&Sha256::digest(client_order_id)))).ok();
    OrderId::parse(client_order_id).ok().or_else(hashed)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A UUID that the seed and a name decide, in the form of a random one.
pub(super) fn named(seed: u64, name: &str) -> Uuid {
    let digest = Sha256::digest(format!("{seed}|{name}"));
    let bytes = digest.first_chunk::<16>().copied().unwrap_or_default();
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
