//! Every control where it bites, where it just doesn't, and where it can't know and refuses.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;

use super::*;
use crate::domain::money::Price;
use crate::domain::names::OrderId;
use crate::domain::position::Position;
use crate::domain::terms::{Side, Terms};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn account() -> AccountName {
    AccountName::parse("default").unwrap()
}

fn symbol(name: &str) -> Symbol {
    Symbol::parse(name).unwrap()
}

fn key(control: Control) -> LimitKey {
    LimitKey { scope: LimitScope::Global, control }
}

fn limit(value: i64) -> Limit {
    Limit { value: value.into(), operator: "ann".to_owned(), by: Caller::parse("ops").unwrap(), at: now() }
}

fn wish(name: &str, side: Side, qty: i64) -> Wish {
    let id = OrderId::parse(name).unwrap();
    Wish {
        chain: id.clone(),
        id,
        strategy: StrategyId::parse("alpha").unwrap(),
        symbol: symbol("AAPL"),
        side,
        qty: qty.into(),
        largest: qty.into(),
        terms: Terms::Market,
    }
}

fn buy(qty: i64) -> Wish {
    wish("wish", Side::Buy, qty)
}

fn at(price: i64, wish: Wish) -> Wish {
    Wish { terms: Terms::Limit { limit_price: Price::new(price.into()).unwrap() }, ..wish }
}

/// What is known: two symbols at 100, of which 10,000 trade in a day, and an account that may buy for a million.
#[derive(Clone)]
struct Scene {
    book: LimitBook,
    room: Room,
    pace: Pace,
    quotes: BTreeMap<Symbol, Quoted>,
    volume: Option<Decimal>,
    told: Option<Decimal>,
}

impl Scene {
    fn new() -> Self {
        let quoted = |name| (symbol(name), Quoted { price: Decimal::ONE_HUNDRED, at: now() });
        Self {
            book: LimitBook::default(),
            room: Room::default(),
            pace: Pace::default(),
            quotes: ["AAPL", "MSFT"].map(quoted).into(),
            volume: Some(10_000.into()),
            told: Some(1_000_000.into()),
        }
    }

    fn limited(control: Control, value: i64) -> Self {
        let mut scene = Self::new();
        scene.book.limits.insert(key(control), limit(value));
        scene
    }

    fn holding(mut self, name: &str, side: Side, qty: i64) -> Self {
        self.room.hold(&symbol(name), &Position::default().traded(side, qty.into(), (qty * 100).into()));
        self
    }

    fn with_open(mut self, wish: &Wish) -> Self {
        self.room.reserve(wish, None);
        self.pace.note(wish, Duration::from_secs(60));
        self
    }

    fn quoted_ago(mut self, seconds: i64) -> Self {
        self.quotes.values_mut().for_each(|quoted| quoted.at = now() - TimeDelta::seconds(seconds));
        self
    }

    fn without_price(mut self, name: &str) -> Self {
        self.quotes.remove(&symbol(name));
        self
    }

    fn known<'a>(&'a self, account: &'a AccountName) -> Known<'a> {
        Known {
            account,
            book: &self.book,
            room: &self.room,
            pace: &self.pace,
            quotes: &self.quotes,
            volume: self.volume,
            buying_power: self.told,
            buying_power_of_late: self.told,
            now: now(),
        }
    }

    /// What a check of a due order comes to, in one word or two.
    fn says(&self, wish: &Wish) -> String {
        match self.known(&account()).check(wish, Check::Due) {
            Verdict::Goes { reduces: true } => "reduces".to_owned(),
            Verdict::Goes { reduces: false } => "goes".to_owned(),
            Verdict::Ends { code, .. } => format!("ends {}", code.as_str()),
            Verdict::Waits { code, .. } => format!("waits {}", code.as_str()),
        }
    }
}

