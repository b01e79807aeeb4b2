//! An event moves from one version to the next while releases of both ends run side by side, and while what was told in
//! the old one still lies in queues, among the parked messages and in dead letters.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::account::{AccountChange, AccountStatus, AccountTerm, AccountUpdatedV1, AccountUpdatedV2};
use vostro_events::{EventType, copy_of};
use vostro_kernel::{Actor, FixedClock, RequestContext, Role, Roles, SystemIds};
use vostro_messaging::parking::{ApprovalPolicy, ParkingAction, ParkingDesk, Selection};
use vostro_messaging::{
    AfterCommit, EventSelector, Handler, HandlerError, InboxMode, Incoming, NewEvent, Subscription,
};
use vostro_testkit::{Consuming, Database, Queue, incoming, incoming_in_two_versions};

const ONE: &str = AccountUpdatedV1::TYPE;
const TWO: &str = AccountUpdatedV2::TYPE;

/// A subscriber of the release before, and of the one that has moved.
const OLD: EventSelector = EventSelector::Types(&[ONE]);
const NEW: EventSelector = EventSelector::Types(&[TWO]);

const MODES: [InboxMode; 2] = [InboxMode::Rows, InboxMode::Handler];

/// An effect: the event it is of, in which version it was read, and what that says has changed.
type Effect = (Uuid, String, Value);

/// Writes its effects down. Some events it finds blocked or invalid.
#[derive(Default)]
struct Recorder {
    /// Without an inbox row it has to know itself what it has had.
    remembers: bool,
    blocked: Mutex<HashSet<Uuid>>,
    invalid: Mutex<HashSet<Uuid>>,
}

#[async_trait]
impl Handler for Recorder {
    async fn handle_in_tx(
        &self,
        connection: &mut PgConnection,
        batch: &[Incoming],
    ) -> Result<AfterCommit, HandlerError> {
        for event in batch {
            let id = event.envelope.id;
            if self.blocked.lock().unwrap_or_else(PoisonError::into_inner).contains(&id) {
                return Err(event.blocked("its account is not there yet"));
            }
            if self.invalid.lock().unwrap_or_else(PoisonError::into_inner).contains(&id) {
                return Err(event.invalid("it makes no sense"));
            }
            let changed = match event.envelope.event_type.as_str() {
                ONE => json!(event.decode::<AccountUpdatedV1>()?.change),
                TWO => json!(event.decode::<AccountUpdatedV2>()?.changed),
                other => json!(other),
            };
            sqlx::query(
                "insert into effect (event_id, event_type, changed) select $1, $2, $3
                 where not ($4 and exists (select from effect where event_id = $1))",
            )
            .bind(id)
            .bind(event.envelope.event_type.as_str())
            .bind(changed.to_string())
            .bind(self.remembers)
            .execute(&mut *connection)
            .await?;
        }
        Ok(None)
    }
}

/// One queue and one database, and consumers of several releases on them.
struct Bank {
    database: Database,
    handler: Arc<Recorder>,
    clock: Arc<FixedClock>,
    queue: Queue,
    inbox: InboxMode,
}

