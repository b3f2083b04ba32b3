//! The names of things: symbols, accounts, strategies, orders, callers.

use super::text::{name, words};

fn all(text: &str, longest: usize, allowed: fn(u8) -> bool) -> bool {
    !text.is_empty() && text.len() <= longest && text.bytes().all(allowed)
}

name!(
    /// What is traded. Upper-case; [`symbol`] upper-cases a client's spelling first.
    Symbol,
    |text| all(text, 32, |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"./-".contains(&b)),
    "must be 1 to 32 of A-Z, 0-9, '.', '/' and '-'"
);

name!(
    /// A broker account of ours.
    AccountName,
    |text| all(text, 32, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
    "must be 1 to 32 of a-z, 0-9 and '_'"
);

name!(
    /// Who decided to trade: a strategy of the client's, or the scheme's own name for a parent or a slice.
    StrategyId,
    |text| all(text, 128, |b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b)),
    "must be 1 to 64 of A-Z, a-z, 0-9, '_', '.', ':' and '-'"
);

name!(
    /// The client order id of a parent, a slice or a single order; all of them share one space.
    OrderId,
    |text| all(text, 128, |b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b)),
    "must be 1 to 64 of A-Z, a-z, 0-9, '_', '.', ':' and '-'"
);

name!(
    /// The broker's own id of an order.
    BrokerOrderId,
    |text| all(text, 128, |b| b.is_ascii_graphic()),
    "must be 1 to 128 visible ASCII characters"
);

name!(
    /// Who asked: the name of an API key, `admin` for the key from the file, `local` in open mode.
    Caller,
    |text| all(text, 64, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-'),
    "must be 1 to 64 of a-z, 0-9, '_' and '-'"
);

words!(
    /// What a caller may do; each role may all that the ones before it may.
    Role {
        /// Reads.
        Viewer = "viewer",
        /// Sends, changes and cancels orders, and stops trading.
        Trader = "trader",
        /// Lets trading go on, and settles what only a person can.
        Operator = "operator",
        /// Looks after keys.
        Admin = "admin",
    }
);

name!(
    /// A client's `Idempotency-Key`. It joins the order's id, where `|` separates fields.
    IdempotencyKey,
    |text| all(text, 128, |b| b.is_ascii_graphic() && b != b'|'),
    "must be 1 to 128 visible ASCII characters without '|'"
);

/// A symbol as a client spells it, upper-cased.
///
/// # Errors
/// The rule that the text breaks.
pub fn symbol(text: &str) -> Result<Symbol, super::text::BadText> {
    Symbol::parse(&text.to_ascii_uppercase())
}

/// A strategy as a client names it: at most 64 characters, so that the scheme's own names have room, and none of these.
/// A single order under the scheme's name of a slice would get the very id of that slice.
///
/// # Errors
/// The rule that the text breaks.
pub fn client_strategy(text: &str) -> Result<StrategyId, super::text::BadText> {
    if ["twap_slice_", "twap_parent_"].iter().any(|own| text.starts_with(own)) {
        return Err(super::text::BadText {
            rule: "must not start with 'twap_slice_' or 'twap_parent_': these are the gateway's own",
        });
    }
    if text.len() > 64 {
        return StrategyId::parse("");
    }
    StrategyId::parse(text)
}

/// An order id that a client chose: at most 64 characters, and none of the forms that the gateway makes itself.
///
/// # Errors
/// The rule that the text breaks.
pub fn client_order_id(text: &str) -> Result<OrderId, super::text::BadText> {
    let reserved = super::text::BadText {
        rule: "must not start with 'flatten.' or 'saga.' nor end in '.r' and digits: these are the gateway's own",
    };
    let is_replacement =
        text.rsplit_once(".r").is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if text.starts_with("flatten.") || text.starts_with("saga.") || is_replacement {
        return Err(reserved);
    }
    if text.len() > 64 {
        return OrderId::parse("");
    }
    OrderId::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_is_upper_cased_and_checked() {
        assert_eq!(symbol("brk.b").unwrap().as_str(), "BRK.B");
        assert_eq!(symbol("eur/usd").unwrap().as_str(), "EUR/USD");
        for bad in ["", "A B", "ÄPFEL", &"A".repeat(33), "A|B", "A\n"] {
            assert!(symbol(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_clients_strategy_keeps_clear_of_the_schemes_names() {
        for good in ["default", "twap", "my_twap_slice_1", &"x".repeat(64)] {
            assert!(client_strategy(good).is_ok(), "{good:?}");
        }
        for bad in ["twap_slice_", "twap_slice_p_0", "twap_parent_5m_60s"] {
            let rule = client_strategy(bad).unwrap_err().rule;
            assert!(rule.contains("must not start with"), "{bad:?}: {rule}");
        }
        for bad in ["", "a b", &"x".repeat(65)] {
            assert!(client_strategy(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_clients_order_id_keeps_clear_of_ours() {
        assert!(client_order_id("my-order:1.r").is_ok());
        for bad in ["flatten.1", "saga.x", "abc.r1", "abc.r02", "", &"x".repeat(65), "a|b"] {
            assert!(client_order_id(bad).is_err(), "{bad:?}");
        }
    }
}
