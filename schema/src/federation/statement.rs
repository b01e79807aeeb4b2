//! What a gateway states about the caller of a subgraph, signed.
//!
//! A JSON Web Signature in compact form (RFC 7515), `EdDSA` with Ed25519 (RFC 8037). It holds for one subgraph, one request
//! body and half a minute, so that whoever sees one can at most repeat the call it was made for. A subgraph believes nothing
//! about its caller that is not in it.

use std::collections::HashMap;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use vostro_kernel::{Actor, Role};

/// `alg` and `typ`; `kid` is the gateway's name.
const ALGORITHM: &str = "EdDSA";
const TYPE: &str = "vostro-caller+jwt";

/// How long a statement holds. As long as a call may take on its way, no longer.
const LIFE: TimeDelta = TimeDelta::seconds(30);
/// The longest life that is believed: gateways that are not ours may be more generous, within reason.
const LONGEST_LIFE: i64 = 60;
/// How far clocks of honest machines are apart, in seconds.
const LEEWAY: i64 = 5;
/// Longer texts are not looked at. A statement has about 600 letters.
const LONGEST: usize = 4096;

/// Who calls, under which correlation, and how long the gateway waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// A person or nobody: no gateway can act as the bank itself.
    pub actor: Actor,
    pub correlation_id: Uuid,
    /// W3C trace context of the call.
    pub traceparent: Option<String>,
    /// After how many milliseconds nobody waits for the answer any more.
    pub wait_ms: u64,
}

/// Why a statement proves nothing. The text is for the gateway's operator; no client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementFault {
    #[error("the call has no caller statement")]
    Missing,
    #[error("the caller statement is malformed")]
    Malformed,
    #[error("the caller statement is not signed by a gateway this process trusts (see federation.gateways)")]
    Forged,
    #[error("the caller statement is for another subgraph")]
    WrongAudience,
    #[error("the caller statement is for another request")]
    WrongBody,
    #[error("the caller statement has expired or is not valid yet: compare the clocks of the machines")]
    Expired,
}

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a signing key is 32 bytes in base64; make one with `vostro federation key`")]
    Signing,
    #[error("the public key of gateway {0} is not 32 bytes in base64")]
    Public(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    aud: String,
    iat: i64,
    exp: i64,
    /// SHA-256 of the request body, base64url.
    body: String,
    /// The correlation id.
    cid: Uuid,
    wait_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    /// The person; nobody is logged in without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Role>,
}

/// The key a gateway signs with.
pub struct GatewayKey {
    name: String,
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for GatewayKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl GatewayKey {
    /// The key of the gateway with this name, from 32 secret bytes in base64.
    ///
    /// # Errors
    /// [`KeyError::Signing`].
    pub fn new(name: impl Into<String>, secret: &str) -> Result<Self, KeyError> {
        let seed = STANDARD.decode(secret.trim()).map_err(|_| KeyError::Signing)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Signing)?;
        Ok(Self { name: name.into(), pair })
    }

    /// What subgraphs know the gateway by, in base64.
    pub fn public(&self) -> String {
        STANDARD.encode(self.pair.public_key().as_ref())
    }

    /// Signs a statement for one call of `audience` with this body.
    pub fn sign(&self, statement: &Statement, audience: &str, body: &[u8], now: DateTime<Utc>) -> String {
        let header = Header { alg: ALGORITHM.to_owned(), typ: TYPE.to_owned(), kid: self.name.clone() };
        let actor = &statement.actor;
        let claims = Claims {
            aud: audience.to_owned(),
            iat: now.timestamp(),
            exp: (now + LIFE).timestamp(),
            body: digest(body),
            cid: statement.correlation_id,
            wait_ms: statement.wait_ms,
            traceparent: statement.traceparent.clone(),
            sub: actor.id,
            sid: actor.session,
            roles: actor.roles.iter().collect(),
        };
        let mut text = encoded(&header) + "." + &encoded(&claims);
        let signature = self.pair.sign(text.as_bytes());
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut text);
        text
    }
}

/// The gateways a process answers, by their names.
#[derive(Debug, Clone, Default)]
pub struct TrustedGateways(HashMap<String, [u8; 32]>);

