//! Streams of events.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use vostro_kernel::{Actor, RequestContext, SystemIds};
use vostro_schema::scope::RequestScope;
use vostro_schema::stitch::Meter;

use crate::harness::{Bank, code, scope};

#[tokio::test]
async fn events_of_one_module_pass_through() {
    let bank = Bank::open();
    let query = "subscription { balanceChanged(accountId: \"acc_1\") { sequence account { number } } }";
    assert!(bank.passes_through(query));
    let events = bank.events(query).await;
    assert_eq!(events.len(), 3);
    assert_eq!(events[2], json!({"data": {"balanceChanged": {"sequence": 3, "account": {"number": "00acc_1"}}}}));
}

#[tokio::test]
async fn each_event_is_completed_by_the_other_modules() {
    let bank = Bank::open();
    let query = "subscription { update: paymentUpdated { payment { source { number owner { name } } } sequence } }";
    let events = bank.events(query).await;
    assert_eq!(
        events[1],
        json!({"data": {"update": {"payment": {"source": {"number": "00acc_1", "owner": {"name": "Ada"}}}, "sequence": 2}}})
    );
    assert_eq!(events.len(), 2);
}

#[tokio::test]
async fn a_subscription_that_cannot_start_is_one_reply_without_data() {
    let bank = Bank::open();
    for (query, expected) in [
        ("subscription { private }", "UNAUTHENTICATED"),
        ("subscription { balanceChanged(accountId: \"acc_9\") { sequence } }", "BAD_USER_INPUT"),
    ] {
        let prepared = bank.engine.prepare(query, None).unwrap();
        let replies: Vec<_> =
            bank.engine.subscribe(prepared, Default::default(), scope(Actor::ANONYMOUS)).collect().await;
        assert_eq!(replies.len(), 1, "{query}");
        assert!(!replies[0].has_data);
        assert_eq!(code(&serde_json::from_slice(&replies[0].body).unwrap()), expected);
    }
}

#[tokio::test]
async fn dropping_the_stream_ends_the_subscription_in_the_module() {
    let bank = Bank::open();
    let query = "subscription { balanceChanged(accountId: \"acc_1\", endless: true) { sequence } }";
    let prepared = bank.engine.prepare(query, None).unwrap();
    let mut replies = bank.engine.subscribe(prepared, Default::default(), scope(Actor::ANONYMOUS));
    assert!(replies.next().await.is_some());
    assert_eq!(bank.calls.open_streams.load(Ordering::SeqCst), 1);
    drop(replies);
    assert_eq!(bank.calls.open_streams.load(Ordering::SeqCst), 0);
}

/// Writes down what it is told, and lets the stream pause for as long as this after each event.
struct Notes(Mutex<Vec<u32>>, Duration);

impl Meter for Notes {
    fn note(&self, points: u32) -> Duration {
        self.0.lock().unwrap().push(points);
        self.1
    }
}

/// What the events of a subscription come to, and how long it took to have all of them.
async fn metered(bank: &Bank, query: &str, pause: Duration) -> (Vec<u32>, Vec<Value>, Duration) {
    let notes = Arc::new(Notes(Mutex::default(), pause));
    let context = RequestContext::of(Actor::ANONYMOUS, &SystemIds);
    let scope = RequestScope::new(context, Arc::new(SystemIds)).with_meter(Some(notes.clone()));
    let started = tokio::time::Instant::now();
    let replies = bank.engine.subscribe(bank.engine.prepare(query, None).unwrap(), Default::default(), Arc::new(scope));
    let events = replies.map(|reply| serde_json::from_slice(&reply.body).unwrap()).collect().await;
    let noted = notes.0.lock().unwrap().clone();
    (noted, events, started.elapsed())
}

#[tokio::test]
async fn each_event_but_the_first_is_noted_with_what_its_answer_came_to() {
    let bank = Bank::open();
    let of_one_module =
        "subscription { balanceChanged(accountId: \"acc_1\") { sequence account { number owner { id } } } }";
    assert!(bank.passes_through(of_one_module));
    assert_eq!(metered(&bank, of_one_module, Duration::ZERO).await.0, [3, 3]);
    let of_several = "subscription { paymentUpdated { payment { source { owner { name } } } sequence } }";
    assert!(!bank.passes_through(of_several));
    assert_eq!(metered(&bank, of_several, Duration::ZERO).await.0, [4]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_caller_was_told_too_much_pauses_and_loses_nothing() {
    let bank = Bank::open();
    let query = "subscription { balanceChanged(accountId: \"acc_1\") { sequence } }";
    let (_, events, took) = metered(&bank, query, Duration::from_secs(60)).await;
    let told: Vec<_> = events.iter().map(|event| event["data"]["balanceChanged"]["sequence"].clone()).collect();
    assert_eq!(told, [1, 2, 3]);
    assert_eq!(took.as_secs(), 120, "after the second and after the third");
}
