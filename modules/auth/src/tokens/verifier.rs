use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use metrics::counter;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use vostro_kernel::{Actor, Clock};

use super::claims::{ALGORITHM, CLIENT, Claims, Header, LONGEST_LIFE, TYPE, TokenSubject, judge_expiry, judge_times};
use super::key_ring::{KeyRing, Ring};
use super::revocations::Revocations;
use super::{Issuer, TokenFault};
use crate::secrets::RefreshToken;

/// Tells whom an access token speaks for. The only place in the bank that reads one. Cheap to clone.
#[derive(Clone)]
pub struct TokenVerifier {
    inner: Arc<Inner>,
}

struct Inner {
    keys: KeyRing,
    revocations: Arc<Revocations>,
    clock: Arc<dyn Clock>,
    validation: Validation,
    /// Tokens whose signature and claims were checked, by their SHA-256. Whether they have expired or been revoked is
    /// asked every time.
    verified: Cache<[u8; 32], Verified>,
}

/// What stays true of a token for as long as its key is known.
#[derive(Clone)]
struct Verified {
    kid: Arc<str>,
    subject: TokenSubject,
    expires_at: DateTime<Utc>,
}

/// What a token proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Whom it speaks for, with the roles the person has now.
    pub actor: Actor,
    /// When it stops proving anything.
    pub expires_at: DateTime<Utc>,
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenVerifier")
    }
}

impl TokenVerifier {
    /// Longer texts are not looked at. A token of this bank has about 500 letters.
    const LONGEST: usize = 4096;

    pub(crate) fn new(issuer: &Issuer, revocations: Arc<Revocations>, clock: Arc<dyn Clock>, remembered: u64) -> Self {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[&issuer.issuer]);
        validation.set_audience(&[&issuer.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The times are judged by this bank's clock; the library would ask the machine's and ignores `iat`.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let life = Duration::from_secs(LONGEST_LIFE.unsigned_abs());
        let verified = Cache::builder().max_capacity(remembered).time_to_live(life).build();
        Self { inner: Arc::new(Inner { keys: issuer.keys.clone(), revocations, clock, validation, verified }) }
    }

    /// Whom the token speaks for, and how long: an access token (`typ` is `at+jwt`) of this bank, for this API,
    /// signed with a key in use, alive, of a session that has not ended. The roles are those the person has now, not
    /// those at signing.
    ///
    /// Does no I/O. Takes the token alone, without `Bearer`.
    ///
    /// # Errors
    /// [`TokenFault`]; whatever is not exactly what this bank issues is refused.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, TokenFault> {
        let result = self.inner.verify(token);
        if let Err(fault) = result {
            counter!("vostro_token_faults_total", "fault" => fault.as_str()).increment(1);
        }
        result
    }
}

impl Inner {
    fn verify(&self, token: &str) -> Result<VerifiedToken, TokenFault> {
        if token.is_empty() {
            return Err(TokenFault::Missing);
        }
        if token.starts_with(RefreshToken::PREFIX) {
            return Err(TokenFault::WrongPurpose);
        }
        if token.len() > TokenVerifier::LONGEST {
            return Err(TokenFault::Malformed);
        }
        if !self.revocations.are_fresh() {
            return Err(TokenFault::Unavailable);
        }
        let ring = self.keys.current();
        let now = self.clock.now().timestamp();
        let digest: [u8; 32] = Sha256::digest(token).into();
        let verified = match self.verified.get(&digest) {
            Some(verified) => {
                counter!("vostro_cache_requests_total", "cache" => "verified_tokens", "result" => "hit").increment(1);
                if ring.verifying(&verified.kid).is_none() {
                    return Err(TokenFault::BadSignature);
                }
                judge_expiry(verified.expires_at.timestamp(), now)?;
                verified
            }
            None => {
                counter!("vostro_cache_requests_total", "cache" => "verified_tokens", "result" => "miss").increment(1);
                let verified = self.read(token, &ring, now)?;
                self.verified.insert(digest, verified.clone());
                verified
            }
        };
        let TokenSubject { user_id, session_id, roles } = verified.subject;
        if self.revocations.is_revoked(session_id) {
            return Err(TokenFault::Revoked);
        }
        let actor = verified.subject.actor(self.revocations.roles_of(user_id).unwrap_or(roles));
        Ok(VerifiedToken { actor, expires_at: verified.expires_at })
    }

    fn read(&self, token: &str, ring: &Ring, now: i64) -> Result<Verified, TokenFault> {
        let header = header(token)?;
        if header.typ.as_deref() != Some(TYPE) {
            return Err(TokenFault::WrongPurpose);
        }
        if header.alg != ALGORITHM {
            return Err(TokenFault::BadSignature);
        }
        let kid = header.kid.ok_or(TokenFault::Malformed)?;
        let key = ring.verifying(&kid).ok_or(TokenFault::BadSignature)?;
        let claims = self.claims(token, key)?;
        if claims.client_id != CLIENT {
            return Err(TokenFault::WrongPurpose);
        }
        judge_times(&claims, now)?;
        let subject = TokenSubject::of(&claims)?;
        let expires_at = DateTime::from_timestamp(claims.exp, 0).ok_or(TokenFault::Malformed)?;
        Ok(Verified { kid: kid.into(), subject, expires_at })
    }

    /// Checks the signature, then reads the claims.
    #[allow(clippy::disallowed_methods, reason = "the one place where tokens are decoded")]
    fn claims(&self, token: &str, key: &DecodingKey) -> Result<Claims, TokenFault> {
        let decoded = jsonwebtoken::decode::<Claims>(token, key, &self.validation);
        decoded.map(|data| data.claims).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => TokenFault::BadSignature,
            ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => TokenFault::WrongPurpose,
            _ => TokenFault::Malformed,
        })
    }
}

/// Reads the header by hand: the library takes headers this bank never writes, and ignores `crit`.
fn header(token: &str) -> Result<Header, TokenFault> {
    let mut parts = token.split('.');
    let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(TokenFault::Malformed);
    };
    let json = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenFault::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenFault::Malformed)
}

#[cfg(test)]
mod tests;
