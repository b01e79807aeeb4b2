//! Data that is too large to travel: kept with its event, asked for by who needs it, believed only by its digest.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use opentelemetry::global;
use opentelemetry::trace::Status;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use serde_json::value::RawValue;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use vostro_events::Envelope;
use vostro_events::auth::UserLoggedInV1;
use vostro_kernel::FixedClock;
use vostro_messaging::claim::{CLAIMED_BYTES, ClaimDesk, ClaimSweeper, Redeeming};
use vostro_messaging::rpc::{Asking, CallError, Callee, Caller, Reply, Request};
use vostro_messaging::trace;
use vostro_messaging::{
    AfterCommit, EventSelector, EventTooLarge, Handler, HandlerError, InboxMode, Incoming, MESSAGE_BYTES, Manifest,
    NewEvent, Outbox, Subscription,
};
use vostro_testkit::{Consuming, Database, Queue, Wire, WireMood, incoming};

const CLAIM: &str = "auth.claim.v1";
/// Events of more bytes leave their data behind in these tests.
const MOST: usize = 1_000;

fn manifest(module: &'static str, calls: &'static [&'static str], serves: &'static [&'static str]) -> Manifest {
    Manifest { calls, serves, ..vostro_testkit::manifest(module) }
}

/// Writes down how much data each event has.
#[derive(Default)]
struct Reader {
    read: Mutex<Vec<(Uuid, usize)>>,
    /// How many events each batch had.
    batches: Mutex<Vec<usize>>,
}

#[async_trait]
impl Handler for Reader {
    async fn handle_in_tx(&self, _: &mut PgConnection, batch: &[Incoming]) -> Result<AfterCommit, HandlerError> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).push(batch.len());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        for event in batch {
            assert_eq!(event.envelope.dataref, None, "the handler gets events whole");
            read.push((event.envelope.id, event.data.get().len()));
        }
        Ok(None)
    }
}

/// A wire that counts the transactions which the subscriber has open whenever it is asked for something.
struct Watched {
    wire: Wire,
    subscriber: PgPool,
    open: Arc<AtomicI64>,
}

#[async_trait]
impl Caller for Watched {
    async fn call(&self, request: Request) -> Result<Reply, CallError> {
        let open: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'",
        )
        .fetch_one(&self.subscriber)
        .await
        .expect("counted");
        self.open.fetch_add(open, Ordering::SeqCst);
        self.wire.call(request).await
    }
}

/// Two modules: `auth` publishes, `account` subscribes.
struct Scene {
    auth: Database,
    account: Database,
    outbox: Outbox,
    wire: Wire,
    open: Arc<AtomicI64>,
    reader: Arc<Reader>,
    clock: Arc<FixedClock>,
    consuming: Consuming,
}

impl Scene {
    async fn set() -> Self {
        Self::with(&[CLAIM]).await
    }

    async fn with(calls: &'static [&'static str]) -> Self {
        let auth = Database::create("auth", &sqlx::migrate::Migrator::DEFAULT).await;
        let account = Database::create("account", &sqlx::migrate::Migrator::DEFAULT).await;
        let manifests = [manifest("auth", &[], &[CLAIM]), manifest("account", calls, &[])];
        let desk = Arc::new(ClaimDesk::new(CLAIM, auth.pool().clone()));
        let wire = Wire::new("account", vec![Callee::new("auth", vec![desk], &manifests)]);
        let asking = Asking::new("account");
        let open = Arc::new(AtomicI64::new(0));
        let watched = Watched { wire: wire.clone(), subscriber: account.pool().clone(), open: Arc::clone(&open) };
        asking.connect(Arc::new(watched));
        let (reader, clock) = (Arc::new(Reader::default()), Arc::new(FixedClock::at(Utc::now())));
        let handler = Arc::new(Redeeming::new(reader.clone(), asking, &manifests[1]));
        let subscription = Subscription {
            module: "account",
            name: "large-events",
            events: EventSelector::Types(&[UserLoggedInV1::TYPE]),
            batch: 50,
            linger: Duration::ZERO,
            inbox: InboxMode::Rows,
        };
        let consuming = Consuming::on(Queue::default(), &account, &subscription, handler, clock.clone());
        Self {
            auth,
            account,
            outbox: Outbox::claiming(MOST, &[UserLoggedInV1::TYPE]),
            wire,
            open,
            reader,
            clock,
            consuming,
        }
    }

    /// Commits events of one key and takes them out of the outbox, as they would travel.
    async fn publish(&self, events: &[NewEvent]) -> Vec<Incoming> {
        let mut transaction = vostro_messaging::begin(self.auth.pool()).await.expect("a transaction");
        self.outbox.append_in_tx(&mut transaction, events.to_vec()).await.expect("written");
        transaction.commit().await.expect("committed");
        let events = self.auth.outbox_events().await;
        self.auth.take_published(UserLoggedInV1::TYPE).await;
        let incoming = |(envelope, data): (Envelope, serde_json::Value)| {
            let data = RawValue::from_string(data.to_string()).expect("JSON");
            Incoming { envelope, data }
        };
        events.into_iter().map(incoming).collect()
    }

    fn read(&self) -> Vec<(Uuid, usize)> {
        self.reader.read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tries parked keys again, long after they failed.
    async fn retry(&self) {
        self.clock.advance(TimeDelta::hours(2));
        assert_eq!(self.consuming.retry_due().await, 1, "one key is due");
    }

    async fn reason(&self) -> (String, String) {
        sqlx::query_as("select reason_code, reason from parked_key")
            .fetch_one(self.account.pool())
            .await
            .expect("one key is parked")
    }
}

