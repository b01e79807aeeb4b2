use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;
use vostro_account::Config;
use vostro_account::domain::InternalRole;
use vostro_events::account::{BalanceChangedV1, PostingAppliedV1, PostingRejectedV1};
use vostro_kernel::{Clock, FixedClock, Money, RequestContext, SystemIds};
use vostro_messaging::Incoming;
use vostro_testkit::{deliver, incoming, reason_for_refusing};

use crate::fixture::{Bank, currency, euro, initiated, internal, operator, transfer};

const CASH: InternalRole = InternalRole::Cash;

async fn rejections(bank: &Bank) -> HashMap<Uuid, String> {
    let events = bank.database.published(PostingRejectedV1::TYPE).await;
    let read = |event| serde_json::from_value::<PostingRejectedV1>(event).expect("an event");
    events.into_iter().map(read).map(|event| (event.transaction_id, event.code)).collect()
}

/// The code a single transfer is rejected with.
async fn rejection(bank: &Bank, event: Incoming) -> Option<String> {
    bank.post(std::slice::from_ref(&event)).await.expect("decided");
    rejections(bank).await.remove(&event.envelope.aggregate_id)
}

#[tokio::test]
async fn a_transfer_moves_money_and_everybody_is_told() {
    let bank = Bank::open().await;
    let (source, destination) = (bank.account_with(10_000).await, bank.account_with(0).await);
    bank.forget_events().await;
    let event = transfer(source.id, destination.id, 2_500);
    bank.post(std::slice::from_ref(&event)).await.expect("posted");

    assert_eq!((bank.posted(source.id).await, bank.posted(destination.id).await), (7_500, 2_500));
    let events = bank.database.outbox_events().await;
    let [(applied, applied_data), (debit, debit_data), (credit, credit_data)] =
        <[_; 3]>::try_from(events).expect("three events");
    let transaction = event.envelope.aggregate_id;
    assert_eq!((applied.event_type.as_str(), applied.sequence), (PostingAppliedV1::TYPE, 1));
    assert_eq!((applied.aggregate_type.as_ref(), applied.aggregate_id), ("posting", transaction));
    let applied_event: PostingAppliedV1 = serde_json::from_value(applied_data).expect("an event");
    assert_eq!(applied_event.booking_date, applied_event.booked_at.date_naive());
    assert_eq!(applied_event.entries.iter().map(|entry| entry.amount_minor).sum::<i64>(), 0);
    let places = applied_event.entries.iter().map(|entry| (entry.account_id, entry.amount_minor, entry.sequence));
    assert_eq!(places.collect::<Vec<_>>(), [(source.id, -2_500, 2), (destination.id, 2_500, 1)]);

    assert_eq!((debit.event_type.as_str(), debit.sequence), (BalanceChangedV1::TYPE, 2));
    assert_eq!((debit.aggregate_type.as_ref(), debit.aggregate_id), ("balance", source.id));
    let after = |posted| json!({"postedMinor": posted, "pendingInMinor": 0, "pendingOutMinor": 0, "lockedMinor": 0, "availableMinor": posted});
    let changed = |account: &vostro_account::domain::Account, delta, posted| {
        json!({"accountId": account.id, "ownerId": account.owner_id, "currency": "EUR", "transactionId": transaction,
               "deltaMinor": delta, "after": after(posted)})
    };
    assert_eq!(debit_data, changed(&source, -2_500, 7_500));
    assert_eq!((credit.sequence, credit_data), (1, changed(&destination, 2_500, 2_500)));
    for envelope in [applied, debit, credit] {
        assert_eq!(envelope.cause.causation_id, event.envelope.id);
        assert_eq!(envelope.cause.correlation_id, event.envelope.cause.correlation_id);
        assert_eq!(envelope.cause.command, None);
    }
    bank.prove().await;
}

