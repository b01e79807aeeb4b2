//! Several instances, one relay: every event is published, by one instance at a time, also when that one goes.

mod instance;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use instance::{Instance, owner_of, until};
use sqlx::postgres::PgListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_events::auth::UserRegisteredV1;
use vostro_messaging::lease::relay_whenever_held;
use vostro_messaging::{Confirms, Frame, NewEvent, Partitions, PublishError, Publisher, Relay};
use vostro_testkit::{Database, incoming};

/// For which instance an event was confirmed, and its bytes.
type Confirmed = (Uuid, Vec<u8>);

/// A broker that writes down what it confirmed, and for which instance.
#[derive(Clone, Default)]
struct Exchange {
    confirmed: Arc<Mutex<Vec<Confirmed>>>,
}

impl Exchange {
    fn confirmed(&self) -> Vec<Confirmed> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn published(&self) -> usize {
        self.confirmed().len()
    }

    /// The instances in the order in which they published; one that published again after another comes twice.
    fn turns(&self) -> Vec<Uuid> {
        let mut turns: Vec<Uuid> = self.confirmed().into_iter().map(|(instance, _)| instance).collect();
        turns.dedup();
        turns
    }

    fn distinct(&self) -> usize {
        self.confirmed().into_iter().map(|(_, event)| event).collect::<std::collections::HashSet<_>>().len()
    }
}

struct Line {
    exchange: Exchange,
    cut: Arc<AtomicBool>,
    instance: Uuid,
}

#[async_trait]
impl Publisher for Line {
    async fn send(&self, frames: Vec<Frame>) -> Result<Confirms, PublishError> {
        if !self.is_reachable() {
            return Err(PublishError::Unavailable("the line is cut".to_owned()));
        }
        let (exchange, instance) = (self.exchange.clone(), self.instance);
        Ok(Box::pin(async move {
            let mut confirmed = exchange.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
            let results = frames.iter().map(|_| Ok(())).collect();
            confirmed.extend(frames.into_iter().flat_map(|frame| frame.events).map(|event| (instance, event)));
            results
        }))
    }

    fn is_reachable(&self) -> bool {
        !self.cut.load(Ordering::Relaxed)
    }
}

