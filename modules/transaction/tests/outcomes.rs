//! What the ledger decided, applied exactly once.

mod common;

use common::{Bank, applied, booked_at, rejected};
use uuid::Uuid;
use vostro_events::account::PostingAppliedV1;
use vostro_messaging::{HandlerError, Module as _};
use vostro_testkit::{deliver, incoming, reason_for_refusing};
use vostro_transaction::domain::{Status, Transaction};

async fn outcomes(bank: &Bank) -> Vec<(String, Uuid, i64)> {
    let events = bank.database.outbox_events().await.into_iter();
    let ended = events.filter(|(envelope, _)| envelope.sequence == 2);
    ended.map(|(envelope, _)| (envelope.event_type.to_string(), envelope.aggregate_id, envelope.sequence)).collect()
}

fn completed(transaction: &Transaction) -> (String, Uuid, i64) {
    ("transaction.completed.v1".to_owned(), transaction.id, 2)
}

#[tokio::test]
async fn a_booked_transaction_is_completed_and_says_so_in_full() {
    let bank = Bank::open().await;
    let transaction = bank.pay("k", "12.50").await;
    let posting = applied(transaction.id);
    bank.hear_of_postings(std::slice::from_ref(&posting)).await;

    let ended = bank.read(transaction.id).await;
    assert_eq!((ended.status, ended.completed_at, ended.sequence()), (Status::Completed, Some(booked_at()), 2));
    let events = bank.database.outbox_events().await;
    let (envelope, data) = &events[1];
    assert_eq!((envelope.aggregate_id, envelope.sequence), (transaction.id, 2));
    assert_eq!(envelope.cause.causation_id, posting.envelope.id);
    assert_eq!(envelope.cause.correlation_id, posting.envelope.cause.correlation_id);
    let expected = serde_json::json!({
        "transactionId": transaction.id,
        "kind": "TRANSFER",
        "route": {
            "sourceAccountId": bank.payer.account, "destinationAccountId": bank.payee.account,
            "sourceOwnerId": bank.payer.id, "destinationOwnerId": bank.payee.id,
        },
        "amount": {"minor": 1250, "currency": "EUR"},
        "bookedAt": booked_at(),
    });
    assert_eq!(*data, expected);
}

#[tokio::test]
async fn a_rejected_transaction_fails_with_the_ledgers_reason() {
    let bank = Bank::open().await;
    let transaction = bank.pay("k", "1").await;
    bank.hear_of_postings(&[rejected(transaction.id)]).await;
    let ended = bank.read(transaction.id).await;
    assert_eq!((ended.status, ended.failure_code.as_deref()), (Status::Failed, Some("ACC_INSUFFICIENT_FUNDS")));
    assert!(ended.completed_at.is_some());
    let published = bank.database.published("transaction.failed.v1").await;
    assert_eq!(published[0]["code"], "ACC_INSUFFICIENT_FUNDS");
    assert_eq!(published[0]["route"]["sourceOwnerId"], serde_json::json!(bank.payer.id));
}

#[tokio::test]
async fn an_outcome_is_applied_once_however_often_and_in_which_order_it_comes() {
    let bank = Bank::open().await;
    let (first, second) = (bank.pay("a", "1").await, bank.pay("b", "1").await);
    let (one, two) = (applied(first.id), applied(second.id));
    bank.hear_of_postings(&[two.clone(), one.clone(), two.clone()]).await;
    bank.hear_of_postings(&[one.clone(), two.clone()]).await;
    bank.hear_of_postings(&[one]).await;
    // The same fact under another event id, as after a restored producer.
    bank.hear_of_postings(&[applied(first.id)]).await;

    let mut published = outcomes(&bank).await;
    published.sort();
    let mut expected = vec![completed(&first), completed(&second)];
    expected.sort();
    assert_eq!(published, expected);
}

