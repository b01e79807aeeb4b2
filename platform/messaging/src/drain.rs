use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::dead_letter::{self, NewDeadLetter, ReasonCode};
use crate::fault::{jitter, until_database_answers};
use crate::{Broker, Deliveries, InboundMessage, InboxMode, Subscription, decode, inbox, wire};

/// Moves what the broker has dead-lettered for one subscription into the module's own dead-letter table, so that there
/// is one place to look, with a reason to read.
pub struct DeadLetterDrain {
    subscription: Subscription,
    pool: PgPool,
    broker: Arc<dyn Broker>,
}

impl DeadLetterDrain {
    const PREFETCH: u16 = 16;

    pub fn new(subscription: Subscription, pool: PgPool, broker: Arc<dyn Broker>) -> Self {
        Self { subscription, pool, broker }
    }

    /// Drains until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = Duration::from_millis(200);
        while !stop.is_cancelled() {
            match self.broker.consume(&self.subscription.dead_letter_queue(), Self::PREFETCH).await {
                Ok(deliveries) => {
                    pause = Duration::from_millis(200);
                    tokio::select! {
                        () = self.drain(deliveries) => {}
                        () = stop.cancelled() => return,
                    }
                }
                Err(error) => {
                    debug!(subscription = self.subscription.group(), %error, "waiting for the broker");
                    tokio::select! {
                        () = tokio::time::sleep(jitter(pause)) => {}
                        () = stop.cancelled() => return,
                    }
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    async fn drain(&self, mut deliveries: Box<dyn Deliveries>) {
        while let Some(delivery) = deliveries.next().await {
            while let Err(error) = self.keep(&delivery.message).await {
                warn!(subscription = self.subscription.group(), %error, "cannot keep a dead letter yet; holding it");
                until_database_answers(&self.pool).await;
                tokio::time::sleep(jitter(Duration::from_millis(200))).await;
            }
            if deliveries.ack_through(delivery.tag).await.is_err() {
                return;
            }
        }
    }

    /// A message that can be read came here because handling it ended the process: of its events, those that were
    /// applied meanwhile are done, the others are kept.
    async fn keep(&self, message: &InboundMessage) -> sqlx::Result<()> {
        let group = self.subscription.group();
        let mut transaction = self.pool.begin().await?;
        match decode(message) {
            Err(reason) => {
                let code = ReasonCode::from(&reason);
                let reason = reason.to_string();
                error!(subscription = group, reason, "an unreadable message is kept as a dead letter");
                let letter = NewDeadLetter { subscription: &group, event: None, code, reason: &reason, message };
                dead_letter::insert_in_tx(&mut transaction, letter).await?;
            }
            Ok(events) => {
                let ids = events.iter().map(|event| event.envelope.id).collect::<Vec<_>>();
                let open = inbox::claim_in_tx(&mut transaction, &group, &ids).await?;
                let unknown_state = self.subscription.inbox == InboxMode::Handler;
                for event in events.iter().filter(|event| unknown_state || open.contains(&event.envelope.id)) {
                    error!(subscription = group, event = %event.envelope.id, "an event that ends the process is set aside");
                    let letter = NewDeadLetter {
                        subscription: &group,
                        event: Some((event.envelope.id, event.envelope.event_type.as_str())),
                        code: ReasonCode::CrashLoop,
                        reason: "delivered again and again without being handled to the end",
                        message: &wire::alone(event),
                    };
                    dead_letter::insert_in_tx(&mut transaction, letter).await?;
                }
            }
        }
        transaction.commit().await
    }
}
