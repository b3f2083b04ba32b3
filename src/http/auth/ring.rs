//! The keys of the store as they were last read: what decides whether there are any, and what lets an engagement in while
//! the store doesn't answer.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use subtle::ConstantTimeEq;
use tranche_actors::domain::keys::{ApiKey, KeyId};

use crate::keys;

/// The keys that were last read; `None` before the first time.
#[derive(Default)]
pub(in crate::http) struct KeyRing(RwLock<Option<BTreeMap<KeyId, ApiKey>>>);

impl KeyRing {
    /// Takes over what the store has.
    pub(in crate::http) fn take(&self, all: Vec<ApiKey>) {
        let all = all.into_iter().map(|key| (key.id.clone(), key)).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(all);
    }

    /// Whether there was a key, taken back or not; `None` before they were read.
    pub(super) fn has_keys(&self) -> Option<bool> {
        self.with(|keys| keys.map(|keys| !keys.is_empty()))
    }

    /// The key of that id as it was last read; the outer `None` before any was.
    pub(super) fn last(&self, id: &KeyId) -> Option<Option<ApiKey>> {
        self.with(|keys| keys.map(|keys| keys.get(id).cloned()))
    }

    fn with<T>(&self, look: impl FnOnce(Option<&BTreeMap<KeyId, ApiKey>>) -> T) -> T {
        look(self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref())
    }
}

/// Whether a key lets in who has sent this text.
pub(super) fn opens(key: &ApiKey, sent: &[u8]) -> bool {
    let is_same: bool = key.hash.as_bytes().ct_eq(keys::hash(sent).as_bytes()).into();
    is_same && key.is_live()
}
