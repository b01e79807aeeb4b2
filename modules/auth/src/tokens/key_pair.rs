use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretSlice;
use sha2::{Digest as _, Sha256};

use crate::AuthError;

/// A fresh key pair on P-256.
pub(crate) struct KeyPair {
    pub(crate) kid: String,
    /// Uncompressed point, 65 bytes.
    pub(crate) public: Vec<u8>,
    /// PKCS#8.
    pub(crate) private: SecretSlice<u8>,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl KeyPair {
    /// # Errors
    /// [`AuthError::Crypto`].
    pub(crate) fn generate() -> Result<Self, AuthError> {
        let failed = || AuthError::Crypto("a signing key cannot be generated");
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| failed())?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).map_err(|_| failed())?;
        let public = pair.public_key().as_ref().to_vec();
        let kid = thumbprint(&public).ok_or_else(failed)?;
        Ok(Self { kid, public, private: document.as_ref().to_vec().into() })
    }
}

/// The coordinates of an uncompressed point, each in base64url.
pub(super) fn coordinates(public: &[u8]) -> Option<(String, String)> {
    let (&[0x04], point) = public.split_first_chunk::<1>()? else { return None };
    let (x, y) = point.split_at_checked(32)?;
    (y.len() == 32).then(|| (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y)))
}

/// RFC 7638: the digest of the key's required members in their one canonical spelling.
fn thumbprint(public: &[u8]) -> Option<String> {
    let (x, y) = coordinates(public)?;
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    Some(URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::jwk::{Jwk, ThumbprintHash};

    #[test]
    fn the_key_id_is_the_thumbprint_another_implementation_computes() {
        let pair = KeyPair::generate().expect("a key pair");
        let (x, y) = coordinates(&pair.public).expect("a point");
        let jwk: Jwk = serde_json::from_value(serde_json::json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}))
            .expect("a JSON Web Key");
        assert_eq!(jwk.thumbprint(ThumbprintHash::SHA256).expect("a thumbprint"), pair.kid);
        assert_eq!(pair.kid.len(), 43);
    }

    #[test]
    fn what_is_no_uncompressed_point_has_no_coordinates() {
        assert_eq!(coordinates(&[]), None);
        assert_eq!(coordinates(&[2; 65]), None);
        assert_eq!(coordinates(&[4; 64]), None);
        assert_eq!(coordinates(&[4; 66]), None);
    }

    #[test]
    fn a_key_pair_prints_its_public_name_only() {
        let pair = KeyPair::generate().expect("a key pair");
        assert_eq!(format!("{pair:?}"), format!("KeyPair {{ kid: {:?}, .. }}", pair.kid));
    }
}
