//! How the bank numbers its accounts: International bank account numbers.

use vostro_kernel::Iban;

/// How this bank makes its account numbers: country, bank code and as many digits as the country's IBANs leave.
///
/// Check digits that some countries have *inside* the national part are not computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IbanScheme {
    country: String,
    bank_code: String,
    digits: usize,
}

/// Why country and bank code do not make IBANs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIbanScheme {
    #[error("iban_country {0:?} is not a country code this bank knows, such as LT")]
    Country(String),
    #[error("iban_bank_code {0:?} is not made of capital letters and digits")]
    BankCode(String),
    #[error(
        "iban_bank_code {bank_code:?} leaves {left} digits for the account in {country}; at least {needed} are needed"
    )]
    TooLong { bank_code: String, country: String, left: usize, needed: usize },
}

impl IbanScheme {
    /// Enough for ten million accounts.
    const FEWEST_DIGITS: usize = 7;

    /// # Errors
    /// [`InvalidIbanScheme`].
    pub fn new(country: &str, bank_code: &str) -> Result<Self, InvalidIbanScheme> {
        let length = Iban::length_in(country).ok_or_else(|| InvalidIbanScheme::Country(country.to_owned()))?;
        let well_formed =
            !bank_code.is_empty() && bank_code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if !well_formed {
            return Err(InvalidIbanScheme::BankCode(bank_code.to_owned()));
        }
        let digits = length.saturating_sub(Iban::PREFIX + bank_code.len());
        if digits < Self::FEWEST_DIGITS {
            return Err(InvalidIbanScheme::TooLong {
                bank_code: bank_code.to_owned(),
                country: country.to_owned(),
                left: digits,
                needed: Self::FEWEST_DIGITS,
            });
        }
        Ok(Self { country: country.to_owned(), bank_code: bank_code.to_owned(), digits })
    }

    /// The IBAN of the bank's account number `number`; `None` when the bank has run out of numbers.
    pub fn iban(&self, number: u64) -> Option<String> {
        let account = format!("{number:0width$}", width = self.digits);
        if account.len() > self.digits {
            return None;
        }
        Iban::compose(&self.country, &format!("{}{account}", self.bank_code)).map(|iban| iban.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COUNTRIES: [&str; 8] = ["BE", "CZ", "DE", "FR", "GB", "LT", "MT", "NO"];

    #[test]
    fn a_number_becomes_the_iban_the_registry_gives_for_it() {
        let scheme = IbanScheme::new("LT", "10000").expect("a scheme");
        assert_eq!(scheme.iban(11_101_001_000).as_deref(), Some("LT121000011101001000"));
        let scheme = IbanScheme::new("GB", "WEST123456").expect("a scheme");
        assert_eq!(scheme.iban(98_765_432).as_deref(), Some("GB82WEST12345698765432"));
    }

    #[test]
    fn numbers_run_out_instead_of_growing() {
        let scheme = IbanScheme::new("LT", "10000").expect("a scheme");
        assert!(scheme.iban(99_999_999_999).is_some());
        assert_eq!(scheme.iban(100_000_000_000), None);
    }

    #[test]
    fn a_scheme_says_what_is_wrong_with_it() {
        let reason = |country: &str, code: &str| IbanScheme::new(country, code).expect_err("invalid").to_string();
        assert!(reason("lt", "1").contains("\"lt\""));
        assert!(reason("LT", "12-3").contains("\"12-3\""));
        assert!(reason("LT", "").contains("capital letters and digits"));
        assert!(reason("NO", "123456").contains("leaves 5 digits"));
    }

    proptest! {
        #[test]
        fn every_number_of_every_country_is_valid_and_one_wrong_character_is_noticed(
            country in prop::sample::select(COUNTRIES.to_vec()), number in 0..10_000_000_u64, place in 4..15_usize, other in 1..10_u32,
        ) {
            let scheme = IbanScheme::new(country, "1234").expect("a scheme");
            let iban = scheme.iban(number).expect("a number");
            prop_assert!(Iban::parse(&iban).is_ok(), "{}", iban);
            let mut wrong = iban.into_bytes();
            let digit = u32::from(wrong[place] - b'0');
            wrong[place] = char::from_digit((digit + other) % 10, 10).map_or(b'?', |digit| digit as u8);
            prop_assert!(Iban::parse(std::str::from_utf8(&wrong).expect("ASCII")).is_err());
        }
    }
}
