//! Streams of events.

use std::sync::atomic::Ordering;

use futures::StreamExt;
use serde_json::json;
use vostro_kernel::Actor;

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
