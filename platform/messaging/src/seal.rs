use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
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

/// Keys for sealing that follow from one secret of any length (HKDF-SHA-256), one for each name.
pub(crate) struct SealKeys(Prk);

impl SealKeys {
    pub(crate) fn derive(secret: &str) -> Self {
        Self(Salt::new(HKDF_SHA256, b"vostro").extract(secret.as_bytes()))
    }

    pub(crate) fn key(&self, name: &[u8]) -> SealKey {
        let mut key = [0_u8; 32];
        let derived = self.0.expand(&[name], HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
        derived.expect("SHA-256 gives exactly 32 bytes");
        SealKey(RandomizedNonceKey::new(&AES_256_GCM, &key).expect("AES-256 takes 32 bytes"))
    }
}

/// Seals with AES-256-GCM and a random nonce each.
pub(crate) struct SealKey(RandomizedNonceKey);

impl SealKey {
    /// Nonce, ciphertext and tag. What is sealed for one `purpose` does not open for another.
    pub(crate) fn seal(&self, purpose: &[u8], mut text: Vec<u8>) -> Vec<u8> {
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(purpose), &mut text)
            .expect("a short text is within the limits of AES-GCM");
        [nonce.as_ref().as_slice(), &text].concat()
    }

    /// `None` for what was not sealed with this key for this purpose, or was changed since.
    pub(crate) fn open(&self, purpose: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        Some(self.0.open_in_place(nonce, Aad::from(purpose), &mut sealed).ok()?.to_vec())
    }
}

/// The key that seals contact data in events, each bound to the person's id. Held by the modules that write to people and by
/// nobody else; what the event store keeps is unreadable without it.
pub struct ContactKey(SealKey);

impl std::fmt::Debug for ContactKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContactKey")
    }
}

impl ContactKey {
    /// Derives the key from a secret of any length.
    pub fn derive(secret: &str) -> Self {
        Self(SealKeys::derive(secret).key(b"contact"))
    }

    /// Seals a contact for the person `owner`: base64 of nonce, ciphertext and tag.
    pub fn seal(&self, owner: Uuid, contact: &Contact) -> String {
        let text = serde_json::to_vec(contact).expect("two strings always serialise");
        STANDARD.encode(self.0.seal(owner.as_bytes(), text))
    }

    /// # Errors
    /// [`Unsealable`].
    pub fn open(&self, owner: Uuid, sealed: &str) -> Result<Contact, Unsealable> {
        let sealed = STANDARD.decode(sealed).map_err(|_| Unsealable)?;
        let text = self.0.open(owner.as_bytes(), &sealed).ok_or(Unsealable)?;
        serde_json::from_slice(&text).map_err(|_| Unsealable)
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

    /// What earlier releases have put into the archive is read for ever.
    #[test]
    fn a_contact_that_an_earlier_release_sealed_opens() {
        const SEALED: &str =
            "AAECAwQFBgcICQoLmZjHY7s6AeElTzxDRmGD3QLiJJaipRkZr59RuCykdM1DZDWi+PDMjNdb3r7Ga/fpfvfCoe4/h3yYRt2sSNVW";
        let owner = Uuid::from_u128(7);
        assert_eq!(ContactKey::derive("secret").open(owner, SEALED), Ok(contact()));
    }

    #[test]
    fn garbage_is_unsealable() {
        let key = ContactKey::derive("secret");
        for text in ["", "!", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(key.open(Uuid::nil(), text), Err(Unsealable));
        }
    }
}
