use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vostro_kernel::ids::IdKind;
use vostro_kernel::{Actor, Role, Roles};

use super::TokenFault;

/// `typ` of access tokens (RFC 9068 §2.1), compared exactly.
pub(super) const TYPE: &str = "at+jwt";
/// The only algorithm.
pub(super) const ALGORITHM: &str = "ES256";
/// RFC 9068 wants to know which client asked; the bank has one, its own.
pub(super) const CLIENT: &str = "vostro";
/// How far clocks of honest machines are apart, in seconds.
pub(super) const LEEWAY: i64 = 5;
/// The longest life the verifier believes, in seconds: no key of this bank signs a longer one.
pub(super) const LONGEST_LIFE: i64 = 15 * 60;

const SESSION_PREFIX: &str = "ses_";

/// The whole protected header: what else there may be in a header is refused, `crit`, `jwk`, `jku` and `x5u` included.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) typ: Option<String>,
    pub(super) alg: String,
    pub(super) kid: Option<String>,
}

/// The claims. Each is required and has exactly one type; `nbf` is not issued, and respected if it is there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) aud: String,
    pub(super) sub: String,
    pub(super) client_id: String,
    pub(super) sid: String,
    pub(super) jti: Uuid,
    pub(super) iat: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<i64>,
    pub(super) exp: i64,
    pub(super) roles: Vec<Role>,
}

/// Whom a token speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenSubject {
    pub(crate) user_id: Uuid,
    pub(crate) session_id: Uuid,
    pub(crate) roles: Roles,
}

impl TokenSubject {
    pub(super) fn sub(&self) -> String {
        IdKind::User.encode(self.user_id)
    }

    pub(super) fn sid(&self) -> String {
        format!("{SESSION_PREFIX}{}", self.session_id.as_hyphenated())
    }

    pub(super) fn of(claims: &Claims) -> Result<Self, TokenFault> {
        let user_id = IdKind::User.decode(&claims.sub).map_err(|_| TokenFault::Malformed)?;
        let session_id = claims
            .sid
            .strip_prefix(SESSION_PREFIX)
            .and_then(|text| Uuid::try_parse(text).ok())
            .ok_or(TokenFault::Malformed)?;
        Ok(Self { user_id, session_id, roles: claims.roles.iter().copied().collect() })
    }

    /// The actor, with the roles the person has by now.
    pub(super) fn actor(&self, roles: Roles) -> Actor {
        Actor::person(self.user_id, roles, Some(self.session_id))
    }
}

/// Checks the times of a token at `now` (seconds since 1970).
pub(super) fn judge_times(claims: &Claims, now: i64) -> Result<(), TokenFault> {
    let life = claims.exp.checked_sub(claims.iat).filter(|life| (1..=LONGEST_LIFE).contains(life));
    if life.is_none() {
        return Err(TokenFault::Malformed);
    }
    if claims.iat > now + LEEWAY || claims.nbf.is_some_and(|nbf| nbf > now + LEEWAY) {
        return Err(TokenFault::NotYetValid);
    }
    judge_expiry(claims.exp, now)
}

pub(super) fn judge_expiry(exp: i64, now: i64) -> Result<(), TokenFault> {
    if exp <= now - LEEWAY { Err(TokenFault::Expired) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(iat: i64, nbf: Option<i64>, exp: i64) -> Claims {
        let subject = TokenSubject { user_id: Uuid::nil(), session_id: Uuid::nil(), roles: Roles::NONE };
        Claims {
            iss: String::new(),
            aud: String::new(),
            sub: subject.sub(),
            client_id: CLIENT.to_owned(),
            sid: subject.sid(),
            jti: Uuid::nil(),
            iat,
            nbf,
            exp,
            roles: vec![],
        }
    }

    #[test]
    fn a_token_lives_from_its_issue_to_its_expiry_with_a_little_leeway() {
        let judge = |now| judge_times(&claims(1000, None, 1600), now);
        assert_eq!(judge(994), Err(TokenFault::NotYetValid));
        assert_eq!(judge(995), Ok(()));
        assert_eq!(judge(1604), Ok(()));
        assert_eq!(judge(1605), Err(TokenFault::Expired));
    }

    #[test]
    fn a_token_that_starts_later_is_not_valid_yet() {
        assert_eq!(judge_times(&claims(1000, Some(1100), 1600), 1094), Err(TokenFault::NotYetValid));
        assert_eq!(judge_times(&claims(1000, Some(1100), 1600), 1095), Ok(()));
    }

    #[test]
    fn lives_this_bank_does_not_give_are_malformed() {
        for (iat, exp) in [(1000, 1000), (1000, 999), (1000, 1901), (i64::MIN, i64::MAX), (i64::MAX, i64::MIN)] {
            assert_eq!(judge_times(&claims(iat, None, exp), 1000), Err(TokenFault::Malformed), "{iat} {exp}");
        }
        assert_eq!(judge_times(&claims(1000, None, 1900), 1000), Ok(()));
    }

    #[test]
    fn a_subject_is_read_back() {
        let claims = claims(0, None, 1);
        assert_eq!(TokenSubject::of(&claims).map(|subject| subject.user_id), Ok(Uuid::nil()));
        for sid in ["", "ses_", "ses_x", "00000000-0000-0000-0000-000000000000"] {
            let other = Claims { sid: sid.to_owned(), sub: claims.sub.clone(), ..self::claims(0, None, 1) };
            assert_eq!(TokenSubject::of(&other), Err(TokenFault::Malformed));
        }
    }
}
