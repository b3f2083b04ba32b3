//! Bodies of requests and problems as the documentation shows them.
//!
//! Requests are read field by field ([`super::requests`]), so these structs are never filled; a test holds their fields
//! against the fields that are read.

use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::words;

/// The key of a request that may be repeated.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct RepeatableDoc {
    /// 1 to 128 visible ASCII characters without '|', quoted or bare
    #[param(rename = "Idempotency-Key")]
    key: Option<String>,
}

/// A parent: a large order and how it is worked.
#[derive(ToSchema)]
#[schema(as = ParentOrder)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct ParentOrderDoc {
    #[schema(schema_with = words::symbol, example = "AAPL")]
    symbol: String,
    #[schema(schema_with = words::side)]
    side: String,
    /// The whole quantity, a multiple of the instrument's lot.
    #[schema(schema_with = words::decimal, example = "103")]
    qty: String,
    /// Over how many minutes; or give `duration_seconds`.
    #[schema(minimum = 1, maximum = 525_600)]
    duration_minutes: Option<u32>,
    /// Over how many seconds; or give `duration_minutes`.
    #[schema(minimum = 1, maximum = 31_536_000)]
    duration_seconds: Option<u32>,
    /// Seconds between slices.
    #[schema(minimum = 1, maximum = 31_536_000, default = 60)]
    interval_seconds: Option<u32>,
    #[schema(schema_with = words::parent_order_type)]
    order_type: String,
    /// Of limit and stop-limit orders.
    #[schema(schema_with = words::maybe_decimal)]
    limit_price: Option<String>,
    /// Of stop and stop-limit orders.
    #[schema(schema_with = words::maybe_decimal)]
    stop_price: Option<String>,
    #[schema(schema_with = words::maybe_parent_time_in_force)]
    time_in_force: Option<String>,
    /// The date that joins the id; today in UTC if absent.
    #[schema(format = Date)]
    trade_date: Option<String>,
    /// When to start; at once if absent.
    #[schema(format = DateTime)]
    start_time: Option<String>,
    #[schema(schema_with = words::maybe_own_name)]
    strategy_id: Option<String>,
    #[schema(schema_with = words::maybe_account)]
    account: Option<String>,
    /// Your own id for it.
    #[schema(schema_with = words::maybe_own_name)]
    client_order_id: Option<String>,
    /// No slice may be larger.
    #[schema(schema_with = words::maybe_decimal)]
    max_slice_qty: Option<String>,
    randomize: Option<RandomizeDoc>,
    /// What happens to missed quantity; `skip` is the one way that is built.
    #[schema(schema_with = words::maybe_catch_up, example = "skip")]
    catch_up: Option<String>,
    /// What happens to slices open at the end: `leave`, or `cancel`, the default of day orders.
    #[schema(schema_with = words::maybe_completion, example = "cancel")]
    completion: Option<String>,
    /// Designed, not built yet.
    #[schema(schema_with = words::any_json)]
    price_bound: Option<Value>,
    /// With limit and day only.
    extended_hours: Option<bool>,
}

/// Jitter of sizes and times, each within its own interval.
#[derive(ToSchema)]
#[schema(as = Randomize)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct RandomizeDoc {
    /// 0 to 100.
    #[schema(schema_with = words::maybe_decimal)]
    size_pct: Option<String>,
    /// 0 to 100.
    #[schema(schema_with = words::maybe_decimal)]
    time_pct: Option<String>,
    /// What the jitter is drawn from; the parent's id if absent.
    #[schema(max_length = 64)]
    seed: Option<String>,
}

