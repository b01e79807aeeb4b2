use std::sync::Arc;

use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::types::ShortString;
use vostro_messaging::{Delivery, TransportError};

use crate::message::{incoming, short};
use crate::session::Session;
use crate::{AmqpBroker, Supervisor};

/// Takes messages out of a queue one by one, each settled on its own: for people who look into a queue nobody consumes.
/// What is not acknowledged goes back to its place when this is dropped.
pub struct Picker {
    /// Keeps the connection open.
    supervisor: Supervisor,
    session: Arc<Session>,
    channel: Channel,
    queue: String,
}

impl AmqpBroker {
    /// Begins to pick messages out of a queue.
    ///
    /// # Errors
    /// [`TransportError`] when there is no connection.
    pub async fn pick(&self, queue: &str) -> Result<Picker, TransportError> {
        let supervisor = self.supervisor().clone();
        let session = supervisor.session().await.map_err(TransportError)?;
        let channel = session.open_channel().await.map_err(TransportError)?;
        Ok(Picker { supervisor, session, channel, queue: queue.to_owned() })
    }
}

impl Picker {
    /// The next message; `None` when the queue has no other that is free.
    ///
    /// # Errors
    /// [`TransportError`] when the connection is lost, or the queue is missing or forbidden.
    pub async fn next(&mut self) -> Result<Option<Delivery>, TransportError> {
        let queue = short(&self.queue).map_err(TransportError)?;
        let get = self.channel.basic_get(queue, BasicGetOptions::default());
        let got = self.session.demand("getting a message", get).await.map_err(TransportError)?;
        Ok(got.map(|message| incoming(message.delivery, self.supervisor.endpoint().vhost())))
    }

    /// Puts back what is not acknowledged, and waits until it is in its place.
    ///
    /// # Errors
    /// [`TransportError`] when the connection is lost, with which it goes back as well.
    pub async fn release(self) -> Result<(), TransportError> {
        let close = self.channel.close(REPLY_SUCCESS, ShortString::from("OK"));
        self.session.demand("closing a channel", close).await.map_err(TransportError)
    }

    /// Removes one message for good.
    ///
    /// # Errors
    /// [`TransportError`] when the connection is lost; the message is in its place again then.
    pub async fn ack(&mut self, tag: u64) -> Result<(), TransportError> {
        let ack = self.channel.basic_ack(tag, BasicAckOptions::default());
        self.session.demand("acknowledging", ack).await.map_err(TransportError)
    }
}
