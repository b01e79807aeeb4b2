//! Texts people give: what is accepted, and in which form it is kept.

use vostro_kernel::Refusal;

use crate::error::AccountErrorCode;

/// An account's name: 1 to 100 characters without line breaks or other control characters, blanks around it removed.
///
/// # Errors
/// `ACC_NAME_INVALID`.
pub fn account_name(text: &str) -> Result<String, Refusal<AccountErrorCode>> {
    one_line(text, 100).ok_or_else(|| Refusal::new(AccountErrorCode::NameInvalid).at(&["input", "name"]))
}

/// Why somebody decided: 1 to 500 characters in one line.
///
/// # Errors
/// `ACC_REASON_INVALID`.
pub fn reason(text: &str) -> Result<String, Refusal<AccountErrorCode>> {
    one_line(text, 500).ok_or_else(|| Refusal::new(AccountErrorCode::ReasonInvalid).at(&["input", "reason"]))
}

/// A client's idempotency key: 1 to 128 visible ASCII characters.
///
/// # Errors
/// `IDEMPOTENCY_KEY_REQUIRED`.
pub fn idempotency_key(text: &str) -> Result<&str, Refusal<AccountErrorCode>> {
    let well_formed = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if well_formed {
        return Ok(text);
    }
    Err(Refusal::new(AccountErrorCode::IdempotencyKeyRequired).at(&["input", "idempotencyKey"]))
}

fn one_line(text: &str, longest: usize) -> Option<String> {
    let text = text.trim();
    let fits = (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_of_at_most_a_hundred_characters() {
        assert_eq!(account_name("  Ferien in Öland "), Ok("Ferien in Öland".to_owned()));
        assert!(account_name(&"ö".repeat(100)).is_ok());
        for text in ["", "   ", "a\nb", "a\u{0}b", &"ö".repeat(101)] {
            let refusal = account_name(text).expect_err("refused");
            assert_eq!((refusal.code, refusal.field), (AccountErrorCode::NameInvalid, vec!["input", "name"]));
        }
    }

    #[test]
    fn a_reason_has_to_be_given() {
        assert_eq!(reason("court order 12/2026"), Ok("court order 12/2026".to_owned()));
        assert!(reason(" ").is_err_and(|refusal| refusal.code == AccountErrorCode::ReasonInvalid));
        assert!(reason(&"x".repeat(501)).is_err());
    }

    #[test]
    fn an_idempotency_key_is_visible_ascii() {
        assert_eq!(idempotency_key("a-1"), Ok("a-1"));
        for text in ["", "a b", "schlüssel", &"k".repeat(129)] {
            assert!(idempotency_key(text).is_err(), "{text}");
        }
    }
}