#[tokio::test]
async fn a_rejected_transfer_is_told_with_its_code_and_moves_nothing() {
    let bank = Bank::open().await;
    let (source, destination) = (bank.account_with(100).await, bank.account_with(0).await);
    bank.forget_events().await;
    let event = transfer(source.id, destination.id, 101);
    bank.post(std::slice::from_ref(&event)).await.expect("decided");
    let [(envelope, data)] = <[_; 1]>::try_from(bank.database.outbox_events().await).expect("one event");
    assert_eq!((envelope.event_type.as_str(), envelope.sequence), (PostingRejectedV1::TYPE, 1));
    assert_eq!(data, json!({"transactionId": event.envelope.aggregate_id, "code": "ACC_INSUFFICIENT_FUNDS"}));
    assert_eq!((bank.posted(source.id).await, bank.posted(destination.id).await), (100, 0));
    bank.prove().await;
}

#[tokio::test]
async fn each_rule_that_refuses_has_its_code() {
    let bank = Bank::open().await;
    let (rich, poor) = (bank.account_with(1_000).await.id, bank.account_with(0).await.id);
    let (frozen, closed) = (bank.account_with(1_000).await.id, bank.account_with(0).await.id);
    bank.accounts.freeze(&operator(), frozen, "test").await.expect("frozen");
    bank.accounts.close(&operator(), closed).await.expect("closed");
    let unknown = Uuid::now_v7();
    let crowns = incoming(&initiated(rich, poor, Money::new(1, currency("CZK"))), 1);
    let cases = [
        (transfer(unknown, poor, 1), "ACC_NOT_FOUND"),
        (transfer(rich, unknown, 1), "ACC_DESTINATION_NOT_FOUND"),
        (transfer(rich, rich, 1), "ACC_SAME_ACCOUNT"),
        (transfer(closed, poor, 1), "ACC_CLOSED"),
        (transfer(frozen, poor, 1), "ACC_FROZEN"),
        (transfer(rich, closed, 1), "ACC_DESTINATION_CLOSED"),
        (transfer(rich, frozen, 1), "ACC_DESTINATION_FROZEN"),
        (crowns, "ACC_CURRENCY_MISMATCH"),
        (transfer(rich, poor, 0), "ACC_AMOUNT_NOT_POSITIVE"),
        (transfer(rich, poor, -5), "ACC_AMOUNT_NOT_POSITIVE"),
        (transfer(poor, rich, 1), "ACC_INSUFFICIENT_FUNDS"),
        (transfer(internal(CASH), rich, i64::MAX), "ACC_BALANCE_OVERFLOW"),
    ];
    for (event, expected) in cases {
        assert_eq!(rejection(&bank, event).await.as_deref(), Some(expected));
    }
    assert_eq!((bank.posted(rich).await, bank.posted(poor).await), (1_000, 0));
    bank.prove().await;
}

#[tokio::test]
async fn one_batch_holds_applied_and_rejected_transfers_and_decides_them_in_order() {
    let bank = Bank::open().await;
    let (one, two) = (bank.account_with(100).await.id, bank.account_with(0).await.id);
    bank.forget_events().await;
    let batch = [transfer(one, two, 80), transfer(one, two, 30), transfer(two, one, 50), transfer(one, two, 30)];
    bank.post(&batch).await.expect("posted");
    let rejected = rejections(&bank).await;
    assert_eq!(rejected.keys().collect::<Vec<_>>(), [&batch[1].envelope.aggregate_id]);
    assert_eq!((bank.posted(one).await, bank.posted(two).await), (40, 60));
    bank.prove().await;
}

