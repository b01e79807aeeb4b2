//! What one relay publishes, in which order, and what it leaves in the outbox.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_events::auth::UserRegisteredV1;
use vostro_events::read_structured;
use vostro_messaging::{
    Confirms, EventTooLarge, Frame, MESSAGE_BYTES, NewEvent, Outbox, Partitions, PublishError, Publisher,
    PublishingHold, Relay,
};
use vostro_testkit::{Database, eventually, incoming};

/// An aggregate and the number of an event of it.
type Numbered = (Uuid, i64);

/// A broker that writes down what it confirmed, and can be told to refuse a frame.
#[derive(Default)]
struct Exchange {
    confirmed: Mutex<Vec<Numbered>>,
    /// Counts down with each frame; the frame that brings it to zero is refused with those sent beside it after it.
    refuse_at: AtomicUsize,
}

impl Exchange {
    fn confirmed(&self) -> Vec<Numbered> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take(&self, frame: &Frame) {
        let numbered = frame.events.iter().map(|event| {
            let (envelope, _) = read_structured(event).expect("an event");
            (envelope.aggregate_id, envelope.sequence)
        });
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).extend(numbered);
    }
}

#[async_trait]
impl Publisher for Exchange {
    async fn send(&self, frames: Vec<Frame>) -> Result<Confirms, PublishError> {
        let mut refused = false;
        let results = frames
            .iter()
            .map(|frame| {
                let left = self.refuse_at.load(Ordering::Relaxed);
                self.refuse_at.store(left.saturating_sub(1), Ordering::Relaxed);
                refused |= left == 1;
                if refused {
                    return Err(PublishError::Unavailable("the broker is busy".to_owned()));
                }
                self.take(frame);
                Ok(())
            })
            .collect();
        Ok(Box::pin(async move { results }))
    }

    fn is_reachable(&self) -> bool {
        true
    }
}

struct Relaying {
    database: Database,
    outbox: Outbox,
    exchange: Arc<Exchange>,
    hold: PublishingHold,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Relaying {
    async fn start() -> Self {
        let database = Database::create("account", &sqlx::migrate::Migrator::DEFAULT).await;
        let (outbox, exchange, stop) = (Outbox::default(), Arc::new(Exchange::default()), CancellationToken::new());
        let pool = database.pool().clone();
        let relay = Relay::new("account", pool, outbox.clone(), exchange.clone(), Duration::ZERO, Partitions::ONE);
        let hold = PublishingHold::default();
        let task = tokio::spawn(relay.under(hold.clone()).run(stop.clone()));
        Self { database, outbox, exchange, hold, stop, task }
    }

    /// Writes one event of each in a transaction that is still open.
    async fn writes(&self, events: &[Numbered]) -> sqlx::Transaction<'static, sqlx::Postgres> {
        let mut tx = vostro_messaging::begin(self.database.pool()).await.expect("a transaction");
        self.outbox.append_in_tx(&mut tx, events.iter().copied().map(event).collect()).await.expect("written");
        tx
    }

    async fn commits(&self, events: &[Numbered]) {
        self.writes(events).await.commit().await.expect("committed");
        self.outbox.committed();
    }

    async fn until_confirmed(&self, events: usize) {
        eventually("they are confirmed", || async { (self.exchange.confirmed().len() >= events).then_some(()) }).await;
    }

    /// Stops the relay and returns what the broker has confirmed and how many rows are left.
    async fn stop(self) -> (Vec<Numbered>, i64) {
        self.stop.cancel();
        self.task.await.expect("the relay ends");
        let left = Outbox::status(self.database.pool()).await.expect("a status").rows;
        (self.exchange.confirmed(), left)
    }
}

fn event((aggregate, sequence): Numbered) -> NewEvent {
    let sample = include_str!("../../../events/samples/auth.user-registered.v1.json");
    let mut event: UserRegisteredV1 = serde_json::from_str(sample).expect("the sample fits");
    event.user_id = aggregate;
    let cause = incoming(&event, sequence).envelope.cause;
    NewEvent::new(Uuid::now_v7(), Utc::now(), sequence, cause, &event)
}

