//! Events for later: when they are published, when they are not, and that nothing in between loses or doubles one.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::account::PostingRejectedV1;
use vostro_kernel::{RequestContext, SystemIds};
use vostro_messaging::{Appointment, Outbox, Schedule, ScheduleWorker, ScheduledEvent};
use vostro_testkit::{Database, eventually};

const HOUR: TimeDelta = TimeDelta::hours(1);
/// More than a worker takes at once.
const EVENTS: usize = 1_800;

async fn database() -> Database {
    Database::create("account", &sqlx::migrate::Migrator::DEFAULT).await
}

fn worker(database: &Database) -> ScheduleWorker {
    ScheduleWorker::new("account", database.pool().clone(), Outbox::default())
}

fn appointment() -> Appointment {
    Appointment { purpose: "schedule-test", subject: Uuid::now_v7() }
}

/// The only time that counts.
async fn now(database: &Database) -> DateTime<Utc> {
    sqlx::query_scalar("select now()").fetch_one(database.pool()).await.expect("the time")
}

fn event(appointment: Appointment, due_at: DateTime<Utc>) -> ScheduledEvent {
    let cause = Cause::command(&RequestContext::system(&SystemIds), "test");
    let event = PostingRejectedV1 { transaction_id: appointment.subject, code: "ACC_CLOSED".to_owned() };
    ScheduledEvent::new(Uuid::now_v7(), appointment, due_at, cause, &event)
}

async fn schedule(database: &Database, appointment: Appointment, due_at: DateTime<Utc>) {
    let mut connection = database.pool().acquire().await.expect("a connection");
    Schedule::add_in_tx(&mut connection, event(appointment, due_at)).await.expect("scheduled");
}

async fn cancel(database: &Database, appointment: Appointment) -> bool {
    let mut connection = database.pool().acquire().await.expect("a connection");
    Schedule::cancel_in_tx(&mut connection, appointment).await.expect("answered")
}

async fn publish_due(database: &Database) -> u64 {
    worker(database).publish_due().await.expect("published")
}

async fn published(database: &Database) -> Vec<Uuid> {
    let events = database.outbox_events().await;
    events.into_iter().map(|(envelope, _)| envelope.aggregate_id).collect()
}

