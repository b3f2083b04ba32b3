//! Money and quantities: exact decimals, never floats.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::text::BadText;

/// Most decimal places that a price or a quantity may have (Alpaca's quantities have up to nine).
pub const MAX_SCALE: u32 = 9;
/// Largest quantity of one order, in units of the instrument: with [`MAX_PRICE`] no product overflows.
pub const MAX_QTY: Decimal = Decimal::from_parts(3_567_587_328, 232, 0, false, 0);
/// Largest price, in units of the quote currency.
pub const MAX_PRICE: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// The quantity of an order: above zero, at most 10¹², at most nine decimal places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Decimal")]
pub struct Qty(Decimal);

/// A price: above zero, at most 10⁹, at most nine decimal places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Decimal")]
pub struct Price(Decimal);

/// The most capital that is moved at once, in units of the quote currency.
pub const MAX_MONEY: Decimal = Decimal::from_parts(2_764_472_320, 232_830, 0, false, 0);

/// An amount of capital: above zero, at most 10¹⁵, at most nine decimal places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Decimal")]
pub struct Money(Decimal);

/// A share in hundredths: above zero, below 100, at most nine decimal places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Decimal")]
pub struct Percent(Decimal);

impl Qty {
    /// # Errors
    /// The rule that the number breaks.
    pub fn new(value: Decimal) -> Result<Self, BadText> {
        bounded(value, MAX_QTY, "must be at most 1000000000000").map(Self)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> Decimal {
        self.0
    }
}

impl Price {
    /// # Errors
    /// The rule that the number breaks.
    pub fn new(value: Decimal) -> Result<Self, BadText> {
        bounded(value, MAX_PRICE, "must be at most 1000000000").map(Self)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> Decimal {
        self.0
    }
}

impl Money {
    /// # Errors
    /// The rule that the number breaks.
    pub fn new(value: Decimal) -> Result<Self, BadText> {
        bounded(value, MAX_MONEY, "must be at most 1000000000000000").map(Self)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> Decimal {
        self.0
    }
}

impl TryFrom<Decimal> for Money {
    type Error = BadText;
    fn try_from(value: Decimal) -> Result<Self, BadText> {
        Self::new(value)
    }
}

impl Percent {
    /// # Errors
    /// The rule that the number breaks.
    pub fn new(value: Decimal) -> Result<Self, BadText> {
        if value >= Decimal::ONE_HUNDRED {
            return Err(BadText { rule: "must be below 100" });
        }
        bounded(value, Decimal::ONE_HUNDRED, "must be below 100").map(Self)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> Decimal {
        self.0
    }
}

impl TryFrom<Decimal> for Percent {
    type Error = BadText;
    fn try_from(value: Decimal) -> Result<Self, BadText> {
        Self::new(value)
    }
}

impl TryFrom<Decimal> for Qty {
    type Error = BadText;
    fn try_from(value: Decimal) -> Result<Self, BadText> {
        Self::new(value)
    }
}

impl TryFrom<Decimal> for Price {
    type Error = BadText;
    fn try_from(value: Decimal) -> Result<Self, BadText> {
        Self::new(value)
    }
}

fn bounded(value: Decimal, max: Decimal, too_large: &'static str) -> Result<Decimal, BadText> {
    let value = value.normalize();
    if value <= Decimal::ZERO {
        return Err(BadText { rule: "must be above zero" });
    }
    if value > max {
        return Err(BadText { rule: too_large });
    }
    if value.scale() > MAX_SCALE {
        return Err(BadText { rule: "must have at most 9 decimal places" });
    }
    Ok(value)
}

/// Longest text of a decimal that is read at all, in bytes.
const LONGEST: usize = 64;

/// Reads a decimal exactly as written, plain or with an exponent, without passing through a float.
///
/// # Errors
/// When the text is no number, or has more digits than can be kept exactly.
pub fn parse_decimal(text: &str) -> Result<Decimal, BadText> {
    const FORM: BadText = BadText { rule: "must be a decimal number, such as 12.5" };
    const DIGITS: BadText = BadText { rule: "must be a decimal number of at most 28 digits" };
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, Some(exponent)),
        None => (text, None),
    };
    if !is_plain(digits) || !exponent.is_none_or(is_exponent) {
        return Err(FORM);
    }
    if text.len() > LONGEST {
        return Err(DIGITS);
    }
    // What reads exponents would round the digits before it in silence.
    let value = Decimal::from_str_exact(digits).map_err(|_| DIGITS)?;
    let value = match exponent {
        Some(_) => Decimal::from_scientific(text).map_err(|_| DIGITS)?,
        None => value,
    };
    Ok(value.normalize())
}

/// Whether a text is digits, with at most a minus before and a point between or before them.
fn is_plain(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or(("", unsigned));
    let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    !fraction.is_empty() && is_digits(whole) && is_digits(fraction)
}

fn is_exponent(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The one way to write a decimal: no trailing zeros, no exponent.
#[must_use]
pub fn canonical(value: Decimal) -> String {
    value.normalize().to_string()
}

/// An average price, rounded to nine decimal places; `None` of nothing.
#[must_use]
pub fn average(cost: Decimal, qty: Decimal) -> Option<Decimal> {
    if qty.is_zero() { None } else { cost.checked_div(qty).map(|avg| avg.round_dp(MAX_SCALE).normalize()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_what_their_names_say() {
        assert_eq!(MAX_QTY, Decimal::from(1_000_000_000_000_i64));
        assert_eq!(MAX_PRICE, Decimal::from(1_000_000_000));
        assert_eq!(MAX_MONEY, Decimal::from(1_000_000_000_000_000_i64));
    }

    #[test]
    fn a_number_is_read_exactly_or_refused() {
        assert_eq!(canonical(parse_decimal("12345678901234567.890").unwrap()), "12345678901234567.89");
        assert_eq!(canonical(parse_decimal("1e3").unwrap()), "1000");
        assert_eq!(canonical(parse_decimal("0.10").unwrap()), "0.1");
        for bad in [
            "", "abc", "1..2", "0x10", "NaN", "١", "1_000", "--1", "+1", "1.", "1.e3", ".", "-", "-.", "e3", "1e",
            "1e+", "1e3.5", "1.2.3", "1-2",
        ] {
            let rule = parse_decimal(bad).unwrap_err().rule;
            assert_eq!(rule, "must be a decimal number, such as 12.5", "{bad:?}");
        }
        for long in [
            "1e400",
            "0.00000000000000000000000000001",
            "1.00000000000000000000000000001e0",
            "12345678901234567890123456789012345",
            &"1".repeat(65),
        ] {
            let rule = parse_decimal(long).unwrap_err().rule;
            assert_eq!(rule, "must be a decimal number of at most 28 digits", "{long:?}");
        }
    }

    #[test]
    fn quantities_and_prices_keep_their_bounds() {
        assert!(Qty::new(Decimal::ZERO).is_err());
        assert!(Qty::new(Decimal::NEGATIVE_ONE).is_err());
        assert!(Qty::new(parse_decimal("0.0000000001").unwrap()).is_err());
        assert!(Qty::new(MAX_QTY).is_ok());
        assert!(Qty::new(MAX_QTY + Decimal::ONE).is_err());
        assert!(Price::new(MAX_PRICE + Decimal::ONE).is_err());
    }
}