impl Bank {
    async fn open(inbox: InboxMode) -> Self {
        let database = Database::create("account", &sqlx::migrate::Migrator::DEFAULT).await;
        database
            .tamper(
                "create table effect (nth bigint generated always as identity, event_id uuid not null,
                                      event_type text not null, changed text not null)",
            )
            .await;
        let handler = Arc::new(Recorder { remembers: inbox == InboxMode::Handler, ..Recorder::default() });
        let clock = Arc::new(FixedClock::at(Utc::now()));
        Self { database, handler, clock, queue: Queue::default(), inbox }
    }

    /// Starts a consumer that takes these events; it has the queue from now on.
    fn consumer(&self, events: EventSelector) -> Consuming {
        let subscription = Subscription {
            module: "account",
            name: "versions-test",
            events,
            batch: 50,
            linger: Duration::ZERO,
            inbox: self.inbox,
        };
        let handler: Arc<dyn Handler> = self.handler.clone();
        Consuming::on(self.queue.clone(), &self.database, &subscription, handler, self.clock.clone())
    }

    async fn effects(&self) -> Vec<Effect> {
        let rows: Vec<(Uuid, String, String)> =
            sqlx::query_as("select event_id, event_type, changed from effect order by nth")
                .fetch_all(self.database.pool())
                .await
                .expect("readable");
        let changed = |text: &str| serde_json::from_str(text).expect("JSON");
        rows.into_iter().map(|(id, event_type, text)| (id, event_type, changed(&text))).collect()
    }

    /// Reason codes and reasons of the parked keys.
    async fn reasons(&self) -> Vec<(String, String)> {
        sqlx::query_as("select reason_code, reason from parked_key order by reason_code")
            .fetch_all(self.database.pool())
            .await
            .expect("readable")
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.database.pool()).await.expect("readable")
    }

    /// An operator has everything tried again that is parked.
    async fn redrive(&self) {
        let policy = ApprovalPolicy { subscriptions: Vec::new(), redrive: false, maintenance: false };
        let desk = ParkingDesk::new("account", self.database.foundation_at(self.clock.clone()), policy);
        let roles: Roles = [Role::Operator].into_iter().collect();
        let operator = RequestContext::of(Actor::person(Uuid::now_v7(), roles, None), &SystemIds);
        desk.order(&operator, ParkingAction::Redrive, &Selection::default(), "upgraded").await.expect("ordered");
    }
}

fn before(account_id: Uuid, change: AccountChange) -> AccountUpdatedV1 {
    AccountUpdatedV1 {
        account_id,
        change,
        owner_id: None,
        currency: "EUR".parse().expect("a currency"),
        status: AccountStatus::Closed,
        overdraft_limit_minor: 0,
        reason: None,
    }
}

fn after(account_id: Uuid, changed: &[AccountTerm]) -> AccountUpdatedV2 {
    AccountUpdatedV2 {
        account_id,
        changed: changed.to_vec(),
        owner_id: None,
        currency: "EUR".parse().expect("a currency"),
        status: AccountStatus::Closed,
        overdraft_limit_minor: 0,
        reason: None,
    }
}

/// As a producer of the release before tells it.
fn told_in_one(account: Uuid, sequence: i64) -> Incoming {
    incoming(&before(account, AccountChange::Status), sequence)
}

/// As one tells it that publishes both: the older copy and the newer one.
fn told_in_both(account: Uuid, sequence: i64) -> [Incoming; 2] {
    let changed = [AccountTerm::Status, AccountTerm::OverdraftLimit];
    incoming_in_two_versions(&before(account, AccountChange::Status), &after(account, &changed), sequence)
}

/// As one tells it that has retired the first version.
fn told_in_two(account: Uuid, sequence: i64) -> Incoming {
    incoming(&after(account, &[AccountTerm::OverdraftLimit]), sequence)
}

fn read_as(event_type: &str, changed: Value, event: &Incoming) -> Effect {
    (event.envelope.identity(), event_type.to_owned(), changed)
}

#[tokio::test]
async fn both_copies_are_published_with_one_number_at_one_instant_and_for_one_cause() {
    let bank = Bank::open(InboxMode::Rows).await;
    let account = Uuid::now_v7();
    let [one, two] = told_in_both(account, 7);
    let (older, newer) = (one.decode::<AccountUpdatedV1>(), two.decode::<AccountUpdatedV2>());
    let told = (&older.expect("the test's own"), &newer.expect("the test's own"));
    let (id, at, cause) = (one.envelope.id, one.envelope.occurred_at, one.envelope.cause.clone());
    let events = NewEvent::in_two_versions(id, at, 7, cause, told);
    let mut transaction = vostro_messaging::begin(bank.database.pool()).await.expect("begun");
    bank.database.foundation().outbox.append_in_tx(&mut transaction, events.into()).await.expect("written");
    transaction.commit().await.expect("committed");
    let written = bank.database.outbox_events().await;
    let envelopes: Vec<_> = written.iter().map(|(envelope, _)| envelope.clone()).collect();
    // What they share, and what sets them apart, is what the consumers of these tests are given.
    assert_eq!(envelopes.iter().map(|envelope| envelope.id).collect::<Vec<_>>(), [id, copy_of(id)]);
    for (envelope, expected) in envelopes.iter().zip([&one.envelope, &two.envelope]) {
        assert_eq!((&envelope.event_type, envelope.sequence), (&expected.event_type, 7));
        assert_eq!((&envelope.cause, envelope.slot()), (&expected.cause, expected.slot()));
    }
    assert_eq!(envelopes[0].occurred_at, envelopes[1].occurred_at);
    assert_eq!((&written[0].1["change"], &written[1].1["changed"][1]), (&json!("STATUS"), &json!("OVERDRAFT_LIMIT")));
}

