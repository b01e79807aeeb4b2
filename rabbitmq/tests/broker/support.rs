use std::future::Future;
use std::time::Duration;

use chrono::DateTime;
use reqwest::{Client, Method, Response};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;
use vostro_events::{Cause, Envelope, EventType, write_structured};
use vostro_kernel::ActorKind;
use vostro_messaging::{
    Broker as _, Deliveries, Delivery, EventSelector, Frame, InboxMode, Manifest, Publisher as _, Subscription, decode,
};
use vostro_rabbitmq::testing::{MANAGEMENT_URL, TestBroker};
pub use vostro_testkit::eventually;

pub const UPDATED: &str = "auth.user-updated.v1";
pub const QUEUE: &str = "q.account.customers";
pub const DEAD_LETTERS: &str = "dlq.account.customers";

/// auth tells, account listens; `auth.user-deleted.v1` interests nobody.
pub fn manifests() -> Vec<Manifest> {
    let customers = Subscription {
        module: "account",
        name: "customers",
        events: EventSelector::Types(&[UPDATED]),
        batch: 64,
        linger: std::time::Duration::ZERO,
        inbox: InboxMode::Rows,
    };
    let module = |module, publishes, subscribes| Manifest { publishes, subscribes, ..vostro_testkit::manifest(module) };
    vec![
        module("auth", &[UPDATED, "auth.user-deleted.v1"], vec![]),
        module("account", &["account.account-created.v1"], vec![customers]),
    ]
}

/// A frame with one event that carries a number, from 0.
pub fn frame(event_type: &'static str, number: i64) -> Frame {
    let envelope = Envelope {
        id: Uuid::now_v7(),
        event_type: EventType::of(event_type),
        occurred_at: DateTime::UNIX_EPOCH,
        aggregate_type: "user".into(),
        aggregate_id: Uuid::nil(),
        sequence: number + 1,
        partition_key: Uuid::nil(),
        cause: Cause {
            correlation_id: Uuid::nil(),
            causation_id: Uuid::nil(),
            command: None,
            actor_kind: ActorKind::System,
            actor_id: None,
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        },
        dataref: None,
    };
    let data = RawValue::from_string(json!({ "padding": "x".repeat(400) }).to_string()).expect("JSON");
    Frame {
        exchange: "ev.auth".to_owned(),
        routing_key: format!("{event_type}.s00"),
        event_type: event_type.to_owned(),
        message_id: envelope.id,
        occurred_at: envelope.occurred_at,
        rows: vec![number],
        events: vec![write_structured(&envelope, &data)],
    }
}

/// The number given to [`frame`].
pub fn number(delivery: &Delivery) -> i64 {
    decode(&delivery.message).expect("a frame of ours")[0].envelope.sequence - 1
}

pub async fn next(deliveries: &mut dyn Deliveries) -> Delivery {
    within("a delivery", deliveries.next()).await.expect("the consumer lives")
}

/// Two minutes are far more than anything here takes, also on a slow machine.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), future)
        .await
        .unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// Until this many messages wait in a queue.
pub async fn until_ready(broker: &TestBroker, queue: &str, messages: u32) {
    let asking = broker.broker();
    eventually(&format!("{messages} messages to wait in {queue}"), async || {
        (asking.depth(queue).await.expect("the queue answers").ready == messages).then_some(())
    })
    .await;
}

/// Nothing is left in the queue, neither waiting nor unsettled: a message sent now is the next one to arrive.
pub async fn assert_all_settled(broker: &TestBroker) {
    let confirms = broker.publisher("auth").send(vec![frame(UPDATED, 1_000_000)]).await.expect("written");
    assert_eq!(within("confirms", confirms).await, [Ok(())]);
    let mut deliveries = broker.broker().consume(QUEUE, 10).await.expect("consuming");
    assert_eq!(number(&next(deliveries.as_mut()).await), 1_000_000);
}

/// What the crate has no function for: tampering with the broker as an operator could.
pub async fn tamper(method: Method, path: &str, body: Value) -> Response {
    let base = std::env::var(MANAGEMENT_URL).expect("set, or the test would not have come here");
    let response = Client::new().request(method, format!("{base}/api/{path}")).json(&body).send().await;
    response.expect("the broker answers").error_for_status().expect("the broker agrees")
}