/// An event of a key with so many bytes of data, and its data.
fn event(key: Uuid, sequence: i64, bytes: usize) -> NewEvent {
    event_in(None, key, sequence, bytes)
}

/// The same, of a trace.
fn event_in(traceparent: Option<&str>, key: Uuid, sequence: i64, bytes: usize) -> NewEvent {
    let sample = include_str!("../../../events/samples/auth.user-logged-in.v1.json");
    let mut sample: UserLoggedInV1 = serde_json::from_str(sample).expect("the sample fits");
    sample.user_id = key;
    let Envelope { mut cause, .. } = incoming(&sample, sequence).envelope;
    cause.traceparent = traceparent.map(str::to_owned);
    let envelope = NewEvent::new(Uuid::now_v7(), Utc::now(), sequence, cause, &sample).envelope().clone();
    let data = serde_json::value::to_raw_value(&"ž".repeat((bytes - 2) / 2)).expect("a text");
    NewEvent::again(envelope, &data)
}

#[tokio::test]
async fn large_data_stays_behind_and_reaches_the_handler_whole_in_parts() {
    let scene = Scene::set().await;
    let key = Uuid::now_v7();
    let events = scene.publish(&[event(key, 1, 500), event(key, 2, 1_300_000), event(key, 3, 500)]).await;
    assert_eq!(events[1].data.get(), "null");
    assert_eq!(events[1].envelope.dataref.expect("a reference").size, 1_300_000);
    scene.consuming.take(&events).await;
    let sizes: Vec<usize> = scene.read().iter().map(|(_, size)| *size).collect();
    assert_eq!(sizes, [500, 1_300_000, 500]);
    assert_eq!(scene.wire.carried(), 3, "three parts");
    scene.consuming.leaves_nothing_behind(&scene.account).await;
}

#[tokio::test]
async fn a_batch_has_no_more_claimed_data_in_memory_than_one_event_may_have() {
    let scene = Scene::set().await;
    let key = Uuid::now_v7();
    let sizes = [500, CLAIMED_BYTES / 2, CLAIMED_BYTES / 2, 500, 5_000, CLAIMED_BYTES - 4_000];
    let events: Vec<NewEvent> = (1..).zip(sizes).map(|(sequence, bytes)| event(key, sequence, bytes)).collect();
    scene.consuming.take(&scene.publish(&events).await).await;
    assert_eq!(scene.read().iter().map(|(_, size)| *size).collect::<Vec<_>>(), sizes);
    let batches = scene.reader.batches.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(batches, [4, 1, 1]);
    scene.consuming.leaves_nothing_behind(&scene.account).await;
}

#[tokio::test]
async fn nobody_has_a_transaction_open_while_data_is_asked_for() {
    let scene = Scene::set().await;
    let events = scene.publish(&[event(Uuid::now_v7(), 1, 5_000)]).await;
    scene.wire.set(WireMood::IsCut);
    scene.consuming.take(&events).await;
    scene.wire.set(WireMood::Carries);
    scene.retry().await;
    assert_eq!(scene.wire.carried(), 2, "asked by the consumer and by the retry");
    assert_eq!(scene.open.load(Ordering::SeqCst), 0);
    scene.consuming.leaves_nothing_behind(&scene.account).await;
}

