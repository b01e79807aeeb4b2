use std::collections::HashSet;
use std::sync::LazyLock;

use secrecy::{ExposeSecret as _, SecretString};
use unicode_normalization::UnicodeNormalization as _;
use vostro_kernel::Refusal;
use zxcvbn::{Score, zxcvbn};

use crate::AuthErrorCode;

/// Passwords that attackers try first and that are long enough to pass the length rule. One a line, lower case.
static BLOCKLIST: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("blocklist.txt").lines().filter(|line| !line.is_empty()).collect());

/// Words everybody knows about this bank.
const BANK_WORDS: [&str; 6] = ["vostro", "bank", "banking", "account", "money", "password"];

/// A password as it is hashed: in Unicode normal form C, so that it is the same from every keyboard.
#[derive(Clone)]
pub(crate) struct Password(SecretString);

/// Why a password cannot be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weakness {
    TooShort,
    TooLong,
    /// On the blocklist.
    Breached,
    /// An attacker who knows how people choose passwords gets there too soon.
    Guessable,
}

impl Password {
    /// In code points after normalisation.
    pub(crate) const SHORTEST: usize = 12;
    pub(crate) const LONGEST: usize = 128;
    /// How much of it the estimate looks at: its time grows faster than the length.
    const ESTIMATED: usize = 100;
    /// What must be left when words about the person and the bank are taken out, in letters and digits.
    const LEAST_BESIDE_KNOWN: usize = 8;
    /// Normalisation can only shorten a text to a third (Hangul); anything above that is too long whatever it becomes.
    const LONGEST_RAW: usize = Self::LONGEST * 3;

    /// Normalises what somebody typed. `None` when it is longer than any password can be; it is then no password.
    pub(crate) fn normalise(typed: &SecretString) -> Option<Self> {
        let typed = typed.expose_secret();
        if typed.chars().nth(Self::LONGEST_RAW).is_some() {
            return None;
        }
        let normal = typed.nfc().collect::<String>();
        if normal.chars().nth(Self::LONGEST).is_some() {
            return None;
        }
        Some(Self(normal.into()))
    }

    /// Whether somebody may choose it. `personal` are words that belong to the person: name, address. Takes
    /// milliseconds of computing.
    ///
    /// # Errors
    /// The first [`Weakness`] found.
    pub(crate) fn judge(&self, personal: &[&str]) -> Result<(), Weakness> {
        let text = self.0.expose_secret();
        let length = text.chars().count();
        if length < Self::SHORTEST {
            return Err(Weakness::TooShort);
        }
        if length > Self::LONGEST {
            return Err(Weakness::TooLong);
        }
        if BLOCKLIST.contains(text.to_lowercase().as_str()) {
            return Err(Weakness::Breached);
        }
        let known = personal.iter().copied().chain(BANK_WORDS).collect::<Vec<_>>();
        if Self::is_mostly_known(&known, text) {
            return Err(Weakness::Guessable);
        }
        let start = text.char_indices().nth(Self::ESTIMATED).map_or(text, |(end, _)| &text[..end]);
        if zxcvbn(start, &known).score() < Score::Three {
            return Err(Weakness::Guessable);
        }
        Ok(())
    }

    /// Whether too little is left of it when the known words in it are taken out. The estimate alone is too kind to
    /// somebody's name with a year behind it.
    fn is_mostly_known(known: &[&str], text: &str) -> bool {
        let mut words = known.iter().map(|word| word.to_lowercase()).collect::<Vec<_>>();
        words.retain(|word| word.chars().count() > 2);
        words.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
        let whole = text.to_lowercase();
        let rest = words.iter().fold(whole.clone(), |rest, word| rest.replace(word.as_str(), " "));
        rest != whole && rest.chars().filter(|letter| letter.is_alphanumeric()).count() < Self::LEAST_BESIDE_KNOWN
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(hidden)")
    }
}

