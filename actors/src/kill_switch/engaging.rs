//! What follows once the gate is shut: durable, sends stopped here and elsewhere, open orders cancelled, all of it answered.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::saving::Saved;
use super::{KillLines, board};
use crate::cancel_all::{CancelEverything, CancelTally, Everywhere};
use crate::commands::{EngageAnswer, InstanceOutcome};
use crate::domain::halts::Halt;
use crate::domain::ids;
use crate::domain::kill::{KillMode, KillState};
use crate::domain::ledger::{HALTS, SwitchEntry};
use crate::domain::limits::{LimitScope, Subject};
use crate::domain::names::{AccountName, OrderId, Symbol};
use crate::ports::World;
use crate::ports::store::{AnyOrder, SeenAccount, Switches};

/// How long making it durable is waited for.
const DURABLE: Duration = Duration::from_secs(1);
/// How long the board waits for the database, so that who sees the engagement there finds its mode here.
const HEAD_START: Duration = Duration::from_millis(250);
/// How much longer than `settle` the other instances have.
const GRACE: Duration = Duration::from_millis(500);
/// An instance that was silent for so long is not counted, unless it owns an account.
const SILENT: Duration = Duration::from_secs(30);

/// What engaging works with once the gate is shut.
pub(super) struct Duties {
    pub(super) world: World,
    pub(super) instance: String,
    pub(super) lines: KillLines,
    /// How long an instance waits for its sends in flight that was not told otherwise.
    pub(super) settle: Duration,
}

/// An engagement that is to be carried out.
pub(super) struct Stop {
    pub(super) state: KillState,
    /// How strict it is to be: what closes positions is held milder until it is durable.
    pub(super) mode: KillMode,
    pub(super) entry: SwitchEntry,
    /// The one that it takes the place of.
    pub(super) over: Option<KillState>,
}

/// Waits for the sends in flight and cuts off what is left: after this nothing is being written here.
async fn stop_sends(accounts: Everywhere, scope: &LimitScope, settle: Duration) -> Vec<OrderId> {
    let deadline = Instant::now() + settle;
    while !accounts.in_flight(scope).is_empty() && Instant::now() < deadline {
        sleep(Duration::from_millis(5)).await;
    }
    let left = accounts.in_flight(scope);
    accounts.cut(scope);
    left
}

/// The same for an engagement that is in force already, here and on every other instance.
pub(super) async fn stop_everywhere(duties: &Duties, scope: &LimitScope, engagement: &str, settle: Duration) {
    let here = stop_sends(duties.lines.accounts.clone(), scope, settle);
    let settle = settle.max(duties.settle);
    futures_util::join!(here, elsewhere(duties, engagement, settle));
}

/// What an instance does for an engagement that it did not make itself.
pub(super) async fn comply(duties: Duties, state: KillState, settle: Duration) {
    let scope = LimitScope::Global;
    let mut also = stop_sends(duties.lines.accounts.clone(), &scope, settle).await;
    if let Some(engagement) = &state.engagement_id {
        confirm(&duties, engagement, &also, settle).await;
    }
    if state.mode.is_some_and(KillMode::cancels) {
        also.extend(duties.lines.accounts.doubtful());
        cancel(&duties, scope, &also, settle).await;
    }
}

/// The same for a part.
pub(super) async fn comply_part(duties: Duties, halt: Halt, settle: Duration) {
    let cut = stop_sends(duties.lines.accounts.clone(), &halt.scope, settle).await;
    confirm(&duties, &halt.engagement_id, &cut, settle).await;
    if halt.mode.cancels() {
        let mut also = duties.lines.accounts.doubtful();
        also.extend(cut);
        let also = of_part(&duties, &halt.scope, also.into_iter().collect()).await;
        cancel(&duties, halt.scope, &also.into_iter().collect::<Vec<_>>(), settle).await;
    }
}