#[tokio::test]
async fn a_due_event_is_published_as_what_happened_when_it_was_due() {
    let (database, appointment) = (database().await, appointment());
    let due_at = now(&database).await - TimeDelta::seconds(1);
    schedule(&database, appointment, due_at).await;
    assert_eq!(publish_due(&database).await, 1);
    let events = database.outbox_events().await;
    let [(envelope, data)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((envelope.aggregate_id, envelope.sequence), (appointment.subject, 1));
    assert!((envelope.occurred_at - due_at).abs() < TimeDelta::milliseconds(1), "{}", envelope.occurred_at);
    assert_eq!(data["code"], "ACC_CLOSED");
    assert_eq!(publish_due(&database).await, 0, "once");
}

#[tokio::test]
async fn events_that_are_due_are_published_in_the_order_of_their_times_and_the_others_wait() {
    let database = database().await;
    let now = now(&database).await;
    let [late, early, later] = [appointment(), appointment(), appointment()];
    schedule(&database, late, now - TimeDelta::seconds(1)).await;
    schedule(&database, early, now - HOUR).await;
    schedule(&database, later, now + HOUR).await;
    assert_eq!(publish_due(&database).await, 2);
    assert_eq!(published(&database).await, [early.subject, late.subject]);
}

#[tokio::test]
async fn a_cancelled_event_is_never_published_and_a_published_one_cannot_be_cancelled() {
    let database = database().await;
    let (cancelled, published_one) = (appointment(), appointment());
    let due_at = now(&database).await;
    schedule(&database, cancelled, due_at).await;
    schedule(&database, published_one, due_at).await;
    assert!(cancel(&database, cancelled).await);
    assert!(!cancel(&database, cancelled).await, "there is nothing left");
    assert_eq!(publish_due(&database).await, 1);
    assert!(!cancel(&database, published_one).await, "it is too late");
    assert_eq!(published(&database).await, [published_one.subject]);
}

#[tokio::test]
async fn what_is_rolled_back_was_never_scheduled_and_never_cancelled() {
    let database = database().await;
    let due_at = now(&database).await;
    let (kept, dropped) = (appointment(), appointment());
    schedule(&database, kept, due_at).await;
    let mut transaction = vostro_messaging::begin(database.pool()).await.expect("begun");
    Schedule::add_in_tx(&mut transaction, event(dropped, due_at)).await.expect("scheduled");
    assert!(Schedule::cancel_in_tx(&mut transaction, kept).await.expect("answered"));
    transaction.rollback().await.expect("rolled back");
    assert_eq!(publish_due(&database).await, 1);
    assert_eq!(published(&database).await, [kept.subject]);
}

#[tokio::test]
async fn scheduling_again_for_the_same_appointment_postpones() {
    let (database, appointment) = (database().await, appointment());
    let due_at = now(&database).await;
    schedule(&database, appointment, due_at).await;
    schedule(&database, appointment, due_at + HOUR).await;
    assert_eq!(publish_due(&database).await, 0);
    schedule(&database, appointment, due_at).await;
    assert_eq!(publish_due(&database).await, 1);
    assert_eq!(published(&database).await, [appointment.subject]);
}

#[tokio::test]
async fn an_event_that_is_being_cancelled_is_left_to_whoever_cancels_it() {
    let (database, appointment) = (database().await, appointment());
    schedule(&database, appointment, now(&database).await).await;
    let mut undecided = vostro_messaging::begin(database.pool()).await.expect("begun");
    assert!(Schedule::cancel_in_tx(&mut undecided, appointment).await.expect("answered"));
    assert_eq!(publish_due(&database).await, 0);
    undecided.rollback().await.expect("rolled back");
    let mut decided = vostro_messaging::begin(database.pool()).await.expect("begun");
    assert_eq!(publish_due(&database).await, 1, "the cancellation did not happen");
    assert!(!Schedule::cancel_in_tx(&mut decided, appointment).await.expect("answered"));
}

/// The server ends the session after the row is taken and before it is in the outbox: a power cut at the worst moment.
#[tokio::test]
async fn a_crash_between_taking_and_publishing_loses_and_doubles_nothing() {
    let (database, appointment) = (database().await, appointment());
    schedule(&database, appointment, now(&database).await).await;
    database
        .tamper(
            "create sequence crashes;
             create function crash_once() returns trigger language plpgsql as $$
             begin
               if nextval('crashes') = 1 then perform pg_terminate_backend(pg_backend_pid()); end if;
               return new;
             end $$;
             create trigger crash before insert on outbox for each row execute function crash_once();",
        )
        .await;
    let worker = worker(&database);
    worker.publish_due().await.expect_err("the session ended");
    assert!(published(&database).await.is_empty());
    assert_eq!(worker.publish_due().await.expect("the next session lives"), 1);
    assert_eq!(published(&database).await, [appointment.subject]);
}

#[tokio::test]
async fn workers_side_by_side_publish_each_event_once() {
    let database = database().await;
    let due_at = now(&database).await;
    let mut transaction = vostro_messaging::begin(database.pool()).await.expect("begun");
    for _ in 0..EVENTS {
        Schedule::add_in_tx(&mut transaction, event(appointment(), due_at)).await.expect("scheduled");
    }
    transaction.commit().await.expect("committed");
    let (first, second, third) = (worker(&database), worker(&database), worker(&database));
    let counts = tokio::join!(first.publish_due(), second.publish_due(), third.publish_due());
    // One that finds the rest taken stops early; what it left is there for the next turn.
    let moved = [counts.0, counts.1, counts.2].map(|count| count.expect("published")).iter().sum::<u64>();
    let moved = moved + publish_due(&database).await;
    let published = published(&database).await;
    assert_eq!(usize::try_from(moved).expect("small"), EVENTS);
    assert_eq!(published.len(), EVENTS);
    assert_eq!(published.into_iter().collect::<HashSet<_>>().len(), EVENTS);
}

#[tokio::test]
async fn a_running_worker_publishes_what_becomes_due_and_stops_when_it_is_told() {
    let (database, appointment) = (database().await, appointment());
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker(&database).run(stop.clone()));
    schedule(&database, appointment, now(&database).await + TimeDelta::milliseconds(100)).await;
    eventually("it is published", || async { (!published(&database).await.is_empty()).then_some(()) }).await;
    stop.cancel();
    running.await.expect("it ends without a panic");
    assert_eq!(published(&database).await, [appointment.subject]);
}
