//! The published language: every fact one module tells the others, one struct per event version.
//!
//! An event is frozen once released. A new optional field is a minor change of the same struct; anything else is a new
//! struct with the next version, published beside the old one until nobody subscribes to it. The golden files under
//! `schemas/` (what a reader can rely on) and `samples/` (what must parse for ever) make a forgotten version visible.
//!
//! On the wire an event is a [CloudEvent 1.0](https://cloudevents.io): the attributes are an [`Envelope`], the data is
//! one of these structs as JSON. `rabbitmq` maps both to AMQP.

pub mod account;
pub mod auth;
mod catalog;
pub mod command;
pub mod compliance;
mod domain_event;
mod envelope;
pub mod notification;
mod structured;
pub mod transaction;

pub use catalog::{EventDescription, canonical_text, catalog};
pub use domain_event::DomainEvent;
pub use envelope::{Cause, Envelope, EventType, InvalidEventType};
pub use structured::{Undecodable, read_batch, read_structured, write_structured};
