/// Why a text is not accepted as an access token. Says nothing a client may not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenFault {
    #[error("an access token is missing")]
    Missing,
    /// Not a token of the form this bank issues.
    #[error("the access token is malformed")]
    Malformed,
    /// Not signed by this bank with a key that is in use.
    #[error("the access token is not signed by this bank")]
    BadSignature,
    /// A token of this bank, or of another one, that is not an access token for this API.
    #[error("the token is not an access token for this service")]
    WrongPurpose,
    #[error("the access token is not valid yet")]
    NotYetValid,
    #[error("the access token has expired")]
    Expired,
    #[error("the session of the access token has ended")]
    Revoked,
    /// The bank cannot tell at the moment, because it has not heard about revoked sessions for too long.
    #[error("access tokens cannot be checked at the moment")]
    Unavailable,
}

impl TokenFault {
    /// A short name for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::BadSignature => "bad_signature",
            Self::WrongPurpose => "wrong_purpose",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether the same token may be accepted a little later.
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Unavailable)
    }
}