struct Relaying {
    instance: Instance,
    /// Set, the broker is out of this instance's reach.
    cut: Arc<AtomicBool>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Relaying {
    fn start(database: &Database, name: &str, exchange: &Exchange) -> Self {
        Self::start_as(database, Instance::start(database, name), exchange)
    }

    /// The same where only one that stops gives the relay to another.
    fn steady(database: &Database, name: &str, exchange: &Exchange) -> Self {
        Self::start_as(database, Instance::steady(database, name), exchange)
    }

    fn start_as(database: &Database, instance: Instance, exchange: &Exchange) -> Self {
        let cut = Arc::new(AtomicBool::new(false));
        let line = Arc::new(Line { exchange: exchange.clone(), cut: Arc::clone(&cut), instance: instance.id() });
        let (pool, outbox) = (database.pool().clone(), instance.outbox.clone());
        let relay = Relay::new("account", pool, outbox, line.clone(), Duration::ZERO, Partitions::ONE);
        let stop = CancellationToken::new();
        let task = tokio::spawn(relay_whenever_held(instance.keeper.clone(), "account", relay, line, stop.clone()));
        Self { instance, cut, stop, task }
    }

    fn id(&self) -> Uuid {
        self.instance.id()
    }

    async fn commits(&self, database: &Database, events: usize) {
        let sample = include_str!("../../../events/samples/auth.user-registered.v1.json");
        let event: UserRegisteredV1 = serde_json::from_str(sample).expect("the sample fits");
        let new = || {
            let cause = incoming(&event, 1).envelope.cause;
            NewEvent::new(Uuid::now_v7(), Utc::now(), 1, cause, &event)
        };
        let mut connection = database.pool().acquire().await.expect("a connection");
        let events = (0..events).map(|_| new()).collect();
        self.instance.outbox.append_in_tx(&mut connection, events).await.expect("stored");
        self.instance.outbox.committed();
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the relay ends");
        self.instance.stop().await;
    }
}

async fn database() -> Database {
    Database::create("account", &sqlx::migrate::Migrator::DEFAULT).await
}

#[tokio::test]
async fn the_relay_runs_on_one_instance_and_moves_when_that_one_stops() {
    let (database, exchange) = (database().await, Exchange::default());
    let first = Relaying::steady(&database, "first", &exchange);
    until("the first relays", async || owner_of(&database, "relay").await == Some(first.id())).await;
    let second = Relaying::steady(&database, "second", &exchange);
    for _ in 0..20 {
        first.commits(&database, 10).await;
        second.commits(&database, 10).await;
    }
    until("everything is published", async || exchange.published() >= 400).await;
    assert_eq!(exchange.turns(), [first.id()], "the second stands by");

    let (first, second) = {
        let first_id = first.id();
        first.stop().await;
        (first_id, second)
    };
    second.commits(&database, 10).await;
    until("the second goes on", async || exchange.published() >= 410).await;
    assert_eq!(exchange.turns(), [first, second.id()]);
    assert_eq!((exchange.published(), exchange.distinct()), (410, 410), "a clean stop repeats nothing");
    second.stop().await;
}

#[tokio::test]
async fn a_relay_whose_instance_was_stopped_is_taken_over_and_does_not_come_back() {
    let (database, exchange) = (database().await, Exchange::default());
    let first = Relaying::start(&database, "first", &exchange);
    first.commits(&database, 1).await;
    until("the first relays", async || exchange.published() == 1).await;
    first.instance.freeze();
    let second = Relaying::start(&database, "second", &exchange);
    until("the second takes over", async || owner_of(&database, "relay").await == Some(second.id())).await;
    // The first still has the outbox of its process, and is woken by it.
    for _ in 0..20 {
        first.commits(&database, 10).await;
    }
    until("everything is published", async || exchange.distinct() == 201).await;
    assert_eq!(exchange.turns(), [first.id(), second.id()], "one at a time");
    second.stop().await;
    first.task.abort();
}

#[tokio::test]
async fn an_instance_that_does_not_reach_the_broker_leaves_the_relay_to_one_that_does() {
    let (database, exchange) = (database().await, Exchange::default());
    let first = Relaying::start(&database, "first", &exchange);
    first.commits(&database, 1).await;
    until("the first relays", async || exchange.published() == 1).await;
    let second = Relaying::start(&database, "second", &exchange);
    first.cut.store(true, Ordering::Relaxed);
    first.commits(&database, 10).await;
    until("the second publishes it", async || exchange.distinct() == 11).await;
    assert_eq!(exchange.turns(), [first.id(), second.id()]);
    second.stop().await;
    first.cut.store(false, Ordering::Relaxed);
    first.commits(&database, 10).await;
    until("the first goes on when it is alone", async || exchange.distinct() == 21).await;
    first.stop().await;
}

#[tokio::test]
async fn what_is_committed_elsewhere_wakes_the_relay() {
    let (database, exchange) = (database().await, Exchange::default());
    let first = Relaying::steady(&database, "first", &exchange);
    until("the first relays", async || owner_of(&database, "relay").await == Some(first.id())).await;
    let second = Relaying::steady(&database, "second", &exchange);
    second.instance.looks(2).await;
    let mut listener = PgListener::connect_with(database.pool()).await.expect("listens");
    listener.listen("vostro.account.outbox").await.expect("listens");
    second.commits(&database, 1).await;
    let ring = tokio::time::timeout(Duration::from_secs(120), listener.recv()).await;
    ring.expect("within two minutes").expect("a ring");
    until("it is published", async || exchange.turns() == [first.id()]).await;
    first.stop().await;
    second.stop().await;
}