impl From<Weakness> for Refusal<AuthErrorCode> {
    fn from(weakness: Weakness) -> Self {
        let refusal = match weakness {
            Weakness::TooShort => Self::new(AuthErrorCode::PasswordWeak)
                .saying(format!("The password must have at least {} characters.", Password::SHORTEST)),
            Weakness::TooLong => Self::new(AuthErrorCode::PasswordWeak)
                .saying(format!("The password must have at most {} characters.", Password::LONGEST)),
            Weakness::Breached => Self::new(AuthErrorCode::PasswordBreached),
            Weakness::Guessable => Self::new(AuthErrorCode::PasswordWeak)
                .saying("The password is too easy to guess: add a few uncommon words, and no names or dates."),
        };
        refusal.at(&["input", "password"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::normalise(&text.into()).expect("not too long")
    }

    fn judge(text: &str) -> Result<(), Weakness> {
        password(text).judge(&["ada", "lovelace", "example"])
    }

    #[test]
    fn unusual_words_are_a_good_password() {
        assert_eq!(judge("umber gantry folio tern"), Ok(()));
        assert_eq!(judge("}!#^~=)%[&(|<*"), Ok(()));
        assert_eq!(judge("grün-Öltanker-Fähre-47"), Ok(()));
    }

    #[test]
    fn length_is_counted_in_code_points() {
        assert_eq!(judge("kT9#vQ2!xZp"), Err(Weakness::TooShort));
        assert_eq!(judge("žluťoučký%k"), Err(Weakness::TooShort), "eleven characters, more bytes");
        assert_eq!(judge("kT9#vQ2!xZpL"), Ok(()));
        assert_eq!(password(&"ž".repeat(128)).judge(&[]), Err(Weakness::Guessable), "128 characters are not too long");
    }

    #[test]
    fn what_is_longer_than_a_password_is_none() {
        assert!(Password::normalise(&"a".repeat(129).as_str().into()).is_none());
        assert!(Password::normalise(&"a".repeat(10_000_000).as_str().into()).is_none());
        let decomposed = "a\u{30a}".repeat(128);
        assert_eq!(password(&decomposed).0.expose_secret().chars().count(), 128, "combining marks are composed first");
    }

    #[test]
    fn two_ways_to_type_a_letter_are_one_password() {
        assert_eq!(password("caf\u{e9} au lait 99").as_bytes(), password("cafe\u{301} au lait 99").as_bytes());
    }

    #[test]
    fn what_everybody_uses_is_refused() {
        assert_eq!(judge("Password1234"), Err(Weakness::Breached));
        assert_eq!(judge("qwertyuiop123"), Err(Weakness::Breached));
        assert_eq!(judge("aaaaaaaaaaaaaaaa"), Err(Weakness::Guessable));
        assert_eq!(judge("november2024"), Err(Weakness::Guessable));
    }

    #[test]
    fn words_of_the_person_and_of_the_bank_do_not_count() {
        for text in ["lovelaceexample", "vostrobanking", "AdaLovelace1815", "ada lovelace ada", "!!Ada-Lovelace-99!!"] {
            assert_eq!(judge(text), Err(Weakness::Guessable), "{text}");
        }
        assert_eq!(judge("lovelace umber gantry"), Ok(()), "a name beside enough else is fine");
    }

    #[test]
    fn a_very_long_password_is_judged_quickly_by_its_beginning() {
        assert_eq!(judge(&"kT9#vQ2!xZpL".repeat(10)), Ok(()));
    }

    #[test]
    fn every_line_of_the_blocklist_would_pass_the_length_rule_and_is_lower_case() {
        for line in BLOCKLIST.iter() {
            assert!(line.chars().count() >= Password::SHORTEST, "{line:?} is refused for its length already");
            assert_eq!(*line, line.to_lowercase());
        }
        assert!(BLOCKLIST.len() > 100);
    }

    #[test]
    fn a_password_is_not_printed() {
        assert!(!format!("{:?}", password("umber gantry folio tern")).contains("umber"));
    }
}
