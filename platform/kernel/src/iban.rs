use std::fmt;

/// International bank account number (ISO 13616): country, two check digits, bank, account; without blanks, in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iban(String);

/// The text is no IBAN: its form, its country's length or its check digits are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an IBAN: look whether every letter and digit is right")]
pub struct InvalidIban;

/// Countries with the length of their IBANs (SWIFT's IBAN registry): where this bank can be.
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

impl Iban {
    /// Country code and check digits.
    pub const PREFIX: usize = 4;

    /// Reads an IBAN as somebody has typed it: with or without blanks, in any case.
    ///
    /// # Errors
    /// [`InvalidIban`].
    pub fn parse(text: &str) -> Result<Self, InvalidIban> {
        // However it is grouped. What is longer is not looked at.
        if text.len() > 60 {
            return Err(InvalidIban);
        }
        let compact: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let compact = compact.to_ascii_uppercase();
        if is_well_formed(compact.as_bytes()) && remainder(&compact) == Some(1) {
            Ok(Self(compact))
        } else {
            Err(InvalidIban)
        }
    }

    /// The IBAN of a country for a bank and account, with its check digits. `None` unless they are capital letters and
    /// digits and it is as long as the country's IBANs are.
    pub fn compose(country: &str, bank_and_account: &str) -> Option<Self> {
        let check = 98 - remainder(&format!("{country}00{bank_and_account}"))?;
        Self::parse(&format!("{country}{check:02}{bank_and_account}")).ok()
    }

    /// How long a country's IBANs are; `None` for a country that is not known here.
    pub fn length_in(country: &str) -> Option<usize> {
        COUNTRIES.iter().find(|(code, _)| *code == country).map(|(_, length)| *length)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Iban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_well_formed(iban: &[u8]) -> bool {
    let is_made_right = (15..=34).contains(&iban.len())
        && iban[..2].iter().all(u8::is_ascii_uppercase)
        && iban[2..4].iter().all(u8::is_ascii_digit)
        && iban.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let country = iban.get(..2).and_then(|country| std::str::from_utf8(country).ok());
    is_made_right && country.and_then(Iban::length_in).is_none_or(|length| iban.len() == length)
}

/// ISO 7064, mod 97-10, over the number with its first four characters last, letters counting 10 to 35.
fn remainder(text: &str) -> Option<u32> {
    let (prefix, rest) = text.split_at_checked(Iban::PREFIX)?;
    rest.chars().chain(prefix.chars()).try_fold(0, |remainder, character| {
        let value = character.to_digit(36)?;
        Some((remainder * if value < 10 { 10 } else { 100 } + value) % 97)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The registry's own examples.
    #[test]
    fn an_iban_is_read_however_it_is_grouped() {
        for text in [
            "LT121000011101001000",
            "lt12 1000 0111 0100 1000",
            "GB82 WEST 1234 5698 7654 32",
            "DE89370400440532013000",
            "CZ6508000000192000145399",
        ] {
            let compact: String = text.to_uppercase().split(' ').collect();
            assert_eq!(Iban::parse(text).map(|iban| iban.to_string()), Ok(compact));
        }
    }

    #[test]
    fn a_wrong_digit_and_anything_else_is_no_iban() {
        let long = "9".repeat(1_000);
        for text in [
            "LT131000011101001000",
            "LT121000011101001001",
            "LT12100001110100100",
            "LT12 1000 0111",
            "",
            "LT",
            "1234",
            "CASH-EUR",
            "ŁT12100001110100100",
            "LTł2100001110100100",
            &long,
        ] {
            assert_eq!(Iban::parse(text), Err(InvalidIban), "{text}");
        }
    }

    #[test]
    fn right_check_digits_do_not_make_up_for_the_wrong_length() {
        let short = "LT00".to_owned() + "100001110100100";
        let check = 98 - remainder(&short).expect("letters and digits");
        assert_eq!(Iban::parse(&format!("LT{check:02}100001110100100")), Err(InvalidIban));
        assert_eq!(Iban::compose("LT", "100001110100100"), None);
        assert_eq!(
            Iban::compose("LT", "1000011101001000").map(|iban| iban.to_string()).as_deref(),
            Some("LT121000011101001000")
        );
    }
}
