use chrono::TimeDelta;
use serde::Deserialize;
use vostro_kernel::Currency;

use crate::domain::IbanScheme;

/// More would be parts that take long to write, and to read.
const MOST_PART_ENTRIES: u16 = 10_000;

/// What a bank decides about its accounts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Currencies accounts can be opened in, ISO 4217. Internal accounts exist in each of them.
    pub currencies: Vec<Currency>,
    /// Currency of the account a new customer gets.
    pub default_currency: Currency,
    /// Country of the bank's account numbers, ISO 3166 alpha-2.
    pub iban_country: String,
    /// The bank's code in its account numbers, capital letters and digits.
    pub iban_bank_code: String,
    /// How many entries are in a part of a statement: what is written in one transaction, and travels in one event.
    pub statement_part_entries: u16,
    /// A statement that is not ready after so many minutes has failed.
    pub statement_patience_minutes: u16,
    /// For how long a statement can be read. The event archive has it longer.
    pub statements_kept_days: u16,
}

impl Default for Config {
    fn default() -> Self {
        let currency = |code: &str| code.parse().expect("an ISO 4217 code");
        Self {
            currencies: ["EUR", "CZK", "USD", "GBP"].map(currency).to_vec(),
            default_currency: currency("EUR"),
            iban_country: "LT".to_owned(),
            iban_bank_code: "99999".to_owned(),
            statement_part_entries: 2_000,
            statement_patience_minutes: 60,
            statements_kept_days: 90,
        }
    }
}

impl Config {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// A sentence naming the key and what is wrong with it.
    pub fn validate(&self) -> Result<(), String> {
        if !(1..=MOST_PART_ENTRIES).contains(&self.statement_part_entries) {
            return Err(format!("statement_part_entries: between 1 and {MOST_PART_ENTRIES}"));
        }
        if self.statement_patience_minutes == 0 || self.statements_kept_days == 0 {
            return Err("statement_patience_minutes and statements_kept_days: at least 1".to_owned());
        }
        self.scheme().map(|_| ())
    }

    pub(crate) fn statement_patience(&self) -> TimeDelta {
        TimeDelta::minutes(i64::from(self.statement_patience_minutes))
    }

    pub(crate) fn statements_kept(&self) -> TimeDelta {
        TimeDelta::days(i64::from(self.statements_kept_days))
    }

    /// The scheme of account numbers, if the configuration as a whole is sound.
    pub(crate) fn scheme(&self) -> Result<IbanScheme, String> {
        let mut seen = self.currencies.clone();
        seen.sort_unstable();
        seen.dedup();
        if seen.len() != self.currencies.len() {
            return Err("currencies names a currency twice".to_owned());
        }
        if !self.currencies.contains(&self.default_currency) {
            return Err(format!("default_currency {} is not one of currencies", self.default_currency));
        }
        IbanScheme::new(&self.iban_country, &self.iban_bank_code).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn the_default_currency_is_one_of_the_currencies() {
        let config = Config { default_currency: "JPY".parse().expect("a currency"), ..Config::default() };
        assert_eq!(config.validate(), Err("default_currency JPY is not one of currencies".to_owned()));
    }

    #[test]
    fn a_currency_is_named_once() {
        let mut config = Config::default();
        config.currencies.push(config.default_currency);
        assert_eq!(config.validate(), Err("currencies names a currency twice".to_owned()));
    }

    #[test]
    fn a_country_without_ibans_is_refused() {
        let config = Config { iban_country: "ZZ".into(), ..Config::default() };
        assert!(config.validate().is_err_and(|reason| reason.contains("iban_country")));
    }

    #[test]
    fn statements_have_parts_of_a_bounded_size_and_time_to_be_written_and_read() {
        let refused = |config: Config| config.validate().is_err();
        assert!(refused(Config { statement_part_entries: 0, ..Config::default() }));
        assert!(refused(Config { statement_part_entries: 10_001, ..Config::default() }));
        assert!(refused(Config { statement_patience_minutes: 0, ..Config::default() }));
        assert!(refused(Config { statements_kept_days: 0, ..Config::default() }));
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"default_currency": "CZK"}"#).is_ok());
        assert!(serde_json::from_str::<Config>(r#"{"defualt_currency": "CZK"}"#).is_err());
    }
}
