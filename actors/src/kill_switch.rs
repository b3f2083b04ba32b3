//! Stub for now: the handle that HTTP engages by.

use crate::commands::{CommandError, Engage, EngageAnswer};

/// The way to the kill switch that waits for nothing.
#[derive(Clone, Debug)]
pub struct KillSwitchHandle;

impl KillSwitchHandle {
    /// Shuts the gate at once, then has the engagement carried out.
    ///
    /// # Errors
    /// When the switch is engaged already, or its actor is gone.
    pub async fn engage(&self, engage: Engage) -> Result<EngageAnswer, CommandError> {
        drop(engage);
        Err(CommandError::StoreUnavailable)
    }
}