/// Tells whoever engaged it that the sends have stopped here. It waits no longer than this for the word.
async fn confirm(duties: &Duties, engagement: &str, cut: &[OrderId], settle: Duration) {
    let store = &duties.world.store;
    if !store.is_shared() {
        return;
    }
    let deadline = Instant::now() + settle + GRACE;
    while let Err(error) = store.confirm(engagement, &duties.instance, cut).await {
        if Instant::now() > deadline {
            tracing::error!(%error, "an engagement could not be confirmed");
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Those orders that are of a part, and those of which that can't be read.
async fn of_part(duties: &Duties, scope: &LimitScope, ids: BTreeSet<OrderId>) -> BTreeSet<OrderId> {
    if *scope == LimitScope::Global {
        return ids;
    }
    let store = &duties.world.store;
    let mut left = BTreeSet::new();
    for id in ids {
        let Ok(Ok(Some(AnyOrder::Order(order)))) = timeout(DURABLE, store.order(&id)).await else {
            left.insert(id);
            continue;
        };
        let strategy = match &order.slice {
            None => Some(order.strategy_id.clone()),
            Some(slice) => match timeout(DURABLE, store.order(&slice.parent)).await {
                Ok(Ok(Some(AnyOrder::Parent(parent)))) => Some(parent.strategy_id),
                Ok(Ok(Some(AnyOrder::Order(_)) | None) | Err(_)) | Err(_) => None,
            },
        };
        let is_of =
            |strategy| Subject { account: &order.account, strategy, symbol: &order.instruction.symbol }.is_of(scope);
        if strategy.as_ref().is_none_or(is_of) {
            left.insert(id);
        }
    }
    left
}

/// What a repetition is answered where the first answer is not known: how things stand now. What is in force holds as it was
/// promised.
pub(super) async fn as_it_is(
    duties: Duties,
    scope: LimitScope,
    state: KillState,
    engagement_id: String,
    settle: Duration,
) -> EngageAnswer {
    let accounts = duties.lines.accounts.clone();
    let mut unknown = Unknown { ids: BTreeSet::new(), all: true };
    if state.is_engaged() {
        unknown.ids.extend(accounts.in_flight(&scope));
        stop_everywhere(&duties, &scope, state.engagement_id.as_deref().unwrap_or_default(), settle).await;
    }
    unknown.ids.extend(accounts.doubtful());
    unknown.read(&duties.world, Vec::new()).await;
    EngageAnswer {
        unknown: of_part(&duties, &scope, unknown.ids).await.into_iter().collect(),
        scope,
        state,
        engagement_id,
        cancel_requested: 0,
        cancel_confirmed: 0,
        cancel_failed: 0,
        flatten_orders: Vec::new(),
        instances: vec![InstanceOutcome { id: duties.instance, outcome: "confirmed" }],
        not_durable: Vec::new(),
        covers: covers(unknown.all),
    }
}

/// Steps 2 to 6 of engaging a part, its orders being held back.
pub(super) async fn carry_out_part(
    duties: Duties,
    (halt, mode): (Halt, KillMode),
    settle: Duration,
    durable: oneshot::Receiver<Halt>,
) -> EngageAnswer {
    let cancels = mode.cancels();
    let shared = async {
        let durable = timeout(DURABLE, durable).await.ok().and_then(Result::ok);
        (durable, elsewhere(&duties, &halt.engagement_id, settle.max(duties.settle)).await)
    };
    let here = async {
        let cut = stop_sends(duties.lines.accounts.clone(), &halt.scope, settle).await;
        let mut unknown = Unknown { ids: duties.lines.accounts.doubtful().into_iter().collect(), all: true };
        unknown.ids.extend(cut.iter().cloned());
        unknown.read(&duties.world, Vec::new()).await;
        unknown.ids = of_part(&duties, &halt.scope, unknown.ids).await;
        let ids = unknown.ids.iter().cloned().collect::<Vec<_>>();
        let tally =
            if cancels { cancel(&duties, halt.scope.clone(), &ids, settle).await } else { CancelTally::default() };
        (unknown, tally)
    };
    let flattened = first_orders(&duties, mode, &halt.scope, settle);
    let ((durable, others), (mut unknown, mut tally), flattened) = futures_util::join!(shared, here, flattened);
    let is_durable = durable.is_some();
    if cancels {
        let in_force = async || is_part_in_force(&duties, &halt, is_durable).await;
        tally = tally.and(cancel_for_lapsed(&duties, &halt.scope, &others, settle, in_force).await);
    }
    let halt = durable.unwrap_or(halt);
    // What is not durable yet may become as strict as it is to be.
    let flatten_orders =
        if !is_durable || halt.mode.flattens() { flattened.of(&halt.engagement_id) } else { Vec::new() };
    let is_shared = duties.world.store.is_shared();
    if is_shared {
        let mut later = Unknown { ids: BTreeSet::new(), all: others.all };
        later.read(&duties.world, others.cut).await;
        unknown.ids.extend(of_part(&duties, &halt.scope, later.ids).await);
        unknown.all &= later.all;
    }
    let mut instances = vec![InstanceOutcome { id: duties.instance, outcome: "confirmed" }];
    instances.extend(others.instances);
    EngageAnswer {
        scope: halt.scope.clone(),
        state: halt.as_state(),
        engagement_id: halt.engagement_id,
        unknown: unknown.ids.into_iter().collect(),
        cancel_requested: tally.requested,
        cancel_confirmed: tally.confirmed,
        cancel_failed: tally.failed,
        flatten_orders,
        instances,
        not_durable: if is_durable { Vec::new() } else { vec!["database"] },
        covers: covers(unknown.all && (is_durable || !is_shared)),
    }
}

/// An answer speaks of this instance alone where it can't know of the others, or can't have told them.
const fn covers(all: bool) -> &'static str {
    if all { "all" } else { "this_instance" }
}

/// Steps 2 to 6 of engaging, the gate being shut: durable, sends stopped, open orders cancelled, answered. The error is the
/// engagement of whoever was first.
pub(super) async fn carry_out(
    duties: Duties,
    stop: Stop,
    settle: Duration,
    durable: oneshot::Receiver<Saved>,
) -> Result<EngageAnswer, KillState> {
    let shared = async {
        let durable = make_durable(&duties, &stop, durable).await;
        let engagement = durable.state.engagement_id.clone().unwrap_or_default();
        (durable, elsewhere(&duties, &engagement, settle.max(duties.settle)).await)
    };
    let here = async {
        let cut = stop_sends(duties.lines.accounts.clone(), &LimitScope::Global, settle).await;
        let mut unknown = Unknown { ids: duties.lines.accounts.doubtful().into_iter().collect(), all: true };
        unknown.ids.extend(cut.iter().cloned());
        unknown.read(&duties.world, Vec::new()).await;
        let ids = unknown.ids.iter().cloned().collect::<Vec<_>>();
        let tally = if stop.mode.cancels() {
            cancel(&duties, LimitScope::Global, &ids, settle).await
        } else {
            CancelTally::default()
        };
        (unknown, tally, cut)
    };
    let flattened = first_orders(&duties, stop.mode, &LimitScope::Global, settle);
    let ((durable, others), (mut unknown, mut tally, cut), flattened) = futures_util::join!(shared, here, flattened);
    if stop.mode.cancels() {
        let in_force = async || is_in_force(&duties, &durable).await;
        tally = tally.and(cancel_for_lapsed(&duties, &LimitScope::Global, &others, settle, in_force).await);
    }
    let is_shared = duties.world.store.is_shared();
    if is_shared {
        unknown.all &= others.all;
        // Who engages it once more elsewhere waits for the word of this instance too.
        let engagement = durable.state.engagement_id.as_deref().unwrap_or_default();
        let confirmed = timeout(GRACE, duties.world.store.confirm(engagement, &duties.instance, &cut));
        let ((), confirmed) = futures_util::join!(unknown.read(&duties.world, others.cut), confirmed);
        if !matches!(confirmed, Ok(Ok(()))) {
            tracing::warn!("the engagement made here is not confirmed in the database");
        }
    }
    if let Some(other) = durable.other {
        return Err(other);
    }
    let mut instances = vec![InstanceOutcome { id: duties.instance, outcome: "confirmed" }];
    instances.extend(others.instances);
    // What is not durable yet may become as strict as it is to be.
    let closes = durable.missing.contains(&"database") || durable.state.mode.is_some_and(KillMode::flattens);
    let engagement = durable.state.engagement_id.as_deref().unwrap_or_default();
    let flatten_orders = if closes { flattened.of(engagement) } else { Vec::new() };
    // The others read either.
    let is_on_board = duties.world.switchboard.is_some() && !durable.missing.contains(&"redis");
    let is_told = is_on_board || !durable.missing.contains(&"database");
    Ok(EngageAnswer {
        scope: LimitScope::Global,
        engagement_id: durable.state.engagement_id.clone().unwrap_or_default(),
        state: durable.state,
        unknown: unknown.ids.into_iter().collect(),
        cancel_requested: tally.requested,
        cancel_confirmed: tally.confirmed,
        cancel_failed: tally.failed,
        flatten_orders,
        instances,
        not_durable: durable.missing,
        covers: covers(unknown.all && (is_told || !is_shared)),
    })
}

/// What is held when trading is stopped, so that the first orders that close it can be named before they are sent.
struct Held(Vec<(AccountName, Symbol)>);

impl Held {
    fn of(&self, engagement: &str) -> Vec<OrderId> {
        self.0.iter().map(|(account, symbol)| ids::flatten(engagement, account, symbol, 1)).collect()
    }
}

/// What is held in the accounts that are to be flattened: by the broker's word, and where that doesn't come in time by our
/// books.
async fn first_orders(duties: &Duties, mode: KillMode, scope: &LimitScope, settle: Duration) -> Held {
    if !mode.flattens() {
        return Held(Vec::new());
    }
    Held(duties.lines.accounts.held(scope, settle.min(DURABLE)).await)
}

/// The orders that may be live without an answer.
struct Unknown {
    ids: BTreeSet<OrderId>,
    /// Whether those of the other instances are among them.
    all: bool,
}

impl Unknown {
    /// Reads what the database knows, after others have confirmed: what they cut off was claimed there, and is known there
    /// once its outcome is. They keep their first word for as long as an engagement is in force, however much stricter it
    /// becomes, so that alone says nothing of now.
    async fn read(&mut self, world: &World, cut: Vec<OrderId>) {
        match timeout(DURABLE, world.store.unknown_orders()).await {
            Ok(Ok(ids)) => self.ids.extend(ids),
            Ok(Err(_)) | Err(_) => {
                self.all = false;
                self.ids.extend(cut);
            }
        }
    }
}

struct Durable {
    /// The engagement as it was written: who was a little earlier has named it.
    state: KillState,
    missing: Vec<&'static str>,
    /// Whoever engaged it first.
    other: Option<KillState>,
}

/// The database and the board, waited for together no longer than [`DURABLE`]; both are tried on for as long as it is held.
async fn make_durable(duties: &Duties, stop: &Stop, mut durable: oneshot::Receiver<Saved>) -> Durable {
    let Some(shared) = duties.world.switchboard.clone() else {
        return durability(stop, timeout(DURABLE, durable).await.ok(), None);
    };
    let deadline = Instant::now() + DURABLE;
    let on_board = async |state: &KillState| {
        loop {
            match board::engage(&*shared, state, &stop.entry, stop.over.as_ref()).await {
                board::OnBoard::Unreachable if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
                known @ (board::OnBoard::Stands | board::OnBoard::Another(_) | board::OnBoard::Unreachable) => {
                    return known;
                }
            }
        }
    };
    match timeout(HEAD_START, &mut durable).await {
        // The board is told of the engagement that counts, by whoever made it.
        Ok(saved @ Ok(Saved::Yields(_))) => durability(stop, Some(saved), None),
        Ok(saved) => {
            let told = on_board(saved.as_ref().map_or(&stop.state, |saved| saved.state_or(&stop.state))).await;
            durability(stop, Some(saved), Some(told))
        }
        Err(_) => {
            let (saved, told) = futures_util::join!(timeout(DURABLE - HEAD_START, durable), on_board(&stop.state));
            durability(stop, saved.ok(), Some(told))
        }
    }
}

fn durability(
    stop: &Stop,
    saved: Option<Result<Saved, oneshot::error::RecvError>>,
    told: Option<board::OnBoard>,
) -> Durable {
    let mut durable = Durable { state: stop.state.clone(), missing: Vec::new(), other: None };
    // Of two who were slow with the database, whoever was first on the board has engaged it: the database follows.
    let is_first = matches!(told, Some(board::OnBoard::Stands));
    match saved {
        Some(Ok(Saved::Durable(state))) => durable.state = state,
        Some(Ok(Saved::Yields(other))) if other.is_engaged() && !is_first => durable.other = Some(other),
        Some(Ok(Saved::Yields(_) | Saved::Dropped) | Err(_)) | None => durable.missing.push("database"),
    }
    match told {
        None | Some(board::OnBoard::Stands) => {}
        Some(board::OnBoard::Another(other)) => durable.other = durable.other.or(Some(other)),
        Some(board::OnBoard::Unreachable) => durable.missing.push("redis"),
    }
    durable
}

/// How the other instances stopped.
#[derive(Default)]
struct Others {
    instances: Vec<InstanceOutcome>,
    cut: Vec<OrderId>,
    /// The accounts of those that have lapsed, and of nobody.
    left: Vec<AccountName>,
    /// Whether they could be asked for.
    all: bool,
}

/// Waits until every other instance that lives has confirmed the engagement, and no longer than their leases on the gate
/// go on. They settle for as long as they are configured to, which is taken to be as here.
async fn elsewhere(duties: &Duties, engagement: &str, settle: Duration) -> Others {
    let store = &duties.world.store;
    let mut others = Others { all: true, ..Others::default() };
    if !store.is_shared() {
        return others;
    }
    let deadline = Instant::now() + settle + GRACE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100));
        let look = async { (store.stack().await, store.confirmations(engagement).await) };
        if let Ok((Ok(stack), Ok(confirmed))) = timeout(left, look).await {
            let alive = stack.instances.into_iter().filter(|one| one.age < SILENT).map(|one| one.card.id);
            let owners = stack.accounts.iter().filter_map(|account| account.owner.clone());
            let mut expected = alive.chain(owners).collect::<BTreeSet<_>>();
            expected.remove(&duties.instance);
            let says = |id: &String| confirmed.iter().any(|one| one.instance == *id);
            let outcome = |id: &String| if says(id) { "confirmed" } else { "lapsed" };
            others.instances =
                expected.iter().map(|id| InstanceOutcome { id: id.clone(), outcome: outcome(id) }).collect();
            others.all = true;
            let is_left = |account: &SeenAccount| {
                account.owner.as_ref().is_none_or(|owner| *owner != duties.instance && !says(owner))
            };
            let left = stack.accounts.into_iter().filter(is_left);
            others.left = left.map(|account| account.account).collect();
            others.cut = confirmed.iter().flat_map(|one| one.cut.iter().cloned()).collect();
            if expected.iter().all(says) {
                return others;
            }
        } else {
            others.all = false;
        }
        if Instant::now() >= deadline {
            return others;
        }
        sleep(Duration::from_millis(25)).await;
    }
}

