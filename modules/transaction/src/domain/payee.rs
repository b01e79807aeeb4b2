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