/// A single order.
#[derive(ToSchema)]
#[schema(as = SingleOrder)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct SingleOrderDoc {
    #[schema(schema_with = words::symbol, example = "AAPL")]
    symbol: String,
    #[schema(schema_with = words::side)]
    side: String,
    /// A multiple of the instrument's lot.
    #[schema(schema_with = words::decimal, example = "10")]
    qty: String,
    #[schema(schema_with = words::order_type)]
    order_type: String,
    /// Of limit and stop-limit orders.
    #[schema(schema_with = words::maybe_decimal)]
    limit_price: Option<String>,
    /// Of stop and stop-limit orders.
    #[schema(schema_with = words::maybe_decimal)]
    stop_price: Option<String>,
    /// Of trailing stops: how far the stop follows, as a distance; or give `trail_percent`.
    #[schema(schema_with = words::maybe_decimal)]
    trail_price: Option<String>,
    /// Of trailing stops: how far the stop follows, in hundredths of the price, below 100; or give `trail_price`.
    #[schema(schema_with = words::maybe_decimal)]
    trail_percent: Option<String>,
    #[schema(schema_with = words::maybe_time_in_force)]
    time_in_force: Option<String>,
    /// The date that joins the id; today in UTC if absent.
    #[schema(format = Date)]
    trade_date: Option<String>,
    #[schema(schema_with = words::maybe_own_name)]
    strategy_id: Option<String>,
    #[schema(schema_with = words::maybe_account)]
    account: Option<String>,
    /// Your own id for it.
    #[schema(schema_with = words::maybe_own_name)]
    client_order_id: Option<String>,
    /// With limit and day only.
    extended_hours: Option<bool>,
}

/// The change of a live order. What is left out stays as it is.
#[derive(ToSchema)]
#[schema(as = ReplaceOrder)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct ReplaceOrderDoc {
    /// The whole quantity, what has traded included; not of a slice.
    #[schema(schema_with = words::maybe_decimal)]
    qty: Option<String>,
    /// Of limit and stop-limit orders.
    #[schema(schema_with = words::maybe_decimal)]
    limit_price: Option<String>,
    /// Of stop and stop-limit orders.
    #[schema(schema_with = words::maybe_decimal)]
    stop_price: Option<String>,
    /// Of trailing stops that have one.
    #[schema(schema_with = words::maybe_decimal)]
    trail_price: Option<String>,
    /// Of trailing stops that have one.
    #[schema(schema_with = words::maybe_decimal)]
    trail_percent: Option<String>,
    /// The same as the header `Idempotency-Key`.
    #[schema(schema_with = words::maybe_idempotency_key)]
    idempotency_key: Option<String>,
}

/// What an operator found out about an order.
#[derive(ToSchema)]
#[schema(as = ResolveOrder)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct ResolveOrderDoc {
    /// `canceled`, `rejected` or `filled`.
    #[schema(schema_with = words::operator_end)]
    r#as: String,
    /// Of filled orders: how much traded in all.
    #[schema(schema_with = words::maybe_decimal)]
    filled_qty: Option<String>,
    /// Of filled orders: at which average price.
    #[schema(schema_with = words::maybe_decimal)]
    filled_avg_price: Option<String>,
    /// Why this is known.
    #[schema(max_length = 500)]
    reason: String,
}

/// Stops trading.
#[derive(ToSchema)]
#[schema(as = Engage)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct EngageDoc {
    #[schema(max_length = 64, example = "ops")]
    operator: String,
    #[schema(max_length = 500, example = "prices look wrong")]
    reason: String,
    /// What to stop: `global`, all of it, is the default.
    #[schema(schema_with = words::maybe_scope)]
    scope: Option<Value>,
    /// `halt`: no new orders. `cancel`, the default: everything open is cancelled too. `flatten`: and what is held is closed;
    /// its scope is `global` or an account.
    #[schema(schema_with = words::maybe_mode, example = "cancel")]
    mode: Option<String>,
    /// Anything else that there is to say.
    #[schema(value_type = Option<Object>)]
    details: Option<Value>,
    /// How long to wait for sends in flight, and for the broker's answers to cancels.
    #[schema(minimum = 0, maximum = 30_000)]
    settle_ms: Option<u32>,
}

/// Releases the kill switch.
#[derive(ToSchema)]
#[schema(as = Disengage)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct DisengageDoc {
    #[schema(max_length = 64, example = "ops")]
    operator: String,
    #[schema(max_length = 500)]
    notes: Option<String>,
    /// What to let go: `global` is the default. A part stays stopped while all of it is.
    #[schema(schema_with = words::maybe_scope)]
    scope: Option<Value>,
}

