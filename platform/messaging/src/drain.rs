use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::fault::jitter;
use crate::lease::{Fence, LeaseLost};
use crate::parking::ReasonCode;
use crate::{Broker, Deliveries, InboundMessage, Intake, crash, decode};

/// Moves what the broker has dead-lettered for one subscription to the parked messages, quarantined, so that there is one
/// place to look, with a reason to read. Two kinds of messages come this way: those nobody can read, and those that ended
/// the process each time they were handled.
pub struct DeadLetterDrain {
    intake: Arc<Intake>,
    broker: Arc<dyn Broker>,
    fence: Fence,
}

impl DeadLetterDrain {
    const PREFETCH: u16 = 16;

    pub fn new(intake: Arc<Intake>, broker: Arc<dyn Broker>) -> Self {
        Self { intake, broker, fence: Fence::none() }
    }

    /// Under this lease.
    #[must_use]
    pub fn under(self, fence: Fence) -> Self {
        Self { fence, ..self }
    }

    /// Drains until `stop` is cancelled, or the lease is lost.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = Duration::from_millis(200);
        while !stop.is_cancelled() {
            match self.broker.consume(&self.intake.subscription.dead_letter_queue(), Self::PREFETCH).await {
                Ok(deliveries) => {
                    pause = Duration::from_millis(200);
                    tokio::select! {
                        drained = self.drain(deliveries) => if drained.is_err() { return },
                        () = stop.cancelled() => return,
                    }
                }
                Err(error) => {
                    debug!(subscription = self.intake.group, %error, "waiting for the broker");
                    tokio::select! {
                        () = tokio::time::sleep(jitter(pause)) => {}
                        () = stop.cancelled() => return,
                    }
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    async fn drain(&self, mut deliveries: Box<dyn Deliveries>) -> Result<(), LeaseLost> {
        while let Some(delivery) = deliveries.next().await {
            while let Err(error) = self.keep(&delivery.message).await {
                self.intake.hold(&error).await?;
            }
            crash::point(crash::DRAINED, &self.intake.group);
            if deliveries.ack_through(delivery.tag).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// A message that can be read came here because handling it ended the process: of its events, those that were
    /// applied meanwhile are done, the others are kept, each under its key.
    async fn keep(&self, message: &InboundMessage) -> sqlx::Result<()> {
        const REASON: &str = "delivered again and again without being handled to the end";
        let _parking = self.intake.parked.parking();
        let mut transaction = self.fence.begin(&self.intake.pool).await?;
        match decode(message) {
            Err(reason) => {
                let code = ReasonCode::from(&reason);
                self.intake.park_unreadable_in_tx(&mut transaction, message, code, &reason.to_string()).await?;
            }
            Ok(mut events) => {
                self.intake.reader.leave_other_versions(&mut events);
                // Keys are locked in order, as everywhere. The sort is stable: a key's events keep theirs.
                events.sort_by_key(|event| event.envelope.partition_key);
                for events in events.chunk_by(|a, b| a.envelope.partition_key == b.envelope.partition_key) {
                    let events = events.iter().collect();
                    self.intake.park_in_tx(&mut transaction, events, ReasonCode::CrashLoop, REASON).await?;
                }
            }
        }
        transaction.commit().await
    }
}
