//! What tests of modules stand on: a database of their own, events to feed a handler or a whole consumer, and the outbox
//! to look into; manifests, and certificates where connections are encrypted.
//!
//! Needs a PostgreSQL server in `VOSTRO_TEST_DATABASE_URL` whose role may create databases; `make test` provides it.

mod authority;
mod consuming;
mod database;
mod delivery;
mod manifest;
mod pages;
mod proxy;
mod queue;
mod redis;
mod waiting;
mod wire;

pub use authority::{Authority, Issued};
pub use consuming::Consuming;
pub use database::Database;
pub use delivery::{deliver, incoming, incoming_caused_by, incoming_in_two_versions, reason_for_refusing};
pub use manifest::manifest;
pub use pages::walked_both_ways;
pub use proxy::{Moment, Proxy};
pub use queue::Queue;
pub use redis::Redis;
pub use waiting::eventually;
pub use wire::{Wire, WireMood};
