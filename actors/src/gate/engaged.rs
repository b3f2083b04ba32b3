//! What the kill switch says beside the gate's word: which parts are stopped, and which engagements want positions closed.

use crate::broker::Pass;
use crate::domain::flatten::Flattening;
use crate::domain::limits::{LimitScope, Subject};
use crate::domain::names::AccountName;
use crate::sync::{Arc, Snapshot};

/// Which parts are stopped; those that write it have to take turns. Whoever stops a part does it *before* reading the in-flight
/// set, and a sender looks here *after* entering it: the set's lock orders the two.
#[derive(Clone, Debug, Default)]
pub struct StoppedParts(Arc<Snapshot<Vec<LimitScope>>>);

impl StoppedParts {
    /// These are stopped, and no others.
    pub(crate) fn are(&self, scopes: impl IntoIterator<Item = LimitScope>) {
        self.0.replace(scopes.into_iter().collect());
    }

    /// This one is stopped too.
    pub(crate) fn add(&self, scope: &LimitScope) {
        let mut scopes = self.0.read().to_vec();
        scopes.push(scope.clone());
        self.are(scopes);
    }

    pub(super) fn cover(&self, subject: Subject<'_>) -> bool {
        self.0.read().iter().any(|scope| subject.is_of(scope))
    }
}

/// Which engagements in force want positions closed; the kill switch writes it, those that want most first.
#[derive(Clone, Debug, Default)]
pub struct Flattenings(Arc<Snapshot<Vec<Flattening>>>);

impl Flattenings {
    /// These want it, and no others.
    pub(crate) fn are(&self, wanted: Vec<Flattening>) {
        self.0.replace(wanted);
    }

    /// What wants an account's positions closed.
    pub(super) fn of(&self, account: &AccountName) -> Option<Flattening> {
        self.0.read().iter().find(|one| one.is_of(account)).cloned()
    }

    pub(super) fn want(&self, account: &AccountName, pass: &Pass) -> bool {
        self.0.read().iter().any(|one| one.is_of(account) && pass.is_for(&one.engagement))
    }
}
