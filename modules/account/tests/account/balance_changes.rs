use std::pin::Pin;

use futures::{FutureExt, Stream, StreamExt};
use uuid::Uuid;
use vostro_account::domain::InternalRole;
use vostro_account::{AccountError, BalanceChange};
use vostro_kernel::RequestContext;

use crate::fixture::{Bank, customer, internal, operator, transfer};

type Changes = Pin<Box<dyn Stream<Item = Result<BalanceChange, AccountError>> + Send>>;

async fn listen(bank: &Bank, context: &RequestContext, account: Uuid, after: Option<i64>) -> Option<Changes> {
    let changes = bank.accounts.balance_changes(context, account, after).await.expect("readable");
    changes.map(|changes| Box::pin(changes) as Changes)
}

async fn next(changes: &mut Changes) -> (i64, i64) {
    let change = changes.next().await.expect("not ended").expect("readable");
    (change.balance.sequence, change.balance.posted)
}

fn nothing_waits(changes: &mut Changes) -> bool {
    changes.next().now_or_never().is_none()
}

#[tokio::test]
async fn a_listener_hears_the_balance_first_and_then_each_change() {
    let bank = Bank::open().await;
    let (account, other) = (bank.account_with(100).await, bank.account_with(100).await);
    let owner = customer(account.owner_id.expect("an owner"));
    let mut changes = listen(&bank, &owner, account.id, None).await.expect("the account");
    let snapshot = changes.next().await.expect("first").expect("readable");
    assert_eq!((snapshot.account_id, snapshot.balance), (account.id, account.balance));
    assert!(snapshot.transaction_id.is_some());
    assert!(nothing_waits(&mut changes));

    let batch = [
        transfer(other.id, account.id, 1),
        transfer(other.id, internal(InternalRole::Fees), 1),
        transfer(account.id, other.id, 51),
    ];
    bank.post(&batch).await.expect("posted");
    let first = changes.next().await.expect("news").expect("readable");
    assert_eq!((first.balance.sequence, first.balance.posted), (2, 101));
    assert_eq!(first.transaction_id, Some(batch[0].envelope.aggregate_id));
    assert_eq!(next(&mut changes).await, (3, 50));
    assert!(nothing_waits(&mut changes));
}

#[tokio::test]
async fn an_account_without_entries_has_a_snapshot_too() {
    let bank = Bank::open().await;
    let account = bank.account_with(0).await;
    let mut changes = listen(&bank, &operator(), account.id, None).await.expect("the account");
    let snapshot = changes.next().await.expect("first").expect("readable");
    assert_eq!((snapshot.balance.sequence, snapshot.transaction_id), (0, None));
}

#[tokio::test]
async fn a_listener_who_comes_back_hears_all_that_is_new_and_nothing_else() {
    let bank = Bank::open().await;
    let account = bank.account_with(100).await;
    let cash = internal(InternalRole::Cash);
    bank.post(&[transfer(cash, account.id, 1), transfer(cash, account.id, 1)]).await.expect("posted");
    let mut missed = listen(&bank, &operator(), account.id, Some(1)).await.expect("the account");
    assert_eq!((next(&mut missed).await, next(&mut missed).await), ((2, 101), (3, 102)));
    let mut current = listen(&bank, &operator(), account.id, Some(3)).await.expect("the account");
    assert!(nothing_waits(&mut current));
    // A number from nowhere does not make the listener deaf.
    let mut ahead = listen(&bank, &operator(), account.id, Some(99)).await.expect("the account");
    assert!(nothing_waits(&mut ahead));
    bank.post(&[transfer(cash, account.id, 1)]).await.expect("posted");
    for listener in [&mut missed, &mut current, &mut ahead] {
        assert_eq!(next(listener).await, (4, 103));
    }
}

#[tokio::test]
async fn nobody_listens_to_an_account_that_is_not_theirs() {
    let bank = Bank::open().await;
    let account = bank.account_with(0).await;
    assert!(listen(&bank, &customer(Uuid::now_v7()), account.id, None).await.is_none());
    assert!(listen(&bank, &operator(), Uuid::now_v7(), None).await.is_none());
}
