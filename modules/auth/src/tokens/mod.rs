//! Access tokens: RFC 9068 JWTs signed with ES256, issued here, verified here and nowhere else.

mod claims;
mod fault;
mod issuer;
mod key_pair;
mod key_ring;
mod revocations;
mod verifier;

pub use fault::TokenFault;
pub use key_ring::JWKS_MAX_AGE_SECONDS;
pub use verifier::{TokenVerifier, VerifiedToken};

pub(crate) use claims::TokenSubject;
pub(crate) use issuer::Issuer;
pub(crate) use key_pair::KeyPair;
pub(crate) use key_ring::{KeyRing, RingKey};
pub(crate) use revocations::Revocations;
