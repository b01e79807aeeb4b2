//! Proofs over the whole bank, on a real PostgreSQL and a real RabbitMQ. Each test has a database and a virtual host of
//! its own, so they run side by side and leave nothing behind.
//!
//! - `journeys`: what people do, through the public API;
//! - `crash`: what a seed after the other ends the bank at, and that everything adds up all the same;
//! - `failure`: what happens when something is killed, cut, doubled or poisoned;
//! - `federation`: the bank in several processes behind a gateway, ours and another;
//! - `contract`: what others rely on: event schemas, samples, SDL, definitions;
//! - `security`: tokens, roles, other people's objects;
//! - `architecture`: the boundaries, each with a violation its rule must catch.

mod architecture;
mod contract;
mod crash;
mod failure;
mod federation;
mod journeys;
mod security;
mod support;
