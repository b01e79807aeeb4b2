//! What the live rules find, once each.
#![allow(clippy::unwrap_used)]

mod support;

use chrono::{DateTime, TimeDelta, Utc};
use support::{Bank, completed, completed_between, noon, officer, transaction_of};
use uuid::Uuid;
use vostro_compliance::{LARGE_TRANSFER, RAPID_TRANSFERS, Violation};
use vostro_events::account::{BalanceChangedV1, BalanceV1};
use vostro_events::compliance::ComplianceViolationDetectedV1;
use vostro_kernel::Page;
use vostro_messaging::Incoming;
use vostro_testkit::walked_both_ways;

async fn violations(bank: &Bank) -> Vec<Violation> {
    bank.compliance.violations(&officer(), Page::forward(None, 100)).await.unwrap()
}

fn minutes(count: i64) -> DateTime<Utc> {
    noon() + TimeDelta::minutes(count)
}

/// What the ledger says about a payment from `account`.
fn debit(account: u128, sequence: i64, transaction_id: Uuid, cents: i64) -> Incoming {
    let after =
        BalanceV1 { posted_minor: 0, pending_in_minor: 0, pending_out_minor: 0, locked_minor: 0, available_minor: 0 };
    let event = BalanceChangedV1 {
        account_id: Uuid::from_u128(account),
        owner_id: None,
        currency: "EUR".parse().unwrap(),
        transaction_id,
        delta_minor: -cents,
        after,
    };
    let mut incoming = vostro_testkit::incoming(&event, sequence);
    incoming.envelope.occurred_at = noon();
    incoming
}

#[tokio::test]
async fn a_large_transfer_is_stored_and_told_once() {
    let bank = Bank::open().await;
    let (small, large) = (completed(1, 999_999, noon()), completed(2, 1_000_000, noon()));
    bank.store(&[small, large.clone()]).await;
    let found = violations(&bank).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].rule_id.as_str(), found[0].subject_id), (LARGE_TRANSFER, Uuid::from_u128(2)));
    assert_eq!((found[0].score, found[0].threshold, found[0].rule_version), (1_000_000, 1_000_000, 1));
    assert_eq!(found[0].transaction_ids, [transaction_of(&large)]);

    let told = bank.database.outbox_events().await;
    assert_eq!(told.len(), 1);
    let (envelope, data) = &told[0];
    assert_eq!(envelope.event_type.as_str(), ComplianceViolationDetectedV1::TYPE);
    assert_eq!((envelope.sequence, envelope.aggregate_id), (1, found[0].violation_id));
    assert_eq!(envelope.cause.causation_id, large.envelope.id);
    assert_eq!(envelope.cause.correlation_id, large.envelope.cause.correlation_id);
    let event: ComplianceViolationDetectedV1 = serde_json::from_value(data.clone()).unwrap();
    assert_eq!((event.violation_id, event.subject_id), (found[0].violation_id, Uuid::from_u128(2)));
    assert_eq!(event.transaction_ids, found[0].transaction_ids);
}

#[tokio::test]
async fn an_event_that_comes_again_finds_nothing_again() {
    let bank = Bank::open().await;
    let batch = [completed(2, 1_000_000, noon()), completed(2, 1_000_000, minutes(30))];
    for _ in 0..3 {
        bank.store(&batch).await;
    }
    bank.store(&batch[..1]).await;
    assert_eq!(violations(&bank).await.len(), 2, "each of the two payments is a finding");
    assert_eq!(bank.database.outbox_events().await.len(), 2);
}

#[tokio::test]
async fn rapid_transfers_are_found_with_the_payment_that_reaches_the_threshold() {
    let bank = Bank::open().await;
    let burst: Vec<_> = (0..25).map(|number| completed(3, 100, minutes(number / 3))).collect();
    for batch in burst[..19].chunks(4) {
        bank.store(batch).await;
    }
    assert_eq!(violations(&bank).await, []);
    bank.store(&burst[19..20]).await;
    let found = violations(&bank).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].rule_id.as_str(), found[0].score, found[0].threshold), (RAPID_TRANSFERS, 20, 20));
    assert_eq!(found[0].transaction_ids, [transaction_of(&burst[19])]);
    bank.store(&burst[20..]).await;
    bank.store(&burst).await;
    assert_eq!(violations(&bank).await, found, "the same window is not reported again");
    assert_eq!(bank.database.published(ComplianceViolationDetectedV1::TYPE).await.len(), 1);
}

#[tokio::test]
async fn the_evidence_of_rapid_transfers_is_what_the_ledger_said() {
    let bank = Bank::open().await;
    let burst: Vec<_> = (0..20).map(|_| completed(3, 100, noon())).collect();
    let mut batch = Vec::new();
    for (payment, sequence) in burst.iter().zip(1..) {
        batch.push(debit(3, sequence, transaction_of(payment), 100));
        batch.push(payment.clone());
    }
    // Somebody else's, and money that came in.
    batch.push(debit(4, 1, Uuid::now_v7(), 100));
    batch.push(debit(3, 21, Uuid::now_v7(), -100));
    bank.store(&batch).await;
    let found = violations(&bank).await;
    assert_eq!(found[0].transaction_ids, burst.iter().map(transaction_of).collect::<Vec<_>>());
}

