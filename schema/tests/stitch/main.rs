//! The federation engine and the door over three tiny modules.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod conventions;
mod door_http;
mod door_more;
mod door_socket;
mod engine_defects;
mod errors;
mod federation;
mod fixture;
mod harness;
mod hostile;
mod introspection;
mod metrics;
mod paths;
mod planning;
mod pruning;
mod reading;
mod sdl;
mod subscriptions;
mod transport_defects;
