use serde::Deserialize;
use vostro_kernel::Currency;

use crate::domain::IbanScheme;

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
}

impl Default for Config {
    fn default() -> Self {
        let currency = |code: &str| code.parse().expect("an ISO 4217 code");
        Self {
            currencies: ["EUR", "CZK", "USD", "GBP"].map(currency).to_vec(),
            default_currency: currency("EUR"),
            iban_country: "LT".to_owned(),
            iban_bank_code: "99999".to_owned(),
        }
    }
}

impl Config {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// A sentence naming the key and what is wrong with it.
    pub fn validate(&self) -> Result<(), String> {
        self.scheme().map(|_| ())
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
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"default_currency": "CZK"}"#).is_ok());
        assert!(serde_json::from_str::<Config>(r#"{"defualt_currency": "CZK"}"#).is_err());
    }
}