/// A control's three cases.
struct Case {
    /// It bites, with its own code.
    bites: (Scene, Wish),
    /// One less, and it doesn't.
    just: (Scene, Wish),
    /// What it needs of the world isn't known, and what it says then; nothing, where it needs but our own books, without
    /// which no order is checked at all.
    unknown: Vec<(Scene, &'static str)>,
}

fn case(control: Control) -> Option<Case> {
    let limited = |value| Scene::limited(control, value);
    let stale = "waits stale_price";
    let case = match control {
        Control::MaxOrderQty => {
            Case { bites: (limited(10), buy(11)), just: (limited(10), buy(10)), unknown: Vec::new() }
        }
        Control::MaxOrderNotional => Case {
            bites: (limited(1_000), buy(11)),
            just: (limited(1_000), buy(10)),
            unknown: vec![(limited(1_000).without_price("AAPL"), stale), (limited(1_000).quoted_ago(11), stale)],
        },
        Control::PriceCollar => Case {
            bites: (limited(10), at(111, buy(1))),
            just: (limited(10), at(110, buy(1))),
            unknown: vec![(limited(10).without_price("AAPL"), stale), (limited(10).quoted_ago(11), stale)],
        },
        Control::MaxPosition => {
            let scene = limited(10).holding("AAPL", Side::Buy, 5).with_open(&wish("open", Side::Buy, 3));
            Case { bites: (scene.clone(), buy(3)), just: (scene, buy(2)), unknown: Vec::new() }
        }
        Control::MaxGrossExposure => {
            let scene = limited(1_500).holding("AAPL", Side::Buy, 5).holding("MSFT", Side::Sell, 5);
            Case {
                bites: (scene.clone(), buy(6)),
                just: (scene.clone(), buy(5)),
                unknown: vec![(scene.clone().without_price("MSFT"), stale), (scene.quoted_ago(11), stale)],
            }
        }
        Control::MaxOpenOrders => {
            let one = limited(2).with_open(&wish("one", Side::Buy, 1));
            let two = one.clone().with_open(&wish("two", Side::Buy, 1));
            Case { bites: (two, buy(1)), just: (one, buy(1)), unknown: Vec::new() }
        }
        Control::MaxMessageRate => {
            let one = limited(2).with_open(&wish("one", Side::Buy, 1));
            let two = one.clone().with_open(&wish("two", Side::Buy, 1));
            Case { bites: (two, buy(1)), just: (one, buy(1)), unknown: Vec::new() }
        }
        Control::RestrictedSymbol => {
            Case { bites: (limited(1), buy(1)), just: (limited(0), buy(1)), unknown: Vec::new() }
        }
        Control::BuyingPower => {
            let told = |told: Option<i64>| Scene { told: told.map(Decimal::from), ..limited(100) };
            let away = told(Some(2_000)).with_open(&wish("away", Side::Buy, 10));
            Case {
                bites: (away.clone(), buy(10)),
                just: (away.clone(), buy(9)),
                unknown: vec![
                    (told(None), "ends insufficient_buying_power"),
                    (away.clone().without_price("AAPL"), stale),
                    (away.quoted_ago(11), stale),
                ],
            }
        }
        Control::MaxAdvShare => Case {
            bites: (limited(1), buy(101)),
            just: (limited(1), buy(100)),
            unknown: vec![(Scene { volume: None, ..limited(1) }, "ends max_adv_share")],
        },
        Control::StalePrice => Case {
            bites: (limited(5).quoted_ago(6), buy(1)),
            just: (limited(5).quoted_ago(5), buy(1)),
            unknown: vec![(limited(5).without_price("AAPL"), stale)],
        },
        // What was submitted of late is the desk's to remember, and no order's own.
        Control::DuplicateOrder => return None,
    };
    Some(case)
}

#[test]
fn every_control_bites_with_its_own_code_and_one_less_passes() {
    for control in Control::ALL {
        let Some(Case { bites, just, .. }) = case(*control) else { continue };
        let verb = if control.passes_by_itself() { "waits" } else { "ends" };
        assert_eq!(bites.0.says(&bites.1), format!("{verb} {control}"));
        assert_eq!(just.0.says(&just.1), "goes", "{control}");
    }
}

#[test]
fn every_control_that_can_not_know_refuses_what_enters_and_lets_exits_pass() {
    for control in Control::ALL {
        for (scene, says) in case(*control).into_iter().flat_map(|case| case.unknown) {
            assert_eq!(scene.says(&at(100, buy(1)).of_market_where(*control)), says, "{control}");
            let exit = scene.clone().holding("AAPL", Side::Buy, 1);
            assert_eq!(exit.says(&wish("exit", Side::Sell, 1)), "reduces", "{control}");
        }
    }
}

impl Wish {
    /// At the market, but where a control needs a price of the order's own.
    fn of_market_where(self, control: Control) -> Self {
        if control == Control::PriceCollar { self } else { Self { terms: Terms::Market, ..self } }
    }
}

#[test]
fn what_reduces_a_position_passes_what_an_entry_shares_with_others_and_not_its_own_bounds() {
    for control in Control::ALL {
        let Some(Case { bites: (scene, bitten), .. }) = case(*control) else { continue };
        let scene = scene.holding("AAPL", Side::Buy, 1_000);
        let exit = Wish { id: OrderId::parse("exit").unwrap(), side: Side::Sell, ..bitten };
        let is_its_own = matches!(control, Control::MaxOrderQty | Control::MaxOrderNotional | Control::PriceCollar);
        let says = if is_its_own { format!("ends {control}") } else { "reduces".to_owned() };
        assert_eq!(scene.says(&exit), says);
    }
}

#[test]
fn what_left_a_minute_ago_counts_no_more() {
    let (mut scene, bitten) = case(Control::MaxMessageRate).unwrap().bites;
    scene.pace.forget(Duration::from_secs(119));
    assert_eq!(scene.says(&bitten), "waits max_message_rate");
    scene.pace.forget(Duration::from_secs(120));
    assert_eq!(scene.says(&bitten), "goes");
}

#[test]
fn as_a_whole_nothing_is_held_to_what_passes_until_it_is_due_but_to_the_price() {
    for control in [Control::MaxOpenOrders, Control::MaxMessageRate] {
        let (scene, bitten) = case(control).unwrap().bites;
        let whole = scene.known(&account()).check(&bitten, Check::Whole);
        assert_eq!(whole, Verdict::Goes { reduces: false }, "{control}");
    }
    let (scene, bitten) = case(Control::StalePrice).unwrap().bites;
    assert!(matches!(scene.known(&account()).check(&bitten, Check::Whole), Verdict::Waits { .. }));
    // A parent is held to its share of the volume as a whole, and its orders by their size one by one.
    let whole = Wish { largest: 10.into(), ..buy(101) };
    assert_eq!(Scene::limited(Control::MaxOrderQty, 10).says(&whole), "goes");
    assert_eq!(Scene::limited(Control::MaxAdvShare, 1).says(&whole), "ends max_adv_share");
}

#[test]
fn a_lockout_bites_until_its_end_and_lets_exits_pass() {
    let key = |symbol| LockKey { account: account(), symbol, rule: LockRule::parse("r_003").unwrap() };
    let lock = |seconds: Option<i64>| Lockout {
        kind: LockKind::Cooldown,
        reason: "a loss".to_owned(),
        operator: "ann".to_owned(),
        by: Caller::parse("ops").unwrap(),
        since: now(),
        until: seconds.map(|seconds| now() + TimeDelta::seconds(seconds)),
    };
    let mut scene = Scene::new();
    for (of, until, says) in [
        (None, Some(1), "ends lockout"),
        (None, Some(0), "goes"),
        (None, None, "ends lockout"),
        (Some("AAPL"), Some(1), "ends lockout"),
        (Some("MSFT"), None, "goes"),
    ] {
        scene.book.lockouts = [(key(of.map(symbol)), lock(until))].into();
        assert_eq!(scene.says(&buy(1)), says, "{of:?} {until:?}");
        let held = scene.clone().holding("AAPL", Side::Buy, 1);
        assert_eq!(held.says(&wish("exit", Side::Sell, 1)), "reduces");
    }
    let other = AccountName::parse("other").unwrap();
    scene.book.lockouts = [(key(None), lock(None))].into();
    assert_eq!(scene.known(&other).check(&buy(1), Check::Due), Verdict::Goes { reduces: false });
}

#[test]
fn of_the_limits_that_fit_an_order_the_tightest_holds() {
    let mut scene = Scene::new();
    let scopes = [
        LimitScope::Global,
        LimitScope::Account(account()),
        LimitScope::Strategy(StrategyId::parse("alpha").unwrap()),
        LimitScope::Symbol(symbol("AAPL")),
    ];
    for tightest in &scopes {
        for scope in &scopes {
            let key = LimitKey { scope: scope.clone(), control: Control::MaxOrderQty };
            scene.book.limits.insert(key, limit(if scope == tightest { 5 } else { 10 }));
        }
        assert_eq!(scene.says(&buy(6)), "ends max_order_qty", "{tightest}");
        assert_eq!(scene.says(&buy(5)), "goes", "{tightest}");
    }
    for foreign in [
        LimitScope::Account(AccountName::parse("other").unwrap()),
        LimitScope::Strategy(StrategyId::parse("beta").unwrap()),
        LimitScope::Symbol(symbol("MSFT")),
    ] {
        let key = LimitKey { scope: foreign, control: Control::MaxOrderQty };
        scene.book.limits = [(key, limit(1))].into();
        assert_eq!(scene.says(&buy(6)), "goes");
    }
}

#[test]
fn without_a_limit_an_entry_is_held_to_what_the_broker_tells_and_to_nothing_that_it_does_not() {
    let told = |told: Option<i64>| Scene { told: told.map(Decimal::from), ..Scene::new() };
    assert_eq!(told(Some(1_000)).says(&buy(11)), "ends insufficient_buying_power");
    assert_eq!(told(Some(1_000)).says(&buy(10)), "goes");
    assert_eq!(told(Some(1_000)).says(&wish("short", Side::Sell, 11)), "ends insufficient_buying_power");
    assert_eq!(told(Some(1_000)).says(&at(90, buy(11))), "goes", "a buy is held to its own price");
    let away = told(Some(2_000)).with_open(&wish("away", Side::Buy, 10));
    assert_eq!(away.says(&buy(11)), "ends insufficient_buying_power", "another one is on its way");
    assert_eq!(away.says(&buy(10)), "goes");
    assert_eq!(told(None).says(&buy(1_000_000)), "goes");
    assert_eq!(told(Some(1)).without_price("AAPL").says(&buy(1_000_000)), "goes");
    assert_eq!(told(Some(1)).quoted_ago(600).says(&buy(1)), "ends insufficient_buying_power", "an old price will do");
    let held = told(Some(1_000)).holding("AAPL", Side::Buy, 100);
    assert_eq!(held.says(&wish("flips", Side::Sell, 110)), "goes", "what closes takes up nothing");
    assert_eq!(held.says(&wish("flips", Side::Sell, 111)), "ends insufficient_buying_power");
    let less = Wish { qty: Decimal::NEGATIVE_ONE, ..buy(0) };
    assert_eq!(told(Some(0)).says(&less), "goes", "a replacement by less than what has traded takes up nothing");
    let broke = told(Some(-5)).holding("AAPL", Side::Buy, 100);
    assert_eq!(broke.says(&wish("exit", Side::Sell, 100)), "reduces");
    assert_eq!(broke.says(&buy(1)), "ends insufficient_buying_power");
}

mod power {
    use super::*;

