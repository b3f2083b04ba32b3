//! Reading the venue's calendar, at the start and again and again.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use chrono::TimeDelta;

use super::Account;
use crate::domain::calendar::{MarketCalendar, Sessions};
use crate::domain::trading_day::DayEnd;
use crate::ports::{VenueError, World};

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long the venue may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many days back: an order that was due before them is too late whatever they were.
const BACK: TimeDelta = TimeDelta::days(7);
/// How many days ahead.
const AHEAD: TimeDelta = TimeDelta::days(30);

impl Account {
    /// Reads the calendar where it is the venue's. While it isn't known, what is due waits.
    pub(super) fn keep_calendar(&mut self, ctx: &mut Context<Self>) {
        let Some(refresh) = self.tuning.calendar_refresh else { return };
        let world = self.world.clone();
        let asked = async move { tokio::time::timeout(PATIENCE, read(&world)).await };
        ctx.spawn(asked.into_actor(self).map(move |read, act, ctx| {
            let next = match read {
                Ok(Ok(calendar)) => {
                    act.market_hours.set(calendar, act.world.clock.boottime());
                    refresh
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "the venue's calendar could not be read");
                    RETRY
                }
                Err(_) => {
                    tracing::error!("the venue's calendar was not answered in time");
                    RETRY
                }
            };
            ctx.run_later(next.min(refresh), Self::keep_calendar);
        }));
    }
}

async fn read(world: &World) -> Result<MarketCalendar, VenueError> {
    let Some(clock) = world.venue.clock().await? else {
        return Ok(MarketCalendar::AlwaysOpen);
    };
    let today = clock.at.with_timezone(&DayEnd::new_york().zone).date_naive();
    let days = (today - BACK, today + AHEAD);
    let listed = world.venue.calendar(days.0, days.1).await?;
    Ok(MarketCalendar::Sessions(Sessions::new(listed, &clock, days)))
}
