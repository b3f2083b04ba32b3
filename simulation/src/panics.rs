//! Panics on threads that simulate: those that were asked for are silent, and any other is found.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    /// What panicked unasked on this thread, while it simulates.
    static STRAY: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// What every panic that a fault asked for says, and no error that a fault brings.
const ASKED_FOR: &str = "told to";

/// While this lives its thread simulates.
pub(crate) struct Listening(());

impl Listening {
    /// From now on panics on this thread are kept instead of printed.
    pub(crate) fn begin() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                let text = panic.to_string();
                let is_ours = STRAY.with_borrow_mut(|stray| match stray {
                    Some(stray) => {
                        if !text.contains(ASKED_FOR) {
                            stray.push(text.replace('\n', ": "));
                        }
                        true
                    }
                    None => false,
                });
                if !is_ours {
                    before(panic);
                }
            }));
        });
        STRAY.set(Some(Vec::new()));
        Self(())
    }

    /// What panicked though no fault asked for it.
    pub(crate) fn stray(&self) -> Vec<String> {
        STRAY.with_borrow(|stray| stray.clone().unwrap_or_default())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        STRAY.set(None);
    }
}
