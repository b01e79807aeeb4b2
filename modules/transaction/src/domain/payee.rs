use std::fmt;

/// An account number as somebody has typed it, in the form in which it is stored: without blanks, in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iban(String);

/// The text is no IBAN (ISO 13616): its form or its check digits are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an IBAN: look whether every letter and digit is right")]
pub struct InvalidIban;

impl Iban {
    /// Reads an IBAN with or without blanks.
    ///
    /// # Errors
    /// [`InvalidIban`].
    pub fn parse(text: &str) -> Result<Self, InvalidIban> {
        if text.len() > 60 {
            return Err(InvalidIban);
        }
        let compact: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let compact = compact.to_ascii_uppercase();
        let bytes = compact.as_bytes();
        let well_formed = (15..=34).contains(&bytes.len())
            && bytes[..2].iter().all(u8::is_ascii_uppercase)
            && bytes[2..4].iter().all(u8::is_ascii_digit)
            && bytes.iter().all(u8::is_ascii_alphanumeric);
        if well_formed && remainder(bytes) == 1 { Ok(Self(compact)) } else { Err(InvalidIban) }
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

/// ISO 7064 mod 97-10 over the number with its first four characters last and letters as 10 to 35.
fn remainder(bytes: &[u8]) -> u32 {
    bytes[4..].iter().chain(&bytes[..4]).fold(0, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        letter => (remainder * 100 + u32::from(letter - b'A') + 10) % 97,
    })
}

/// Whether an account belongs to somebody of a name (verification of payee, Regulation (EU) 2024/886).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayeeCheck {
    Match,
    /// Probably; the name with most letters hidden.
    CloseMatch {
        suggestion: String,
    },
    NoMatch,
    /// Nobody can say: it is not an open account of a customer of this bank, or the check did not come through.
    Unavailable,
}

impl PayeeCheck {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::CloseMatch { .. } => "close-match",
            Self::NoMatch => "no-match",
            Self::Unavailable => "unavailable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iban_is_read_however_it_is_grouped() {
        for text in ["LT121000011101001000", "lt12 1000 0111 0100 1000", "GB82 WEST 1234 5698 7654 32"] {
            let compact: String = text.to_uppercase().split(' ').collect();
            assert_eq!(Iban::parse(text).map(|iban| iban.to_string()), Ok(compact));
        }
    }

    #[test]
    fn a_wrong_digit_and_anything_else_is_no_iban() {
        let long = "9".repeat(1_000);
        for text in
            ["LT131000011101001000", "LT12100001110100100", "", "LT", "1234", "CASH-EUR", "ŁT12100001110100100", &long]
        {
            assert_eq!(Iban::parse(text), Err(InvalidIban), "{text}");
        }
    }
}
