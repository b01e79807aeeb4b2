use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use vostro_messaging::rpc::{Callee, Reply};

use super::wire::{self, REPLIES, Received, queue_of};
use crate::Supervisor;
use crate::message::short;
use crate::session::Session;

/// Questions that are worked on at the same time; the others wait in the queue, where they expire.
const CONCURRENT: u16 = 16;
const PAUSE: Duration = Duration::from_millis(250);
/// How long answers that were begun are waited for when the bank stops: a question may have hours.
const FINISH: Duration = Duration::from_secs(5);

/// Answers the questions in a module's queue until `stop` is cancelled; those that were begun are answered first, if that
/// takes no longer than five seconds. The others go back to the queue.
///
/// Replies travel on another connection than the questions, so that a broker that takes no messages does not keep
/// acknowledgements from it.
pub async fn serve(callee: Arc<Callee>, questions: Supervisor, replies: Supervisor, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let desk = tokio::select! {
            desk = Desk::open(&callee, &questions, &replies) => desk,
            () = stop.cancelled() => return,
        };
        match desk {
            Ok(desk) => desk.run(&stop).await,
            Err(reason) => debug!(callee = callee.module(), reason, "questions wait for the broker"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// One consumer with a way to send replies.
struct Desk {
    callee: Arc<Callee>,
    consumer: Consumer,
    line: Arc<Line>,
}

/// What answering one question needs.
struct Line {
    vhost: String,
    user: String,
    asking: Channel,
    replying: Channel,
    /// The broker has closed the channel for replies, which it does when their exchange is missing.
    mute: CancellationToken,
    questions: Arc<Session>,
    replies: Arc<Session>,
}

impl Desk {
    async fn open(callee: &Arc<Callee>, questions: &Supervisor, replies: &Supervisor) -> Result<Self, String> {
        let endpoint = replies.endpoint();
        let (vhost, user) = (endpoint.vhost().to_owned(), endpoint.user().to_owned());
        let replies = replies.session().await?;
        let replying = replies.open_channel().await?;
        let session = questions.session().await?;
        let asking = session.open_channel().await?;
        session.demand("setting the prefetch", asking.basic_qos(CONCURRENT, BasicQosOptions::default())).await?;
        let queue = short(&queue_of(callee.module()))?;
        let consume = asking.basic_consume(queue.clone(), queue, BasicConsumeOptions::default(), FieldTable::default());
        // A missing or forbidden queue ends this channel alone.
        let consumer = session.attempt(consume).await?.map_err(|error| error.to_string())?;
        let line = Arc::new(Line {
            vhost,
            user,
            asking,
            replying,
            mute: CancellationToken::new(),
            questions: session,
            replies,
        });
        Ok(Self { callee: Arc::clone(callee), consumer, line })
    }

    async fn run(mut self, stop: &CancellationToken) {
        let mut answering = JoinSet::new();
        loop {
            let item = tokio::select! {
                item = self.consumer.next() => item,
                () = self.line.questions.over() => None,
                () = self.line.replies.over() => None,
                () = self.line.mute.cancelled() => None,
                () = stop.cancelled() => None,
                Some(_) = answering.join_next(), if !answering.is_empty() => continue,
            };
            let Some(Ok(delivery)) = item else { break };
            let (callee, line) = (Arc::clone(&self.callee), Arc::clone(&self.line));
            answering.spawn(async move { line.answer(&callee, delivery).await });
        }
        let line = &self.line;
        let begun = async { while answering.join_next().await.is_some() {} };
        // Over a broken connection nothing can be replied or acknowledged: those questions come again.
        tokio::select! {
            () = begun => {}
            () = tokio::time::sleep(FINISH) => warn!(callee = self.callee.module(), "answers that take too long are given up"),
            () = line.questions.over() => {}
            () = line.replies.over() => {}
            () = line.mute.cancelled() => {}
        }
        answering.shutdown().await;
        // Unused questions go back to the queue with the channel, for another instance or the next connection.
        let _ = line.questions.attempt(line.asking.close(200, "done".into())).await;
        let _ = line.replies.attempt(line.replying.close(200, "done".into())).await;
    }
}

impl Line {
    async fn answer(&self, callee: &Callee, delivery: Delivery) {
        let Some(Received { asked, correlation_id, reply_to }) =
            wire::received(&delivery.properties, delivery.data, &self.vhost)
        else {
            warn!(callee = callee.module(), "a message that is no question");
            let reject = self.asking.basic_reject(delivery.delivery_tag, BasicRejectOptions { requeue: false });
            let _ = self.questions.attempt(reject).await;
            return;
        };
        if let Some(reply) = callee.answer(asked).await
            && let Err(reason) = self.reply(reply, correlation_id, reply_to).await
        {
            debug!(callee = callee.module(), reason, "a reply was not sent");
            if !self.replying.status().connected() {
                // The question goes back to the queue, for a desk that can reply.
                self.mute.cancel();
                return;
            }
        }
        // Also without a reply: nobody waits for a second one. A crash before this has the question answered again.
        let ack = self.asking.basic_ack(delivery.delivery_tag, BasicAckOptions::default());
        let _ = self.questions.attempt(ack).await;
    }

    /// Not confirmed and not mandatory: a caller who is gone needs no reply, one who is there asks again.
    async fn reply(&self, reply: Reply, correlation_id: ShortString, reply_to: ShortString) -> Result<(), String> {
        let (properties, body) = wire::reply(reply, correlation_id, &self.user)?;
        let options = BasicPublishOptions::default();
        let publish = self.replying.basic_publish(REPLIES.into(), reply_to, options, &body, properties);
        self.replies.attempt(publish).await?.map(drop).map_err(|error| error.to_string())
    }
}