fn aggregates(count: usize) -> Vec<Numbered> {
    (0..count).map(|_| (Uuid::now_v7(), 1)).collect()
}

#[tokio::test]
async fn a_row_that_commits_late_is_published_before_what_its_aggregate_wrote_after_it() {
    let relaying = Relaying::start().await;
    let late = Uuid::now_v7();
    let open = relaying.writes(&[(late, 1)]).await;
    // More rows than fit into a window pass the one that is not committed.
    relaying.commits(&aggregates(1500)).await;
    relaying.until_confirmed(1500).await;
    open.commit().await.expect("committed");
    relaying.commits(&[(late, 2)]).await;
    relaying.until_confirmed(1502).await;
    let (confirmed, left) = relaying.stop().await;
    assert_eq!(confirmed[1500..], [(late, 1), (late, 2)]);
    assert_eq!(left, 0);
}

#[tokio::test]
async fn after_a_refusal_everything_from_the_refused_frame_on_is_published_again_and_nothing_before_it() {
    let relaying = Relaying::start().await;
    // A frame holds 64 events: the third of four is refused.
    relaying.exchange.refuse_at.store(3, Ordering::Relaxed);
    let events = aggregates(200);
    relaying.commits(&events).await;
    relaying.until_confirmed(200).await;
    assert_eq!(relaying.stop().await, (events, 0));
}

#[tokio::test]
async fn confirmed_rows_are_gone_when_the_relay_has_stopped() {
    let relaying = Relaying::start().await;
    relaying.commits(&aggregates(10)).await;
    relaying.until_confirmed(10).await;
    let (confirmed, left) = relaying.stop().await;
    assert_eq!((confirmed.len(), left), (10, 0));
}

#[tokio::test]
async fn an_event_that_nobody_would_take_is_refused_before_anything_is_committed() {
    let relaying = Relaying::start().await;
    let large = |sequence| {
        let envelope = event((Uuid::now_v7(), sequence)).envelope().clone();
        let data = serde_json::value::to_raw_value(&"x".repeat(MESSAGE_BYTES)).expect("a text");
        NewEvent::again(envelope, &data)
    };
    let mut transaction = vostro_messaging::begin(relaying.database.pool()).await.expect("a transaction");
    let events = vec![event((Uuid::now_v7(), 1)), large(1)];
    let refusal = relaying.outbox.append_in_tx(&mut transaction, events).await.expect_err("too large");
    let sqlx::Error::Encode(reason) = refusal else { panic!("{refusal}") };
    let reason = reason.downcast::<EventTooLarge>().expect("the reason");
    assert!(reason.to_string().starts_with("an event of type auth.user-registered.v1 has 1049"), "{reason}");
    // Even a caller who overlooks it has written nothing.
    transaction.commit().await.expect("committed");
    relaying.commits(&aggregates(1)).await;
    relaying.until_confirmed(1).await;
    let (confirmed, left) = relaying.stop().await;
    assert_eq!((confirmed.len(), left), (1, 0));
}

#[tokio::test]
async fn while_publishing_is_held_events_stay_in_the_outbox_and_afterwards_they_go_out_in_order() {
    let relaying = Relaying::start().await;
    relaying.commits(&aggregates(10)).await;
    relaying.until_confirmed(10).await;
    assert!(relaying.hold.set(true));
    let events = aggregates(100);
    relaying.commits(&events).await;
    // A window that was being read when the hold was set is published at most; nothing that is written later is.
    relaying.commits(&aggregates(1)).await;
    tokio::time::timeout(Duration::from_millis(600), relaying.until_confirmed(111)).await.expect_err("held");
    assert!(!relaying.hold.set(true), "it is set already");
    assert!(relaying.hold.set(false));
    relaying.until_confirmed(111).await;
    let (confirmed, left) = relaying.stop().await;
    assert_eq!((&confirmed[10..110], left), (events.as_slice(), 0));
}

#[tokio::test]
async fn a_relay_that_is_stopped_while_publishing_is_held_leaves_the_outbox_as_it_is() {
    let relaying = Relaying::start().await;
    relaying.hold.set(true);
    relaying.commits(&aggregates(10)).await;
    assert_eq!(relaying.stop().await, (Vec::new(), 10));
}
