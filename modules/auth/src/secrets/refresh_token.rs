use std::fmt;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::AuthError;

/// An opaque refresh token: 256 random bits behind a prefix that tells what it is, to people, to secret scanners, and
/// to the verifier of access tokens.
#[derive(Clone)]
pub(crate) struct RefreshToken(SecretString);

impl RefreshToken {
    pub(crate) const PREFIX: &'static str = "vrt_";
    const BYTES: usize = 32;

    /// # Errors
    /// [`AuthError::Crypto`] when the machine has no randomness to give.
    pub(crate) fn fresh() -> Result<Self, AuthError> {
        let mut bytes = [0_u8; Self::BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| AuthError::Crypto("no randomness"))?;
        Ok(Self(format!("{}{}", Self::PREFIX, URL_SAFE_NO_PAD.encode(bytes)).into()))
    }

    /// Reads what somebody presents; `None` when it cannot be one.
    pub(crate) fn parse(presented: &SecretString) -> Option<Self> {
        let text = presented.expose_secret();
        let encoded = text.strip_prefix(Self::PREFIX)?;
        // Bounded before decoding: 32 bytes are 43 letters.
        if encoded.len() != 43 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        (bytes.len() == Self::BYTES).then(|| Self(presented.clone()))
    }

    /// What is stored. A fast digest is enough for 256 bits that nobody can guess.
    pub(crate) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.expose_secret()).into()
    }

    pub(crate) fn into_secret(self) -> SecretString {
        self.0
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_has_one_digest() {
        let token = RefreshToken::fresh().expect("randomness");
        let read = RefreshToken::parse(&token.0).expect("a token");
        assert_eq!(read.digest(), token.digest());
        assert_ne!(RefreshToken::fresh().expect("randomness").digest(), token.digest());
    }

    #[test]
    fn what_cannot_be_a_token_is_none() {
        let letters = "A".repeat(43);
        let texts = [
            String::new(),
            "vrt_".into(),
            letters.clone(),
            format!("vrt_{letters}A"),
            format!("VRT_{letters}"),
            format!("vrt_{}", "!".repeat(43)),
            format!("vrt_{} ", "A".repeat(42)),
        ];
        for text in texts {
            assert!(RefreshToken::parse(&text.as_str().into()).is_none(), "{text:?}");
        }
        assert!(RefreshToken::parse(&format!("vrt_{letters}").into()).is_some());
    }

    #[test]
    fn a_token_is_not_printed() {
        let token = RefreshToken::fresh().expect("randomness");
        assert_eq!(format!("{token:?}"), "RefreshToken(hidden)");
    }
}