impl TrustedGateways {
    /// Takes names and public keys in base64.
    ///
    /// # Errors
    /// [`KeyError::Public`] with the name.
    pub fn new<'a>(gateways: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, KeyError> {
        let keys = gateways.into_iter().map(|(name, key)| {
            let bytes = STANDARD.decode(key.trim()).ok().and_then(|bytes| bytes.try_into().ok());
            bytes.map(|bytes| (name.to_owned(), bytes)).ok_or_else(|| KeyError::Public(name.to_owned()))
        });
        keys.collect::<Result<_, _>>().map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the gateway states about this call of `audience` with this body.
    ///
    /// # Errors
    /// [`StatementFault`]; the call is answered with none of what it asks for then.
    pub fn verify(
        &self,
        text: &str,
        audience: &str,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Statement, StatementFault> {
        if text.len() > LONGEST {
            return Err(StatementFault::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(StatementFault::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(StatementFault::Malformed)?;
        let header: Header = decoded(header)?;
        if header.alg != ALGORITHM || header.typ != TYPE {
            return Err(StatementFault::Malformed);
        }
        let key = self.0.get(&header.kid).ok_or(StatementFault::Forged)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| StatementFault::Malformed)?;
        UnparsedPublicKey::new(&ED25519, key)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| StatementFault::Forged)?;
        let claims: Claims = decoded(claims)?;
        claims.judge(audience, body, now.timestamp())?;
        Ok(Statement {
            actor: claims.actor()?,
            correlation_id: claims.cid,
            traceparent: claims.traceparent.filter(|text| vostro_messaging::trace::is_valid(text)),
            wait_ms: claims.wait_ms,
        })
    }
}

impl Claims {
    fn judge(&self, audience: &str, body: &[u8], now: i64) -> Result<(), StatementFault> {
        if self.aud != audience {
            return Err(StatementFault::WrongAudience);
        }
        let life = self.exp.checked_sub(self.iat).filter(|life| (1..=LONGEST_LIFE).contains(life));
        if life.is_none() {
            return Err(StatementFault::Malformed);
        }
        if self.iat > now + LEEWAY || self.exp <= now - LEEWAY {
            return Err(StatementFault::Expired);
        }
        if self.body != digest(body) {
            return Err(StatementFault::WrongBody);
        }
        Ok(())
    }

    fn actor(&self) -> Result<Actor, StatementFault> {
        match self.sub {
            Some(id) => Ok(Actor::person(id, self.roles.iter().copied().collect(), self.sid)),
            None if self.sid.is_none() && self.roles.is_empty() => Ok(Actor::ANONYMOUS),
            // Roles of nobody.
            None => Err(StatementFault::Malformed),
        }
    }
}

fn digest(body: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(body))
}

fn encoded(value: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).expect("strings and numbers can be written as JSON"))
}

