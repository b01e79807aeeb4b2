//! The seam to whoever knows tokens.

use async_trait::async_trait;
use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use vostro_kernel::Actor;

use crate::faults::FaultCode;
use crate::stitch::RequestError;

/// Who the caller is, as far as the token proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    pub actor: Actor,
    /// When the proof ends. A WebSocket connection is closed then; the client comes back with a fresh token.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Principal {
    pub const ANONYMOUS: Self = Self { actor: Actor::ANONYMOUS, expires_at: None };
}

/// Why a token does not prove anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuthFault {
    /// The header is not `Bearer <token>`, or what follows is no token.
    #[error("The access token is malformed: send `Authorization: Bearer <access token>`.")]
    Malformed,
    /// Not signed by a key of the bank.
    #[error("The access token is not one of this bank's.")]
    Forged,
    #[error("The access token has expired: refresh it.")]
    Expired,
    /// Signed by the bank, for something else (a refresh token, another audience).
    #[error("This token is not an access token for this API.")]
    WrongPurpose,
    /// The session it belongs to has ended.
    #[error("The session of this access token has ended: log in again.")]
    Revoked,
    /// Whoever reads tokens cannot be asked just now, so nothing is known about this one.
    #[error("Who you are cannot be checked at the moment; try again.")]
    Unavailable,
}

impl AuthFault {
    /// Whether asking again would be answered the same. Who has been let in stays in while it is not known.
    pub fn is_final(self) -> bool {
        self != Self::Unavailable
    }
}

/// Turns a bearer token into a principal. Called once per HTTP request and once per WebSocket connection, so it has to
/// be quick; it does not ask a database.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// `None` is a request without a token, which is allowed: some fields are public.
    ///
    /// # Errors
    /// [`AuthFault`] when there is a token and it proves nothing. Such a request is refused as a whole, public fields
    /// included, because its sender believes to be somebody.
    async fn authenticate(&self, bearer: Option<&str>) -> Result<Principal, AuthFault>;
}

/// The token of an `Authorization` value. The scheme is case-insensitive (RFC 9110).
pub fn bearer(value: &str) -> Result<&str, AuthFault> {
    match value.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => Ok(token.trim()),
        _ => Err(AuthFault::Malformed),
    }
}

/// The principal of a request by its headers.
pub async fn by_headers(authenticator: &dyn Authenticator, headers: &HeaderMap) -> Result<Principal, AuthFault> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let token = match (values.next(), values.next()) {
        (None, _) => None,
        (Some(value), None) => Some(bearer(value.to_str().map_err(|_| AuthFault::Malformed)?)?),
        // Which of them counts would be a guess.
        (Some(_), Some(_)) => return Err(AuthFault::Malformed),
    };
    authenticator.authenticate(token).await
}

impl From<AuthFault> for RequestError {
    fn from(fault: AuthFault) -> Self {
        let code = match fault {
            AuthFault::Unavailable => FaultCode::ModuleUnavailable,
            _ => FaultCode::Unauthenticated,
        };
        Self::new(code, fault.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_is_taken() {
        assert_eq!(bearer("Bearer abc"), Ok("abc"));
        assert_eq!(bearer("bearer  abc "), Ok("abc"));
        for value in ["", "abc", "Bearer", "Bearer ", "Basic abc", "Bearerabc"] {
            assert_eq!(bearer(value), Err(AuthFault::Malformed), "{value:?}");
        }
    }
}
