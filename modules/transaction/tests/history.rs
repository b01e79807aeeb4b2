//! Reading: pages without gaps or repetitions, filters, and who may see what.

mod common;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use common::{Bank, applied, operator, person, rejected, somebody};
use uuid::Uuid;
use vostro_events::transaction::TransactionKind;
use vostro_kernel::{Actor, FixedClock, Page, RequestContext, Role, SystemIds};
use vostro_messaging::{Caching, Foundation};
use vostro_testkit::walked_both_ways;
use vostro_transaction::domain::{Status, Transaction};
use vostro_transaction::{Config, Filter, Transactions, TransferCreate};

async fn list(bank: &Bank, context: &RequestContext, filter: &Filter) -> Vec<Uuid> {
    let page = bank.transactions.transactions(context, filter, Page::forward(None, 1000)).await.expect("a page");
    page.into_iter().map(|transaction| transaction.id).collect()
}

fn newest_first(transactions: &[&Transaction]) -> Vec<Uuid> {
    let mut ids = transactions.iter().map(|transaction| transaction.id).collect::<Vec<_>>();
    ids.sort_unstable_by(|left, right| right.cmp(left));
    ids
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps_or_repetitions_while_new_payments_arrive() {
    let bank = Bank::open().await;
    // Between two accounts of the same person: each would be found twice, by its source and by its destination.
    let other = bank.new_account(bank.payer.id).await;
    let mut all = Vec::new();
    for number in 0..23 {
        let (source, destination) = match number % 3 {
            0 => (bank.payer.account, other),
            1 => (other, bank.payer.account),
            _ => (bank.payer.account, bank.payee.account),
        };
        let input = TransferCreate {
            source_account_id: source,
            destination_account_id: destination,
            ..bank.transfer(&number.to_string(), "1")
        };
        let initiated = bank.transactions.transfer_create(&bank.payer.context(), input).await.expect("accepted");
        all.push(initiated.transaction.id);
    }
    all.reverse();

    for size in [1, 4, 23, 100] {
        let (mut seen, mut before, mut rounds) = (Vec::new(), None, 0);
        loop {
            let filter = Filter::default();
            let context = bank.payer.context();
            let page = bank.transactions.transactions(&context, &filter, Page::forward(before, size));
            let page = page.await.expect("a page");
            seen.extend(page.iter().map(|transaction| transaction.id));
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            rounds += 1;
            bank.pay(&format!("new-{size}-{rounds}"), "1").await;
        }
        seen.retain(|id| all.contains(id));
        assert_eq!(seen, all, "pages of {size}");
    }
}

#[tokio::test]
async fn staff_page_through_everything() {
    let bank = Bank::open().await;
    let mut all = Vec::new();
    for number in 0..7 {
        all.push(bank.pay(&number.to_string(), "1").await.id);
    }
    all.reverse();
    let context = somebody(&[Role::ComplianceOfficer]);
    let read = async |page| bank.transactions.transactions(&context, &Filter::default(), page).await.expect("a page");
    let seen = walked_both_ways(|transaction| transaction.id, read).await;
    assert_eq!(seen.iter().map(|transaction| transaction.id).collect::<Vec<_>>(), all);
}

#[tokio::test]
async fn a_history_is_paged_alike_in_both_directions_whatever_it_is_narrowed_to() {
    let bank = Bank::open().await;
    let other = bank.new_account(bank.payer.id).await;
    for number in 0..8 {
        let destination = if number % 3 == 0 { other } else { bank.payee.account };
        let reference = (number % 2 == 0).then(|| "rent".to_owned());
        let transfer = bank.transfer(&number.to_string(), "1");
        let input = TransferCreate { destination_account_id: destination, reference, ..transfer };
        bank.transactions.transfer_create(&bank.payer.context(), input).await.expect("accepted");
    }
    let rent = Filter { reference: Some("rent".to_owned()), ..Filter::default() };
    let of_other = Filter { account_id: Some(other), ..Filter::default() };
    let (payer, staff) = (bank.payer.context(), somebody(&[Role::ComplianceOfficer]));
    for (context, filter, count) in [
        (&payer, Filter::default(), 8),
        (&payer, rent.clone(), 4),
        (&payer, of_other.clone(), 3),
        (&staff, rent, 4),
        (&staff, of_other, 3),
    ] {
        let read = async |page| bank.transactions.transactions(context, &filter, page).await.expect("a page");
        let all = walked_both_ways(|transaction| transaction.id, read).await;
        assert_eq!(all.len(), count, "{filter:?}");
        assert!(all.is_sorted_by(|newer, older| newer.id > older.id));
    }
}

#[tokio::test]
async fn every_filter_narrows_the_list_for_customers_and_staff() {
    let clock = Arc::new(FixedClock::at(DateTime::from_timestamp(1_800_000_000, 0).expect("an instant")));
    let start = Bank::open().await;
    let transactions =
        Transactions::new(start.database.foundation_at(clock.clone()), Config::default()).expect("valid");
    let bank = Bank { transactions, ..start };
    let noon = DateTime::from_timestamp(1_800_000_000, 0).expect("an instant");

    let (booked, failed) = (bank.pay("a", "1").await, bank.pay("b", "2").await);
    clock.advance(TimeDelta::hours(1));
    let input = TransferCreate { reference: Some("Rent for May".into()), ..bank.transfer("c", "3") };
    let rent = bank.transactions.transfer_create(&bank.payer.context(), input).await.expect("accepted").transaction;
    let cash = bank.transactions.withdrawal_initiate(&bank.payer.context(), bank.cash("d", "4")).await;
    let cash = cash.expect("accepted").transaction;
    bank.hear_of_postings(&[applied(booked.id), rejected(failed.id)]).await;

    let cases = [
        (Filter::default(), newest_first(&[&booked, &failed, &rent, &cash])),
        (Filter { status: Some(Status::Completed), ..Filter::default() }, vec![booked.id]),
        (Filter { status: Some(Status::Failed), ..Filter::default() }, vec![failed.id]),
        (Filter { status: Some(Status::Initiated), ..Filter::default() }, newest_first(&[&rent, &cash])),
        (Filter { kind: Some(TransactionKind::Withdrawal), ..Filter::default() }, vec![cash.id]),
        (
            Filter { account_id: Some(bank.payer.account), ..Filter::default() },
            newest_first(&[&booked, &failed, &rent, &cash]),
        ),
        (Filter { from: Some(noon + TimeDelta::hours(1)), ..Filter::default() }, newest_first(&[&rent, &cash])),
        (Filter { to: Some(noon + TimeDelta::hours(1)), ..Filter::default() }, newest_first(&[&booked, &failed])),
        (Filter { reference: Some("rENT".into()), ..Filter::default() }, vec![rent.id]),
        (Filter { reference: Some("r%t".into()), ..Filter::default() }, vec![]),
        (Filter { reference: Some("\0".into()), ..Filter::default() }, vec![]),
        (
            Filter {
                account_id: Some(bank.payer.account),
                status: Some(Status::Initiated),
                kind: Some(TransactionKind::Transfer),
                from: Some(noon),
                to: Some(noon + TimeDelta::hours(2)),
                reference: Some("may".into()),
            },
            vec![rent.id],
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(list(&bank, &bank.payer.context(), &filter).await, expected, "customer: {filter:?}");
        assert_eq!(list(&bank, &somebody(&[Role::Admin]), &filter).await, expected, "staff: {filter:?}");
    }
}

#[tokio::test]
async fn a_transaction_is_visible_to_those_involved_and_to_staff_only() {
    let bank = Bank::open().await;
    let teller = operator();
    let initiated = bank.transactions.transfer_create(&teller, bank.transfer("k", "1")).await.expect("accepted");
    let id = initiated.transaction.id;
    // The teller has left the bank since: whoever gave a command may look at it for ever.
    let former_teller = person(teller.actor.id.expect("a person"), &[Role::Customer]);
    let anonymous = RequestContext::of(Actor::ANONYMOUS, &SystemIds);
    let everything = Filter::default();
    // Who, whether they find it by its id, whether it is in their list.
    let matrix = [
        ("the payer", bank.payer.context(), true, true),
        ("the payee", bank.payee.context(), true, true),
        ("the former teller", former_teller, true, false),
        ("an operator", operator(), true, true),
        ("a compliance officer", somebody(&[Role::ComplianceOfficer]), true, true),
        ("an administrator", somebody(&[Role::Admin]), true, true),
        ("a stranger", somebody(&[Role::Customer]), false, false),
        ("nobody", anonymous, false, false),
    ];
    for (who, context, by_id, in_list) in matrix {
        let found = bank.transactions.transaction(&context, id).await.expect("an answer");
        assert_eq!(found.is_some(), by_id, "{who}");
        assert_eq!(list(&bank, &context, &everything).await.contains(&id), in_list, "{who}");
    }
}

#[tokio::test]
async fn the_list_of_somebody_elses_account_is_empty() {
    let bank = Bank::open().await;
    let transaction = bank.pay("k", "1").await;
    let of = |account| Filter { account_id: Some(account), ..Filter::default() };
    assert!(list(&bank, &bank.payer.context(), &of(bank.payee.account)).await.is_empty());
    assert!(list(&bank, &somebody(&[Role::Customer]), &of(bank.payee.account)).await.is_empty());
    assert_eq!(list(&bank, &bank.payee.context(), &of(bank.payee.account)).await, [transaction.id]);
    assert_eq!(list(&bank, &operator(), &of(bank.payee.account)).await, [transaction.id]);
}

#[tokio::test]
async fn many_transactions_are_found_at_once_and_only_the_callers() {
    let bank = Bank::open().await;
    let (mine, theirs) = (bank.pay("a", "1").await, Uuid::now_v7());
    let stranger = Uuid::now_v7();
    let (from, to) = (bank.new_account(stranger).await, bank.new_account(stranger).await);
    let input = TransferCreate { source_account_id: from, destination_account_id: to, ..bank.transfer("b", "1") };
    let hidden = bank.transactions.transfer_create(&person(stranger, &[Role::Customer]), input).await;
    let hidden = hidden.expect("accepted").transaction;
    let ids = [mine.id, theirs, hidden.id, mine.id];
    let found = bank.transactions.transactions_by_id(&bank.payer.context(), &ids).await.expect("an answer");
    assert_eq!(found, [mine.into()]);
    assert!(bank.transactions.transactions_by_id(&bank.payer.context(), &[]).await.expect("an answer").is_empty());
}

#[tokio::test]
async fn a_payment_is_kept_once_it_has_ended_and_shown_to_those_who_may_see_it() {
    let bank = Bank::open().await;
    let caching = Caching { entities: 100, time_to_live: Duration::from_secs(1), ..Caching::OFF };
    let foundation = Foundation { caching, ..bank.database.foundation() };
    let instance = Transactions::new(foundation, Config::default()).expect("a valid configuration");
    let transaction = bank.pay("k", "1").await;
    let see = async |context: &RequestContext| instance.transaction(context, transaction.id).await.expect("an answer");
    let seen = see(&bank.payer.context()).await.expect("visible");
    assert_eq!(seen.status, Status::Initiated);

    bank.hear_of_postings(&[applied(transaction.id)]).await;
    let ended = see(&bank.payer.context()).await.expect("visible");
    assert_eq!(ended.status, Status::Completed, "what another instance ended is seen at once");

    bank.database.tamper("update transaction.transaction set reference = 'behind its back'").await;
    assert_eq!(see(&bank.payee.context()).await.as_ref(), Some(&ended), "it did not come from the database");
    assert_eq!(see(&operator()).await.as_ref(), Some(&ended));
    assert_eq!(see(&somebody(&[Role::Customer])).await, None);
    assert_eq!(see(&RequestContext::of(Actor::ANONYMOUS, &SystemIds)).await, None);
}
