//! International bank account numbers (ISO 13616): country, two check digits (ISO 7064, mod 97-10), bank, account.

/// Countries the bank can be in, with the length of their IBANs (SWIFT's IBAN registry).
const COUNTRIES: [(&str, usize); 37] = [
    ("AD", 24),
    ("AT", 20),
    ("BE", 16),
    ("BG", 22),
    ("CH", 21),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DK", 18),
    ("EE", 20),
    ("ES", 24),
    ("FI", 18),
    ("FR", 27),
    ("GB", 22),
    ("GI", 23),
    ("GR", 27),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IS", 26),
    ("IT", 27),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("MC", 27),
    ("MT", 31),
    ("NL", 18),
    ("NO", 15),
    ("PL", 28),
    ("PT", 25),
    ("RO", 24),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("VA", 22),
];

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
    /// Country code and check digits.
    const PREFIX: usize = 4;
    /// Enough for ten million accounts.
    const FEWEST_DIGITS: usize = 7;

    /// # Errors
    /// [`InvalidIbanScheme`].
    pub fn new(country: &str, bank_code: &str) -> Result<Self, InvalidIbanScheme> {
        let known = COUNTRIES.iter().find(|(code, _)| *code == country);
        let &(_, length) = known.ok_or_else(|| InvalidIbanScheme::Country(country.to_owned()))?;
        let well_formed =
            !bank_code.is_empty() && bank_code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if !well_formed {
            return Err(InvalidIbanScheme::BankCode(bank_code.to_owned()));
        }
        let digits = length.saturating_sub(Self::PREFIX + bank_code.len());
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
        let (country, bank_code) = (&self.country, &self.bank_code);
        let check = 98 - remainder(&format!("{bank_code}{account}{country}00"))?;
        Some(format!("{country}{check:02}{bank_code}{account}"))
    }
}

/// Whether the text is an IBAN: its characters, its country's length where that is known, its check digits.
pub fn is_valid_iban(text: &str) -> bool {
    let well_formed =
        (15..=34).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if !well_formed {
        return false;
    }
    let (prefix, rest) = text.split_at(IbanScheme::PREFIX);
    let length_fits =
        COUNTRIES.iter().find(|(code, _)| prefix.starts_with(code)).is_none_or(|(_, length)| text.len() == *length);
    length_fits && remainder(&format!("{rest}{prefix}")) == Some(1)
}

/// The number spelled by the text (letters count 10 to 35) modulo 97.
fn remainder(text: &str) -> Option<u32> {
    text.chars().try_fold(0, |remainder, character| {
        let value = character.to_digit(36)?;
        Some((remainder * if value < 10 { 10 } else { 100 } + value) % 97)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The registry's own examples.
    #[test]
    fn the_examples_of_the_registry_are_valid() {
        for iban in
            ["GB82WEST12345698765432", "DE89370400440532013000", "LT121000011101001000", "CZ6508000000192000145399"]
        {
            assert!(is_valid_iban(iban), "{iban}");
        }
    }

    #[test]
    fn a_number_becomes_the_iban_the_registry_gives_for_it() {
        let scheme = IbanScheme::new("LT", "10000").expect("a scheme");
        assert_eq!(scheme.iban(11_101_001_000).as_deref(), Some("LT121000011101001000"));
        let scheme = IbanScheme::new("GB", "WEST123456").expect("a scheme");
        assert_eq!(scheme.iban(98_765_432).as_deref(), Some("GB82WEST12345698765432"));
    }

    #[test]
    fn what_is_not_an_iban_is_refused() {
        for text in ["", "LT", "lt121000011101001000", "LT121000011101001001", "LT12100001110100100", "LT12 1000 0111"]
        {
            assert!(!is_valid_iban(text), "{text}");
        }
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
            country in 0..COUNTRIES.len(), number in 0..10_000_000_u64, place in 4..15_usize, other in 1..10_u32,
        ) {
            let scheme = IbanScheme::new(COUNTRIES[country].0, "1234").expect("a scheme");
            let iban = scheme.iban(number).expect("a number");
            prop_assert!(is_valid_iban(&iban), "{}", iban);
            let mut wrong = iban.into_bytes();
            let digit = u32::from(wrong[place] - b'0');
            wrong[place] = char::from_digit((digit + other) % 10, 10).map_or(b'?', |digit| digit as u8);
            prop_assert!(!is_valid_iban(&String::from_utf8(wrong).expect("ASCII")));
        }
    }
}
