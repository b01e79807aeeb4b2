use async_trait::async_trait;
use vostro_auth::{TokenFault, TokenVerifier};

use crate::door::{AuthFault, Authenticator, Principal};

#[async_trait]
impl Authenticator for TokenVerifier {
    async fn authenticate(&self, bearer: Option<&str>) -> Result<Principal, AuthFault> {
        let Some(token) = bearer else { return Ok(Principal::ANONYMOUS) };
        match self.verify(token) {
            Ok(verified) => Ok(Principal { actor: verified.actor, expires_at: Some(verified.expires_at) }),
            Err(fault) => Err(match fault {
                TokenFault::Missing | TokenFault::Malformed | TokenFault::NotYetValid => AuthFault::Malformed,
                TokenFault::BadSignature => AuthFault::Forged,
                TokenFault::WrongPurpose => AuthFault::WrongPurpose,
                TokenFault::Revoked => AuthFault::Revoked,
                // The client asks for a fresh token then, and learns from that request whether the bank is well.
                TokenFault::Expired | TokenFault::Unavailable => AuthFault::Expired,
            }),
        }
    }
}
