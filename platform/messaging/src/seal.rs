use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How a person can be addressed. Personal data: it crosses the broker sealed, and is never logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    pub display_name: String,
    pub email: String,
}

impl std::fmt::Debug for Contact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contact(sealed)")
    }
}

/// The text was not sealed with this key for this person, or was changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed contact cannot be opened with this key")]
pub struct Unsealable;

/// The key that seals contact data in events (AES-256-GCM, a random nonce each, bound to the person's id). Held by the
/// modules that write to people and by nobody else; what the event store keeps is unreadable without it.
pub struct ContactKey(RandomizedNonceKey);

impl std::fmt::Debug for ContactKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContactKey")
    }
}

impl ContactKey {
    /// Derives the key from a secret of any length (HKDF-SHA-256).
    pub fn derive(secret: &str) -> Self {
        let mut key = [0_u8; 32];
        let salt = aws_lc_rs::hkdf::Salt::new(aws_lc_rs::hkdf::HKDF_SHA256, b"vostro");
        salt.extract(secret.as_bytes())
            .expand(&[b"contact"], aws_lc_rs::hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut key))
            .expect("SHA-256 gives exactly 32 bytes");
        Self(RandomizedNonceKey::new(&AES_256_GCM, &key).expect("AES-256 takes 32 bytes"))
    }

    /// Seals a contact for the person `owner`: base64 of nonce, ciphertext and tag.
    pub fn seal(&self, owner: Uuid, contact: &Contact) -> String {
        let mut text = serde_json::to_vec(contact).expect("two strings always serialise");
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(owner.as_bytes()), &mut text)
            .expect("a short text is within the limits of AES-GCM");
        STANDARD.encode([nonce.as_ref().as_slice(), &text].concat())
    }

    /// # Errors
    /// [`Unsealable`].
    pub fn open(&self, owner: Uuid, sealed: &str) -> Result<Contact, Unsealable> {
        let bytes = STANDARD.decode(sealed).map_err(|_| Unsealable)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or(Unsealable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable)?;
        let mut sealed = sealed.to_vec();
        let text = self.0.open_in_place(nonce, Aad::from(owner.as_bytes()), &mut sealed).map_err(|_| Unsealable)?;
        serde_json::from_slice(text).map_err(|_| Unsealable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact() -> Contact {
        Contact { display_name: "Ada".into(), email: "ada@example.org".into() }
    }

    #[test]
    fn a_contact_opens_with_its_key_for_its_owner_only() {
        let (key, owner) = (ContactKey::derive("secret"), Uuid::now_v7());
        let sealed = key.seal(owner, &contact());
        assert_eq!(key.open(owner, &sealed), Ok(contact()));
        assert_eq!(key.open(Uuid::now_v7(), &sealed), Err(Unsealable));
        assert_eq!(ContactKey::derive("other").open(owner, &sealed), Err(Unsealable));
    }

    #[test]
    fn sealing_twice_gives_different_texts() {
        let (key, owner) = (ContactKey::derive("secret"), Uuid::now_v7());
        assert_ne!(key.seal(owner, &contact()), key.seal(owner, &contact()));
    }

    #[test]
    fn garbage_is_unsealable() {
        let key = ContactKey::derive("secret");
        for text in ["", "!", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(key.open(Uuid::nil(), text), Err(Unsealable));
        }
    }
}