#[tokio::test]
async fn what_is_rolled_back_leaves_neither_event_nor_data() {
    let scene = Scene::set().await;
    let mut transaction = vostro_messaging::begin(scene.auth.pool()).await.expect("a transaction");
    let large = vec![event(Uuid::now_v7(), 1, 5_000)];
    scene.outbox.append_in_tx(&mut transaction, large).await.expect("written");
    // As when the process ends here.
    drop(transaction);
    let left: i64 = sqlx::query_scalar("select (select count(*) from claim) + (select count(*) from outbox)")
        .fetch_one(scene.auth.pool())
        .await
        .expect("counted");
    assert_eq!(left, 0);
    scene.consuming.leaves_nothing_behind(&scene.account).await;
}

#[tokio::test]
async fn an_owner_that_does_not_answer_holds_up_the_key_in_order_and_no_other() {
    let scene = Scene::set().await;
    let key = Uuid::now_v7();
    let mut events = scene.publish(&[event(key, 1, 5_000), event(key, 2, 500)]).await;
    let other = scene.publish(&[event(Uuid::now_v7(), 1, 500)]).await.remove(0);
    let (ids, free) = (events.iter().map(|event| event.envelope.id).collect::<Vec<_>>(), other.envelope.id);
    events.push(other);
    scene.wire.set(WireMood::IsCut);
    scene.consuming.take(&events).await;
    assert_eq!(scene.read().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [free]);
    let (code, reason) = scene.reason().await;
    assert_eq!(code, "BLOCKED");
    assert!(reason.contains("there is no answer"), "{reason}");
    scene.wire.set(WireMood::Carries);
    scene.retry().await;
    assert_eq!(scene.read()[1..], [(ids[0], 5_000), (ids[1], 500)]);
    scene.consuming.leaves_nothing_behind(&scene.account).await;
}

#[tokio::test]
async fn data_that_is_gone_blocks_until_the_event_is_published_again() {
    let scene = Scene::set().await;
    let large = event(Uuid::now_v7(), 1, 5_000);
    let events = scene.publish(std::slice::from_ref(&large)).await;
    scene.auth.tamper("delete from claim").await;
    scene.consuming.take(&events).await;
    let (code, reason) = scene.reason().await;
    assert!(code == "BLOCKED" && reason.ends_with("is not with its owner"), "{code}: {reason}");
    scene.publish(&[large]).await;
    scene.retry().await;
    assert_eq!(scene.read(), [(events[0].envelope.id, 5_000)]);
    scene.consuming.leaves_nothing_behind(&scene.account).await;
}