    const RECENT: Duration = Duration::from_secs(5);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn id(name: &str) -> OrderId {
        OrderId::parse(name).unwrap()
    }

    #[test]
    fn a_figure_counts_for_a_while_and_is_asked_for_no_more_often_than_it_needs_to_be() {
        let mut power = Power::default();
        assert!(power.is_due(seconds(0)));
        assert_eq!(power.left(seconds(0)), None);
        power.tell(Some(100.into()), seconds(10));
        assert!(!power.is_due(seconds(10)) && !power.is_due(seconds(14)));
        assert!(power.is_due(seconds(10) + RECENT));
        assert_eq!(power.left_for_sure(seconds(19)), Some(100.into()));
        assert_eq!(power.left_for_sure(seconds(20)), None);
        assert_eq!(power.left(seconds(69)), Some(100.into()));
        assert_eq!(power.left(seconds(70)), None);
        power.tell(None, seconds(15));
        assert!(!power.is_due(seconds(16)), "who does not answer is not asked at once again");
        assert_eq!(power.left(seconds(16)), Some(100.into()), "the last figure counts on");
        power.tell(Some(50.into()), seconds(9));
        assert_eq!(power.left(seconds(16)), Some(100.into()), "an older answer that comes late says nothing");
    }

    #[test]
    fn what_has_left_since_the_broker_was_asked_is_taken_off_until_it_is_asked_again() {
        let mut power = Power::default();
        power.tell(Some(100.into()), seconds(10));
        power.bind(&id("a"), 30.into());
        power.bind(&id("b"), 20.into());
        assert!(power.counts(&id("a")) && !power.counts(&id("c")));
        assert_eq!(power.left(seconds(11)), Some(50.into()));
        power.release(&id("b"));
        power.release(&id("b"));
        assert_eq!(power.left(seconds(11)), Some(70.into()));
        power.bind(&id("a"), 40.into());
        assert_eq!(power.left(seconds(11)), Some(60.into()), "asked for once more, it counts once");
        power.tell(Some(90.into()), seconds(12));
        assert_eq!(power.left(seconds(12)), Some(50.into()), "it may not have been there yet");
    }
}
