use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use uuid::Uuid;
use vostro_account::domain::InternalRole;
use vostro_account::{AccountError, AccountUpdate};
use vostro_events::account::AccountStatus;
use vostro_kernel::{Actor, RequestContext, SystemIds};
use vostro_messaging::UpdateKind;

use crate::fixture::{Bank, code, customer, euro, internal, operator, transfer};

type Updates = BoxStream<'static, Result<AccountUpdate, AccountError>>;

async fn watch(bank: &Bank, context: &RequestContext, account: Uuid, after: Option<i64>) -> Option<Updates> {
    let updates = bank.accounts.account_updates(context, account, after).await.expect("readable");
    updates.map(|updates| updates.boxed())
}

async fn next(updates: &mut Updates) -> AccountUpdate {
    updates.next().await.expect("not ended").expect("readable")
}

fn nothing_waits(updates: &mut Updates) -> bool {
    updates.next().now_or_never().is_none()
}

#[tokio::test]
async fn the_owner_hears_of_the_account_first_and_then_once_of_each_change_by_whomever() {
    let bank = Bank::open().await;
    let account = bank.account_with(0).await;
    let owner = customer(account.owner_id.expect("an owner"));
    let mut updates = watch(&bank, &owner, account.id, None).await.expect("the account");
    let AccountUpdate { account: first, kind } = next(&mut updates).await;
    assert_eq!((&*first, kind), (&account, UpdateKind::Snapshot));
    assert_eq!(first.changed_at, first.created_at, "nothing has changed yet");
    assert!(nothing_waits(&mut updates));

    bank.accounts.freeze(&operator(), account.id, "why").await.expect("frozen");
    bank.accounts.unfreeze(&operator(), account.id, "why").await.expect("lifted");
    bank.accounts.overdraft_arrange(&operator(), account.id, euro(500)).await.expect("arranged");
    bank.accounts.close(&owner, account.id).await.expect("closed");
    let expected = [
        (2, AccountStatus::Frozen, 0),
        (3, AccountStatus::Active, 0),
        (4, AccountStatus::Active, 500),
        (5, AccountStatus::Closed, 0),
    ];
    for expected in expected {
        let AccountUpdate { account, kind } = next(&mut updates).await;
        assert_eq!((account.version, account.status, account.balance.overdraft_limit), expected);
        assert_eq!(kind, UpdateKind::Change);
    }
    assert!(nothing_waits(&mut updates));
}

#[tokio::test]
async fn an_update_is_the_account_as_it_was_committed_with_the_time_of_the_change() {
    let bank = Bank::open().await;
    let account = bank.account_with(100).await;
    let mut updates = watch(&bank, &operator(), account.id, Some(1)).await.expect("the account");
    let before = account.changed_at;
    bank.accounts.freeze(&operator(), account.id, "why").await.expect("frozen");
    let update = next(&mut updates).await;
    assert_eq!(*update.account, bank.see(account.id).await);
    assert!(update.account.changed_at > before);
}

#[tokio::test]
async fn what_changes_nothing_is_not_told() {
    let bank = Bank::open().await;
    let account = bank.account_with(100).await;
    let mut updates = watch(&bank, &operator(), account.id, Some(1)).await.expect("the account");
    assert_eq!(code(bank.accounts.close(&operator(), account.id).await), "ACC_CLOSE_NON_ZERO");
    bank.accounts.overdraft_arrange(&operator(), account.id, euro(0)).await.expect("it has that");
    bank.post(&[transfer(account.id, internal(InternalRole::Fees), 1)]).await.expect("posted");
    assert!(nothing_waits(&mut updates));
}

#[tokio::test]
async fn whoever_comes_back_hears_the_state_if_it_is_new_and_then_goes_on_live() {
    let bank = Bank::open().await;
    let account = bank.account_with(0).await;
    bank.accounts.freeze(&operator(), account.id, "why").await.expect("frozen");
    let mut one_behind = watch(&bank, &operator(), account.id, Some(1)).await.expect("the account");
    assert_eq!(next(&mut one_behind).await.kind, UpdateKind::Change);
    let mut current = watch(&bank, &operator(), account.id, Some(2)).await.expect("the account");
    assert!(nothing_waits(&mut current));
    bank.accounts.unfreeze(&operator(), account.id, "why").await.expect("lifted");
    let mut two_behind = watch(&bank, &operator(), account.id, Some(1)).await.expect("the account");
    let AccountUpdate { account: state, kind } = next(&mut two_behind).await;
    assert_eq!((state.version, state.status, kind), (3, AccountStatus::Active, UpdateKind::Lagged));
    for updates in [&mut one_behind, &mut current] {
        let AccountUpdate { account, kind } = next(updates).await;
        assert_eq!((account.version, kind), (3, UpdateKind::Change));
    }
    assert!([one_behind, current, two_behind].iter_mut().all(nothing_waits));
}

#[tokio::test]
async fn nobody_watches_an_account_that_is_not_theirs() {
    let bank = Bank::open().await;
    let account = bank.account_with(0).await;
    let nobody = RequestContext::of(Actor::ANONYMOUS, &SystemIds);
    for context in [customer(Uuid::now_v7()), nobody] {
        assert!(watch(&bank, &context, account.id, None).await.is_none());
        assert!(watch(&bank, &context, account.id, Some(1)).await.is_none());
    }
    assert!(watch(&bank, &operator(), Uuid::now_v7(), None).await.is_none());
    assert!(watch(&bank, &customer(account.owner_id.expect("an owner")), account.id, None).await.is_some());
}
