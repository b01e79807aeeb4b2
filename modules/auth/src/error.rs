use vostro_kernel::{Refusal, RefusalCode};
use vostro_messaging::may_pass;

/// The closed list of reasons for which auth refuses a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthErrorCode {
    /// The e-mail or the password is wrong; which of them is never said.
    InvalidCredentials,
    /// Too many failed logins; no password is looked at for a while.
    Locked,
    /// The e-mail address has no form the bank can write to.
    EmailInvalid,
    EmailTaken,
    /// Too short, too long, or too easy to guess.
    PasswordWeak,
    /// On the list of passwords that attackers try first.
    PasswordBreached,
    DisplayNameInvalid,
    LocaleInvalid,
    /// No refresh token of this bank, or its session has ended.
    TokenInvalid,
    TokenExpired,
    /// The refresh token was used before; its session is revoked.
    TokenReused,
    /// There is no session to act on.
    SessionMissing,
    /// The caller may not do this.
    ScopeInsufficient,
    UserNotFound,
    /// A staff account needs at least one staff role.
    RoleInvalid,
    /// The next signing key was published too recently to sign with.
    KeyNotPublishedLongEnough,
    /// The idempotency key is missing or malformed.
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
}

impl AuthErrorCode {
    /// Every code, for tests and documentation.
    pub const ALL: [Self; 18] = [
        Self::InvalidCredentials,
        Self::Locked,
        Self::EmailInvalid,
        Self::EmailTaken,
        Self::PasswordWeak,
        Self::PasswordBreached,
        Self::DisplayNameInvalid,
        Self::LocaleInvalid,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::TokenReused,
        Self::SessionMissing,
        Self::ScopeInsufficient,
        Self::UserNotFound,
        Self::RoleInvalid,
        Self::KeyNotPublishedLongEnough,
        Self::IdempotencyKeyRequired,
        Self::IdempotencyKeyReused,
    ];
}

impl RefusalCode for AuthErrorCode {
    fn code(self) -> &'static str {
        match self {
            Self::InvalidCredentials => "AUTH_INVALID_CREDENTIALS",
            Self::Locked => "AUTH_LOCKED",
            Self::EmailInvalid => "AUTH_EMAIL_INVALID",
            Self::EmailTaken => "AUTH_EMAIL_TAKEN",
            Self::PasswordWeak => "AUTH_PASSWORD_WEAK",
            Self::PasswordBreached => "AUTH_PASSWORD_BREACHED",
            Self::DisplayNameInvalid => "AUTH_DISPLAY_NAME_INVALID",
            Self::LocaleInvalid => "AUTH_LOCALE_INVALID",
            Self::TokenInvalid => "AUTH_TOKEN_INVALID",
            Self::TokenExpired => "AUTH_TOKEN_EXPIRED",
            Self::TokenReused => "AUTH_TOKEN_REUSED",
            Self::SessionMissing => "AUTH_SESSION_MISSING",
            Self::ScopeInsufficient => "AUTH_SCOPE_INSUFFICIENT",
            Self::UserNotFound => "AUTH_USER_NOT_FOUND",
            Self::RoleInvalid => "AUTH_ROLE_INVALID",
            Self::KeyNotPublishedLongEnough => "AUTH_KEY_NOT_PUBLISHED_LONG_ENOUGH",
            Self::IdempotencyKeyRequired => "IDEMPOTENCY_KEY_REQUIRED",
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::InvalidCredentials => "The e-mail address or the password is wrong.",
            Self::Locked => "Too many failed logins. Wait a while and try again.",
            Self::EmailInvalid => "This is not an e-mail address the bank can write to.",
            Self::EmailTaken => "There is already a user with this e-mail address.",
            Self::PasswordWeak => "The password is too easy to guess.",
            Self::PasswordBreached => "The password is on a list of passwords that attackers try first.",
            Self::DisplayNameInvalid => "A display name has 1 to 100 visible characters.",
            Self::LocaleInvalid => "A locale is a language tag such as en or pt-BR.",
            Self::TokenInvalid => "The refresh token is not valid. Log in again.",
            Self::TokenExpired => "The refresh token has expired. Log in again.",
            Self::TokenReused => "The refresh token was used before, so its session was ended. Log in again.",
            Self::SessionMissing => "You are not logged in.",
            Self::ScopeInsufficient => "Your roles do not allow this.",
            Self::UserNotFound => "There is no such user.",
            Self::RoleInvalid => "Staff need at least one of the roles COMPLIANCE_OFFICER, OPERATOR and ADMIN.",
            Self::KeyNotPublishedLongEnough => {
                "The next signing key was published too recently: whoever caches the key set does not know it yet."
            }
            Self::IdempotencyKeyRequired => "Choose an idempotency key of 1 to 128 visible ASCII characters.",
            Self::IdempotencyKeyReused => "The idempotency key was used before with another input.",
        }
    }
}

/// Why a use case has no result.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// An answer: the rules do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal<AuthErrorCode>),
    /// The database did not do its part.
    #[error("database")]
    Database(#[from] sqlx::Error),
    /// More passwords wait to be checked than the machine can check in reasonable time.
    #[error("too many passwords are being checked at the moment")]
    Overloaded,
    /// Something that is stored cannot be read with the configured secret.
    #[error("{0} cannot be opened with the configured secret")]
    Sealed(&'static str),
    /// A cryptographic operation failed for a reason outside the request.
    #[error("cryptography: {0}")]
    Crypto(&'static str),
}

impl AuthError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal<AuthErrorCode>> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the same call may well succeed a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Overloaded => true,
            Self::Database(error) => may_pass(error),
            _ => false,
        }
    }
}

impl From<AuthErrorCode> for AuthError {
    fn from(code: AuthErrorCode) -> Self {
        Self::Refused(code.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_refusal_has_a_code_of_its_own() {
        let codes: BTreeSet<_> = AuthErrorCode::ALL.iter().map(|code| code.code()).collect();
        assert_eq!(codes.len(), AuthErrorCode::ALL.len());
    }
}
