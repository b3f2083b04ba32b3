//! The average daily volume of symbols, read once per symbol and trading day.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, ResponseFuture, WrapFuture};
use chrono::NaiveDate;
use rust_decimal::Decimal;
use tokio::sync::oneshot;

use super::Account;
use crate::commands::{CommandError, ReadVolume};
use crate::domain::liquidity::{DAYS, Liquidity, Volume, average};
use crate::domain::names::Symbol;
use crate::domain::trading_day::DayEnd;

/// How long a submission waits for it. Whatever comes later serves the next one.
const WAIT: Duration = Duration::from_millis(500);
/// How long the venue may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most symbols that are remembered.
const MOST_SYMBOLS: usize = 10_000;

/// What was read today; `None` of a symbol that the venue has no bars of.
#[derive(Default)]
pub(super) struct Volumes {
    day: Option<NaiveDate>,
    known: BTreeMap<Symbol, Option<Decimal>>,
    waiting: BTreeMap<Symbol, Vec<oneshot::Sender<Option<Decimal>>>>,
}

impl Handler<ReadVolume> for Account {
    type Result = ResponseFuture<Result<Volume, CommandError>>;

    fn handle(&mut self, ReadVolume(symbol): ReadVolume, ctx: &mut Self::Context) -> Self::Result {
        let volume = self.volume(&symbol, ctx);
        Box::pin(async move { Ok(volume.await) })
    }
}

impl Account {
    /// What is known of a symbol's volume, after a short wait at most.
    pub(super) fn volume(&mut self, symbol: &Symbol, ctx: &mut Context<Self>) -> impl Future<Output = Volume> + use<> {
        let pct = self.tuning.plan_rules.adv_pct;
        let asked = pct.map(|pct| (pct, self.average_volume(symbol, ctx)));
        async move {
            let Some((pct, average)) = asked else { return Volume::Off };
            match tokio::time::timeout(WAIT, average).await {
                Ok(Ok(Some(adv))) => Liquidity::new(adv, pct)
                    .map_or(Volume::Missing("the average daily volume is beyond all bounds"), Volume::Known),
                Ok(Ok(None)) => Volume::Missing("the venue has no daily volume of this symbol"),
                Ok(Err(_)) | Err(_) => Volume::Missing("the daily volume could not be read in time"),
            }
        }
    }

    fn average_volume(&mut self, symbol: &Symbol, ctx: &mut Context<Self>) -> oneshot::Receiver<Option<Decimal>> {
        let (tell, told) = oneshot::channel();
        let today = DayEnd::new_york().trading_day(self.world.clock.now());
        if self.volumes.day != Some(today) || self.volumes.known.len() >= MOST_SYMBOLS {
            self.volumes.day = Some(today);
            self.volumes.known.clear();
        }
        if let Some(known) = self.volumes.known.get(symbol) {
            // Its receiver is right here.
            tell.send(*known).ok();
            return told;
        }
        let waiting = self.volumes.waiting.entry(symbol.clone()).or_default();
        waiting.push(tell);
        if waiting.len() == 1 {
            self.read_volume(symbol.clone(), today, ctx);
        }
        told
    }

    fn read_volume(&self, symbol: Symbol, day: NaiveDate, ctx: &mut Context<Self>) {
        let (venue, asked) = (self.world.venue.clone(), symbol.clone());
        let read = async move { tokio::time::timeout(PATIENCE, venue.daily_bars(&asked, DAYS)).await };
        ctx.spawn(read.into_actor(self).map(move |read, act, _| {
            let waiting = act.volumes.waiting.remove(&symbol).unwrap_or_default();
            let Ok(Ok(bars)) = read else {
                // Who waits is told by the end of its channel; the next submission asks again.
                tracing::warn!(%symbol, "the daily volume could not be read");
                return;
            };
            let adv = average(&bars);
            if act.volumes.day == Some(day) {
                act.volumes.known.insert(symbol, adv);
            }
            for waits in waiting {
                // Some have waited long enough.
                waits.send(adv).ok();
            }
        }));
    }
}