#[tokio::test]
async fn a_new_consumer_understands_an_old_producer() {
    for mode in MODES {
        let bank = Bank::open(mode).await;
        let account = Uuid::now_v7();
        let first = told_in_one(account, 2);
        let second = incoming(&before(account, AccountChange::Overdraft), 3);
        let consuming = bank.consumer(NEW);
        consuming.take(&[first.clone(), second.clone()]).await;
        let expected = [read_as(TWO, json!(["STATUS"]), &first), read_as(TWO, json!(["OVERDRAFT_LIMIT"]), &second)];
        assert_eq!(bank.effects().await, expected, "{mode:?}");
        consuming.leaves_nothing_behind(&bank.database).await;
    }
}

#[tokio::test]
async fn an_old_consumer_notices_nothing_of_a_new_producer() {
    for mode in MODES {
        let bank = Bank::open(mode).await;
        let [one, two] = told_in_both(Uuid::now_v7(), 2);
        let consuming = bank.consumer(OLD);
        // Not bound to the newer copies by itself; it gets them from a queue that it shares with a new consumer.
        consuming.take(std::slice::from_ref(&two)).await;
        assert_eq!(bank.count("select count(*) from inbox").await, 0, "{mode:?}: the newer copy leaves no trace");
        consuming.take(&[one.clone(), two]).await;
        assert_eq!(bank.effects().await, [read_as(ONE, json!("STATUS"), &one)], "{mode:?}");
        consuming.leaves_nothing_behind(&bank.database).await;
    }
}

