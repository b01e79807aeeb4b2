//! What this module knows of accounts, whatever the order it hears it in.

mod common;

use common::{Bank, balance, code, created, updated};
use uuid::Uuid;
use vostro_events::account::AccountStatus;
use vostro_messaging::Incoming;
use vostro_testkit::{incoming, reason_for_refusing};
use vostro_transaction::{TransactionErrorCode as Code, TransferCreate};

type View = (Option<String>, Option<String>, Option<Uuid>, Option<String>, i64, Option<i64>, i64);

async fn view(bank: &Bank, account: Uuid) -> View {
    sqlx::query_as(
        "select number, kind, owner_id, status, lifecycle_sequence, available_minor, balance_sequence
         from transaction.account_view where id = $1",
    )
    .bind(account)
    .fetch_one(bank.database.pool())
    .await
    .expect("a row")
}

/// An account's life and its money: six events in their true order.
fn life(account: Uuid, owner: Uuid) -> Vec<Incoming> {
    vec![
        incoming(&created(account, Some(owner)), 1),
        incoming(&balance(account, 100), 1),
        incoming(&updated(account, Some(owner), AccountStatus::Frozen), 2),
        incoming(&balance(account, 250), 2),
        incoming(&updated(account, Some(owner), AccountStatus::Active), 3),
        incoming(&balance(account, 50), 3),
    ]
}

#[tokio::test]
async fn any_order_and_any_batches_lead_to_the_same_picture() {
    let bank = Bank::open().await;
    let owner = Uuid::now_v7();
    let orders = [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [4, 0, 5, 2, 1, 3], [1, 2, 0, 5, 3, 4], [3, 4, 5, 0, 1, 2]];
    for order in orders {
        for size in [1, 2, 3, 6] {
            let account = Uuid::now_v7();
            let events = life(account, owner);
            let shuffled = order.map(|at| events[at].clone());
            for batch in shuffled.chunks(size) {
                bank.hear_of_accounts(batch).await;
            }
            let (number, kind) = (Some(format!("NO-{account}")), Some("CUSTOMER".to_owned()));
            let expected = (number, kind, Some(owner), Some("ACTIVE".to_owned()), 3, Some(50), 3);
            assert_eq!(view(&bank, account).await, expected, "{order:?} in batches of {size}");
        }
    }
}

#[tokio::test]
async fn events_that_come_again_change_nothing() {
    let bank = Bank::open().await;
    let account = Uuid::now_v7();
    let events = life(account, Uuid::now_v7());
    bank.hear_of_accounts(&events).await;
    let row = "select xmin::text from transaction.account_view where id = $1";
    let version = || async {
        let version: String =
            sqlx::query_scalar(row).bind(account).fetch_one(bank.database.pool()).await.expect("a row");
        version
    };
    let before = version().await;
    bank.hear_of_accounts(&events).await;
    for event in &events {
        bank.hear_of_accounts(std::slice::from_ref(event)).await;
    }
    // Locking the row for the comparison leaves its version alone; only a write would make a new one.
    assert_eq!(version().await, before);
}

#[tokio::test]
async fn an_account_takes_part_once_its_creation_is_known() {
    let bank = Bank::open().await;
    let (account, owner) = (Uuid::now_v7(), Uuid::now_v7());
    let pay = |key: &str| {
        let input = TransferCreate { destination_account_id: account, ..bank.transfer(key, "1") };
        let (context, transactions) = (bank.payer.context(), bank.transactions.clone());
        async move { transactions.transfer_create(&context, input).await }
    };
    assert_eq!(code(pay("a").await), Code::AccountNotFound);
    bank.hear_of_accounts(&[incoming(&balance(account, 1), 1)]).await;
    bank.hear_of_accounts(&[incoming(&updated(account, Some(owner), AccountStatus::Frozen), 2)]).await;
    assert_eq!(code(pay("b").await), Code::AccountNotFound);
    bank.hear_of_accounts(&[incoming(&created(account, Some(owner)), 1)]).await;
    assert_eq!(code(pay("c").await), Code::AccountFrozen);
    bank.hear_of_accounts(&[incoming(&updated(account, Some(owner), AccountStatus::Active), 3)]).await;
    assert!(pay("d").await.is_ok());
}

#[tokio::test]
async fn funds_are_not_looked_at() {
    let bank = Bank::open().await;
    bank.hear_of_accounts(&[incoming(&balance(bank.payer.account, 0), 1)]).await;
    bank.pay("k", "1000000").await;
}

#[tokio::test]
async fn data_that_says_nothing_about_accounts_is_invalid() {
    let bank = Bank::open().await;
    let mut event = incoming(&balance(Uuid::now_v7(), 1), 1);
    event.data = serde_json::value::RawValue::from_string("[]".into()).expect("JSON");
    reason_for_refusing(bank.database.pool(), &bank.handler("accounts"), event).await;
    reason_for_refusing(bank.database.pool(), &bank.handler("accounts"), common::applied(Uuid::now_v7())).await;
}