/// Trips the circuit breaker.
#[derive(ToSchema)]
#[schema(as = Trip)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct TripDoc {
    #[schema(max_length = 64, example = "ops")]
    operator: String,
    #[schema(max_length = 500, example = "MANUAL")]
    reason: String,
    #[schema(value_type = Option<Object>)]
    details: Option<Value>,
}

/// Resets the circuit breaker.
#[derive(ToSchema)]
#[schema(as = Reset)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct ResetDoc {
    #[schema(max_length = 64, example = "ops")]
    operator: String,
    /// Words that explain it.
    #[schema(min_length = 20, max_length = 500)]
    reason: String,
}

/// Sets a limit, or takes it away.
#[derive(ToSchema)]
#[schema(as = SetLimit)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct LimitDoc {
    #[schema(max_length = 64, example = "ops")]
    operator: String,
    /// Whose orders it is for: `global`, everybody's, is the default.
    #[schema(schema_with = words::maybe_scope)]
    scope: Option<Value>,
    #[schema(schema_with = words::control)]
    control: String,
    /// In the control's own unit: units of the instrument, the quote currency, percent, orders, or seconds. None takes the
    /// limit away. Positions are kept by account: of a strategy `max_position` and `max_gross_exposure` bound what its orders
    /// may bring the account's positions to.
    #[schema(schema_with = words::maybe_decimal)]
    value: Option<String>,
}

/// Lets another value hold for a while.
#[derive(ToSchema)]
#[schema(as = OverrideLimit)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct OverrideDoc {
    #[schema(max_length = 64, example = "ops")]
    operator: String,
    /// Whose orders it is for: `global`, everybody's, is the default.
    #[schema(schema_with = words::maybe_scope)]
    scope: Option<Value>,
    #[schema(schema_with = words::control)]
    control: String,
    #[schema(schema_with = words::decimal)]
    value: String,
    /// At most 7 days from now.
    #[schema(format = DateTime)]
    until: String,
    #[schema(max_length = 500)]
    reason: String,
}

/// Locks an account, or a symbol of it.
#[derive(ToSchema)]
#[schema(as = Lock)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct LockDoc {
    #[schema(max_length = 64, example = "ops")]
    operator: String,
    #[schema(max_length = 500)]
    reason: String,
    /// `default` if absent.
    #[schema(schema_with = words::maybe_account)]
    account: Option<String>,
    /// The one symbol; all of the account if absent.
    #[schema(schema_with = words::maybe_symbol)]
    symbol: Option<String>,
    /// What locks, in a-z, 0-9 and '_': `operator` if absent. Another lockout by the same rule is the same lockout.
    #[schema(max_length = 32)]
    rule: Option<String>,
    /// `permanent` if absent.
    #[schema(schema_with = words::maybe_lock_kind)]
    kind: Option<String>,
    /// Required of `cooldown` and `daily`, and of no other.
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// Moves an account's capital.
#[derive(ToSchema)]
#[schema(as = MoveCapital)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct CapitalDoc {
    #[schema(schema_with = words::capital_direction)]
    kind: String,
    /// Above zero, in the quote currency.
    #[schema(schema_with = words::decimal)]
    amount: String,
    /// The `version` of the portfolio that this was decided on: if it has moved since, nothing is done.
    expected_version: Option<u64>,
    #[schema(max_length = 64, example = "ops")]
    operator: String,
    #[schema(max_length = 500)]
    reason: String,
}

/// Why a request was not carried out, as RFC 9457 has it. Some codes add fields of their own.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct ProblemDoc {
    /// `urn:tranche:problem:` and the code.
    r#type: String,
    title: String,
    status: u16,
    /// For a person: what is wrong, and what to do.
    detail: String,
    #[schema(schema_with = words::problem_code)]
    code: String,
    /// The faults of the request, where it has some.
    errors: Option<Vec<FieldErrorDoc>>,
    /// What to name when asking about it.
    request_id: String,
    /// Seconds.
    retry_after: Option<u64>,
}

/// One field that breaks one rule.
#[derive(ToSchema)]
#[schema(as = FieldError)]
#[expect(dead_code, reason = "it stands for the documentation")]
pub(super) struct FieldErrorDoc {
    /// As the client spells it; a nested one with dots.
    field: String,
    code: String,
    message: String,
}
