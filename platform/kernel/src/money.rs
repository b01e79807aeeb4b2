use std::fmt;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Currency;

/// An amount as an integer number of minor units (cents, hellers, yen) in one currency.
///
/// On the wire between modules it is `{"minor": 1250, "currency": "EUR"}`; towards clients it becomes a decimal string.
/// All arithmetic is checked; there is no way to get a fraction of a minor unit or to add two currencies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units, negative for an overdrawn balance.
    pub minor: i64,
    /// ISO 4217 code.
    pub currency: Currency,
}

/// Why a text or a calculation is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a plain decimal number: exponent, `NaN`, blanks, a sign alone.
    #[error("not a decimal number: write digits with an optional point, such as 12.50")]
    NotANumber,
    /// More decimals than the currency has; rounding is never done silently.
    #[error("too many decimals: {currency} has {allowed}")]
    TooManyDecimals { currency: Currency, allowed: u32 },
    /// Outside what a signed 64-bit count of minor units can hold.
    #[error("amount out of range")]
    OutOfRange,
    /// The two sides are in different currencies.
    #[error("currencies differ: {left} and {right}")]
    CurrencyMismatch { left: Currency, right: Currency },
}

impl Money {
    /// The longest text [`Money::parse`] looks at: 19 digits, a sign and a point are enough for every amount.
    const LONGEST_TEXT: usize = 40;

    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    pub const fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// Reads a plain decimal (`"12.5"`, `"-0.01"`) in `currency`.
    ///
    /// # Errors
    /// [`MoneyError::NotANumber`] for anything but digits with an optional sign and point,
    /// [`MoneyError::TooManyDecimals`] when the currency cannot express it, [`MoneyError::OutOfRange`] beyond 64 bits.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let plain = text.strip_prefix('-').unwrap_or(text);
        let digits = plain.bytes().filter(u8::is_ascii_digit).count();
        let points = plain.bytes().filter(|byte| *byte == b'.').count();
        let well_formed = digits > 0
            && points <= 1
            && digits + points == plain.len()
            && !plain.starts_with('.')
            && !plain.ends_with('.');
        if !well_formed {
            return Err(MoneyError::NotANumber);
        }
        if text.len() > Self::LONGEST_TEXT {
            return Err(MoneyError::OutOfRange);
        }
        let decimals = plain.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let allowed = currency.decimals();
        if decimals > allowed as usize {
            return Err(MoneyError::TooManyDecimals { currency, allowed });
        }
        let value = Decimal::from_str_exact(text).map_err(|_| MoneyError::OutOfRange)?;
        let scale = Decimal::from(10_i64.pow(allowed));
        let minor = value.checked_mul(scale).ok_or(MoneyError::OutOfRange)?;
        i64::try_from(minor).map(|minor| Self { minor, currency }).map_err(|_| MoneyError::OutOfRange)
    }

    /// The amount at the currency's own scale: `"12.50"` for EUR, `"1250"` for JPY.
    pub fn to_decimal_string(&self) -> String {
        Decimal::from_i128_with_scale(i128::from(self.minor), self.currency.decimals()).to_string()
    }

    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] or [`MoneyError::OutOfRange`].
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_add(other.minor).ok_or(MoneyError::OutOfRange)?;
        Ok(Self { minor, ..self })
    }

    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] or [`MoneyError::OutOfRange`].
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_sub(other.minor).ok_or(MoneyError::OutOfRange)?;
        Ok(Self { minor, ..self })
    }

    pub const fn is_positive(&self) -> bool {
        self.minor > 0
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            return Ok(());
        }
        Err(MoneyError::CurrencyMismatch { left: self.currency, right: other.currency })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_decimal_string(), self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn currency(code: &str) -> Currency {
        code.parse().expect("a known currency")
    }

    #[test]
    fn a_decimal_becomes_minor_units_of_its_currency() {
        assert_eq!(Money::parse("12.5", currency("EUR")).map(|money| money.minor), Ok(1250));
        assert_eq!(Money::parse("-0.01", currency("EUR")).map(|money| money.minor), Ok(-1));
        assert_eq!(Money::parse("1250", currency("JPY")).map(|money| money.minor), Ok(1250));
        assert_eq!(Money::parse("1.234", currency("KWD")).map(|money| money.minor), Ok(1234));
    }

    #[test]
    fn what_is_not_a_plain_decimal_is_refused() {
        for text in ["", "-", ".", "1.", ".5", "NaN", "inf", "1e3", "1,5", " 1", "1 ", "+1", "--1", "0x10", "١"] {
            assert_eq!(Money::parse(text, currency("EUR")), Err(MoneyError::NotANumber), "{text:?}");
        }
    }

    #[test]
    fn more_decimals_than_the_currency_has_are_refused_and_never_rounded() {
        let euro = currency("EUR");
        assert_eq!(Money::parse("1.005", euro), Err(MoneyError::TooManyDecimals { currency: euro, allowed: 2 }));
        let yen = currency("JPY");
        assert_eq!(Money::parse("1.0", yen), Err(MoneyError::TooManyDecimals { currency: yen, allowed: 0 }));
    }

    #[test]
    fn what_64_bits_cannot_hold_is_out_of_range() {
        let euro = currency("EUR");
        assert_eq!(Money::parse("92233720368547758.07", euro).map(|money| money.minor), Ok(i64::MAX));
        assert_eq!(Money::parse("92233720368547758.08", euro), Err(MoneyError::OutOfRange));
        assert_eq!(Money::parse(&"9".repeat(100), euro), Err(MoneyError::OutOfRange));
    }

    #[test]
    fn currencies_never_mix() {
        let (euro, yen) = (Money::new(1, currency("EUR")), Money::new(1, currency("JPY")));
        assert!(matches!(euro.checked_add(yen), Err(MoneyError::CurrencyMismatch { .. })));
        assert!(matches!(euro.checked_sub(yen), Err(MoneyError::CurrencyMismatch { .. })));
    }

    proptest! {
        #[test]
        fn writing_and_reading_an_amount_gives_the_same_amount(minor in any::<i64>(), code in "EUR|JPY|KWD|CZK") {
            let money = Money::new(minor, currency(&code));
            prop_assert_eq!(Money::parse(&money.to_decimal_string(), money.currency), Ok(money));
        }

        #[test]
        fn addition_is_exact_or_refused(left in any::<i64>(), right in any::<i64>()) {
            let euro = currency("EUR");
            let sum = Money::new(left, euro).checked_add(Money::new(right, euro)).map(|money| i128::from(money.minor));
            let exact = i128::from(left) + i128::from(right);
            match i64::try_from(exact) {
                Ok(_) => prop_assert_eq!(sum, Ok(exact)),
                Err(_) => prop_assert_eq!(sum, Err(MoneyError::OutOfRange)),
            }
        }
    }
}
