//! Missing events are noticed, reported after the grace, and forgotten when they arrive.
#![allow(clippy::unwrap_used)]

mod support;

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::{Bank, balance, event, noon, officer};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_compliance::EventGap;
use vostro_messaging::Module as _;

async fn gaps(bank: &Bank) -> Vec<EventGap> {
    bank.compliance.event_gaps(&officer()).await.unwrap()
}

async fn missing(bank: &Bank) -> Vec<(u128, i64, i64)> {
    let gaps = gaps(bank).await;
    gaps.iter().map(|gap| (gap.aggregate_id.as_u128(), gap.missing_from, gap.missing_to)).collect()
}

async fn open_in_head(bank: &Bank) -> i64 {
    sqlx::query_scalar("select open_gaps from compliance.chain_head").fetch_one(bank.database.pool()).await.unwrap()
}

#[tokio::test]
async fn a_gap_is_reported_after_the_grace_and_not_before() {
    let bank = Bank::open().await;
    bank.store(&[balance(1, 1), balance(1, 4), event("auth.user-updated.v1", "user", 2, 3)]).await;
    bank.pass(TimeDelta::milliseconds(29_999));
    assert_eq!(gaps(&bank).await, []);
    bank.pass(TimeDelta::milliseconds(1));
    let user = EventGap {
        module: "auth".into(),
        aggregate_type: "user".into(),
        aggregate_id: Uuid::from_u128(2),
        missing_from: 1,
        missing_to: 2,
        opened_at: noon(),
    };
    let account = EventGap {
        module: "account".into(),
        aggregate_type: "balance".into(),
        aggregate_id: Uuid::from_u128(1),
        missing_from: 2,
        missing_to: 3,
        opened_at: noon(),
    };
    assert_eq!(gaps(&bank).await, [account, user]);
}

#[tokio::test]
async fn a_gap_closes_when_the_last_missing_event_arrives() {
    let bank = Bank::open().await;
    bank.store(&[balance(1, 1), balance(1, 4)]).await;
    bank.pass(TimeDelta::seconds(60));
    bank.store(&[balance(1, 2)]).await;
    assert_eq!(missing(&bank).await, [(1, 3, 3)]);
    bank.store(&[balance(1, 3)]).await;
    assert_eq!(missing(&bank).await, []);
    assert_eq!(open_in_head(&bank).await, 0);
    let closed: i64 =
        sqlx::query_scalar("select count(*) from compliance.event_gap where closed_at = opened_at + interval '60 s'")
            .fetch_one(bank.database.pool())
            .await
            .unwrap();
    assert_eq!(closed, 1, "it stays on record");
}

#[tokio::test]
async fn events_that_arrive_in_one_batch_in_any_order_leave_no_trace() {
    let bank = Bank::open().await;
    bank.store(&[balance(1, 3), balance(1, 1), balance(1, 2)]).await;
    let noted: i64 =
        sqlx::query_scalar("select count(*) from compliance.event_gap").fetch_one(bank.database.pool()).await.unwrap();
    assert_eq!(noted, 0);
}

#[tokio::test]
async fn a_gap_that_is_split_stays_as_old_as_it_was() {
    let bank = Bank::open().await;
    bank.store(&[balance(1, 1), balance(1, 9)]).await;
    bank.pass(TimeDelta::seconds(60));
    bank.store(&[balance(1, 5)]).await;
    assert_eq!(missing(&bank).await, [(1, 2, 4), (1, 6, 8)]);
    assert!(gaps(&bank).await.iter().all(|gap| gap.opened_at == noon()));
    // From above: the event before the gap's end arrives, the rest is still missing, since the beginning.
    bank.store(&[balance(1, 8)]).await;
    assert_eq!(missing(&bank).await, [(1, 2, 4), (1, 6, 7)]);
    assert!(gaps(&bank).await.iter().all(|gap| gap.opened_at == noon()));
}

#[tokio::test]
async fn a_gap_of_another_aggregate_or_stream_stays_open() {
    let bank = Bank::open().await;
    bank.store(&[balance(1, 2), balance(2, 2), event("account.account-updated.v1", "account", 1, 2)]).await;
    bank.pass(TimeDelta::seconds(60));
    bank.store(&[balance(1, 1)]).await;
    let left: Vec<_> =
        gaps(&bank).await.into_iter().map(|gap| (gap.aggregate_type, gap.aggregate_id.as_u128())).collect();
    assert_eq!(left, [("account".to_owned(), 1), ("balance".to_owned(), 2)]);
}

#[tokio::test]
async fn what_goes_on_in_the_background_ends_with_the_bank() {
    let bank = Bank::open().await;
    bank.store(&[balance(1, 2)]).await;
    let stop = CancellationToken::new();
    let watching = futures::future::join_all(bank.compliance.background(stop.clone()));
    stop.cancel();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), watching).await.expect("it ends");
    assert!(!ended.is_empty());
}

#[test]
fn whatever_the_order_no_gap_is_open_at_the_end_and_none_is_overlooked_before() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bank = runtime.block_on(Bank::open());
    let all: Vec<_> = (1..=4).flat_map(|sequence| [balance(1, sequence), balance(2, sequence)]).collect();
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    runner
        .run(&(Just(all).prop_shuffle(), 1_usize..4), |(order, size)| {
            runtime.block_on(async {
                let mut transaction = vostro_messaging::begin(bank.database.pool()).await.unwrap();
                let mut stored = Vec::new();
                for batch in order.chunks(size) {
                    bank.archive.handle_in_tx(&mut transaction, batch).await.unwrap();
                    stored.extend(batch.iter().map(|event| (event.envelope.aggregate_id, event.envelope.sequence)));
                    let expected = stored
                        .iter()
                        .filter(|(account, sequence)| *sequence > 1 && !stored.contains(&(*account, sequence - 1)))
                        .count();
                    let open: i64 =
                        sqlx::query_scalar("select count(*) from compliance.event_gap where closed_at is null")
                            .fetch_one(&mut *transaction)
                            .await
                            .unwrap();
                    prop_assert_eq!(usize::try_from(open).unwrap(), expected);
                }
                transaction.rollback().await.unwrap();
                Ok(())
            })
        })
        .unwrap();
}
