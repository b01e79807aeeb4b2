use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions, QueueDeclareOptions};
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::runtime::Handle;
use tracing::debug;
use vostro_messaging::{Broker, Deliveries, Delivery, TransportError};

use crate::message::{incoming, short};
use crate::session::Session;
use crate::{ConnectionHealth, Supervisor};

/// A queue at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    /// Messages that wait for a consumer; those that one has taken and not settled yet are not counted.
    pub ready: u32,
    pub consumers: u32,
}

/// Consumes queues, each on a channel of its own.
pub struct AmqpBroker {
    supervisor: Supervisor,
}

impl AmqpBroker {
    pub fn new(supervisor: Supervisor) -> Self {
        Self { supervisor }
    }

    /// The connection it consumes on.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Asks a queue how full it is. Other than [`crate::ManagementClient`]'s figures this is exact at this moment.
    ///
    /// # Errors
    /// [`TransportError`] when there is no connection or no such queue.
    pub async fn depth(&self, queue: &str) -> Result<QueueDepth, TransportError> {
        self.ask(queue).await.map_err(TransportError)
    }

    async fn ask(&self, queue: &str) -> Result<QueueDepth, String> {
        let session = self.supervisor.session().await?;
        let channel = session.open_channel().await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declare = channel.queue_declare(short(queue)?, options, FieldTable::default());
        let queue = found(&session, queue, session.attempt(declare).await)?;
        Ok(QueueDepth { ready: queue.message_count(), consumers: queue.consumer_count() })
    }

    async fn open(&self, queue: &str, prefetch: u16) -> Result<AmqpDeliveries, String> {
        let session = self.supervisor.session().await?;
        let channel = session.open_channel().await?;
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        session.demand("setting the prefetch", qos).await?;
        let name = short(queue)?;
        let consume = channel.basic_consume(name.clone(), name, BasicConsumeOptions::default(), FieldTable::default());
        let consumer = found(&session, queue, session.attempt(consume).await)?;
        Ok(AmqpDeliveries {
            supervisor: self.supervisor.clone(),
            session,
            channel,
            consumer,
            settled: Settled::default(),
        })
    }
}

/// A missing or forbidden queue ends the channel it was asked for on, and the others on the connection live on. Any other
/// failure ends the connection.
fn found<T>(session: &Session, queue: &str, answer: Result<lapin::Result<T>, String>) -> Result<T, String> {
    let reason = match answer {
        Ok(Ok(found)) => return Ok(found),
        Ok(Err(error)) if error.is_amqp_soft_error() => return Err(format!("queue {queue}: {error}")),
        Ok(Err(error)) => format!("queue {queue}: {error}"),
        Err(reason) => format!("queue {queue}: {reason}"),
    };
    session.end(&*reason);
    Err(reason)
}

#[async_trait]
impl Broker for AmqpBroker {
    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Deliveries>, TransportError> {
        match self.open(queue, prefetch).await {
            Ok(deliveries) => Ok(Box::new(deliveries)),
            Err(reason) => Err(TransportError(reason)),
        }
    }

    fn is_reachable(&self) -> bool {
        !matches!(self.supervisor.health(), ConnectionHealth::Down(_))
    }
}

/// One consumer. The broker numbers the deliveries of a channel from 1 without gaps, and the channel has no other
/// consumer, so the tags of this one are gap-free.
///
/// lapin buffers what has arrived without a limit of its own; the prefetch is the limit.
struct AmqpDeliveries {
    /// Also keeps the connection open when the [`AmqpBroker`] is dropped first.
    supervisor: Supervisor,
    session: Arc<Session>,
    channel: Channel,
    consumer: Consumer,
    settled: Settled,
}

