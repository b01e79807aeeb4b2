//! A subscription whose handler writes down what it handled, and fails as it is told.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::account::AccountCreatedV1;
use vostro_events::auth::UserLoggedInV1;
use vostro_kernel::FixedClock;
use vostro_messaging::{
    AfterCommit, ConsumptionSwitch, EventSelector, Handler, HandlerError, InboxMode, Incoming, Intake, RetrySchedule,
    Subscription,
};
use vostro_testkit::{Consuming, Database, Queue, eventually, incoming};

/// How the handler takes an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Fine,
    Blocked,
    BlockedOnce,
    Invalid,
    /// Without saying which event it is.
    Fails,
    FailsTimes(u32),
    BreaksAConstraint,
    /// The database answers and takes nothing, as after a failover to a standby.
    FindsItReadOnlyTimes(u32),
}

pub struct Recorder {
    /// With a memory of its own the handler ignores what it has had; without, a second effect is seen by the tests.
    remembers: bool,
    moods: Mutex<HashMap<Uuid, Mood>>,
    cut: Mutex<Option<(Uuid, Queue)>>,
}

impl Recorder {
    pub fn set(&self, event: &Incoming, mood: Mood) {
        self.moods.lock().unwrap_or_else(PoisonError::into_inner).insert(event.envelope.id, mood);
    }

    /// The connection goes once, while this event is handled.
    pub fn cut_when_handling(&self, event: &Incoming, queue: Queue) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some((event.envelope.id, queue));
    }

    fn mood(&self, event: &Incoming) -> Mood {
        let mut moods = self.moods.lock().unwrap_or_else(PoisonError::into_inner);
        let mood = moods.entry(event.envelope.id).or_insert(Mood::Fine);
        let now = *mood;
        match now {
            Mood::BlockedOnce | Mood::FailsTimes(1) | Mood::FindsItReadOnlyTimes(1) => *mood = Mood::Fine,
            Mood::FindsItReadOnlyTimes(times) => *mood = Mood::FindsItReadOnlyTimes(times - 1),
            Mood::FailsTimes(times) => *mood = Mood::FailsTimes(times - 1),
            _ => {}
        }
        now
    }
}

#[async_trait]
impl Handler for Recorder {
    async fn handle_in_tx(
        &self,
        connection: &mut PgConnection,
        batch: &[Incoming],
    ) -> Result<AfterCommit, HandlerError> {
        for event in batch {
            let cut =
                self.cut.lock().unwrap_or_else(PoisonError::into_inner).take_if(|(id, _)| *id == event.envelope.id);
            if let Some((_, queue)) = cut {
                queue.cut();
            }
            match self.mood(event) {
                Mood::Fine => {}
                Mood::Blocked | Mood::BlockedOnce => return Err(event.blocked("its account is not there yet")),
                Mood::Invalid => return Err(event.invalid("it makes no sense")),
                Mood::Fails | Mood::FailsTimes(_) => return Err(HandlerError::Transient("not today".to_owned())),
                Mood::FindsItReadOnlyTimes(_) => {
                    sqlx::query("set transaction read only").execute(&mut *connection).await?;
                }
                Mood::BreaksAConstraint => {
                    sqlx::query("insert into effect (event_id) values (null)").execute(&mut *connection).await?;
                }
            }
            sqlx::query(
                "insert into effect (event_id) select $1
                 where not ($2 and exists (select from effect where event_id = $1))",
            )
            .bind(event.envelope.id)
            .bind(self.remembers)
            .execute(&mut *connection)
            .await?;
        }
        Ok(None)
    }
}

pub struct Rig {
    pub database: Database,
    pub handler: Arc<Recorder>,
    pub clock: Arc<FixedClock>,
    subscription: Subscription,
}

impl Rig {
    pub async fn create(inbox: InboxMode) -> Self {
        let database = Database::create("account", &sqlx::migrate::Migrator::DEFAULT).await;
        database.tamper("create table effect (nth bigint generated always as identity, event_id uuid not null)").await;
        let subscription = Subscription {
            module: "account",
            name: "parking-test",
            events: EventSelector::Types(&[AccountCreatedV1::TYPE]),
            batch: 50,
            linger: Duration::ZERO,
            inbox,
        };
        let remembers = inbox == InboxMode::Handler;
        let handler = Recorder { remembers, moods: Mutex::default(), cut: Mutex::default() };
        Self { database, handler: Arc::new(handler), clock: Arc::new(FixedClock::at(Utc::now())), subscription }
    }

    pub fn start(&self) -> Consuming {
        self.on(Queue::default())
    }

    pub fn on(&self, queue: Queue) -> Consuming {
        let handler: Arc<dyn Handler> = self.handler.clone();
        Consuming::on(queue, &self.database, &self.subscription, handler, self.clock.clone())
    }

    /// What an instance of the bank has for the subscription.
    pub fn intake(&self) -> Arc<Intake> {
        let foundation = self.database.foundation();
        Intake::new(self.subscription.clone(), &foundation, RetrySchedule::default(), ConsumptionSwitch::default())
    }

    /// Events of one new key.
    pub fn key(&self, count: i64) -> Vec<Incoming> {
        let sample = include_str!("../../../../events/samples/account.account-created.v1.json");
        let mut event: AccountCreatedV1 = serde_json::from_str(sample).expect("the sample fits");
        event.account_id = Uuid::now_v7();
        (1..=count).map(|sequence| incoming(&event, sequence)).collect()
    }

    /// One more event of a key.
    pub fn next_of(&self, key: &[Incoming], sequence: i64) -> Incoming {
        let event: AccountCreatedV1 = key[0].decode().expect("the rig's own event");
        incoming(&event, sequence)
    }

    /// An event of a type the subscription does not take.
    pub fn foreign(&self) -> Incoming {
        let sample = include_str!("../../../../events/samples/auth.user-logged-in.v1.json");
        let event: UserLoggedInV1 = serde_json::from_str(sample).expect("the sample fits");
        incoming(&event, 1)
    }

    pub fn ids(events: &[Incoming]) -> Vec<Uuid> {
        events.iter().map(|event| event.envelope.id).collect()
    }

    /// The events that took effect, in the order of their effects.
    pub async fn effects(&self) -> Vec<Uuid> {
        self.column("select event_id from effect order by nth").await
    }

    pub async fn parked_events(&self) -> Vec<Uuid> {
        self.column("select event_id from parked_message order by position").await
    }

    pub async fn reasons(&self) -> Vec<String> {
        sqlx::query_scalar("select reason_code from parked_key order by reason_code")
            .fetch_all(self.database.pool())
            .await
            .expect("readable")
    }

    async fn column(&self, query: &'static str) -> Vec<Uuid> {
        sqlx::query_scalar(query).fetch_all(self.database.pool()).await.expect("readable")
    }

    /// Waits for a condition.
    pub async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        eventually(what, || async { condition().await.then_some(()) }).await;
    }
}