#[tokio::test]
async fn a_transfer_that_is_delivered_again_is_booked_once() {
    let bank = Bank::open().await;
    let (one, two) = (bank.account_with(100).await.id, bank.account_with(0).await.id);
    bank.forget_events().await;
    let first = transfer(one, two, 60);
    let refused = transfer(one, two, 100);
    // Twice in one batch, once more in the next, and among new ones.
    bank.post(&[first.clone(), first.clone(), refused.clone()]).await.expect("posted");
    bank.post(&[first.clone(), refused.clone()]).await.expect("known");
    bank.post(&[refused, transfer(one, two, 1), first]).await.expect("posted");
    assert_eq!((bank.posted(one).await, bank.posted(two).await), (39, 61));
    assert_eq!(bank.database.published(PostingAppliedV1::TYPE).await.len(), 2);
    assert_eq!(rejections(&bank).await.len(), 1);
    bank.prove().await;
}

#[tokio::test]
async fn a_transfer_whose_batch_was_rolled_back_is_booked_when_it_comes_again() {
    let bank = Bank::open().await;
    let (one, two) = (bank.account_with(100).await.id, bank.account_with(0).await.id);
    let event = transfer(one, two, 60);
    let mut transaction = vostro_messaging::begin(bank.database.pool()).await.expect("begun");
    let handler = bank.handler("postings");
    handler.handle_in_tx(&mut transaction, std::slice::from_ref(&event)).await.expect("handled");
    transaction.rollback().await.expect("rolled back");
    assert_eq!(bank.posted(one).await, 100);

    bank.post(&[event]).await.expect("posted");
    assert_eq!((bank.posted(one).await, bank.posted(two).await), (40, 60));
    bank.prove().await;
}

#[tokio::test]
async fn the_same_transaction_on_other_terms_is_invalid() {
    let bank = Bank::open().await;
    let (one, two) = (bank.account_with(100).await.id, bank.account_with(0).await.id);
    let first = initiated(one, two, euro(10));
    bank.post(&[incoming(&first, 1)]).await.expect("posted");
    let mut other = first.clone();
    other.amount = euro(11);
    let reason = reason_for_refusing(bank.database.pool(), &bank.handler("postings"), incoming(&other, 1)).await;
    assert_eq!(reason, "the transaction was decided before on other terms");
    // In one batch too.
    let (new, mut twin) = (initiated(one, two, euro(1)), initiated(two, one, euro(1)));
    twin.transaction_id = new.transaction_id;
    assert!(bank.post(&[incoming(&new, 1), incoming(&twin, 1)]).await.is_err());
    assert_eq!(bank.posted(one).await, 90);
}

#[tokio::test]
async fn garbage_is_invalid_and_takes_nothing_else_down() {
    let bank = Bank::open().await;
    let (one, two) = (bank.account_with(100).await.id, bank.account_with(0).await.id);
    let with_data = |data: serde_json::Value| {
        let mut event = transfer(one, two, 10);
        event.data = serde_json::value::to_raw_value(&data).expect("JSON");
        event
    };
    let garbage = [
        json!("hello"),
        json!({}),
        json!({"transactionId": Uuid::now_v7(), "amount": {"minor": "NaN", "currency": "EUR"}}),
        json!({"transactionId": Uuid::now_v7(), "kind": "TRANSFER", "amount": {"minor": 1, "currency": "ZZZ"},
               "route": {"sourceAccountId": one, "destinationAccountId": two}}),
    ];
    for data in garbage {
        reason_for_refusing(bank.database.pool(), &bank.handler("postings"), with_data(data)).await;
    }
    let other = serde_json::to_value(initiated(one, two, euro(5))).expect("JSON");
    let reason = reason_for_refusing(bank.database.pool(), &bank.handler("postings"), with_data(other)).await;
    assert_eq!(reason, "the data is about another transaction than the envelope");
    assert_eq!(bank.posted(one).await, 100);
}

