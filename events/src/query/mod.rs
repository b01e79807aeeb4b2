//! What modules may ask each other: one struct per version of a question, one per answer.
//!
//! Asking is for what cannot be known from events: an authoritative "has this been decided?", or a comparison with data
//! that never leaves their owner. A question changes nothing, so one that got no answer can be asked again.
//!
//! Questions and answers live as long as the caller's patience, so other than events they need to be understood by the
//! release before and after this one only. Readers ignore fields they do not know; a new field is optional.

pub mod account;
pub mod auth;
mod catalog;
pub mod claim;

pub use catalog::{QueryDescription, queries};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// One version of one question.
pub trait Query: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// `<module>.<question>.v<major>`: the module is the one that answers.
    const TYPE: &'static str;
    type Answer: Serialize + DeserializeOwned + Send + Sync + 'static;
}

/// The module that answers questions of a type: its first word.
pub fn callee_of(query: &str) -> &str {
    query.split('.').next().unwrap_or_default()
}
