//! The published language: every fact one module tells the others, one struct per event version.
//!
//! An event is frozen once released. A new optional field is a minor change of the same struct; anything else is a new
//! struct with the next version, published beside the old one until nobody subscribes to it. What keeps it so:
//!
//! - `schemas/`: what the owner writes today, closed; `samples/`: what must parse for ever;
//! - `released/<type>/<major>.<minor>.json`: what any release has written, never edited. A test proves that whatever this
//!   release needs for reading covers each of them;
//! - an [`Upcaster`] beside each struct that follows another, which reads data of the one before as its own;
//!   `upcasts/<type>/<case>.in.json` and `.out.json` are what goes in and must come out.
//!
//! On the wire an event is a [CloudEvent 1.0](https://cloudevents.io): the attributes are an [`Envelope`], the data is
//! one of these structs as JSON. `rabbitmq` maps both to AMQP.

pub mod account;
pub mod auth;
mod catalog;
pub mod command;
pub mod compliance;
mod dataref;
mod domain_event;
mod envelope;
pub mod notification;
pub mod operator;
pub mod query;
mod structured;
pub mod transaction;
mod upcast;
mod versions;

pub use catalog::{EventDescription, canonical_text, catalog};
pub use dataref::DataRef;
pub use domain_event::{DomainEvent, NextVersionOf};
pub use envelope::{Cause, Envelope, EventType, InvalidEventType};
pub use structured::{Undecodable, read_batch, read_structured, write_structured};
pub use upcast::{
    BrokenChain, Chain, MissingLink, NotUpcast, Upcaster, Upcasters, read_data, reads_all_history, upcasters,
};
pub use versions::{copy_of, identity_of, is_copy};
