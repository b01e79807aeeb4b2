use uuid::Uuid;
use vostro_account::domain::InternalRole;
use vostro_account::{AccountFilter, EntryPage, TrialBalanceLine};
use vostro_events::account::AccountStatus;
use vostro_kernel::{Actor, Page, RequestContext, Role, SystemIds};
use vostro_testkit::walked_both_ways;

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
    let list = async |page| {
        let page = bank.accounts.accounts(&customer(user), AccountFilter::default(), page).await;
        page.expect("readable").into_iter().map(|account| account.id).collect::<Vec<_>>()
    };
    assert_eq!(list(Page::forward(None, 2)).await, opened[..2]);
    assert_eq!(list(Page::forward(Some(opened[1]), 2)).await, opened[2..4]);
    assert_eq!(list(Page::forward(Some(opened[3]), 2)).await, opened[4..]);
}

#[tokio::test]
async fn accounts_are_paged_alike_in_both_directions_for_each_way_to_find_them() {
    let bank = Bank::open().await;
    let user = Uuid::now_v7();
    for key in ["a", "b", "c", "d", "e"] {
        let wanted = asked(vostro_account::domain::Product::Current, "EUR", key);
        let account = bank.accounts.open(&customer(user), &wanted).await.expect("opened");
        if key != "b" {
            bank.accounts.freeze(&operator(), account.id, "test").await.expect("frozen");
        }
    }
    bank.account_with(0).await;
    for (context, status, count) in [
        (customer(user), None, 5),
        (operator(), None, 6),
        (operator(), Some(AccountStatus::Frozen), 4),
        (operator(), Some(AccountStatus::Active), 2),
    ] {
        let filter = AccountFilter { owner_id: None, status };
        let read = async |page| bank.accounts.accounts(&context, filter, page).await.expect("readable");
        let all = walked_both_ways(|account| account.id, read).await;
        assert_eq!(all.len(), count, "{filter:?}");
        assert!(all.is_sorted_by_key(|account| account.id));
    }
}

#[tokio::test]
async fn filters_narrow_and_never_widen() {
    let bank = Bank::open().await;
    let (one, two) = (bank.account_with(0).await, bank.account_with(0).await);
    bank.accounts.freeze(&operator(), two.id, "test").await.expect("frozen");
    let list = async |context: RequestContext, owner_id, status| {
        let filter = AccountFilter { owner_id, status };
        let accounts = bank.accounts.accounts(&context, filter, Page::forward(None, 100)).await.expect("readable");
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
    let page = |account_id, before, limit| EntryPage { account_id, page: Page::forward(before, limit) };
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
async fn entries_are_paged_alike_in_both_directions_also_in_one_batch() {
    let bank = Bank::open().await;
    let (one, two) = (bank.account_with(100).await, bank.account_with(0).await);
    bank.post(&(1..=6).map(|minor| transfer(one.id, two.id, minor)).collect::<Vec<_>>()).await.expect("posted");
    let read = async |page| {
        let ahead = EntryPage { account_id: one.id, page: Page::forward(None, 2) };
        let back = EntryPage { account_id: one.id, page: Page::backward(None, 2) };
        let asked = [ahead, EntryPage { account_id: two.id, page }, back];
        let mut found = bank.accounts.entries(&operator(), &asked).await.expect("readable");
        let numbers = |page: &[vostro_account::Entry]| page.iter().map(|entry| entry.sequence).collect::<Vec<_>>();
        assert_eq!((numbers(&found[0]), numbers(&found[2])), (vec![7, 6], vec![2, 1]), "whatever is asked beside");
        found.remove(1)
    };
    let all = walked_both_ways(|entry| entry.sequence, read).await;
    assert_eq!(all.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [6, 5, 4, 3, 2, 1]);

    let stranger = customer(Uuid::now_v7());
    let foreign = EntryPage { account_id: two.id, page: Page::backward(None, 5) };
    assert_eq!(bank.accounts.entries(&stranger, &[foreign]).await.expect("readable"), [vec![]]);
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
