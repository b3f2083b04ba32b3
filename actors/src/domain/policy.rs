//! What a parent does about quantity that was missed, and about slices still open at its end.

use super::terms::TimeInForce;
use super::text::words;

words!(
    /// What happens to quantity whose time has passed.
    CatchUp {
        /// A slice later than its grace expires; the rest goes on as planned.
        Skip = "skip",
    }
);

words!(
    /// What happens to limit slices still open at the end of the schedule.
    Completion {
        /// They stay at the venue.
        Leave = "leave",
        /// They are cancelled.
        Cancel = "cancel",
    }
);

impl Completion {
    /// The default: `cancel` for day orders, `leave` for all others.
    #[must_use]
    pub const fn of(time_in_force: TimeInForce) -> Self {
        match time_in_force {
            TimeInForce::Day => Self::Cancel,
            TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok | TimeInForce::Opg | TimeInForce::Cls => Self::Leave,
        }
    }
}
