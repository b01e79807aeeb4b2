//! Who somebody is and what they may do.
//!
//! People register and log in with a password; a login opens a session, which is a family of refresh tokens, each good
//! for one exchange; every exchange gives a short-lived, signed access token that every door of the bank checks with
//! [`TokenVerifier`], without asking the database. Staff have roles beside being people.
//!
//! [`Auth`] is the facade, with one method per use case; [`Config`] is how it is set up; [`manifest`] is what it is
//! to the other modules. The README next to this crate has the states, the invariants and the error codes.

mod config;
mod domain;
mod error;
mod facade;
mod manifest;
mod module;
mod publish;
mod respond;
mod secrets;
mod store;
mod tokens;

pub use config::Config;
pub use domain::{User, UserStatus};
pub use error::{AuthError, AuthErrorCode};
pub use facade::{
    Auth, KeyRotation, LoggedIn, NewStaff, ProfileChange, Registered, Registration, StaffEnsured, Tokens,
};
pub use manifest::manifest;
/// How secrets are handed over and, where it has to be, looked at.
pub use secrecy::{ExposeSecret, SecretString};
pub use tokens::{JWKS_MAX_AGE_SECONDS, TokenFault, TokenVerifier, VerifiedToken};

/// The tables of the module, in the schema `auth`.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/auth");
