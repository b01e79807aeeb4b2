//! Sequenced parking: an event that cannot be handled waits in the subscriber's database, and everything of its key waits
//! behind it, in order. Other keys go on.
//!
//! - The [`Consumer`](crate::Consumer) parks the key of an event that fails and keeps later events of parked keys behind it.
//! - The [`RetryWorker`] tries the first event of each key again, less and less often, and at last quarantines the key.
//! - An operator looks and decides at the [`ParkingDesk`] of a module, or at those of all modules: [`ParkingDesks`].
//!
//! A key is the events' partition key: what a producer keeps together travels in one slot, in order, and so it is parked
//! together. Presence of a `parked_message` row is the state: it goes in the transaction that holds the effect. With
//! [`InboxMode::Rows`](crate::InboxMode::Rows) the inbox row is written when the event is parked, so that a redelivery is
//! recognised from then on.
//!
//! What keeps the order while a key is released: adding behind a key and releasing it both lock the key's row. Whoever
//! adds first makes the release see one more message; whoever releases first has the effect committed.

mod desk;
mod desk_error;
mod desks;
mod known;
mod reason;
mod redact;
mod refusal;
mod request;
mod schedule;
mod select;
pub(crate) mod store;
mod worker;

pub(crate) use desk::authorised;
pub use desk::{ApprovalPolicy, Decision, ParkedMessage, ParkedPayload, ParkingDesk, Selection};
pub use desk_error::DeskError;
pub use desks::ParkingDesks;
pub(crate) use known::KnownParked;
pub(crate) use reason::reason_of;
pub use reason::{ParkedState, ReasonCode};
pub use redact::redacted;
pub(crate) use refusal::{Refusing, recorded, tell_refused_in_tx};
pub use request::{ParkingAction, ParkingRequest, RequestState};
pub use schedule::RetrySchedule;
pub use worker::RetryWorker;

/// How many keys of a module are parked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ParkedKeys {
    /// Those that are tried again by themselves.
    pub waiting: i64,
    /// Those that wait for somebody to decide.
    pub quarantined: i64,
}

/// What is parked in one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParkedCounts {
    /// Keys that are tried again by themselves.
    pub waiting: i64,
    /// Keys that wait for somebody to decide.
    pub quarantined: i64,
    /// When the oldest of those that are tried again was parked.
    pub oldest: Option<chrono::DateTime<chrono::Utc>>,
    /// Whether the inbox has rows: where the handler needs none, they are of events that were given up.
    pub(crate) given_up: bool,
}
