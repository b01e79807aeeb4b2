use chrono::{DateTime, NaiveDate, Utc};
use vostro_kernel::Money;

use super::Locale;

/// A space that neither wraps nor stretches, so that an amount stays in one piece.
const NO_BREAK: char = '\u{a0}';

/// An amount as people of the language write it, at the scale of its currency: `1,250.00 EUR`, `1 250,00 EUR`.
pub fn money(money: Money, locale: Locale) -> String {
    let (group, point) = match locale {
        Locale::En => (',', '.'),
        Locale::Cs => (NO_BREAK, ','),
    };
    let plain = money.to_decimal_string();
    let (sign, digits) = plain.strip_prefix('-').map_or(("", plain.as_str()), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut text = String::with_capacity(plain.len() + 12);
    text.push_str(sign);
    for (index, digit) in whole.char_indices() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            text.push(group);
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push(point);
        text.push_str(fraction);
    }
    text.push(NO_BREAK);
    text.push_str(money.currency.code());
    text
}

/// An instant to the minute, in UTC: where the reader is, nobody here knows.
pub fn instant(instant: DateTime<Utc>, locale: Locale) -> String {
    let pattern = match locale {
        Locale::En => "%Y-%m-%d %H:%M UTC",
        Locale::Cs => "%-d. %-m. %Y %H:%M UTC",
    };
    instant.format(pattern).to_string()
}

/// A day.
pub fn date(date: NaiveDate, locale: Locale) -> String {
    let pattern = match locale {
        Locale::En => "%Y-%m-%d",
        Locale::Cs => "%-d. %-m. %Y",
    };
    date.format(pattern).to_string()
}

/// The part of an account number that may be written anywhere: its last four characters, fewer of a short one, so that
/// most of it stays unsaid.
pub fn account_tail(number: &str) -> String {
    let characters = number.chars().filter(char::is_ascii_alphanumeric).collect::<Vec<_>>();
    let shown = (characters.len() / 3).min(4);
    characters[characters.len() - shown..].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(minor: i64, currency: &str) -> Money {
        Money::new(minor, currency.parse().expect("a currency"))
    }

    #[test]
    fn an_amount_is_grouped_and_pointed_as_the_language_does() {
        assert_eq!(money(amount(125_000, "EUR"), Locale::En), "1,250.00\u{a0}EUR");
        assert_eq!(money(amount(125_000, "EUR"), Locale::Cs), "1\u{a0}250,00\u{a0}EUR");
        assert_eq!(money(amount(-5, "CZK"), Locale::Cs), "-0,05\u{a0}CZK");
        assert_eq!(money(amount(999, "EUR"), Locale::En), "9.99\u{a0}EUR");
        assert_eq!(money(amount(i64::MIN, "EUR"), Locale::En), "-92,233,720,368,547,758.08\u{a0}EUR");
    }

    #[test]
    fn an_amount_has_the_decimals_of_its_currency() {
        assert_eq!(money(amount(1_234_567, "JPY"), Locale::En), "1,234,567\u{a0}JPY");
        assert_eq!(money(amount(1_234_567, "KWD"), Locale::Cs), "1\u{a0}234,567\u{a0}KWD");
    }

    #[test]
    fn an_instant_is_written_to_the_minute_and_a_day_as_the_language_does() {
        let at = DateTime::from_timestamp(1_772_357_405, 0).expect("a time");
        assert_eq!(instant(at, Locale::En), "2026-03-01 09:30 UTC");
        assert_eq!(instant(at, Locale::Cs), "1. 3. 2026 09:30 UTC");
        assert_eq!(date(at.date_naive(), Locale::En), "2026-03-01");
        assert_eq!(date(at.date_naive(), Locale::Cs), "1. 3. 2026");
    }

    #[test]
    fn most_of_an_account_number_stays_unsaid() {
        assert_eq!(account_tail("CZ65 0800 0000 1920 0014 5399"), "5399");
        assert_eq!(account_tail("123456"), "56");
        assert_eq!(account_tail("12"), "");
        assert_eq!(account_tail(""), "");
    }
}
