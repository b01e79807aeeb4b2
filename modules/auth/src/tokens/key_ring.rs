use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::{DecodingKey, EncodingKey};
use secrecy::{ExposeSecret as _, SecretSlice};
use serde_json::json;

use super::key_pair::coordinates;
use crate::AuthError;
use crate::domain::KeyState;

/// How long whoever verifies tokens elsewhere may cache the key set, in seconds.
pub const JWKS_MAX_AGE_SECONDS: u32 = 600;

/// A key as it is stored; the private half is there for the key that signs only.
pub(crate) struct RingKey {
    pub(crate) kid: String,
    pub(crate) state: KeyState,
    pub(crate) public: Vec<u8>,
    pub(crate) private: Option<SecretSlice<u8>>,
}

/// The keys this process knows. Read on every request, replaced when the stored keys have changed.
#[derive(Clone, Default)]
pub(crate) struct KeyRing(Arc<RwLock<Arc<Ring>>>);

/// One generation of the keys.
pub(crate) struct Ring {
    signing: Option<(String, EncodingKey)>,
    verifying: HashMap<String, DecodingKey>,
    jwks: Arc<str>,
}

impl Default for Ring {
    fn default() -> Self {
        Self { signing: None, verifying: HashMap::new(), jwks: json!({"keys": []}).to_string().into() }
    }
}

impl KeyRing {
    /// Takes over the stored keys.
    ///
    /// # Errors
    /// [`AuthError::Crypto`] when a stored public key is none.
    pub(crate) fn replace(&self, keys: &[RingKey]) -> Result<(), AuthError> {
        let ring = Arc::new(Ring::of(keys)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ring;
        Ok(())
    }

    pub(super) fn current(&self) -> Arc<Ring> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The key set for `/.well-known/jwks.json`: every key a valid token may be signed with, now and next.
    pub(crate) fn jwks(&self) -> Arc<str> {
        Arc::clone(&self.current().jwks)
    }

    /// The id of the key that signs.
    pub(crate) fn signing_kid(&self) -> Option<String> {
        self.current().signing.as_ref().map(|(kid, _)| kid.clone())
    }
}

impl Ring {
    fn of(keys: &[RingKey]) -> Result<Self, AuthError> {
        let mut ring = Self::default();
        let mut published = Vec::with_capacity(keys.len());
        for key in keys {
            let (x, y) = coordinates(&key.public).ok_or(AuthError::Crypto("a stored public key is no point"))?;
            published.push(json!({
                "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": key.kid,
            }));
            // The next key verifies already: an instance that has rotated earlier may have signed with it.
            ring.verifying.insert(key.kid.clone(), DecodingKey::from_ec_der(&key.public));
            if let (KeyState::Active, Some(private)) = (key.state, &key.private) {
                ring.signing = Some((key.kid.clone(), EncodingKey::from_ec_der(private.expose_secret())));
            }
        }
        ring.jwks = json!({ "keys": published }).to_string().into();
        Ok(ring)
    }

    pub(super) fn signing(&self) -> Option<(&str, &EncodingKey)> {
        self.signing.as_ref().map(|(kid, key)| (kid.as_str(), key))
    }

    pub(super) fn verifying(&self, kid: &str) -> Option<&DecodingKey> {
        self.verifying.get(kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::KeyPair;

    fn ring_key(state: KeyState) -> RingKey {
        let pair = KeyPair::generate().expect("a key pair");
        let private = (state == KeyState::Active).then_some(pair.private);
        RingKey { kid: pair.kid, state, public: pair.public, private }
    }

    #[test]
    fn the_key_set_shows_the_public_halves_of_all_keys_and_nothing_else() {
        let keys = [ring_key(KeyState::Active), ring_key(KeyState::Next), ring_key(KeyState::Retired)];
        let ring = KeyRing::default();
        ring.replace(&keys).expect("keys");
        let set: serde_json::Value = serde_json::from_str(&ring.jwks()).expect("JSON");
        let set = set["keys"].as_array().expect("a list").clone();
        assert_eq!(set.len(), 3);
        for (shown, key) in set.iter().zip(&keys) {
            assert_eq!(shown["kid"], key.kid.as_str());
            assert_eq!(shown["d"], serde_json::Value::Null, "no private half");
            assert_eq!(shown.as_object().map(serde_json::Map::len), Some(7));
        }
        assert_eq!(ring.signing_kid(), Some(keys[0].kid.clone()));
    }

    #[test]
    fn an_empty_ring_signs_and_verifies_nothing() {
        let ring = KeyRing::default();
        assert_eq!(ring.signing_kid(), None);
        assert!(ring.current().verifying("x").is_none());
        assert_eq!(&*ring.jwks(), r#"{"keys":[]}"#);
    }
}
