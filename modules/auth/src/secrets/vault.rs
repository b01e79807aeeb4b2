use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac};
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

use crate::AuthError;

/// What a sealed value is. Part of what is authenticated, so that a value cannot be moved to another column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    Email,
    DisplayName,
    SigningKey,
}

impl Cell {
    const fn column(self) -> &'static str {
        match self {
            Self::Email => "auth.user_account.sealed_email",
            Self::DisplayName => "auth.user_account.sealed_display_name",
            Self::SigningKey => "auth.signing_key.sealed_private_key",
        }
    }
}

/// The keys everything stored is protected with, each derived from the configured secret for one purpose
/// (HKDF-SHA-256): knowing one tells nothing about the others.
pub(crate) struct Vault {
    personal: RandomizedNonceKey,
    signing: RandomizedNonceKey,
    email_index: hmac::Key,
    throttle: hmac::Key,
    fingerprint: hmac::Key,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

/// A keyed digest.
pub(crate) type Digest = [u8; 32];

impl Vault {
    /// First byte of every sealed value, for the day the format changes.
    const FORMAT: u8 = 1;

    pub(crate) fn derive(secret: &SecretString) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"vostro.auth");
        let root = salt.extract(secret.expose_secret().as_bytes());
        let aead = |purpose| {
            let mut key = expand(&root, purpose);
            let sealing = RandomizedNonceKey::new(&AES_256_GCM, &key).expect("AES-256 takes 32 bytes");
            key.zeroize();
            sealing
        };
        let mac = |purpose| {
            let mut key = expand(&root, purpose);
            let mac = hmac::Key::new(hmac::HMAC_SHA256, &key);
            key.zeroize();
            mac
        };
        Self {
            personal: aead("personal"),
            signing: aead("signing"),
            email_index: mac("email-index"),
            throttle: mac("throttle"),
            fingerprint: mac("fingerprint"),
        }
    }

    /// Seals a value for the row it belongs to: format, nonce, ciphertext and tag.
    pub(crate) fn seal(&self, cell: Cell, row: &[u8], value: &[u8]) -> Vec<u8> {
        let mut text = value.to_vec();
        let nonce = self
            .key(cell)
            .seal_in_place_append_tag(Aad::from(associated(cell, row)), &mut text)
            .expect("a short text is within the limits of AES-GCM");
        [&[Self::FORMAT], nonce.as_ref().as_slice(), &text].concat()
    }

    /// # Errors
    /// [`AuthError::Sealed`] when it was sealed with another secret, for another row or column, or was changed.
    pub(crate) fn open(&self, cell: Cell, row: &[u8], sealed: &[u8]) -> Result<SecretSlice<u8>, AuthError> {
        self.open_bytes(cell, row, sealed).ok_or(AuthError::Sealed(cell.column()))
    }

    /// The same for text that is not secret to the process itself.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub(crate) fn open_text(&self, cell: Cell, row: &[u8], sealed: &[u8]) -> Result<String, AuthError> {
        let bytes = self.open(cell, row, sealed)?;
        String::from_utf8(bytes.expose_secret().to_vec()).map_err(|_| AuthError::Sealed(cell.column()))
    }

    fn open_bytes(&self, cell: Cell, row: &[u8], sealed: &[u8]) -> Option<SecretSlice<u8>> {
        let (&format, rest) = sealed.split_first()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        if format != Self::FORMAT {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let aad = Aad::from(associated(cell, row));
        let length = self.key(cell).open_in_place(nonce, aad, &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed.into())
    }

    /// What an e-mail address is found by.
    pub(crate) fn email_index(&self, email: &str) -> Digest {
        digest(&self.email_index, &[email])
    }

    /// What failed logins of an identifier are counted under.
    pub(crate) fn throttle_bucket(&self, identifier: &str) -> Digest {
        digest(&self.throttle, &[identifier])
    }

    /// Tells two inputs of a command apart without storing them.
    pub(crate) fn fingerprint(&self, parts: &[&str]) -> Digest {
        digest(&self.fingerprint, parts)
    }

    fn key(&self, cell: Cell) -> &RandomizedNonceKey {
        match cell {
            Cell::SigningKey => &self.signing,
            Cell::Email | Cell::DisplayName => &self.personal,
        }
    }
}

fn expand(root: &hkdf::Prk, purpose: &str) -> [u8; 32] {
    let mut key = [0_u8; 32];
    root.expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut key))
        .expect("SHA-256 gives exactly 32 bytes");
    key
}

fn associated(cell: Cell, row: &[u8]) -> Vec<u8> {
    [cell.column().as_bytes(), &[0], row].concat()
}

/// Every part is preceded by its length, so that no two lists of parts are the same bytes.
fn digest(key: &hmac::Key, parts: &[&str]) -> Digest {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut digest = [0_u8; 32];
    digest.copy_from_slice(context.sign().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(secret: &str) -> Vault {
        Vault::derive(&secret.into())
    }

    #[test]
    fn a_value_opens_in_its_own_cell_with_its_own_secret_only() {
        let one = vault("one");
        let sealed = one.seal(Cell::Email, b"row", b"ada@example.org");
        assert_eq!(one.open_text(Cell::Email, b"row", &sealed).expect("opens"), "ada@example.org");
        assert!(one.open(Cell::DisplayName, b"row", &sealed).is_err());
        assert!(one.open(Cell::Email, b"other", &sealed).is_err());
        assert!(vault("two").open(Cell::Email, b"row", &sealed).is_err());
    }

    #[test]
    fn a_changed_value_does_not_open() {
        let vault = vault("one");
        let sealed = vault.seal(Cell::SigningKey, b"kid", b"private");
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert!(vault.open(Cell::SigningKey, b"kid", &changed).is_err(), "byte {position}");
            assert!(vault.open(Cell::SigningKey, b"kid", &sealed[..position]).is_err(), "cut at {position}");
        }
    }

    #[test]
    fn digests_depend_on_purpose_secret_and_the_bounds_of_every_part() {
        let one = vault("one");
        assert_eq!(one.email_index("ada"), vault("one").email_index("ada"));
        assert_ne!(one.email_index("ada"), one.throttle_bucket("ada"));
        assert_ne!(one.email_index("ada"), vault("two").email_index("ada"));
        assert_ne!(one.fingerprint(&["ab", "c"]), one.fingerprint(&["a", "bc"]));
    }

    #[test]
    fn opening_errors_do_not_repeat_what_was_sealed() {
        let error = vault("one").open(Cell::Email, b"row", b"ada@example.org").expect_err("not sealed");
        assert!(!format!("{error:?} {error}").contains("ada"), "{error:?}");
    }
}
