use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngCore as _;
use sha2::{Digest as _, Sha256};

/// The passwords of the bank's users at the broker, by role (a module's name, `monitor`, `operator`). Its `Debug` output
/// holds none.
#[derive(Clone, Default)]
pub struct Passwords(BTreeMap<String, String>);

impl Passwords {
    pub fn of(&self, role: &str) -> Option<&str> {
        self.0.get(role).map(String::as_str)
    }
}

impl FromIterator<(String, String)> for Passwords {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(passwords: T) -> Self {
        Self(passwords.into_iter().collect())
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// How the broker keeps passwords: base64 of a salt and of SHA-256 over salt and password.
pub(crate) const ALGORITHM: &str = "rabbit_password_hashing_sha256";
/// The hash of a user who cannot log in with any password.
pub(crate) const NO_PASSWORD: &str = "";
/// Bytes.
const SALT: usize = 4;

/// A password as the broker keeps it, with a random salt.
pub(crate) fn hash(password: &str) -> String {
    let mut salt = [0; SALT];
    rand::rng().fill_bytes(&mut salt);
    STANDARD.encode([salt.as_slice(), &digest(salt, password)].concat())
}

/// Whether this is the hash of the password.
pub(crate) fn is_hash_of(hash: &str, password: &str) -> bool {
    let Ok(bytes) = STANDARD.decode(hash) else { return false };
    let Some((salt, digested)) = bytes.split_first_chunk::<SALT>() else { return false };
    digested == digest(*salt, password).as_slice()
}

fn digest(salt: [u8; SALT], password: &str) -> Vec<u8> {
    Sha256::new().chain_update(salt).chain_update(password).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_its_password_and_of_no_other() {
        let hashed = hash("geheim");
        assert!(is_hash_of(&hashed, "geheim"));
        assert!(!is_hash_of(&hashed, "Geheim"));
        assert_ne!(hash("geheim"), hashed, "the salt is random");
        for wrong in [NO_PASSWORD, "!", "AAAA"] {
            assert!(!is_hash_of(wrong, "geheim"), "{wrong:?}");
        }
    }

    #[test]
    fn the_hash_is_the_one_that_the_brokers_documentation_computes() {
        // Salt 908D C60A and password "test12", from the chapter on passwords of RabbitMQ's documentation.
        assert!(is_hash_of("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "test12"));
    }

    #[test]
    fn debug_output_names_the_roles_and_no_password() {
        let passwords: Passwords = [("account".to_owned(), "geheim".to_owned())].into_iter().collect();
        assert_eq!(format!("{passwords:?}"), "{\"account\"}");
        assert_eq!((passwords.of("account"), passwords.of("auth")), (Some("geheim"), None));
    }
}
