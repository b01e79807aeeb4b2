//! What a message costs: publishes and consumes through one quorum queue and prints rates and processor time.
//!
//! `cargo run -p vostro-rabbitmq --example throughput [--release]`, with the broker of `scripts/stack.sh env`.

use std::collections::VecDeque;
use std::time::Instant;

use chrono::Utc;
use serde_json::value::RawValue;
use uuid::Uuid;
use vostro_events::{Cause, Envelope, EventType, write_structured};
use vostro_kernel::ActorKind;
use vostro_messaging::{Broker as _, EventSelector, Frame, InboxMode, Manifest, Publisher as _, Subscription};
use vostro_rabbitmq::AmqpPublisher;
use vostro_rabbitmq::testing::TestBroker;

const UPDATED: &str = "auth.user-updated.v1";
const QUEUE: &str = "q.account.customers";
/// Windows that wait for their confirms at a time: they keep the broker busy. The relay has one.
const WINDOWS: usize = 3;

#[tokio::main]
async fn main() {
    let broker = TestBroker::with_topology("throughput", &manifests()).await;
    let publisher = broker.publisher("auth");
    let consumers = broker.broker();
    for (events, window, total) in [(1, 1, 500), (1, 20, 5_000), (1, 100, 20_000), (1, 500, 20_000), (16, 100, 4_000)] {
        let before = Usage::now();
        publish(&publisher, events, window, total).await;
        report(&format!("publish {events:2} events a frame, windows of {window:3}"), total, events, before);
        let before = Usage::now();
        let mut deliveries = consumers.consume(QUEUE, 512).await.expect("consuming");
        let (mut seen, mut acknowledged) = (0, 0);
        while seen < total {
            let mut last = deliveries.next().await.expect("the consumer lives");
            seen += 1;
            while let Some(delivery) = deliveries.next_ready() {
                last = delivery;
                seen += 1;
            }
            deliveries.ack_through(last.tag).await.expect("acknowledged");
            acknowledged += 1;
        }
        report(&format!("consume {events:2} events a frame, {acknowledged:5} acks"), total, events, before);
    }
}

async fn publish(publisher: &AmqpPublisher, events: usize, window: usize, total: usize) {
    let mut in_flight = VecDeque::new();
    let mut sent = 0;
    while sent < total {
        let frames = (0..window).map(|_| frame(events)).collect();
        in_flight.push_back(publisher.send(frames).await.expect("written"));
        sent += window;
        if in_flight.len() == WINDOWS {
            let confirms = in_flight.pop_front().expect("not empty").await;
            assert!(confirms.iter().all(Result::is_ok));
        }
    }
    for confirms in in_flight {
        assert!(confirms.await.iter().all(Result::is_ok));
    }
}

struct Usage {
    at: Instant,
    /// Processor time of this process, in clock ticks of 10 ms.
    ticks: u64,
}

impl Usage {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let fields = after_name.split_whitespace().skip(11).take(2);
        Self { at: Instant::now(), ticks: fields.filter_map(|field| field.parse::<u64>().ok()).sum() }
    }
}

#[expect(clippy::print_stdout, clippy::float_arithmetic, clippy::cast_precision_loss, reason = "figures for people")]
fn report(what: &str, frames: usize, events: usize, before: Usage) {
    let after = Usage::now();
    let seconds = (after.at - before.at).as_secs_f64();
    let processor = (after.ticks - before.ticks) as f64 * 10_000.0 / frames as f64;
    let rate = frames as f64 / seconds;
    println!(
        "{what}: {rate:8.0} frames/s, {:8.0} events/s, {processor:6.1} us of processor per frame",
        rate * events as f64
    );
}

fn frame(events: usize) -> Frame {
    let now = Utc::now();
    let events: Vec<(Uuid, Vec<u8>)> = (0..events).map(|_| event(now)).collect();
    Frame {
        exchange: "ev.auth".to_owned(),
        routing_key: format!("{UPDATED}.s00"),
        event_type: UPDATED.to_owned(),
        message_id: events[0].0,
        occurred_at: now,
        rows: vec![0; events.len()],
        events: events.into_iter().map(|(_, event)| event).collect(),
    }
}

fn event(occurred_at: chrono::DateTime<Utc>) -> (Uuid, Vec<u8>) {
    let envelope = Envelope {
        id: Uuid::now_v7(),
        event_type: EventType::of(UPDATED),
        occurred_at,
        aggregate_type: "user".into(),
        aggregate_id: Uuid::now_v7(),
        sequence: 1,
        partition_key: Uuid::nil(),
        cause: Cause {
            correlation_id: Uuid::now_v7(),
            causation_id: Uuid::now_v7(),
            command: None,
            actor_kind: ActorKind::System,
            actor_id: None,
            traceparent: None,
        },
        dataref: None,
    };
    let data = RawValue::from_string(format!("{{\"padding\":\"{}\"}}", "x".repeat(300))).expect("JSON");
    (envelope.id, write_structured(&envelope, &data))
}

fn manifests() -> Vec<Manifest> {
    let module = |module, publishes, subscribes| Manifest {
        module,
        version: "1",
        purpose: "For measuring.",
        publishes,
        claimed: &[],
        subscribes,
        calls: &[],
        serves: &[],
        depends_on: &[],
        publish_linger: std::time::Duration::ZERO,
    };
    let customers = Subscription {
        module: "account",
        name: "customers",
        events: EventSelector::Types(&[UPDATED]),
        batch: 64,
        linger: std::time::Duration::ZERO,
        inbox: InboxMode::Rows,
    };
    vec![module("auth", &[UPDATED], vec![]), module("account", &[], vec![customers])]
}
