//! Questions between modules, for what cannot be known from events ([`vostro_events::query`]).
//!
//! Asking is at most once and never changes anything: a question that got no answer in time has an unknown fate, and may be
//! asked again. Every question has a deadline that travels with it. The caller stops waiting at it, the broker and the
//! callee drop what has passed it, and a reply that comes later is counted and thrown away.
//!
//! - [`Asking`] is the caller's side: typed, behind a [`Breaker`] per callee, so that a callee that does not answer costs
//!   its callers one deadline and not one per request. What to do without an answer is the caller's decision.
//! - [`Callee`] is the other side: who may ask what follows from the manifests' `calls` and `serves`.
//! - The wire between the two is behind [`Caller`]; the `rabbitmq` crate implements it and runs the callee.

mod asking;
mod breaker;
mod callee;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use asking::{AskError, Asking};
pub use breaker::{Breaker, BreakerState};
pub use callee::{Asked, Callee, RespondError, Responder, respond_to};

/// A question on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Tells its reply from others.
    pub id: Uuid,
    pub query: &'static str,
    /// The module that is to answer.
    pub callee: &'static str,
    /// After this nobody waits for the answer.
    pub deadline: DateTime<Utc>,
    /// JSON.
    pub body: Vec<u8>,
    /// W3C trace context of what it is asked for.
    pub traceparent: Option<String>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// JSON.
    Answered(Vec<u8>),
    /// The callee will not answer this, however often it is asked; with its reason.
    Refused(String),
    /// The callee could not answer this time. Why is in its own log.
    Failed,
}

/// Why there is no reply. The callee may or may not have seen the question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection, connection lost, or the broker takes no messages.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// Nobody answers such questions: the callee's release or the topology is too old. Known at once.
    #[error("no queue takes the question")]
    Unroutable,
    #[error("no reply before the deadline")]
    DeadlineExceeded,
}

/// The wire on the caller's side.
#[async_trait]
pub trait Caller: Send + Sync + 'static {
    /// Sends a question and waits for its reply, until its deadline at the longest.
    ///
    /// # Errors
    /// [`CallError`].
    async fn call(&self, request: Request) -> Result<Reply, CallError>;
}
