//! Keeping the market's calendar: made by rule, or read from the venue at the start and again and again.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::Account;
use crate::domain::calendar::{MarketCalendar, Sessions};
use crate::domain::nyse;
use crate::domain::trading_day::DayEnd;
use crate::ports::{VenueError, World};
use crate::tuning::CalendarSource;

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long the venue may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many days back: an order that was due before them is too late whatever they were.
const BACK: TimeDelta = TimeDelta::days(7);
/// How many days ahead.
const AHEAD: TimeDelta = TimeDelta::days(30);

/// How often the days of a calendar by rule move on.
const BY_RULE: Duration = Duration::from_secs(3_600);

impl Account {
    /// Keeps the calendar: by rule, or as the venue tells it. While it isn't known, what is due waits.
    pub(super) fn keep_calendar(&mut self, ctx: &mut Context<Self>) {
        match self.tuning.calendar {
            CalendarSource::AlwaysOpen => {}
            CalendarSource::Nyse => {
                let days = around(self.world.clock.now());
                let sessions = Sessions::listed(nyse::sessions(days.0, days.1), days);
                self.market_hours.set(MarketCalendar::Sessions(sessions), self.world.clock.boottime());
                ctx.run_later(BY_RULE, Self::keep_calendar);
            }
            CalendarSource::Venue { refresh } => self.ask_for_calendar(refresh, ctx),
        }
    }

    fn ask_for_calendar(&self, refresh: Duration, ctx: &mut Context<Self>) {
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

/// The days of a calendar that is read now.
fn around(now: DateTime<Utc>) -> (NaiveDate, NaiveDate) {
    let today = now.with_timezone(&DayEnd::new_york().zone).date_naive();
    (today - BACK, today + AHEAD)
}

async fn read(world: &World) -> Result<MarketCalendar, VenueError> {
    let Some(clock) = world.venue.clock().await? else {
        return Ok(MarketCalendar::AlwaysOpen);
    };
    let days = around(clock.at);
    let listed = world.venue.calendar(days.0, days.1).await?;
    Ok(MarketCalendar::Sessions(Sessions::new(listed, &clock, days)))
}
