//! What people who watch over trading do: they limit it, lock accounts, stop parts of it, and trip the breaker.

use std::time::Duration;

use chrono::TimeDelta;
use rust_decimal::Decimal;
use tranche_actors::commands::{ChangeLimits, Disengage, Engage, Reset, Trip};
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::limits::{
    Changer, Control as Controlled, LimitChange, LimitKey, LimitScope, LockKey, LockKind, Lockout,
};

use crate::clock::{EPOCH, Seeded};
use crate::requests::Request;
use crate::scenario::{account, caller, id, rule_of, scope_of, small, symbol, symbol_of};

/// One thing that somebody does who watches over trading.
#[derive(Clone, Debug)]
pub struct Control {
    /// When, from the start of the scenario.
    pub at: Duration,
    /// Not then, but so many points of meeting the world later; at none of them it is asked for at once.
    pub points: u32,
    /// What is asked for.
    pub request: Request,
}

impl Control {
    fn at(millis: u64, request: Request) -> Self {
        Self { at: Duration::from_millis(millis), points: 0, request }
    }
}

/// What is done in a scenario of this length, drawn. Most of it leaves most orders alone.
#[must_use]
pub fn drawn(chance: &Seeded, requests: &[(Duration, Request)], span_ms: u64) -> Vec<Control> {
    let mut controls = Vec::new();
    // Few seeds are narrow all over; in the others something is, now and then.
    let narrow = if chance.below(6) == 0 { 2 } else { 3 };
    for _ in 0..5 + chance.below(8) {
        let at = if chance.below(3) == 0 { 1 } else { chance.below(span_ms) };
        limit(chance, at, chance.below(narrow) == 0, &mut controls);
    }
    for _ in 0..chance.below(3) {
        lock(chance, chance.below(span_ms), &mut controls);
    }
    for _ in 0..chance.below(3) {
        halt(chance, chance.below(span_ms), &mut controls);
    }
    for _ in 0..chance.below(2) {
        let at = chance.below(span_ms);
        controls.push(Control::at(at, trip()));
        controls.push(Control::at(at + 500 + chance.below(4_000), reset()));
    }
    again(chance, requests, &mut controls);
    if chance.below(3) == 0 {
        close(chance, span_ms, &mut controls);
    }
    if chance.below(3) == 0 {
        except(chance, chance.below(span_ms), &mut controls);
    }
    controls.sort_by_key(|control| control.at);
    controls
}

fn limit(chance: &Seeded, at: u64, narrow: bool, controls: &mut Vec<Control>) {
    let control = controlled(chance);
    let scope = if chance.below(4) == 0 { LimitScope::Global } else { scope_of(chance) };
    let (key, value) = (LimitKey { scope, control }, value_of(control, narrow, chance));
    let lasts = 3_000 + chance.below(if narrow { 25_000 } else { 90_000 });
    // What is narrow and closes most of it goes after a while.
    let is_short = narrow && chance.below(4) != 0;
    let restricts = control == Controlled::RestrictedSymbol && narrow;
    match chance.below(10) {
        0 | 1 => {
            let until = EPOCH + TimeDelta::milliseconds(i64::try_from(at + lasts).unwrap_or(0));
            let reason = "a simulation".to_owned();
            controls.push(Control::at(at, changed(LimitChange::Override { key, value, until, reason })));
        }
        2 => {
            controls.push(Control::at(at, changed(LimitChange::Set(key.clone(), value))));
            controls.push(Control::at(at + lasts, changed(LimitChange::Remove(key))));
        }
        _ => {
            controls.push(Control::at(at, changed(LimitChange::Set(key.clone(), value))));
            if is_short || restricts {
                let wide = value_of(control, false, chance);
                controls.push(Control::at(at + lasts, changed(LimitChange::Set(key, wide))));
            }
        }
    }
}

/// A narrow limit lets more pass for a while, and then holds as before.
fn except(chance: &Seeded, at: u64, controls: &mut Vec<Control>) {
    let control = match chance.below(3) {
        0 => Controlled::MaxOrderQty,
        1 => Controlled::MaxPosition,
        _ => Controlled::MaxOpenOrders,
    };
    let key = LimitKey { scope: scope_of(chance), control };
    let over = at + 2_000 + chance.below(10_000);
    let (narrow, wide) = (value_of(control, true, chance), value_of(control, false, chance));
    let until = EPOCH + TimeDelta::milliseconds(i64::try_from(over).unwrap_or(0));
    let instead = LimitChange::Override { key: key.clone(), value: wide, until, reason: "a simulation".to_owned() };
    controls.push(Control::at(at, changed(LimitChange::Set(key.clone(), narrow))));
    controls.push(Control::at(at + 100, changed(instead)));
    let later = over + 20_000 + chance.below(20_000);
    controls.push(Control::at(later, changed(LimitChange::Set(key, wide))));
}

fn controlled(chance: &Seeded) -> Controlled {
    match chance.below(12) {
        0 => Controlled::MaxOrderQty,
        1 => Controlled::MaxOrderNotional,
        2..=4 => Controlled::MaxPosition,
        5 | 6 => Controlled::MaxGrossExposure,
        7 | 8 => Controlled::MaxOpenOrders,
        9 => Controlled::MaxMessageRate,
        10 => Controlled::DuplicateOrder,
        _ => Controlled::RestrictedSymbol,
    }
}

