//! How statements end: cancelled, too late, at the end of their term, or with a damaged ledger.

use crate::fixture::{code, operator, person};
use serde_json::json;
use uuid::Uuid;
use vostro_account::GenerateStatement;
use vostro_account::domain::{StatementFailure, StatementStatus};
use vostro_events::account::{StatementEndedV1, StatementPartWrittenV1, StatementTermEndedV1};
use vostro_kernel::Role;
use vostro_testkit::{Consuming, eventually, incoming, reason_for_refusing};

use super::{JANUARY, Scene};

#[tokio::test]
async fn what_is_cancelled_is_not_written_on_and_nothing_is_left_of_it() {
    let scene = Scene::set(40).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let requested = scene.generate("k", JANUARY).await;
    let writing = scene.write();
    scene.until(requested.id, |state| state.parts > 0).await;
    let officer = person(Uuid::now_v7(), &[Role::ComplianceOfficer]);
    assert_eq!(code(scene.bank.accounts.cancel_statement(&officer, requested.id).await), "ACC_FORBIDDEN");
    let cancelled = scene.bank.accounts.cancel_statement(&scene.owner, requested.id).await.expect("cancelled");
    assert_eq!(cancelled.status, StatementStatus::Cancelled);
    assert_eq!(scene.until_ended(requested.id).await, cancelled);
    assert_eq!(scene.waiting_terms().await, 0, "nothing is due any more");
    let again = scene.bank.accounts.cancel_statement(&scene.owner, requested.id).await;
    assert_eq!(again.expect("twice is once"), cancelled);

    // The writer goes on with the next one, so it has passed by the cancelled one.
    let next = scene.generate("l", JANUARY).await;
    let ready = scene.until_ended(next.id).await;
    writing.stop().await;
    assert_eq!(scene.see(requested.id).await, cancelled);
    let parts: i64 = sqlx::query_scalar("select count(*) from account.statement_part where statement_id = $1")
        .bind(requested.id)
        .fetch_one(scene.bank.database.pool())
        .await
        .expect("countable");
    assert_eq!(parts, 0);
    let ended = scene.told(StatementEndedV1::TYPE).await;
    let expected = json!({"statementId": requested.id, "accountId": scene.account.id, "outcome": "CANCELLED"});
    assert_eq!(ended, [expected]);
    assert_eq!(code(scene.bank.accounts.cancel_statement(&scene.owner, ready.id).await), "ACC_STATEMENT_ENDED");
}

#[tokio::test]
async fn a_statement_that_is_not_ready_in_time_has_failed() {
    let scene = Scene::set(3).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let requested = scene.generate("k", JANUARY).await;
    assert_eq!(scene.let_terms_end().await, 1);
    let failed = scene.see(requested.id).await;
    assert_eq!(failed.status, StatementStatus::Failed);
    let ended = scene.told(StatementEndedV1::TYPE).await;
    let expected = json!({"statementId": requested.id, "accountId": scene.account.id, "outcome": "FAILED",
        "failureCode": "OUT_OF_TIME"});
    assert_eq!(ended, [expected], "nothing went wrong, nobody got to it");
    // Nobody writes it any more, and the account is free for another.
    let writing = scene.write();
    let ready = scene.until_ended(scene.generate("l", JANUARY).await.id).await;
    writing.stop().await;
    assert_eq!(ready.status, StatementStatus::Ready);
    assert_eq!(scene.see(requested.id).await, failed);
}

#[tokio::test]
async fn a_statement_is_kept_for_its_term_and_its_event_says_when_it_is_over() {
    let scene = Scene::set(3).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let requested = scene.generate("k", JANUARY).await;
    let writing = scene.write();
    let ready = scene.until_ended(requested.id).await;
    writing.stop().await;
    assert_eq!(scene.waiting_terms().await, 1, "the term for preparing it was replaced");
    assert_ne!(ready.term_id, requested.term_id);
    // A term that was on its way when it was replaced ends nothing.
    let stale = StatementTermEndedV1 { term_id: requested.term_id, statement_id: ready.id };
    let consuming = Consuming::start(&scene.bank.database, &scene.bank.subscription("statement-terms"));
    consuming.take(&[incoming(&stale, 1)]).await;
    consuming.leaves_parked(0, 0).await;
    assert_eq!(scene.see(ready.id).await, ready);

    assert_eq!(scene.let_terms_end().await, 1);
    let expired = scene.see(ready.id).await;
    assert_eq!((expired.status, expired.parts), (StatementStatus::Expired, ready.parts));
    assert_eq!(scene.document(&expired).await, None);
    let ended = scene.told(StatementEndedV1::TYPE).await;
    assert_eq!(ended.iter().filter_map(|event| event["outcome"].as_str()).collect::<Vec<_>>(), ["EXPIRED"]);
}

#[tokio::test]
async fn the_term_of_a_statement_nobody_knows_is_quarantined() {
    let scene = Scene::set(0).await;
    let event = StatementTermEndedV1 { term_id: Uuid::now_v7(), statement_id: Uuid::now_v7() };
    let handler = scene.bank.handler("statement-terms");
    let reason = reason_for_refusing(scene.bank.database.pool(), &handler, incoming(&event, 1)).await;
    assert!(reason.contains("no such statement"), "{reason}");
}

#[tokio::test]
async fn a_ledger_that_is_damaged_is_not_written_down_and_others_go_on() {
    let scene = Scene::set(3).await;
    let sound = scene.bank.account_with(0).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let requested = scene.generate("k", JANUARY).await;
    let pool = scene.bank.database.pool();
    scene
        .bank
        .database
        .tamper(
            "alter table account.entry disable trigger user;
             update account.entry set balance_after = 7 where sequence = 2;
             alter table account.entry enable trigger user",
        )
        .await;
    let writing = scene.write();
    let asked = GenerateStatement { account_id: sound.id, ..scene.asked("k", JANUARY) };
    let other = scene.bank.accounts.generate_statement(&operator(), &asked).await.expect("accepted");
    let states = scene.until_seen_by(&operator(), other.id, |_| false).await;
    assert_eq!(states.last().map(|state| state.status), Some(StatementStatus::Ready));
    let attempts = async || -> i32 {
        let attempts = sqlx::query_scalar("select attempts from account.statement where id = $1").bind(requested.id);
        attempts.fetch_one(pool).await.expect("readable")
    };
    eventually("it was tried", || async { (attempts().await > 0).then_some(()) }).await;
    writing.stop().await;
    let stuck = scene.see(requested.id).await;
    assert_eq!((stuck.status, stuck.parts), (StatementStatus::Preparing, 0));
    assert_eq!(scene.told(StatementPartWrittenV1::TYPE).await.len(), 1, "of the other statement");
    // Both terms end: that of the other statement is the one it is kept for.
    scene.let_terms_end().await;
    let failed = scene.see(requested.id).await;
    assert_eq!((failed.status, failed.failure), (StatementStatus::Failed, Some(StatementFailure::LedgerInconsistent)));
}
