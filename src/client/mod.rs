//! A GraphQL client for the bank's own public API, as the demo, the benchmark and the journeys use it: one keep-alive
//! connection each, no retries, nothing hidden.

mod connection;
pub mod documents;

pub use connection::{ClientError, Connection};