impl AmqpDeliveries {
    /// A consumer that ends on its own takes the connection with it: its queue was deleted or has lost its leader, or
    /// the connection is going down, and one way of starting over serves them all.
    fn received(&self, item: Option<lapin::Result<lapin::message::Delivery>>) -> Option<Delivery> {
        let reason = match item {
            Some(Ok(delivery)) => return Some(incoming(delivery, self.supervisor.endpoint().vhost())),
            Some(Err(error)) => error.to_string(),
            None => "cancelled by the broker".to_owned(),
        };
        self.session.end(format!("the consumer of {}: {reason}", self.consumer.queue()));
        None
    }

    /// Tags mean nothing on another connection than the one that gave them.
    fn live(&self) -> Result<(), TransportError> {
        if self.session.is_over() { Err(TransportError(self.session.reason())) } else { Ok(()) }
    }
}

#[async_trait]
impl Deliveries for AmqpDeliveries {
    async fn next(&mut self) -> Option<Delivery> {
        let item = tokio::select! {
            biased;
            () = self.session.over() => return None,
            item = self.consumer.next() => item,
        };
        self.received(item)
    }

    fn next_ready(&mut self) -> Option<Delivery> {
        if self.session.is_over() {
            return None;
        }
        let item = self.consumer.next().now_or_never()?;
        self.received(item)
    }

    async fn ack_through(&mut self, tag: u64) -> Result<(), TransportError> {
        self.live()?;
        if let Some(last) = self.settled.through(tag) {
            let ack = self.channel.basic_ack(last, BasicAckOptions { multiple: true });
            self.session.demand("acknowledging", ack).await.map_err(TransportError)?;
        }
        Ok(())
    }

    async fn reject(&mut self, tag: u64) -> Result<(), TransportError> {
        self.live()?;
        if self.settled.alone(tag) {
            let reject = self.channel.basic_reject(tag, BasicRejectOptions { requeue: false });
            self.session.demand("rejecting", reject).await.map_err(TransportError)?;
        }
        Ok(())
    }
}

impl Drop for AmqpDeliveries {
    /// Returns what is unacknowledged by closing the channel. Left to itself lapin would cancel the consumer first, and a
    /// consumer that is cancelled keeps its messages until its channel is closed: in between, the queue's next consumer
    /// would get later ones before them.
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let (session, channel, consumer) = (Arc::clone(&self.session), self.channel.clone(), self.consumer.clone());
        runtime.spawn(async move {
            let closed = session.attempt(channel.close(REPLY_SUCCESS, ShortString::from("OK"))).await;
            if !matches!(closed, Ok(Ok(()))) {
                debug!(queue = %consumer.queue(), "the channel was closed already");
            }
        });
    }
}

/// Which tags have been settled: the broker closes the channel when one is settled twice.
#[derive(Debug, Default)]
struct Settled {
    through: u64,
    /// Settled one by one, above `through`.
    alone: BTreeSet<u64>,
}

impl Settled {
    /// Settles everything up to `tag`; the tag to name to the broker, if anything is left to settle.
    fn through(&mut self, tag: u64) -> Option<u64> {
        let last = (self.through + 1..=tag).rev().find(|tag| !self.alone.contains(tag));
        self.through = self.through.max(tag);
        self.alone = self.alone.split_off(&(self.through + 1));
        last
    }

    /// Settles one tag; false when it was already.
    fn alone(&mut self, tag: u64) -> bool {
        tag > self.through && self.alone.insert(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_rejected_is_not_acknowledged_again() {
        let mut settled = Settled::default();
        assert!(settled.alone(3));
        assert!(settled.alone(5));
        assert_eq!(settled.through(3), Some(2));
        assert_eq!(settled.through(5), Some(4));
        assert_eq!(settled.through(5), None);
        assert!(!settled.alone(4));
        assert_eq!(settled.through(6), Some(6));
    }

    #[test]
    fn nothing_is_left_to_acknowledge_when_all_were_rejected() {
        let mut settled = Settled::default();
        assert!(settled.alone(1));
        assert!(!settled.alone(1));
        assert!(settled.alone(2));
        assert_eq!(settled.through(2), None);
    }
}