#[tokio::test]
async fn a_batch_is_settled_with_its_repetitions_and_news() {
    let bank = Bank::open().await;
    let (old, new) = (bank.pay("a", "1").await, bank.pay("b", "1").await);
    bank.hear_of_postings(&[applied(old.id)]).await;
    bank.hear_of_postings(&[applied(old.id), rejected(new.id)]).await;
    assert_eq!(bank.read(old.id).await.status, Status::Completed);
    assert_eq!(bank.read(new.id).await.status, Status::Failed);
    assert_eq!(outcomes(&bank).await.len(), 2);
}

#[tokio::test]
async fn two_instances_that_hear_the_same_outcomes_settle_each_once() {
    let bank = Bank::open().await;
    let mut events = Vec::new();
    for number in 0..40 {
        events.push(applied(bank.pay(&number.to_string(), "1").await.id));
    }
    let other = bank.another_instance();
    let (one, two) = (bank.handler("postings"), common::handler_of(&other, "postings"));
    let pool = bank.database.pool();
    let (first, second) = tokio::join!(deliver(pool, &one, &events), deliver(pool, &two, &events));
    // One of two that lock the same rows in different orders may lose; the consumer tries again.
    for (result, handler) in [(first, one), (second, two)] {
        if let Err(HandlerError::Database(_)) = result {
            deliver(pool, &handler, &events).await.expect("handled");
        }
    }
    assert_eq!(outcomes(&bank).await.len(), 40);
}

#[tokio::test]
async fn an_outcome_of_an_unknown_transaction_is_invalid_and_undoes_the_batch() {
    let bank = Bank::open().await;
    let known = bank.pay("k", "1").await;
    let unknown = Uuid::now_v7();
    let stray = applied(unknown);
    let batch = [applied(known.id), stray.clone()];
    match deliver(bank.database.pool(), &bank.handler("postings"), &batch).await {
        Err(HandlerError::Invalid { event, reason }) => {
            assert_eq!(event, stray.envelope.id);
            assert!(reason.contains(&unknown.to_string()), "{reason}");
        }
        other => panic!("the stray event is invalid, not {other:?}"),
    }
    assert_eq!(bank.read(known.id).await.status, Status::Initiated);
    assert!(outcomes(&bank).await.is_empty());
}

#[tokio::test]
async fn an_outcome_that_contradicts_an_earlier_one_is_invalid() {
    let bank = Bank::open().await;
    let transaction = bank.pay("k", "1").await;
    let batch = [applied(transaction.id), rejected(transaction.id)];
    let contradiction = deliver(bank.database.pool(), &bank.handler("postings"), &batch).await;
    assert!(matches!(contradiction, Err(HandlerError::Invalid { event, .. }) if event == batch[1].envelope.id));

    bank.hear_of_postings(&[applied(transaction.id)]).await;
    let reason = reason_for_refusing(bank.database.pool(), &bank.handler("postings"), rejected(transaction.id)).await;
    assert!(reason.contains("COMPLETED"), "{reason}");
    assert_eq!(bank.read(transaction.id).await.status, Status::Completed);
    assert_eq!(outcomes(&bank).await, [completed(&transaction)]);
}

#[tokio::test]
async fn data_that_is_no_outcome_is_invalid() {
    let bank = Bank::open().await;
    let mut event = applied(Uuid::now_v7());
    event.data = serde_json::value::RawValue::from_string(r#"{"transactionId":7}"#.into()).expect("JSON");
    reason_for_refusing(bank.database.pool(), &bank.handler("postings"), event).await;

    let foreign = incoming(&common::balance(Uuid::now_v7(), 1), 1);
    assert!(!foreign.is(PostingAppliedV1::TYPE));
    reason_for_refusing(bank.database.pool(), &bank.handler("postings"), foreign).await;
}

#[tokio::test]
async fn every_subscription_has_its_handler() {
    let bank = Bank::open().await;
    let bound = bank.transactions.handlers().into_iter().map(|bound| bound.subscription).collect::<Vec<_>>();
    assert_eq!(bound, bank.transactions.manifest().subscribes);
}
