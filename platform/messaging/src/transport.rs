//! What messaging asks of a broker. Implemented by the `rabbitmq` crate.

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::{Frame, InboundMessage};

/// Why a frame is not known to be safe with the broker. The outbox row stays in every case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No connection, connection lost, or no confirm within the deadline: unknown outcome.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// The broker answered with a negative acknowledgement.
    #[error("the broker refused the message")]
    Refused,
    /// No queue took the message and the exchange has no alternate: the topology is broken.
    #[error("no queue is bound for {routing_key} on {exchange}")]
    Unroutable { exchange: String, routing_key: String },
}

/// The broker cannot be consumed from just now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot consume: {0}")]
pub struct TransportError(pub String);

/// Resolves when the broker has answered for every frame of one [`Publisher::send`], one result per frame in order.
pub type Confirms = BoxFuture<'static, Vec<Result<(), PublishError>>>;

#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Writes the frames to the broker in order and returns without waiting for confirms. Frames of a later call are
    /// written after those of an earlier one.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`] when nothing could be written; the call waits a bounded time for a connection.
    async fn send(&self, frames: Vec<Frame>) -> Result<Confirms, PublishError>;

    /// Whether there is a connection. A broker that blocks publishers is reachable.
    fn is_reachable(&self) -> bool {
        true
    }
}

#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Starts consuming a queue with at most `prefetch` unacknowledged messages.
    ///
    /// # Errors
    /// [`TransportError`] when there is no connection or no such queue; the caller tries again later.
    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Deliveries>, TransportError>;

    /// Whether there is a connection.
    fn is_reachable(&self) -> bool {
        true
    }
}

/// The messages of one consumer on one connection. Dropping it returns what is unacknowledged to the queue.
#[async_trait]
pub trait Deliveries: Send {
    /// The next message; `None` when the consumer or its connection is gone and a new one has to be made.
    async fn next(&mut self) -> Option<Delivery>;
    /// A message that has already arrived, without waiting.
    fn next_ready(&mut self) -> Option<Delivery>;
    /// Acknowledges this and every earlier message of this consumer that is not settled yet.
    async fn ack_through(&mut self, tag: u64) -> Result<(), TransportError>;
    /// Sends one message to the dead-letter queue.
    async fn reject(&mut self, tag: u64) -> Result<(), TransportError>;
}

#[derive(Debug)]
pub struct Delivery {
    pub tag: u64,
    /// How often the message has been delivered before, without being acknowledged.
    pub delivery_count: u64,
    pub message: InboundMessage,
}