#[tokio::test]
async fn evidence_is_named_once_although_the_ledger_told_it_in_two_versions() {
    let bank = Bank::open().await;
    let burst: Vec<_> = (0..20).map(|_| completed(3, 100, noon())).collect();
    let debits: Vec<_> =
        burst.iter().zip(1..).map(|(payment, sequence)| debit(3, sequence, transaction_of(payment), 100)).collect();
    bank.store(&debits.iter().map(support::next_version).collect::<Vec<_>>()).await;
    bank.store(&debits).await;
    // As many newer events as are looked through, if copies counted.
    let newer: Vec<_> = (21..=90).map(|sequence| debit(3, sequence, Uuid::now_v7(), -100)).collect();
    bank.store(&newer.iter().map(support::next_version).collect::<Vec<_>>()).await;
    bank.store(&newer).await;
    bank.store(&burst).await;
    let found = violations(&bank).await;
    assert_eq!(found[0].transaction_ids, burst.iter().map(transaction_of).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_payment_that_is_told_in_two_versions_is_examined_once() {
    let bank = Bank::open().await;
    let burst: Vec<_> = (0..19).map(|number| completed(3, 100, minutes(number / 3))).collect();
    let copies: Vec<_> = burst.iter().map(support::next_version).collect();
    for batch in [&copies[..10], &burst, &copies[10..], &burst] {
        bank.store(batch).await;
    }
    assert_eq!(violations(&bank).await, [], "nineteen payments, however often they are told");
    bank.store(&[completed(3, 100, minutes(7))]).await;
    assert_eq!(violations(&bank).await.len(), 1, "and none of them is missed");
}

#[tokio::test]
async fn the_next_window_is_reported_again() {
    let bank = Bank::open().await;
    for start in [0, 10, 20] {
        bank.store(&(0..20).map(|_| completed(3, 100, minutes(start))).collect::<Vec<_>>()).await;
    }
    assert_eq!(violations(&bank).await.len(), 3);
}

#[tokio::test]
async fn a_burst_is_found_whatever_the_order_and_the_batches() {
    let mut found = Vec::new();
    for size in [1, 7, 40] {
        let bank = Bank::open().await;
        let mut burst: Vec<_> = (0..40).map(|number| completed(3, 100, minutes(number / 2))).collect();
        if size == 7 {
            burst.reverse();
        }
        for batch in burst.chunks(size) {
            bank.store(batch).await;
        }
        found.push(violations(&bank).await.len());
    }
    assert_eq!(found, [2, 2, 2]);
}

#[tokio::test]
async fn the_sum_of_several_payments_is_found_and_the_banks_own_are_not() {
    let bank = Bank::open().await;
    bank.store(&[completed(3, 999_999, noon()), completed(3, 999_999, minutes(9))]).await;
    assert_eq!(violations(&bank).await, []);
    bank.store(&[completed(3, 2, minutes(9))]).await;
    let found = violations(&bank).await;
    assert_eq!((found.len(), found[0].score, found[0].threshold), (1, 2_000_000, 2_000_000));
    bank.store(&(0..50).map(|_| completed_between(None, Some(5), 100, noon())).collect::<Vec<_>>()).await;
    assert_eq!(violations(&bank).await.len(), 1);
    let followed: i64 =
        sqlx::query_scalar("select count(*) from compliance.velocity").fetch_one(bank.database.pool()).await.unwrap();
    assert_eq!(followed, 1, "only customers' accounts are followed");
}

#[tokio::test]
async fn a_large_deposit_is_about_the_customer_who_gets_it() {
    let bank = Bank::open().await;
    bank.store(&[completed_between(None, Some(5), 5_000_000, noon())]).await;
    assert_eq!(violations(&bank).await[0].subject_id, Uuid::from_u128(5));
}

#[tokio::test]
async fn a_completed_payment_the_rules_cannot_read_is_stored_all_the_same() {
    let bank = Bank::open().await;
    bank.store(&[support::event("transaction.completed.v1", "transaction", 1, 1)]).await;
    assert_eq!(bank.stored().await.len(), 1);
    assert_eq!(violations(&bank).await, []);
}

#[tokio::test]
async fn the_list_is_paged_alike_in_both_directions() {
    let bank = Bank::open().await;
    for number in 0..5 {
        bank.store(&[completed(number, 2_000_000, noon()), completed(number + 10, 2_000_000, noon())]).await;
        bank.pass(TimeDelta::seconds(1));
    }
    let officer = officer();
    let read = async |page| bank.compliance.violations(&officer, page).await.unwrap();
    let seen = walked_both_ways(|violation| (violation.detected_at, violation.violation_id), read).await;
    assert_eq!(seen, violations(&bank).await);
    assert_eq!(seen.len(), 10);
    assert!(seen.is_sorted_by(|left, right| left.detected_at >= right.detected_at));
}