/// Limits between what hardly anything meets and what much does.
fn value_of(control: Controlled, narrow: bool, chance: &Seeded) -> Decimal {
    let between = |least: u64, most: u64| least + chance.below(most - least);
    let value = match (control, narrow) {
        (Controlled::MaxOrderQty, true) => between(10, 4_000),
        (Controlled::MaxOrderQty, false) => between(100_000, 200_000),
        (Controlled::MaxOrderNotional, true) => between(1_000, 300_000),
        (Controlled::MaxOrderNotional, false) => between(10_000_000, 20_000_000),
        (Controlled::MaxPosition, true) => between(50, 20_000),
        (Controlled::MaxPosition, false) => between(100_000, 1_000_000),
        (Controlled::MaxGrossExposure, true) => between(100_000, 10_000_000),
        (Controlled::MaxGrossExposure, false) => between(50_000_000, 200_000_000),
        (Controlled::MaxOpenOrders, true) => between(1, 8),
        (Controlled::MaxOpenOrders, false) => between(50, 500),
        (Controlled::MaxMessageRate, true) => between(10, 60),
        (Controlled::MaxMessageRate, false) => between(200, 1_000),
        (Controlled::DuplicateOrder, _) => between(30, 120),
        (_, narrow) => u64::from(narrow),
    };
    Decimal::from(value)
}

fn lock(chance: &Seeded, at: u64, controls: &mut Vec<Control>) {
    let symbol = (chance.below(3) != 0).then(|| symbol(symbol_of(chance)));
    let key = LockKey { account: account(), symbol, rule: rule_of("simulated") };
    let lasts = 5_000 + chance.below(20_000);
    let time = |millis: u64| EPOCH + TimeDelta::milliseconds(i64::try_from(millis).unwrap_or(0));
    let ends = chance.below(2) == 0;
    let lockout = Lockout {
        kind: if ends { LockKind::Cooldown } else { LockKind::External },
        reason: "a simulation".to_owned(),
        operator: "operator".to_owned(),
        by: caller(),
        since: time(at),
        until: ends.then(|| time(at + lasts)),
    };
    controls.push(Control::at(at, changed(LimitChange::Lock(key.clone(), lockout))));
    if !ends {
        controls.push(Control::at(at + lasts, changed(LimitChange::Unlock(key))));
    }
}

/// Mostly in the middle of what just happens, so that sends are in flight.
fn halt(chance: &Seeded, at: u64, controls: &mut Vec<Control>) {
    let scope = scope_of(chance);
    let mode = if chance.below(2) == 0 { KillMode::Halt } else { KillMode::Cancel };
    let points = small(chance, 39);
    controls.push(Control { points, ..Control::at(at, engage(scope.clone(), mode)) });
    if mode == KillMode::Halt && chance.below(2) == 0 {
        let later = at + 500 + chance.below(2_500);
        controls
            .push(Control { points: small(chance, 19), ..Control::at(later, engage(scope.clone(), KillMode::Cancel)) });
    }
    controls.push(Control::at(at + 1_500 + chance.below(5_000), disengage(scope)));
}

/// Somebody has everything closed that is held. In few seeds: hardly anything else happens meanwhile.
fn close(chance: &Seeded, span_ms: u64, controls: &mut Vec<Control>) {
    for _ in 0..1 + chance.below(2) {
        // Once there is something to close.
        let at = 15_000 + chance.below(span_ms);
        let scope = if chance.below(2) == 0 { LimitScope::Global } else { LimitScope::Account(account()) };
        // Some stop trading first, and see that it is not enough.
        if chance.below(3) == 0 {
            let mode = if chance.below(2) == 0 { KillMode::Halt } else { KillMode::Cancel };
            let earlier = at.saturating_sub(500 + chance.below(4_000));
            controls.push(Control { points: small(chance, 19), ..Control::at(earlier, engage(scope.clone(), mode)) });
        }
        let points = small(chance, 39);
        controls.push(Control { points, ..Control::at(at, engage(scope.clone(), KillMode::Flatten)) });
        // Some think better of it in the middle, some wait a while, and some until everything is closed.
        let held = match chance.below(4) {
            0 => chance.below(4_000),
            1 | 2 => 4_000 + chance.below(40_000),
            _ => continue,
        };
        controls.push(Control { points: small(chance, 39), ..Control::at(at + held, disengage(scope)) });
    }
}

/// Some clients ask for the same once more, under another id, as a program does that has lost its mind.
fn again(chance: &Seeded, requests: &[(Duration, Request)], controls: &mut Vec<Control>) {
    for (n, (at, request)) in requests.iter().enumerate() {
        let Request::Single(first) = request else { continue };
        if chance.below(3) == 0 {
            let mut same = first.clone();
            same.request.client_order_id = Some(id(&format!("again-{n}")));
            same.request.request_hash = format!("again-{n}");
            let at = *at + Duration::from_millis(1 + chance.below(20_000));
            controls.push(Control { at, points: 0, request: Request::Single(same) });
        }
    }
}

fn changed(change: LimitChange) -> Request {
    let who = Changer { operator: "operator".to_owned(), by: caller().into() };
    Request::Limits(ChangeLimits { changes: vec![change], who })
}

pub(crate) fn engage(scope: LimitScope, mode: KillMode) -> Request {
    Request::Engage(Engage {
        operator: "operator".to_owned(),
        reason: "a simulation".to_owned(),
        details: None,
        scope,
        mode,
        settle: None,
        by: caller().into(),
        key: None,
    })
}

pub(crate) fn disengage(scope: LimitScope) -> Request {
    Request::Disengage(Disengage { operator: "operator".to_owned(), notes: None, scope, by: caller().into() })
}

pub(crate) fn trip() -> Request {
    let reason = "MANUAL".to_owned();
    Request::Trip(Trip { operator: "operator".to_owned(), reason, details: None, by: caller().into() })
}

pub(crate) fn reset() -> Request {
    let reason = "the cause of the trip is gone".to_owned();
    Request::Reset(Reset { operator: "operator".to_owned(), reason, by: caller().into() })
}
