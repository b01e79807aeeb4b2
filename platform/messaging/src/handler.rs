use std::borrow::Cow;

use async_trait::async_trait;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::{DomainEvent, Envelope};

/// An event as a handler receives it.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub envelope: Envelope,
    /// The data, exactly as it was written by the producer.
    pub data: Box<RawValue>,
}

impl Incoming {
    /// Whether this is an event of the given type, such as `UserRegisteredV1::TYPE`.
    pub fn is(&self, event_type: &str) -> bool {
        self.envelope.event_type.as_str() == event_type
    }

    /// Reads the data as the event it should be.
    ///
    /// # Errors
    /// [`HandlerError::Invalid`] naming this event: its key will be quarantined and the rest of the batch goes on.
    pub fn decode<E: DomainEvent>(&self) -> Result<E, HandlerError> {
        serde_json::from_str(self.data.get()).map_err(|error| self.invalid(error.to_string()))
    }

    /// This event cannot be handled, ever.
    pub fn invalid(&self, reason: impl Into<String>) -> HandlerError {
        HandlerError::Invalid { event: self.envelope.id, reason: reason.into() }
    }

    /// This event cannot be handled yet: something it needs is not there.
    pub fn blocked(&self, reason: impl Into<String>) -> HandlerError {
        HandlerError::Blocked { event: self.envelope.id, reason: reason.into() }
    }
}

/// Why a batch was not handled. The transaction is rolled back in every case.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// Permanent: one event of the batch can never be handled. Its key is quarantined with the reason, the other keys are
    /// tried again at once.
    #[error("event {event} is invalid: {reason}")]
    Invalid { event: Uuid, reason: String },
    /// One event of the batch needs something that is not there yet. Its key is parked and tried again later, the other
    /// keys at once.
    #[error("event {event} is blocked: {reason}")]
    Blocked { event: Uuid, reason: String },
    /// The database did not do its part; tried again, and parked when that does not help.
    #[error("database")]
    Database(#[from] sqlx::Error),
    /// Anything else that may pass by itself; tried again, and parked when that does not help.
    #[error("{0}")]
    Transient(String),
}

impl HandlerError {
    /// Which kind of failure it is, without anything that an event or the database said.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "an event of the batch is invalid",
            Self::Blocked { .. } => "an event of the batch is blocked",
            Self::Database(_) => "the database did not do its part",
            Self::Transient(_) => "a failure that may pass",
        }
    }
}

/// What to do once the effects are durable: wake somebody who waits, tell a live subscriber. Never anything that must
/// not be lost, because the process may end between the commit and this.
pub type AfterCommit = Option<Box<dyn FnOnce() + Send>>;

/// The effect of a subscription's events on its module.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Brings what the events need from elsewhere, before the transaction begins: no lock is held while it takes. What was
    /// handled before may be among them.
    ///
    /// # Errors
    /// [`HandlerError`]; nothing of the batch takes effect then.
    async fn prepare<'a>(&self, batch: Cow<'a, [Incoming]>) -> Result<Cow<'a, [Incoming]>, HandlerError> {
        Ok(batch)
    }

    /// Applies a batch, in order, in the given transaction. Events the subscription has already handled are not in it
    /// (with [`crate::InboxMode::Rows`]). Must not do anything outside the transaction.
    ///
    /// # Errors
    /// [`HandlerError`]; nothing of the batch takes effect then.
    async fn handle_in_tx(
        &self,
        connection: &mut PgConnection,
        batch: &[Incoming],
    ) -> Result<AfterCommit, HandlerError>;
}
