use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, Header};
use secrecy::SecretString;
use uuid::Uuid;

use super::claims::{CLIENT, Claims, TYPE, TokenSubject};
use super::key_ring::KeyRing;
use crate::AuthError;

/// Signs access tokens.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) keys: KeyRing,
    pub(crate) issuer: String,
    pub(crate) audience: String,
}

impl Issuer {
    /// A token that speaks for `subject` from `now` to `expires_at`.
    ///
    /// # Errors
    /// [`AuthError::Crypto`] when there is no key to sign with.
    pub(crate) fn issue(
        &self,
        subject: &TokenSubject,
        jti: Uuid,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<SecretString, AuthError> {
        let ring = self.keys.current();
        let (kid, key) = ring.signing().ok_or(AuthError::Crypto("there is no key to sign with"))?;
        let header = Header { typ: Some(TYPE.to_owned()), kid: Some(kid.to_owned()), ..Header::new(Algorithm::ES256) };
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: subject.sub(),
            client_id: CLIENT.to_owned(),
            sid: subject.sid(),
            jti,
            iat: now.timestamp(),
            nbf: None,
            exp: expires_at.timestamp(),
            roles: subject.roles.iter().collect(),
        };
        jsonwebtoken::encode(&header, &claims, key)
            .map(SecretString::from)
            .map_err(|_| AuthError::Crypto("a token cannot be signed"))
    }
}
