//! The atomics and the lock of the gate: std's, or loom's for the test that tries every interleaving.

#[cfg(feature = "loom")]
pub(crate) use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, Ordering},
};
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

/// A value that is replaced whole: whoever reads it waits for nobody.
#[cfg(not(feature = "loom"))]
#[derive(Debug, Default)]
pub(crate) struct Snapshot<T>(arc_swap::ArcSwap<T>);

#[cfg(not(feature = "loom"))]
impl<T> Snapshot<T> {
    pub(crate) fn read(&self) -> impl std::ops::Deref<Target = Arc<T>> {
        self.0.load()
    }

    pub(crate) fn replace(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

/// The same for loom, which has no atomics for it.
#[cfg(feature = "loom")]
#[derive(Debug, Default)]
pub(crate) struct Snapshot<T>(Mutex<std::sync::Arc<T>>);

#[cfg(feature = "loom")]
impl<T> Snapshot<T> {
    pub(crate) fn read(&self) -> impl std::ops::Deref<Target = T> {
        std::sync::Arc::clone(&lock(&self.0))
    }

    pub(crate) fn replace(&self, value: T) {
        *lock(&self.0) = std::sync::Arc::new(value);
    }
}

/// The lock, also after a panic elsewhere: what it guards is changed in single steps and is never half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}