/// Whether nobody has released the engagement while the others were waited for: what is open at their brokers then may
/// have been sent since. Where that can't be told, it is.
async fn is_in_force(duties: &Duties, durable: &Durable) -> bool {
    if !duties.world.store.is_shared() || durable.missing.contains(&"database") {
        return true;
    }
    match timeout(DURABLE, duties.world.store.switches()).await {
        Ok(Ok(Switches { kill: Some(read), .. })) => {
            read.is_engaged() && read.engagement_id == durable.state.engagement_id
        }
        Ok(Ok(Switches { kill: None, .. }) | Err(_)) | Err(_) => true,
    }
}

/// The same for the halt of a part.
async fn is_part_in_force(duties: &Duties, halt: &Halt, is_durable: bool) -> bool {
    if !duties.world.store.is_shared() || !is_durable {
        return true;
    }
    match timeout(DURABLE, duties.world.store.switches()).await {
        Ok(Ok(read)) if read.can_be_read(HALTS) => {
            read.halts.in_force.iter().any(|held| held.engagement_id == halt.engagement_id)
        }
        Ok(Ok(_) | Err(_)) | Err(_) => true,
    }
}

/// What the owners that have lapsed leave open, cancelled at the broker from its own list, for as long as the engagement is in
/// force; so is what anybody else owns where nobody can be asked who has stopped. Of an account that is not configured here
/// our books say what stays open.
async fn cancel_for_lapsed(
    duties: &Duties,
    scope: &LimitScope,
    others: &Others,
    settle: Duration,
    in_force: impl AsyncFn() -> bool,
) -> CancelTally {
    let accounts = &duties.lines.accounts;
    let is_left = |account: &AccountName| !others.all || others.left.contains(account);
    let cancelled = accounts.cancel_for_others(scope, is_left, settle, in_force);
    let mut tally = match timeout(settle + DURABLE + GRACE, cancelled).await {
        Ok(tally) => tally,
        Err(_) => CancelTally { failed: 1, ..CancelTally::default() },
    };
    for account in others.left.iter().filter(|account| !accounts.has(account)) {
        let open = match timeout(DURABLE, duties.world.store.open_orders(account)).await {
            Ok(Ok(open)) => u32::try_from(open.len()).unwrap_or(u32::MAX),
            Ok(Err(_)) | Err(_) => 1,
        };
        tally = tally.and(CancelTally { failed: open, ..CancelTally::default() });
    }
    tally
}

async fn cancel(duties: &Duties, scope: LimitScope, unknown: &[OrderId], settle: Duration) -> CancelTally {
    let at = duties.world.clock.now();
    let everything = CancelEverything { scope, within: settle, also: unknown.to_vec(), at };
    match timeout(settle + GRACE, duties.lines.accounts.cancel(everything)).await {
        Ok(Ok(tally)) => tally,
        // Nobody said what was open: that is a failure to cancel it, and the marks are retried.
        Ok(Err(_)) | Err(_) => CancelTally { failed: 1, ..CancelTally::default() },
    }
}