fn decoded<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, StatementFault> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| StatementFault::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| StatementFault::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;
    const BODY: &[u8] = br#"{"query":"{ me { id } }"}"#;

    fn key(name: &str, byte: u8) -> GatewayKey {
        GatewayKey::new(name, &STANDARD.encode([byte; 32])).expect("a key")
    }

    fn trusted(keys: &[&GatewayKey]) -> TrustedGateways {
        let keys: Vec<_> = keys.iter().map(|key| (key.name.clone(), key.public())).collect();
        TrustedGateways::new(keys.iter().map(|(name, key)| (name.as_str(), key.as_str()))).expect("public keys")
    }

    fn statement(roles: &[Role]) -> Statement {
        let (user, session) = (Uuid::from_u128(1), Uuid::from_u128(2));
        Statement {
            actor: Actor::person(user, roles.iter().copied().collect(), Some(session)),
            correlation_id: Uuid::from_u128(3),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
            wait_ms: 5_000,
        }
    }

    #[test]
    fn a_statement_is_read_as_it_was_signed() {
        let gateway = key("main", 1);
        let anonymous = Statement { actor: Actor::ANONYMOUS, traceparent: None, ..statement(&[]) };
        for statement in [statement(&[Role::Operator, Role::Customer]), statement(&[]), anonymous] {
            let text = gateway.sign(&statement, "account", BODY, NOW);
            assert_eq!(trusted(&[&gateway]).verify(&text, "account", BODY, NOW), Ok(statement));
        }
    }

    #[test]
    fn a_statement_holds_for_one_subgraph_one_body_and_a_short_time() {
        let gateway = key("main", 1);
        let text = gateway.sign(&statement(&[]), "account", BODY, NOW);
        let verify = |audience, body, seconds| {
            trusted(&[&gateway]).verify(&text, audience, body, NOW + TimeDelta::seconds(seconds)).err()
        };
        assert_eq!(verify("account", BODY, 34), None);
        assert_eq!(verify("account", BODY, 35), Some(StatementFault::Expired));
        assert_eq!(verify("account", BODY, -6), Some(StatementFault::Expired));
        assert_eq!(verify("auth", BODY, 0), Some(StatementFault::WrongAudience));
        assert_eq!(verify("account", b"{}", 0), Some(StatementFault::WrongBody));
    }

    #[test]
    fn only_a_gateway_that_is_trusted_by_its_name_is_believed() {
        let (main, other) = (key("main", 1), key("other", 2));
        let impostor = key("main", 2);
        let verify = |by: &GatewayKey, trusted: &TrustedGateways| {
            trusted.verify(&by.sign(&statement(&[Role::Admin]), "account", BODY, NOW), "account", BODY, NOW).err()
        };
        assert_eq!(verify(&main, &trusted(&[&main, &other])), None);
        assert_eq!(verify(&other, &trusted(&[&main])), Some(StatementFault::Forged));
        assert_eq!(verify(&impostor, &trusted(&[&main, &other])), Some(StatementFault::Forged));
        assert_eq!(verify(&main, &TrustedGateways::default()), Some(StatementFault::Forged));
    }

    #[test]
    fn a_statement_that_was_changed_proves_nothing() {
        let gateway = key("main", 1);
        let text = gateway.sign(&statement(&[Role::Customer]), "account", BODY, NOW);
        let parts: Vec<&str> = text.split('.').collect();
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).expect("base64")).expect("JSON");
        let promoted = URL_SAFE_NO_PAD.encode(claims.replace("CUSTOMER", "OPERATOR"));
        let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"vostro-caller+jwt","kid":"main"}"#);
        let critical = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","typ":"vostro-caller+jwt","kid":"main","crit":["x"]}"#);
        let cases = [
            (format!("{}.{promoted}.{}", parts[0], parts[2]), StatementFault::Forged),
            (format!("{unsigned}.{}.", parts[1]), StatementFault::Malformed),
            (format!("{critical}.{}.{}", parts[1], parts[2]), StatementFault::Malformed),
            (format!("{}.{}", parts[0], parts[1]), StatementFault::Malformed),
            (String::new(), StatementFault::Malformed),
            ("x".repeat(5_000), StatementFault::Malformed),
        ];
        for (changed, fault) in cases {
            assert_eq!(trusted(&[&gateway]).verify(&changed, "account", BODY, NOW).err(), Some(fault), "{changed}");
        }
    }

    #[test]
    fn roles_of_nobody_and_long_lives_are_malformed() {
        let gateway = key("main", 1);
        let claims = |change: &[(&str, serde_json::Value)]| {
            let text = gateway.sign(&statement(&[Role::Admin]), "account", BODY, NOW);
            let parts: Vec<&str> = text.split('.').collect();
            let bytes = URL_SAFE_NO_PAD.decode(parts[1]).expect("base64");
            let mut claims: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
            for (name, value) in change {
                claims[*name] = value.clone();
            }
            let signed = format!("{}.{}", parts[0], encoded(&claims));
            let signature = URL_SAFE_NO_PAD.encode(gateway.pair.sign(signed.as_bytes()));
            trusted(&[&gateway]).verify(&format!("{signed}.{signature}"), "account", BODY, NOW).err()
        };
        assert_eq!(claims(&[]), None);
        assert_eq!(claims(&[("sub", serde_json::Value::Null)]), Some(StatementFault::Malformed));
        assert_eq!(claims(&[("exp", 61.into())]), Some(StatementFault::Malformed));
        assert_eq!(claims(&[("exp", i64::MIN.into()), ("iat", i64::MAX.into())]), Some(StatementFault::Malformed));
        assert_eq!(claims(&[("roles", serde_json::json!(["SYSTEM"]))]), Some(StatementFault::Malformed));
    }

    #[test]
    fn keys_that_are_none_are_refused_by_name() {
        assert_eq!(GatewayKey::new("main", "c2hvcnQ=").err(), Some(KeyError::Signing));
        assert_eq!(GatewayKey::new("main", "not base64").err(), Some(KeyError::Signing));
        assert_eq!(TrustedGateways::new([("main", "c2hvcnQ=")]).err(), Some(KeyError::Public("main".to_owned())));
    }
}