#[tokio::test]
async fn data_that_is_not_what_the_event_says_is_never_believed() {
    let scene = Scene::set().await;
    let events = scene.publish(&[event(Uuid::now_v7(), 1, 5_000)]).await;
    scene.auth.tamper("update claim set data = overlay(data placing 'x'::bytea from 100)").await;
    scene.consuming.take(&events).await;
    let (code, reason) = scene.reason().await;
    assert!(code == "INVALID" && reason.contains("other data than the event refers to"), "{code}: {reason}");
    assert_eq!(scene.read(), []);
    scene.consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn an_event_that_the_manifest_does_not_name_travels_whole_or_not_at_all() {
    let mut scene = Scene::set().await;
    scene.outbox = Outbox::claiming(MOST, &["auth.user-updated.v1"]);
    let events = scene.publish(&[event(Uuid::now_v7(), 1, 5_000)]).await;
    assert_eq!(events[0].envelope.dataref, None);
    let mut transaction = vostro_messaging::begin(scene.auth.pool()).await.expect("a transaction");
    let large = vec![event(Uuid::now_v7(), 1, MESSAGE_BYTES)];
    scene.outbox.append_in_tx(&mut transaction, large).await.expect_err("too large to travel");
    drop(transaction);
    scene.consuming.take(&events).await;
    assert_eq!(scene.read(), [(events[0].envelope.id, 5_000)]);
    scene.consuming.leaves_nothing_behind(&scene.account).await;
}

#[tokio::test]
async fn a_module_whose_manifest_asks_for_no_claims_gets_none() {
    let scene = Scene::with(&[]).await;
    let events = scene.publish(&[event(Uuid::now_v7(), 1, 5_000)]).await;
    scene.consuming.take(&events).await;
    let (code, reason) = scene.reason().await;
    assert!(code == "INVALID" && reason.contains("asks for no claims"), "{code}: {reason}");
    assert_eq!(scene.wire.carried(), 0);
    scene.consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn more_data_than_subscribers_take_is_refused_in_the_transaction() {
    let scene = Scene::set().await;
    let mut transaction = vostro_messaging::begin(scene.auth.pool()).await.expect("a transaction");
    let large = vec![event(Uuid::now_v7(), 1, CLAIMED_BYTES + 2)];
    let refusal = scene.outbox.append_in_tx(&mut transaction, large).await.expect_err("too large");
    let sqlx::Error::Encode(reason) = refusal else { panic!("{refusal}") };
    assert_eq!(reason.downcast::<EventTooLarge>().expect("the reason").most, CLAIMED_BYTES);
    scene.consuming.leaves_nothing_behind(&scene.account).await;
}

#[tokio::test]
async fn claims_are_swept_when_nobody_has_referred_to_them_for_long() {
    let scene = Scene::set().await;
    let kept = event(Uuid::now_v7(), 1, 5_000);
    scene.publish(&[kept.clone(), event(Uuid::now_v7(), 1, 6_000)]).await;
    scene.auth.tamper("update claim set kept_at = now() - interval '2 days'").await;
    // Published again: its data is as young as new.
    scene.publish(&[kept]).await;
    let sweeper = ClaimSweeper::new("auth", scene.auth.pool().clone(), Duration::from_secs(24 * 60 * 60));
    assert_eq!(sweeper.sweep().await.expect("swept"), 1);
    let left: i32 =
        sqlx::query_scalar("select length(data) from claim").fetch_one(scene.auth.pool()).await.expect("one is left");
    assert_eq!(left, 5_000);
    scene.consuming.leaves_nothing_behind(&scene.account).await;
}

/// What was recorded, oldest first.
#[derive(Debug, Clone, Default)]
struct Spans(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
        Ok(())
    }
}

impl Spans {
    /// Of this trace, since the last look: names, whether they failed, and the name of what they are below.
    fn take(&self, traceparent: &str) -> Vec<(String, bool, Option<String>)> {
        let spans = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let parent = |span: &SpanData| {
            let parent = spans.iter().find(|parent| parent.span_context.span_id() == span.parent_span_id);
            parent.map(|parent| parent.name.to_string())
        };
        let ours = spans.iter().filter(|span| {
            traceparent.contains(&span.span_context.trace_id().to_string()) && !span.name.starts_with("answer")
        });
        ours.map(|span| (span.name.to_string(), matches!(span.status, Status::Error { .. }), parent(span))).collect()
    }
}

#[tokio::test]
async fn every_attempt_is_a_span_with_what_it_asked_below_it_and_none_looks_as_if_it_had_worked() {
    const TRACEPARENT: &str = "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let spans = Spans::default();
    global::set_tracer_provider(SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build());
    trace::turn_on(|_| true);
    let attempt = |has_failed, asking_failed| {
        let process = "process account.large-events".to_owned();
        let ask = (format!("ask {CLAIM}"), asking_failed, Some(process.clone()));
        vec![ask, (process, has_failed, None)]
    };
    let scene = Scene::set().await;
    let events = scene.publish(&[event_in(Some(TRACEPARENT), Uuid::now_v7(), 1, 5_000)]).await;
    scene.wire.set(WireMood::IsCut);
    scene.consuming.take(&events).await;
    assert_eq!(spans.take(TRACEPARENT), attempt(true, true), "the consumer's attempt");
    scene.retry().await;
    assert_eq!(spans.take(TRACEPARENT), attempt(true, true), "the first attempt of the parked event");
    scene.wire.set(WireMood::Carries);
    scene
        .account
        .tamper("create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$")
        .await;
    let trigger = "create constraint trigger refuse after delete on parked_message deferrable initially deferred
                   for each row execute function refuse()";
    scene.account.tamper(trigger).await;
    scene.retry().await;
    assert_eq!(spans.take(TRACEPARENT), attempt(true, false), "handled, and not committed");
    scene.account.tamper("drop trigger refuse on parked_message").await;
    scene.retry().await;
    assert_eq!(spans.take(TRACEPARENT), attempt(false, false), "committed");
    scene.consuming.leaves_nothing_behind(&scene.account).await;
}
