use uuid::Uuid;
use vostro_account::domain::InternalRole;
use vostro_account::{AccountFilter, EntryPage, TrialBalanceLine};
use vostro_events::account::AccountStatus;
use vostro_kernel::{Actor, RequestContext, Role, SystemIds};

use crate::fixture::{Bank, asked, code, currency, customer, internal, operator, person, transfer};

#[tokio::test]
async fn other_peoples_accounts_do_not_exist_and_staff_sees_all() {
    let bank = Bank::open().await;
    let account = bank.account_with(0).await;
    let owner = account.owner_id.expect("an owner");
    let sees =
        async |context: RequestContext| bank.accounts.account(&context, account.id).await.expect("readable").is_some();
    assert!(sees(customer(owner)).await);
    assert!(!sees(customer(Uuid::now_v7())).await);
    assert!(!sees(RequestContext::of(Actor::ANONYMOUS, &SystemIds)).await);
    for role in [Role::Operator, Role::ComplianceOfficer, Role::Admin] {
        assert!(sees(person(Uuid::now_v7(), &[role])).await, "{role}");
    }
    // Internal accounts are nobody's, and so for staff only.
    let cash = internal(InternalRole::Cash);
    assert!(bank.accounts.account(&customer(owner), cash).await.expect("readable").is_none());
    assert!(bank.accounts.account(&operator(), cash).await.expect("readable").is_some());
}

#[tokio::test]
async fn many_accounts_are_found_at_once_without_those_of_others() {
    let bank = Bank::open().await;
    let (mine, theirs) = (bank.account_with(0).await, bank.account_with(0).await);
    let owner = customer(mine.owner_id.expect("an owner"));
    let ids = [theirs.id, mine.id, Uuid::now_v7()];
    assert_eq!(bank.accounts.accounts_by_id(&owner, &ids).await.expect("readable"), [mine.into()]);
    assert_eq!(bank.accounts.accounts_by_id(&operator(), &ids).await.expect("readable").len(), 2);
}

#[tokio::test]
async fn accounts_are_listed_page_by_page_in_the_order_they_were_opened() {
    let bank = Bank::open().await;
    let user = Uuid::now_v7();
    let mut opened = Vec::new();
    for key in ["a", "b", "c", "d", "e"] {
        let wanted = asked(vostro_account::domain::Product::Current, "EUR", key);
        opened.push(bank.accounts.open(&customer(user), &wanted).await.expect("opened").id);
    }
    bank.account_with(0).await;
    let list = async |after, limit| {
        let page = bank.accounts.accounts(&customer(user), AccountFilter::default(), after, limit).await;
        page.expect("readable").into_iter().map(|account| account.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 2).await, opened[..2]);
    assert_eq!(list(Some(opened[1]), 2).await, opened[2..4]);
    assert_eq!(list(Some(opened[3]), 2).await, opened[4..]);
}

#[tokio::test]
async fn filters_narrow_and_never_widen() {
    let bank = Bank::open().await;
    let (one, two) = (bank.account_with(0).await, bank.account_with(0).await);
    bank.accounts.freeze(&operator(), two.id, "test").await.expect("frozen");
    let list = async |context: RequestContext, owner_id, status| {
        let filter = AccountFilter { owner_id, status };
        let accounts = bank.accounts.accounts(&context, filter, None, 100).await.expect("readable");
        accounts.into_iter().map(|account| account.id).collect::<Vec<_>>()
    };
    let stranger = customer(one.owner_id.expect("an owner"));
    assert_eq!(list(stranger.clone(), two.owner_id, None).await, [] as [Uuid; 0]);
    assert_eq!(list(stranger, None, Some(AccountStatus::Frozen)).await, [] as [Uuid; 0]);
    // Staff: everybody's, but not the bank's own.
    assert_eq!(list(operator(), None, None).await, [one.id, two.id]);
    assert_eq!(list(operator(), two.owner_id, None).await, [two.id]);
    assert_eq!(list(operator(), None, Some(AccountStatus::Frozen)).await, [two.id]);
    assert_eq!(list(operator(), None, Some(AccountStatus::Active)).await, [one.id]);
    assert_eq!(list(operator(), one.owner_id, Some(AccountStatus::Frozen)).await, [] as [Uuid; 0]);
}

#[tokio::test]
async fn entries_are_paged_newest_first_for_many_accounts_at_once() {
    let bank = Bank::open().await;
    let (one, two) = (bank.account_with(100).await, bank.account_with(0).await);
    let batch = (1..=4).map(|minor| transfer(one.id, two.id, minor)).collect::<Vec<_>>();
    bank.post(&batch).await.expect("posted");
    let page = |account_id, before, limit| EntryPage { account_id, before, limit };
    let pages = [page(two.id, None, 2), page(one.id, Some(3), 10), page(two.id, Some(3), 1), page(two.id, None, 2)];
    let found = bank.accounts.entries(&operator(), &pages).await.expect("readable");
    let numbers = found.iter().map(|page| page.iter().map(|entry| entry.sequence).collect::<Vec<_>>());
    assert_eq!(numbers.collect::<Vec<_>>(), [vec![4, 3], vec![2, 1], vec![2], vec![4, 3]]);
    let newest = found[0][0];
    assert_eq!((newest.account_id, newest.transaction_id), (two.id, batch[3].envelope.aggregate_id));
    assert_eq!((newest.amount.minor, newest.balance_after.minor), (4, 10));
    assert_eq!(found[1][0].amount.minor, -1);

    // Somebody else's page is empty, and does not disturb one's own.
    let owner = customer(one.owner_id.expect("an owner"));
    let found = bank.accounts.entries(&owner, &[page(two.id, None, 5), page(one.id, None, 5)]).await.expect("readable");
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [0, 5]);
}

#[tokio::test]
async fn the_trial_balance_balances_and_is_for_staff() {
    let bank = Bank::open().await;
    bank.account_with(700).await;
    bank.account_with(50).await;
    let lines = bank.accounts.trial_balance(&operator()).await.expect("readable");
    let euro = TrialBalanceLine { currency: currency("EUR"), debit_minor: 750, credit_minor: 750 };
    assert!(lines.contains(&euro), "{lines:?}");
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(TrialBalanceLine::is_balanced));
    assert_eq!(code(bank.accounts.trial_balance(&customer(Uuid::now_v7())).await), "ACC_FORBIDDEN");
}

#[tokio::test]
async fn the_internal_accounts_are_for_staff() {
    let bank = Bank::open().await;
    let accounts = bank.accounts.internal_accounts(&operator()).await.expect("readable");
    assert_eq!(accounts.len(), 20);
    assert_eq!(accounts[0].number, "CASH-CZK");
    assert_eq!(code(bank.accounts.internal_accounts(&customer(Uuid::now_v7())).await), "ACC_FORBIDDEN");
}
