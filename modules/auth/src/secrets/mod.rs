//! Cryptography at rest: what is stored sealed, what is stored as a digest, and where secrets come from.

mod hashing;
mod refresh_token;
mod vault;

pub(crate) use hashing::{Passwords, Verdict};
pub(crate) use refresh_token::RefreshToken;
pub(crate) use vault::{Cell, Vault};
