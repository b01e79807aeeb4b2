use unicode_normalization::UnicodeNormalization as _;
use vostro_kernel::Refusal;

use crate::AuthErrorCode;

/// The longest name shown, in characters.
const LONGEST_NAME: usize = 100;
/// The longest language tag RFC 5646 §4.4.1 asks software to take.
const LONGEST_LOCALE: usize = 35;

/// Reads a display name: 1 to 100 characters in normal form C, blanks trimmed, nothing invisible in it that could
/// reorder or hide text.
///
/// # Errors
/// `AUTH_DISPLAY_NAME_INVALID`.
pub(crate) fn display_name(text: &str) -> Result<String, Refusal<AuthErrorCode>> {
    let refused = || Refusal::new(AuthErrorCode::DisplayNameInvalid).at(&["input", "displayName"]);
    // Normalisation at most trebles a text; far longer ones need not be looked at.
    if text.chars().nth(LONGEST_NAME * 3).is_some() {
        return Err(refused());
    }
    let name = text.trim().nfc().collect::<String>();
    let visible = !name.is_empty() && name.chars().count() <= LONGEST_NAME && !name.chars().any(is_hidden);
    if visible { Ok(name) } else { Err(refused()) }
}

/// Control characters, line and paragraph separators, zero-width and bidirectional marks.
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Reads a BCP 47 language tag and writes it the usual way: `pt-BR`, `zh-Hant-TW`.
///
/// # Errors
/// `AUTH_LOCALE_INVALID`.
pub(crate) fn locale(text: &str) -> Result<String, Refusal<AuthErrorCode>> {
    let refused = || Refusal::new(AuthErrorCode::LocaleInvalid).at(&["input", "locale"]);
    if text.len() > LONGEST_LOCALE {
        return Err(refused());
    }
    let mut subtags = text.split('-');
    let language = subtags.next().unwrap_or_default();
    if !(2..=3).contains(&language.len()) || !language.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(refused());
    }
    let mut tag = language.to_ascii_lowercase();
    for subtag in subtags {
        if !(2..=8).contains(&subtag.len()) || !subtag.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(refused());
        }
        tag.push('-');
        tag.push_str(&usual_spelling(subtag));
    }
    Ok(tag)
}

/// Regions in capitals, scripts with a capital, everything else in small letters (RFC 5646 §2.1.1).
fn usual_spelling(subtag: &str) -> String {
    match subtag.len() {
        2 => subtag.to_ascii_uppercase(),
        4 if subtag.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            let (first, rest) = subtag.split_at(1);
            first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
        }
        _ => subtag.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_normalised() {
        assert_eq!(display_name("  Ada Lovelace ").as_deref(), Ok("Ada Lovelace"));
        assert_eq!(display_name("Zoe\u{308}").as_deref(), Ok("Zo\u{eb}"));
        assert_eq!(display_name(&"ž".repeat(100)).map(|name| name.chars().count()), Ok(100));
    }

    #[test]
    fn a_name_that_is_empty_too_long_or_not_all_visible_is_refused() {
        let long = "a".repeat(101);
        for text in ["", "   ", "Ada\nBcc: eve", "Ada\0", "\u{202e}adA", "Ada\u{200b}", &long] {
            assert_eq!(display_name(text).expect_err(text).code, AuthErrorCode::DisplayNameInvalid);
        }
    }

    #[test]
    fn a_locale_is_written_the_usual_way() {
        for (text, tag) in [("en", "en"), ("PT-br", "pt-BR"), ("zh-HANT-tw", "zh-Hant-TW"), ("es-419", "es-419")] {
            assert_eq!(locale(text).as_deref(), Ok(tag));
        }
    }

    #[test]
    fn what_is_no_language_tag_is_refused() {
        let long = format!("en{}", "-abcdefgh".repeat(5));
        for text in ["", "e", "english", "en_US", "en-", "-en", "en-a", "12", "en-ÅÄ", "../etc", &long] {
            assert_eq!(locale(text).expect_err(text).code, AuthErrorCode::LocaleInvalid);
        }
    }
}
