//! How events leave a module and enter another: the PostgreSQL side of messaging.
//!
//! The guarantee: *each committed event changes each subscriber's state exactly once, provided PostgreSQL keeps committed
//! data; delivery is at least once.* It rests on two rows. A state change and its events commit together
//! ([`Outbox::append_in_tx`]); a handler's effect and its [`inbox`] row commit together. Everything between the two may be
//! interrupted anywhere: the [`Relay`] publishes what is in the outbox until the broker has confirmed it, the
//! [`Consumer`] acknowledges after its commit.
//!
//! While the outbox is beyond its bound, commands are turned away: [`AdmissionGate`].
//!
//! Data that is too large to travel stays with its owner and is asked for: [`claim`].
//!
//! What cannot be handled waits in the subscriber's database, in order per key: [`parking`]. What is to be published later
//! waits in the publisher's: [`schedule`].
//!
//! What events cannot say is asked: [`rpc`].
//!
//! What a module keeps of others' events can be built again from the event store: [`Projection`], [`Rebuild`]. Operators
//! order that, and publishing once more, as jobs: [`maintenance`].
//!
//! Events of earlier versions are read as those a module knows: [`EventReader`].
//!
//! The broker itself is behind [`Publisher`] and [`Broker`]; the `rabbitmq` crate implements both.
//!
//! What was read a moment ago need not be read again by those who only look: [`EntityCache`].
//!
//! What a caller does not wait for any more is not done any more: [`cut_off_abandoned`], [`GroupCommit`].
//!
//! To consume events, a module
//! 1. declares a [`Subscription`] in its manifest,
//! 2. implements [`Handler`]: a batch of events in, the module's own SQL in the given transaction,
//! 3. hands both to the application, which runs a [`Consumer`] on whichever instance has the [`lease`] for its queue.

mod abandoned;
mod admission;
mod cache;
pub mod claim;
mod compression;
mod consumer;
mod consumption_desk;
pub mod crash;
mod drain;
mod fault;
mod feed;
mod frame;
mod group_commit;
mod handler;
mod hold;
pub mod inbox;
mod intake;
pub mod lease;
mod limits;
pub mod maintenance;
mod manifest;
mod module;
mod operation;
mod outbox;
pub mod parking;
mod projection;
mod read_ids;
mod reading;
mod rebuild;
mod relay;
pub mod rpc;
pub mod schedule;
mod seal;
mod switch;
pub mod trace;
mod transaction;
mod transport;
pub mod versions;
mod wire;

pub use abandoned::{NOTICES_HANG_UP, cut_off_abandoned};
pub use admission::{AdmissionBounds, AdmissionGate, AdmissionWatch};
pub use cache::{Caching, Changing, Entity, EntityCache, SharedEntity, SharedStore, UnknownAddress};
pub use consumer::Consumer;
pub use consumption_desk::ConsumptionDesk;
pub use drain::DeadLetterDrain;
pub use fault::may_pass;
pub use feed::{Company, Listener, LiveFeed, Look, Missed, UpdateKind};
pub use frame::{Frame, frames};
pub use group_commit::{Closed, GroupCommit};
pub use handler::{AfterCommit, Handler, HandlerError, Incoming};
pub use hold::PublishingHold;
pub use intake::Intake;
pub use limits::{EventTooLarge, JSON_DEPTH, MESSAGE_BYTES};
pub use manifest::{EventSelector, InboxMode, Manifest, Partitions, Subscription};
pub use module::{BoundHandler, Foundation, Module, StartError};
pub use operation::Operation;
pub use outbox::{NewEvent, Outbox, OutboxRow, OutboxStatus};
pub use parking::{RetrySchedule, RetryWorker};
pub use projection::{Comparison, Projection};
pub use reading::EventReader;
pub use rebuild::{EventSource, Rebuild, RebuildError, RebuildOptions, RebuildReport, SourceError};
pub use relay::Relay;
pub use schedule::{Appointment, Schedule, ScheduleWorker, ScheduledEvent};
pub use seal::{Contact, ContactKey, Unsealable};
pub use switch::{Consumption, ConsumptionSwitch};
pub use transaction::{begin, begin_with};
pub use transport::{Broker, Confirms, Deliveries, Delivery, PublishError, Publisher, TransportError};
pub use wire::{CONTENT_ENCODING, InboundMessage, OutboundMessage, SENDER, decode, encode};

/// Applied in every module's schema, with `search_path` set to it, before the module's own migrations.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");
