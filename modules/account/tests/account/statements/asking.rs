//! Who may ask for a statement, and for which.

use crate::fixture::{code, customer, operator, person};
use futures::future::join_all;
use uuid::Uuid;
use vostro_account::domain::StatementStatus;
use vostro_account::{GenerateStatement, StatementPage};
use vostro_events::account::StatementRequestedV1;
use vostro_kernel::{Actor, Page, RequestContext, Role, SystemIds};
use vostro_testkit::walked_both_ways;

use super::{JANUARY, Scene};

#[tokio::test]
async fn repeating_the_command_gives_the_same_statement_and_another_input_is_refused() {
    let scene = Scene::set(3).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let first = scene.generate("k", JANUARY).await;
    assert_eq!(scene.generate("k", JANUARY).await, first);
    assert_eq!(scene.told(StatementRequestedV1::TYPE).await.len(), 1);
    let shorter = scene.asked("k", ("2024-01-01", "2024-01-30"));
    assert_eq!(scene.refusal(&scene.owner, &shorter).await, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(scene.generate("l", JANUARY).await, first, "another key for what there is already");
    let other = scene.asked("m", ("2024-01-01", "2024-01-30"));
    assert_eq!(scene.refusal(&scene.owner, &other).await, "ACC_STATEMENT_IN_PREPARATION");

    let writing = scene.write();
    let ready = scene.until_ended(first.id).await;
    writing.stop().await;
    assert_eq!(scene.generate("k", JANUARY).await, ready, "also when it is ready");
    assert_eq!(scene.generate("n", JANUARY).await, ready, "nothing is written twice");
    let other = scene.generate("m", ("2024-01-01", "2024-01-30")).await;
    assert_ne!(other.id, ready.id, "one after the other is fine");
    assert_eq!(scene.told(StatementRequestedV1::TYPE).await.len(), 2);
}

#[tokio::test]
async fn what_the_bank_has_prepared_about_an_account_is_hidden_from_its_holder() {
    let scene = Scene::set(3).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let officer = person(Uuid::now_v7(), &[Role::ComplianceOfficer]);
    let accounts = &scene.bank.accounts;
    let looked_into = accounts.generate_statement(&officer, &scene.asked("k", JANUARY)).await.expect("accepted");
    let own = scene.generate("k", JANUARY).await;
    assert_ne!(own.id, looked_into.id, "the one does not stand in the way of the other");

    let writing = scene.write();
    scene.until_ended(own.id).await;
    scene.until_seen_by(&officer, looked_into.id, |state| state.status == StatementStatus::Ready).await;
    writing.stop().await;
    assert_eq!(accounts.statement(&scene.owner, looked_into.id).await.expect("readable"), None);
    assert_eq!(accounts.statement_part(&scene.owner, looked_into.id, 1).await.expect("readable"), None);
    assert!(accounts.statement_updates(&scene.owner, looked_into.id, None).await.expect("readable").is_none());
    assert_eq!(code(accounts.cancel_statement(&scene.owner, looked_into.id).await), "ACC_STATEMENT_NOT_FOUND");
    let page = StatementPage { account_id: scene.account.id, page: Page::forward(None, 1) };
    for (viewer, expected) in [(&scene.owner, own.id), (&officer, own.id.max(looked_into.id))] {
        let found = accounts.statements(viewer, &[page]).await.expect("readable");
        assert_eq!(found[0].iter().map(|found| found.id).collect::<Vec<_>>(), [expected]);
    }
}

#[tokio::test]
async fn the_same_command_many_times_at_once_makes_one_statement() {
    let scene = Scene::set(1).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let asked = scene.asked("k", JANUARY);
    let outcomes = join_all((0..8).map(|_| scene.bank.accounts.generate_statement(&scene.owner, &asked))).await;
    let ids: Vec<Uuid> = outcomes.into_iter().map(|outcome| outcome.expect("the same").id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(scene.told(StatementRequestedV1::TYPE).await.len(), 1);
    assert_eq!(scene.waiting_terms().await, 1);
}

#[tokio::test]
async fn periods_that_are_no_periods_are_refused() {
    let scene = Scene::set(1).await;
    scene.it_is("2024-02-01T00:30:00Z");
    for (from, to, expected) in [
        ("2024-01-02", "2024-01-01", "ACC_PERIOD_INVALID"),
        ("2022-01-01", "2023-12-31", "ACC_PERIOD_INVALID"),
        ("2024-01-01", "2024-02-01", "ACC_PERIOD_NOT_OVER"),
        ("2024-01-01", "2024-01-31", "ACC_PERIOD_NOT_OVER"),
    ] {
        assert_eq!(scene.refusal(&scene.owner, &scene.asked("k", (from, to))).await, expected, "{from} {to}");
    }
    assert_eq!(scene.refusal(&scene.owner, &scene.asked("", JANUARY)).await, "IDEMPOTENCY_KEY_REQUIRED");
    assert_eq!(scene.told("account.command-refused.v1").await.len(), 5, "each is on record");
    assert_eq!(scene.waiting_terms().await, 0);
}

#[tokio::test]
async fn somebody_elses_account_has_no_statements() {
    let scene = Scene::set(3).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let stranger = customer(Uuid::now_v7());
    let nobody = RequestContext::of(Actor::ANONYMOUS, &SystemIds);
    assert_eq!(scene.refusal(&stranger, &scene.asked("k", JANUARY)).await, "ACC_NOT_FOUND");
    assert_eq!(scene.refusal(&nobody, &scene.asked("k", JANUARY)).await, "ACC_FORBIDDEN");
    let unknown = GenerateStatement { account_id: Uuid::now_v7(), ..scene.asked("k", JANUARY) };
    assert_eq!(scene.refusal(&operator(), &unknown).await, "ACC_NOT_FOUND");

    let writing = scene.write();
    let ready = scene.until_ended(scene.generate("k", JANUARY).await.id).await;
    writing.stop().await;
    let accounts = &scene.bank.accounts;
    let page = StatementPage { account_id: scene.account.id, page: Page::forward(None, 10) };
    for context in [&stranger, &nobody] {
        assert_eq!(accounts.statement(context, ready.id).await.expect("readable"), None);
        assert_eq!(accounts.statement_part(context, ready.id, 1).await.expect("readable"), None);
        assert_eq!(accounts.statements(context, &[page]).await.expect("readable"), [vec![]]);
        assert!(accounts.statement_updates(context, ready.id, None).await.expect("readable").is_none());
        assert_eq!(code(accounts.cancel_statement(context, ready.id).await), "ACC_STATEMENT_NOT_FOUND");
    }
    assert_eq!(accounts.statement(&operator(), ready.id).await.expect("readable"), Some(ready.clone()));
    for part in [0, -1, 3, i32::MAX] {
        assert_eq!(accounts.statement_part(&scene.owner, ready.id, part).await.expect("readable"), None, "{part}");
    }
}

#[tokio::test]
async fn statements_are_listed_newest_first_in_pages() {
    let scene = Scene::set(1).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let writing = scene.write();
    let mut ids = Vec::new();
    for (key, last) in [("a", "2024-01-29"), ("b", "2024-01-30"), ("c", "2024-01-31")] {
        let id = scene.generate(key, ("2024-01-01", last)).await.id;
        scene.until_ended(id).await;
        ids.insert(0, id);
    }
    writing.stop().await;
    let page = |after, limit| StatementPage { account_id: scene.account.id, page: Page::forward(after, limit) };
    let other = StatementPage { account_id: Uuid::now_v7(), page: Page::forward(None, 5) };
    let pages = [page(None, 2), other, page(Some(ids[1]), 2)];
    let found = scene.bank.accounts.statements(&scene.owner, &pages).await.expect("readable");
    let found: Vec<Vec<Uuid>> = found.iter().map(|page| page.iter().map(|found| found.id).collect()).collect();
    assert_eq!(found, [ids[..2].to_vec(), vec![], ids[2..].to_vec()]);

    for context in [&scene.owner, &operator()] {
        let read = async |page| {
            let oldest = StatementPage { account_id: scene.account.id, page: Page::backward(None, 1) };
            let asked = [oldest, StatementPage { account_id: scene.account.id, page }];
            let mut found = scene.bank.accounts.statements(context, &asked).await.expect("readable");
            assert_eq!(found[0].iter().map(|found| found.id).collect::<Vec<_>>(), ids[2..], "whatever is asked beside");
            found.remove(1)
        };
        let all = walked_both_ways(|statement| statement.id, read).await;
        assert_eq!(all.iter().map(|statement| statement.id).collect::<Vec<_>>(), ids);
    }
}
