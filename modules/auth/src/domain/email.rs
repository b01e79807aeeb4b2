use std::fmt;

use vostro_kernel::Refusal;

use crate::AuthErrorCode;

/// An e-mail address in the one spelling the bank knows it by: lower case, no surrounding blanks.
///
/// The part before the `@` is case sensitive by RFC 5321, but no provider treats it so, and two users who differ in
/// capitals only would be one person twice. Dots and `+tags` are kept: what they mean is the provider's business.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Email(String);

impl Email {
    /// RFC 5321 §4.5.3.1.
    const LONGEST: usize = 254;
    const LONGEST_LOCAL: usize = 64;
    const LONGEST_LABEL: usize = 63;

    /// Reads and normalises an address. ASCII only: a domain in another script is written in its `xn--` form.
    ///
    /// # Errors
    /// `AUTH_EMAIL_INVALID`.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal<AuthErrorCode>> {
        let text = text.trim();
        if text.len() <= Self::LONGEST
            && let Some((local, domain)) = text.rsplit_once('@')
            && Self::is_local(local)
            && Self::is_domain(domain)
        {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(Refusal::new(AuthErrorCode::EmailInvalid).at(&["input", "email"]))
    }

    /// `dot-string` of RFC 5321; quoted local parts are not taken.
    fn is_local(local: &str) -> bool {
        const SPECIAL: &[u8] = b"!#$%&'*+-/=?^_`{|}~";
        local.len() <= Self::LONGEST_LOCAL
            && local.split('.').all(|atom| {
                !atom.is_empty() && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || SPECIAL.contains(&byte))
            })
    }

    /// At least two labels; the last one is no number, so that an address literal is no domain.
    fn is_domain(domain: &str) -> bool {
        let labels = domain.split('.').collect::<Vec<_>>();
        let well_formed = |label: &&str| {
            (1..=Self::LONGEST_LABEL).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        labels.len() >= 2
            && labels.iter().all(well_formed)
            && labels.last().is_some_and(|top| top.bytes().any(|byte| byte.is_ascii_alphabetic()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The words of the address, which a password must not be built from.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| word.len() > 2)
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(hidden)")
    }
}

/// What failed logins are counted by: the address in its normal spelling, or whatever was sent instead of one, cut to a
/// length that costs nothing. Texts that are no address have a counter too, so that nothing tells them apart.
pub(crate) fn identifier(text: &str) -> String {
    match Email::parse(text) {
        Ok(email) => email.0,
        Err(_) => text.trim().chars().take(Email::LONGEST).flat_map(char::to_lowercase).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_are_one_address() {
        for text in ["ada@example.org", " Ada@Example.ORG ", "ADA@EXAMPLE.ORG\n"] {
            assert_eq!(Email::parse(text).expect("an address").as_str(), "ada@example.org", "{text:?}");
        }
    }

    #[test]
    fn usual_addresses_are_taken() {
        for text in ["a@b.co", "first.last+tag@sub.example.org", "o'neill@xn--bcher-kva.example", "x_y-z@a1.b2.com"] {
            assert!(Email::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_written_to_is_refused() {
        let long_local = format!("{}@example.org", "l".repeat(65));
        let long = format!("a@{}.org", ["d".repeat(60).as_str(); 5].join("."));
        let texts = [
            "",
            "@",
            "ada",
            "ada@",
            "@example.org",
            "ada@example",
            "ada@@example.org",
            "a da@example.org",
            "ada@exa mple.org",
            "ada@.org",
            "ada@example..org",
            "ada@-example.org",
            "ada@example-.org",
            ".ada@example.org",
            "ada.@example.org",
            "a..da@example.org",
            "ada@127.0.0.1",
            "ada@[127.0.0.1]",
            "\"ada\"@example.org",
            "ada@example.org,eve@example.org",
            "ada\r\nBcc: eve@example.org",
            "ädå@example.org",
            "ada@exämple.org",
            "ada\0@example.org",
            &long_local,
            &long,
        ];
        for text in texts {
            let refusal = Email::parse(text).expect_err(text);
            assert_eq!(refusal.code, AuthErrorCode::EmailInvalid);
        }
    }

    #[test]
    fn an_identifier_follows_the_spelling_of_the_address() {
        assert_eq!(identifier(" Ada@Example.org"), identifier("ada@example.org"));
        assert_eq!(identifier("NOBODY"), "nobody");
        assert!(identifier(&"x".repeat(100_000)).len() <= 254);
    }

    #[test]
    fn an_address_is_not_printed() {
        let email = Email::parse("ada@example.org").expect("an address");
        assert!(!format!("{email:?}").contains("ada"));
    }
}
