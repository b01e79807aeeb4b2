//! What may be kept as evidence: documents of a few kinds that people can look at, and that are what they say they are.

/// Bytes of a document at most.
pub const LARGEST_EVIDENCE: usize = 1024 * 1024;

/// Characters of a file's name at most.
pub const LONGEST_FILE_NAME: usize = 200;

/// The kinds of documents that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    Pdf,
    Png,
    Jpeg,
    Text,
}

impl MediaType {
    const ALL: [Self; 4] = [Self::Pdf, Self::Png, Self::Jpeg, Self::Text];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Text => "text/plain",
        }
    }

    /// Whether a document begins as those of this kind do; a text is readable from end to end.
    fn is_that_of(self, content: &[u8]) -> bool {
        match self {
            Self::Pdf => content.starts_with(b"%PDF-"),
            Self::Png => content.starts_with(b"\x89PNG\r\n\x1a\n"),
            Self::Jpeg => content.starts_with(b"\xff\xd8\xff"),
            Self::Text => std::str::from_utf8(content)
                .is_ok_and(|text| !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))),
        }
    }
}

/// Why a document is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Without a name, with one that is too long, or with one that is a path or unreadable.
    Name,
    Empty,
    TooLarge,
    /// Of another kind, or not of the kind it is said to be.
    MediaType,
}

/// Looks at a document; what kind it is. `declared` is what its sender says about that, and may have parameters.
///
/// # Errors
/// [`Unfit`], the first reason of that order.
pub fn examine(file_name: &str, declared: Option<&str>, content: &[u8]) -> Result<MediaType, Unfit> {
    let is_path = |c: char| c.is_control() || matches!(c, '/' | '\\');
    let length = file_name.chars().count();
    if !(1..=LONGEST_FILE_NAME).contains(&length) || file_name.trim() != file_name || file_name.contains(is_path) {
        return Err(Unfit::Name);
    }
    if content.is_empty() {
        return Err(Unfit::Empty);
    }
    if content.len() > LARGEST_EVIDENCE {
        return Err(Unfit::TooLarge);
    }
    let declared = declared.and_then(|declared| declared.split(';').next()).map(str::trim);
    // What programs say that do not know.
    let declared = declared.filter(|declared| !declared.eq_ignore_ascii_case("application/octet-stream"));
    let is_declared = |kind: &MediaType| declared.is_none_or(|declared| declared.eq_ignore_ascii_case(kind.as_str()));
    let mut kinds = MediaType::ALL.into_iter().filter(|kind| kind.is_that_of(content));
    // A PDF may be a text, too.
    kinds.find(is_declared).ok_or(Unfit::MediaType)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n....";

    #[test]
    fn a_document_is_what_its_content_says() {
        for (declared, content, kind) in [
            (Some("image/png"), PNG, MediaType::Png),
            (None, PNG, MediaType::Png),
            (Some("application/octet-stream"), b"\xff\xd8\xff\xe0", MediaType::Jpeg),
            (Some("Application/PDF"), b"%PDF-1.7 \xe2", MediaType::Pdf),
            (Some("text/plain; charset=utf-8"), "Ausz\u{fc}ge\r\n".as_bytes(), MediaType::Text),
            (None, b"%PDF-1.7", MediaType::Pdf),
        ] {
            assert_eq!(examine("letter", declared, content), Ok(kind), "{declared:?}");
        }
    }

    #[test]
    fn what_is_something_else_is_not_kept() {
        for (declared, content) in [
            (Some("image/png"), &b"%PDF-1.7"[..]),
            (Some("text/html"), b"<p>"),
            (Some("text/plain"), b"\0\x01"),
            (None, b"MZ\x90\0"),
            (Some("image/jpeg"), PNG),
        ] {
            assert_eq!(examine("letter", declared, content), Err(Unfit::MediaType), "{declared:?}");
        }
        assert_eq!(examine("letter", None, b""), Err(Unfit::Empty));
        assert_eq!(examine("letter", None, &[b'a'; LARGEST_EVIDENCE]), Ok(MediaType::Text));
        assert_eq!(examine("letter", None, &[b'a'; LARGEST_EVIDENCE + 1]), Err(Unfit::TooLarge));
    }

    #[test]
    fn a_name_is_a_name_and_no_path() {
        for name in ["", " ", "a/b", "..\\b", "a\nb", " a", &"x".repeat(LONGEST_FILE_NAME + 1)] {
            assert_eq!(examine(name, None, PNG), Err(Unfit::Name), "{name:?}");
        }
        assert!(examine(&"\u{e4}".repeat(LONGEST_FILE_NAME), None, PNG).is_ok());
    }
}
