use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vostro_kernel::{Clock, SystemClock};
use vostro_messaging::parking::ParkedCounts;
use vostro_messaging::{
    BoundHandler, Consumer, ConsumptionSwitch, DeadLetterDrain, Handler, Incoming, Intake, RetrySchedule, RetryWorker,
    Subscription,
};

use crate::{Database, Queue};

/// A subscription that consumes, as in the bank: batches, inbox, parking; its queue is in memory.
///
/// A test ends it with [`Self::leaves_nothing_behind`], or with [`Self::leaves_parked`] where something is meant to stay.
/// One that does neither fails: what nobody looked at may be a message that nobody handled.
pub struct Consuming {
    queue: Queue,
    intake: Arc<Intake>,
    handler: Arc<dyn Handler>,
    stop: CancellationToken,
    consumer: Option<JoinHandle<()>>,
    ended: bool,
}

impl Consuming {
    /// Starts consuming for a subscription of the module whose database this is.
    pub fn start(database: &Database, bound: &BoundHandler) -> Self {
        Self::start_at(database, bound, Arc::new(SystemClock))
    }

    /// The same with a clock the test controls: parked keys are due when it says so.
    pub fn start_at(database: &Database, bound: &BoundHandler, clock: Arc<dyn Clock>) -> Self {
        Self::on(Queue::default(), database, &bound.subscription, Arc::clone(&bound.handler), clock)
    }

    /// One more instance on the same queue, which it takes over.
    pub fn on(
        queue: Queue,
        database: &Database,
        subscription: &Subscription,
        handler: Arc<dyn Handler>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let foundation = database.foundation_at(clock);
        let intake =
            Intake::new(subscription.clone(), &foundation, RetrySchedule::default(), ConsumptionSwitch::default());
        let mut consuming =
            Self { queue, intake, handler, stop: CancellationToken::new(), consumer: None, ended: false };
        consuming.go_on();
        consuming
    }

    /// Consumes again after [`Self::pause`].
    pub fn go_on(&mut self) {
        self.stop = CancellationToken::new();
        let consumer = Consumer::new(Arc::clone(&self.intake), Arc::clone(&self.handler), Arc::new(self.queue.clone()));
        self.consumer = Some(tokio::spawn(consumer.run(self.stop.clone())));
    }

    /// Stops taking messages; a batch in progress is finished.
    pub async fn pause(&mut self) {
        self.stop.cancel();
        if let Some(consumer) = self.consumer.take() {
            consumer.await.expect("the consumer ends without a panic");
        }
    }

    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    pub const fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// Puts events into the queue and waits until each is handled or parked.
    pub async fn take(&self, events: &[Incoming]) {
        for event in events {
            self.queue.publish(event);
        }
        self.queue.settled().await;
    }

    /// Tries the parked keys again whose time has come, and says how many attempts that were.
    pub async fn retry_due(&self) -> usize {
        let worker = RetryWorker::new(Arc::clone(&self.intake), Arc::clone(&self.handler));
        worker.retry_due().await.expect("the database answers")
    }

    /// Takes over what is in a dead-letter queue, all of it.
    pub async fn drain(&self, dead_letters: &Queue) {
        let drain = DeadLetterDrain::new(Arc::clone(&self.intake), Arc::new(dead_letters.clone()));
        let stop = CancellationToken::new();
        let draining = tokio::spawn(drain.run(stop.clone()));
        dead_letters.settled().await;
        stop.cancel();
        draining.await.expect("the drain ends without a panic");
    }

    pub async fn parked(&self) -> ParkedCounts {
        self.intake.look().await.expect("the database answers")
    }

    /// Ends it.
    ///
    /// # Panics
    /// When a delivery is not acknowledged, a message was rejected, a key is parked, or an event is in the outbox that the
    /// test has not taken with [`Database::take_published`].
    pub async fn leaves_nothing_behind(mut self, database: &Database) {
        self.end().await;
        let parked = self.parked().await;
        assert_eq!((parked.waiting, parked.quarantined), (0, 0), "keys are parked");
        assert_eq!(self.queue.unsettled(), 0, "deliveries are not acknowledged");
        assert_eq!(self.queue.rejected(), [], "messages were rejected");
        let unpublished =
            database.outbox_events().await.into_iter().map(|(envelope, _)| envelope.event_type.to_string());
        assert_eq!(unpublished.collect::<Vec<_>>(), Vec::<String>::new(), "events nobody expected wait in the outbox");
    }

    /// Ends it with exactly this many keys parked, waiting and quarantined.
    ///
    /// # Panics
    /// When there are others, or when a delivery is not acknowledged.
    pub async fn leaves_parked(mut self, waiting: i64, quarantined: i64) {
        self.end().await;
        let parked = self.parked().await;
        assert_eq!((parked.waiting, parked.quarantined), (waiting, quarantined), "waiting and quarantined keys");
        assert_eq!(self.queue.unsettled(), 0, "deliveries are not acknowledged");
    }

    async fn end(&mut self) {
        self.ended = true;
        self.pause().await;
    }
}

impl Drop for Consuming {
    fn drop(&mut self) {
        self.stop.cancel();
        assert!(
            self.ended || std::thread::panicking(),
            "end the test with leaves_nothing_behind or leaves_parked: something may be left"
        );
    }
}