#[tokio::test]
async fn a_hot_account_takes_a_whole_batch() {
    let bank = Bank::open().await;
    let hot = bank.account_with(0).await.id;
    let users = (0..20).map(|_| Uuid::now_v7()).collect::<Vec<_>>();
    bank.register(&users).await;
    let mut others = Vec::new();
    for user in users {
        others.push(bank.accounts_of(user).await.remove(0).id);
    }
    let funding = others.iter().map(|other| transfer(internal(CASH), *other, 1_000)).collect::<Vec<_>>();
    bank.post(&funding).await.expect("funded");
    bank.forget_events().await;

    let batch = (0..500_usize).map(|number| transfer(others[number % others.len()], hot, 1)).collect::<Vec<_>>();
    bank.post(&batch).await.expect("posted");
    assert_eq!(bank.posted(hot).await, 500);
    let sequences = bank.database.outbox_events().await.into_iter().filter_map(|(envelope, _)| {
        let of_hot = envelope.aggregate_type == "balance" && envelope.aggregate_id == hot;
        of_hot.then_some(envelope.sequence)
    });
    assert_eq!(sequences.collect::<Vec<_>>(), (1..=500).collect::<Vec<_>>());
    bank.prove().await;
}

#[tokio::test]
async fn batches_in_opposite_directions_wait_for_each_other_and_lose_nothing() {
    let bank = Arc::new(Bank::open().await);
    let (one, two) = (bank.account_with(100_000).await.id, bank.account_with(100_000).await.id);
    let tasks = (0..4).map(|number| {
        let bank = Arc::clone(&bank);
        let (source, destination) = if number % 2 == 0 { (one, two) } else { (two, one) };
        tokio::spawn(async move {
            for _ in 0..5 {
                let batch = (0..20).map(|_| transfer(source, destination, 1)).collect::<Vec<_>>();
                bank.post(&batch).await.expect("posted");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("finished");
    }
    let account = bank.see(one).await;
    assert_eq!((account.balance.posted, account.balance.sequence), (100_000, 401));
    bank.prove().await;
}

#[tokio::test]
async fn two_consumers_that_get_the_same_batch_book_it_once() {
    let bank = Arc::new(Bank::open().await);
    let (one, two) = (bank.account_with(1_000).await.id, bank.account_with(0).await.id);
    for _ in 0..5 {
        let batch = Arc::new((0..20).map(|_| transfer(one, two, 1)).collect::<Vec<_>>());
        let deliveries = (0..3).map(|_| {
            let (bank, batch) = (Arc::clone(&bank), Arc::clone(&batch));
            tokio::spawn(async move { bank.post(&batch).await })
        });
        for delivery in deliveries.collect::<Vec<_>>() {
            delivery.await.expect("finished").expect("posted or known");
        }
    }
    assert_eq!((bank.posted(one).await, bank.posted(two).await), (900, 100));
    bank.prove().await;
}

#[tokio::test]
async fn a_posting_and_a_freeze_of_its_account_happen_one_after_the_other() {
    let bank = Bank::open().await;
    let (one, two) = (bank.account_with(100).await.id, bank.account_with(0).await.id);
    // A freeze that has locked the account and is not committed yet.
    let mut freeze = vostro_messaging::begin(bank.database.pool()).await.expect("begun");
    sqlx::query("update account.balance set status = 'FROZEN' where account_id = $1")
        .bind(one)
        .execute(&mut *freeze)
        .await
        .expect("frozen");
    let handler = bank.handler("postings");
    let event = transfer(one, two, 10);
    let batch = [event.clone()];
    let mut posting = std::pin::pin!(deliver(bank.database.pool(), &handler, &batch));
    assert!(outcome_before_it_waits(&bank, posting.as_mut()).await.is_none());
    freeze.commit().await.expect("committed");
    posting.await.expect("decided");
    assert_eq!(rejections(&bank).await[&event.envelope.aggregate_id], "ACC_FROZEN");
}

/// The outcome, unless the database says first that the posting waits for a lock.
async fn outcome_before_it_waits<F: Future + Unpin>(bank: &Bank, mut posting: F) -> Option<F::Output> {
    loop {
        let waiting = sqlx::query_scalar::<_, bool>(
            "select exists (select from pg_stat_activity where datname = current_database()
                            and wait_event_type = 'Lock' and query like '%for no key update of b%')",
        );
        tokio::select! {
            outcome = &mut posting => return Some(outcome),
            waiting = waiting.fetch_one(bank.database.pool()) => if waiting.expect("an answer") { return None },
        }
    }
}

#[tokio::test]
async fn an_overdraft_counts_from_the_next_posting_on() {
    let bank = Bank::open().await;
    let (one, two) = (bank.account_with(0).await.id, bank.account_with(0).await.id);
    assert_eq!(rejection(&bank, transfer(one, two, 50)).await.as_deref(), Some("ACC_INSUFFICIENT_FUNDS"));
    bank.accounts.overdraft_arrange(&operator(), one, euro(50)).await.expect("arranged");
    assert_eq!(rejection(&bank, transfer(one, two, 51)).await.as_deref(), Some("ACC_INSUFFICIENT_FUNDS"));
    assert_eq!(rejection(&bank, transfer(one, two, 50)).await, None);
    assert_eq!(bank.see(one).await.balance.available(), 0);
    bank.prove().await;
}

#[tokio::test]
async fn balances_go_to_the_edge_of_64_bits_and_not_beyond() {
    let bank = Bank::open().await;
    let (cash, one) = (internal(CASH), bank.account_with(0).await.id);
    assert_eq!(rejection(&bank, transfer(cash, one, i64::MAX)).await, None);
    assert_eq!(rejection(&bank, transfer(cash, one, 1)).await.as_deref(), Some("ACC_BALANCE_OVERFLOW"));
    assert_eq!(bank.posted(one).await, i64::MAX);
    let two = bank.account_with(0).await.id;
    // Cash can go one further down, and then no more.
    assert_eq!(rejection(&bank, transfer(cash, two, 1)).await, None);
    assert_eq!(rejection(&bank, transfer(cash, two, 1)).await.as_deref(), Some("ACC_BALANCE_OVERFLOW"));
    assert_eq!(bank.posted(cash).await, i64::MIN);
    let lines = bank.accounts.trial_balance(&RequestContext::system(&SystemIds)).await.expect("readable");
    assert!(lines.iter().all(vostro_account::TrialBalanceLine::is_balanced));
    bank.prove().await;
}

#[tokio::test]
async fn an_empty_batch_is_no_work() {
    let bank = Bank::open().await;
    bank.post(&[]).await.expect("nothing");
    assert!(bank.database.outbox_events().await.is_empty());
}

#[tokio::test]
async fn entries_are_dated_in_their_order_though_the_clocks_of_two_instances_differ() {
    let at = |time: &str| time.parse::<DateTime<Utc>>().expect("a time");
    let clock = Arc::new(FixedClock::at(at("2024-02-01T00:00:00.200Z")));
    let bank = Bank::open_with(clock.clone(), Config::default()).await;
    let account = bank.account_with(100).await;
    let cash = internal(CASH);
    for (now, booked) in [
        ("2024-01-31T23:59:59.900Z", "2024-02-01T00:00:00.200Z"),
        ("2024-02-01T00:00:00.300Z", "2024-02-01T00:00:00.300Z"),
        // No two clocks that are right are this far apart.
        ("2024-01-31T23:58:00Z", "2024-01-31T23:58:00Z"),
    ] {
        let shown = Clock::now(clock.as_ref());
        clock.advance(at(now) - shown);
        bank.forget_events().await;
        bank.post(&[transfer(cash, account.id, 100)]).await.expect("posted");
        let applied = bank.database.published(PostingAppliedV1::TYPE).await.remove(0);
        let applied: PostingAppliedV1 = serde_json::from_value(applied).expect("an event");
        assert_eq!(applied.booked_at, at(booked), "at {now}");
        assert_eq!(applied.booking_date, at(booked).date_naive());
    }
}