#[tokio::test]
async fn two_copies_are_one_event_in_any_order_together_and_apart() {
    for mode in MODES {
        for (reader, read) in [(OLD, ONE), (NEW, TWO)] {
            for is_older_first in [true, false] {
                for is_together in [true, false] {
                    let bank = Bank::open(mode).await;
                    let mut copies = told_in_both(Uuid::now_v7(), 2);
                    let identity = copies[0].envelope.id;
                    if !is_older_first {
                        copies.reverse();
                    }
                    let mut consuming = bank.consumer(reader);
                    if is_together {
                        consuming.pause().await;
                        copies.iter().for_each(|copy| bank.queue.publish(copy));
                        consuming.go_on();
                        bank.queue.settled().await;
                    }
                    // And each once more, by itself.
                    for copy in copies {
                        consuming.take(&[copy]).await;
                    }
                    let effects = bank.effects().await;
                    let [(id, event_type, _)] = effects.as_slice() else { panic!("one effect, not {effects:?}") };
                    assert_eq!((*id, event_type.as_str()), (identity, read), "{mode:?} {is_older_first} {is_together}");
                    consuming.leaves_nothing_behind(&bank.database).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn consumers_of_both_releases_take_turns_at_a_queue_and_nothing_is_lost_or_doubled() {
    for mode in MODES {
        let bank = Bank::open(mode).await;
        let account = Uuid::now_v7();
        let events: Vec<[Incoming; 2]> = (2..8).map(|sequence| told_in_both(account, sequence)).collect();
        let copies: Vec<Incoming> = events.concat();
        // Each turn ends between the copies of an event, and what the one before had comes again.
        for (turn, reader) in [OLD, NEW, OLD, NEW].into_iter().enumerate() {
            let consuming = bank.consumer(reader);
            consuming.take(&copies[..(turn + 1) * 3]).await;
            consuming.leaves_nothing_behind(&bank.database).await;
        }
        let effects: Vec<Uuid> = bank.effects().await.into_iter().map(|(id, ..)| id).collect();
        let expected: Vec<Uuid> = events.iter().map(|[older, _]| older.envelope.id).collect();
        assert_eq!(effects, expected, "{mode:?}");
    }
}

#[tokio::test]
async fn what_was_parked_in_the_first_version_is_handled_in_the_second_and_its_copy_afterwards_is_not() {
    for mode in MODES {
        let bank = Bank::open(mode).await;
        let account = Uuid::now_v7();
        let ([one, copy], behind) = (told_in_both(account, 2), told_in_one(account, 3));
        bank.handler.blocked.lock().unwrap().insert(one.envelope.id);
        let old = bank.consumer(OLD);
        old.take(&[one.clone(), copy.clone(), behind.clone()]).await;
        old.leaves_parked(1, 0).await;
        let kept: Vec<String> = sqlx::query_scalar("select event_type from parked_message order by position")
            .fetch_all(bank.database.pool())
            .await
            .expect("readable");
        assert_eq!(kept, [ONE, ONE], "{mode:?}: what is parked stays as it was told");

        let new = bank.consumer(NEW);
        let next = told_in_two(account, 4);
        new.take(&[copy.clone(), next.clone()]).await;
        assert_eq!(bank.effects().await, [], "{mode:?}: the key waits, in whichever version its events come");
        bank.handler.blocked.lock().unwrap().clear();
        bank.clock.advance(TimeDelta::seconds(2));
        assert_eq!(new.retry_due().await, 1);
        new.take(&[copy, one.clone()]).await;
        let expected = [
            read_as(TWO, json!(["STATUS"]), &one),
            read_as(TWO, json!(["STATUS"]), &behind),
            read_as(TWO, json!(["OVERDRAFT_LIMIT"]), &next),
        ];
        assert_eq!(bank.effects().await, expected, "{mode:?}");
        new.leaves_nothing_behind(&bank.database).await;
    }
}

#[tokio::test]
async fn a_quarantined_event_of_the_first_version_is_redriven_after_the_upgrade() {
    for mode in MODES {
        let bank = Bank::open(mode).await;
        let [one, copy] = told_in_both(Uuid::now_v7(), 2);
        bank.handler.invalid.lock().unwrap().insert(one.envelope.id);
        let old = bank.consumer(OLD);
        old.take(std::slice::from_ref(&one)).await;
        old.leaves_parked(0, 1).await;

        bank.handler.invalid.lock().unwrap().clear();
        let new = bank.consumer(NEW);
        bank.redrive().await;
        assert_eq!(new.retry_due().await, 1);
        new.take(&[copy]).await;
        assert_eq!(bank.effects().await, [read_as(TWO, json!(["STATUS"]), &one)], "{mode:?}");
        new.leaves_parked(0, 0).await;
    }
}

#[tokio::test]
async fn dead_letters_of_the_first_version_are_read_in_the_second() {
    for mode in MODES {
        let bank = Bank::open(mode).await;
        let [one, two] = told_in_both(Uuid::now_v7(), 2);
        let consuming = bank.consumer(NEW);
        let dead_letters = Queue::default();
        dead_letters.publish(&one);
        dead_letters.publish(&two);
        consuming.drain(&dead_letters).await;
        assert_eq!(bank.count("select count(*) from parked_message").await, 1, "{mode:?}: two copies are kept once");
        bank.redrive().await;
        assert_eq!(consuming.retry_due().await, 1);
        assert_eq!(bank.effects().await, [read_as(TWO, json!(["STATUS"]), &one)], "{mode:?}");
        consuming.leaves_parked(0, 0).await;
    }
}

#[tokio::test]
async fn a_version_from_the_future_is_quarantined_with_the_reason_and_read_after_the_upgrade() {
    for mode in MODES {
        let bank = Bank::open(mode).await;
        let account = Uuid::now_v7();
        // Its producer has retired the first version although somebody still takes it.
        let (future, behind, other) =
            (told_in_two(account, 2), told_in_one(account, 3), told_in_one(Uuid::now_v7(), 2));
        let old = bank.consumer(OLD);
        old.take(&[future.clone(), behind.clone(), other.clone()]).await;
        let reason = "account.versions-test does not take account.account-updated.v2";
        assert_eq!(bank.reasons().await, [("UNKNOWN_EVENT".to_owned(), reason.to_owned())], "{mode:?}");
        assert_eq!(bank.effects().await, [read_as(ONE, json!("STATUS"), &other)], "{mode:?}: other keys go on");
        old.leaves_parked(0, 1).await;

        let new = bank.consumer(NEW);
        bank.redrive().await;
        assert_eq!(new.retry_due().await, 1);
        let expected = [
            read_as(ONE, json!("STATUS"), &other),
            read_as(TWO, json!(["OVERDRAFT_LIMIT"]), &future),
            read_as(TWO, json!(["STATUS"]), &behind),
        ];
        assert_eq!(bank.effects().await, expected, "{mode:?}");
        new.leaves_parked(0, 0).await;
    }
}

#[tokio::test]
async fn a_version_that_no_release_knows_stays_quarantined_and_beside_a_known_one_is_left_alone() {
    let bank = Bank::open(InboxMode::Rows).await;
    let third = |event: &Incoming, id: Uuid| {
        let mut third = event.clone();
        third.envelope.id = id;
        third.envelope.event_type = EventType::of("account.account-updated.v3");
        third
    };
    let known = told_in_two(Uuid::now_v7(), 2);
    let copy = third(&known, copy_of(known.envelope.id));
    let alone = third(&told_in_two(Uuid::now_v7(), 2), Uuid::now_v7());
    let consuming = bank.consumer(NEW);
    consuming.take(&[copy, known.clone(), alone]).await;
    assert_eq!(bank.effects().await, [read_as(TWO, json!(["OVERDRAFT_LIMIT"]), &known)]);
    bank.redrive().await;
    assert_eq!(consuming.retry_due().await, 1);
    let reason = "account.versions-test does not take account.account-updated.v3";
    assert_eq!(bank.reasons().await, [("UNKNOWN_EVENT".to_owned(), reason.to_owned())]);
    consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn data_that_were_never_released_as_the_first_version_are_quarantined_and_other_keys_go_on() {
    for mode in MODES {
        let bank = Bank::open(mode).await;
        let mut nonsense = told_in_one(Uuid::now_v7(), 2);
        nonsense.data = RawValue::from_string(r#"{"change":"COLOUR"}"#.to_owned()).expect("JSON");
        let fine = told_in_one(Uuid::now_v7(), 2);
        let mut consuming = bank.consumer(NEW);
        consuming.pause().await;
        bank.queue.publish(&nonsense);
        bank.queue.publish(&fine);
        consuming.go_on();
        bank.queue.settled().await;
        assert_eq!(bank.effects().await, [read_as(TWO, json!(["STATUS"]), &fine)], "{mode:?}");
        let reasons = bank.reasons().await;
        let [(code, reason)] = reasons.as_slice() else { panic!("one key, not {reasons:?}") };
        assert_eq!(code, "INVALID");
        assert!(reason.contains("cannot be read as account.account-updated.v2: change is neither"), "{reason}");
        consuming.leaves_parked(0, 1).await;
    }
}

#[tokio::test]
async fn whoever_takes_every_event_takes_each_copy_for_itself() {
    for mode in MODES {
        let bank = Bank::open(mode).await;
        let [one, two] = told_in_both(Uuid::now_v7(), 2);
        let consuming = bank.consumer(EventSelector::All);
        consuming.take(&[one.clone(), two.clone(), one.clone(), two.clone()]).await;
        let expected = [
            (one.envelope.id, ONE.to_owned(), json!("STATUS")),
            (two.envelope.id, TWO.to_owned(), json!(["STATUS", "OVERDRAFT_LIMIT"])),
        ];
        assert_eq!(bank.effects().await, expected, "{mode:?}");
        consuming.leaves_nothing_behind(&bank.database).await;
    }
}
