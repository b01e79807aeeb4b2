//! The value types every sub-schema shares. Two modules that both speak of money use the same `Money`, so that the
//! composed schema has one.

use std::fmt;

use async_graphql::{InputObject, InputValueResult, Scalar, ScalarType, SimpleObject, Value};
use chrono::{NaiveDate, SecondsFormat, Utc};
use vostro_kernel::{Currency, MoneyError};

use crate::faults::{bad_user_input, invalid_value};

/// A decimal number as a string in plain notation, such as `"12.50"`: an optional minus sign, digits, and at most one
/// point between digits. JSON numbers are refused, because a number may have passed through binary floating point on
/// its way here and would be off by a cent without anybody noticing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal(String);

impl Decimal {
    /// The longest text accepted. Every amount the bank can hold fits many times over.
    pub const LONGEST: usize = 64;

    /// Takes a number in plain notation.
    ///
    /// # Errors
    /// [`NotADecimal`] for an exponent, a sign alone, `NaN`, blanks, a leading or trailing point, too long a text.
    pub fn new(text: impl Into<String>) -> Result<Self, NotADecimal> {
        let text = text.into();
        let plain = text.strip_prefix('-').unwrap_or(&text);
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let well_formed = match plain.split_once('.') {
            Some((whole, fraction)) => is_digits(whole) && is_digits(fraction),
            None => is_digits(plain),
        };
        if well_formed && text.len() <= Self::LONGEST { Ok(Self(text)) } else { Err(NotADecimal) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not a number in plain decimal notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a decimal number as a string of digits with an optional point, such as \"12.50\"")]
pub struct NotADecimal;

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<i64> for Decimal {
    fn from(whole: i64) -> Self {
        Self(whole.to_string())
    }
}

/// A decimal number as a string in plain notation without exponent, such as `"12.50"`. Never a JSON number.
#[Scalar]
impl ScalarType for Decimal {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Self::new(text).map_err(invalid_value),
            _ => Err(invalid_value(NotADecimal)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// A currency by its ISO 4217 code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CurrencyCode(pub Currency);

impl From<Currency> for CurrencyCode {
    fn from(currency: Currency) -> Self {
        Self(currency)
    }
}

impl From<CurrencyCode> for Currency {
    fn from(code: CurrencyCode) -> Self {
        code.0
    }
}

/// The ISO 4217 code of a currency: three upper-case letters, such as `EUR`.
#[Scalar(specified_by_url = "https://www.iso.org/iso-4217-currency-codes.html")]
impl ScalarType for CurrencyCode {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = value else { return Err(invalid_value(vostro_kernel::UnknownCurrency)) };
        text.parse().map(Self).map_err(invalid_value)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.code().to_owned())
    }
}

/// An instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime(pub chrono::DateTime<Utc>);

impl From<chrono::DateTime<Utc>> for DateTime {
    fn from(instant: chrono::DateTime<Utc>) -> Self {
        Self(instant)
    }
}

impl From<DateTime> for chrono::DateTime<Utc> {
    fn from(instant: DateTime) -> Self {
        instant.0
    }
}

/// An instant as RFC 3339 text. Written in UTC with milliseconds and `Z`; read with any offset.
#[Scalar(specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        const EXPECTED: &str = "write an instant as RFC 3339 text, such as \"2026-03-01T09:30:00Z\"";
        let Value::String(text) = value else { return Err(invalid_value(EXPECTED)) };
        let instant = chrono::DateTime::parse_from_rfc3339(&text).map_err(|_| invalid_value(EXPECTED))?;
        Ok(Self(instant.with_timezone(&Utc)))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// A day of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub NaiveDate);

impl From<NaiveDate> for Date {
    fn from(day: NaiveDate) -> Self {
        Self(day)
    }
}

/// A day as ISO 8601 text, such as `2026-03-01`. The bank's days are those of UTC.
#[Scalar(specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339#section-5.6")]
impl ScalarType for Date {
    fn parse(value: Value) -> InputValueResult<Self> {
        const EXPECTED: &str = "write a day as year, month and day, such as \"2026-03-01\"";
        let Value::String(text) = value else { return Err(invalid_value(EXPECTED)) };
        let day: NaiveDate = text.parse().map_err(|_| invalid_value(EXPECTED))?;
        // chrono reads other spellings too, and years of more digits than the database has days for.
        if text.len() == 10 && day.to_string() == text { Ok(Self(day)) } else { Err(invalid_value(EXPECTED)) }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// The key a client chooses so that a command it repeats is carried out once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub const LONGEST: usize = 128;

    /// Takes 1 to 128 visible ASCII characters (no blanks).
    ///
    /// # Errors
    /// [`NotAnIdempotencyKey`] for anything else.
    pub fn new(text: impl Into<String>) -> Result<Self, NotAnIdempotencyKey> {
        let text = text.into();
        let well_formed = (1..=Self::LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if well_formed { Ok(Self(text)) } else { Err(NotAnIdempotencyKey) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<IdempotencyKey> for String {
    fn from(key: IdempotencyKey) -> Self {
        key.0
    }
}

/// The text cannot serve as an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to 128 visible ASCII characters, such as a UUID")]
pub struct NotAnIdempotencyKey;

/// A key the client chooses, 1 to 128 visible ASCII characters. Repeating a command with the same key and the same
/// input gives the first result again; the same key with another input is refused.
#[Scalar]
impl ScalarType for IdempotencyKey {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = value else { return Err(invalid_value(NotAnIdempotencyKey)) };
        Self::new(text).map_err(invalid_value)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// An amount in one currency, at the scale of the currency's minor unit.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(shareable)]
pub struct Money {
    /// The amount; negative only for balances.
    pub amount: Decimal,
    /// The currency of the amount.
    pub currency: CurrencyCode,
}

impl From<vostro_kernel::Money> for Money {
    fn from(money: vostro_kernel::Money) -> Self {
        Self { amount: Decimal(money.to_decimal_string()), currency: money.currency.into() }
    }
}

/// An amount in one currency, with at most as many decimals as the currency has.
#[derive(Debug, Clone, PartialEq, Eq, InputObject)]
pub struct MoneyInput {
    /// The amount. More decimals than the currency has are refused, never rounded.
    pub amount: Decimal,
    /// The currency of the amount.
    pub currency: CurrencyCode,
}

impl MoneyInput {
    /// The amount as the bank counts it. A module that answers bad amounts with user errors uses this one.
    ///
    /// # Errors
    /// [`MoneyError`] for too many decimals or an amount beyond range. The sign is the module's business.
    pub fn to_money(&self) -> Result<vostro_kernel::Money, MoneyError> {
        vostro_kernel::Money::parse(self.amount.as_str(), self.currency.0)
    }

    /// The same with `BAD_USER_INPUT`, for where no user error is at hand.
    ///
    /// # Errors
    /// A top-level error that names what is wrong with the amount.
    pub fn to_money_or_fault(&self) -> async_graphql::Result<vostro_kernel::Money> {
        self.to_money().map_err(|error| bad_user_input(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<T: ScalarType>(text: &str) -> bool {
        T::parse(Value::String(text.to_owned())).is_ok()
    }

    #[test]
    fn a_decimal_is_plain_notation_only() {
        for text in ["0", "12.50", "-0.01", "007", "92233720368547758.07"] {
            assert!(parse::<Decimal>(text), "{text}");
        }
        for text in ["", "-", ".5", "1.", "1e3", "NaN", "+1", " 1", "1,5", "1.2.3", "١"] {
            assert!(!parse::<Decimal>(text), "{text}");
        }
        assert!(!parse::<Decimal>(&"9".repeat(65)));
    }

    #[test]
    fn a_number_that_is_not_a_string_is_no_decimal() {
        assert!(Decimal::parse(Value::from(12)).is_err());
        assert!(Decimal::parse(serde_json::from_str("12.5").expect("a JSON number")).is_err());
    }

    #[test]
    fn an_idempotency_key_is_visible_ascii() {
        assert!(parse::<IdempotencyKey>("a"));
        assert!(parse::<IdempotencyKey>(&"k".repeat(128)));
        for text in [String::new(), "k".repeat(129), "a b".into(), "a\n".into(), "schlüssel".into()] {
            assert!(!parse::<IdempotencyKey>(&text), "{text:?}");
        }
    }

    #[test]
    fn an_instant_is_written_in_utc_with_milliseconds() {
        let instant = DateTime::parse(Value::String("2026-03-01T10:30:00.123456+01:00".into())).expect("RFC 3339");
        assert_eq!(instant.to_value(), Value::String("2026-03-01T09:30:00.123Z".into()));
        assert!(!parse::<DateTime>("2026-03-01"));
    }

    #[test]
    fn a_day_is_written_in_one_way() {
        let day = Date::parse(Value::String("2026-03-01".into())).expect("a day");
        assert_eq!(day.to_value(), Value::String("2026-03-01".into()));
        for text in ["", "2026-3-1", "2026-02-29", "+12026-01-01", "2026-03-01T00:00:00Z", "01.03.2026"] {
            assert!(!parse::<Date>(text), "{text}");
        }
    }

    #[test]
    fn money_is_written_at_the_scale_of_its_currency() {
        let euro: Currency = "EUR".parse().expect("a currency");
        let money = Money::from(vostro_kernel::Money::new(-5, euro));
        assert_eq!(money.amount.as_str(), "-0.05");
        let input = MoneyInput { amount: Decimal::new("1.005").expect("a decimal"), currency: euro.into() };
        assert!(matches!(input.to_money(), Err(MoneyError::TooManyDecimals { .. })));
    }

    #[test]
    fn an_unknown_currency_says_what_is_expected() {
        assert!(parse::<CurrencyCode>("CZK"));
        assert!(!parse::<CurrencyCode>("czk"));
        let error = CurrencyCode::parse(Value::String("ZZZ".into())).expect_err("not a currency");
        let error = error.into_server_error(async_graphql::Pos::default());
        assert!(error.message.contains("ISO 4217"), "{}", error.message);
        assert_eq!(error.extensions.as_ref().and_then(|values| values.get("code")), Some(&"BAD_USER_INPUT".into()));
    }
}
