//! The orders that may be live without an answer, as the broker's actor knows them and the kill switch lists them.

use std::collections::BTreeSet;

use crate::domain::names::OrderId;
use crate::sync::{Arc, Mutex, lock};

/// The ids of orders of unknown outcome. An order enters before it leaves the in-flight set, so that whoever reads
/// both sees it in one of them.
#[derive(Clone, Debug, Default)]
pub struct Doubtful(Arc<Mutex<BTreeSet<OrderId>>>);

impl Doubtful {
    /// The orders.
    #[must_use]
    pub fn ids(&self) -> Vec<OrderId> {
        lock(&self.0).iter().cloned().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0).len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn insert(&self, id: &OrderId) {
        lock(&self.0).insert(id.clone());
    }

    pub(crate) fn retain(&self, is_open: impl Fn(&OrderId) -> bool) {
        lock(&self.0).retain(is_open);
    }

    pub(crate) fn remove(&self, id: &OrderId) {
        lock(&self.0).remove(id);
    }
}
