//! What the ledger says when it is asked what became of transactions.

use uuid::Uuid;
use vostro_account::domain::InternalRole;
use vostro_events::account::PostingAppliedV1;
use vostro_events::query::Query as _;
use vostro_events::query::account::{PostingDecisionV1, PostingDecisionsAnswerV1, PostingDecisionsV1};
use vostro_messaging::Module as _;
use vostro_messaging::rpc::RespondError;

use crate::fixture::{Bank, internal, transfer};

async fn ask(bank: &Bank, transactions: &[Uuid]) -> Result<PostingDecisionsAnswerV1, RespondError> {
    let responders = bank.accounts.responders();
    let responder = responders.iter().find(|responder| responder.query() == PostingDecisionsV1::TYPE);
    let question = PostingDecisionsV1 { transaction_ids: transactions.to_vec() };
    let body = serde_json::to_vec(&question).expect("JSON");
    let answer = responder.expect("the manifest says so").respond(&body).await?;
    Ok(serde_json::from_slice(&answer).expect("an answer"))
}

async fn decided(bank: &Bank, transactions: &[Uuid]) -> Vec<PostingDecisionV1> {
    ask(bank, transactions).await.expect("answered").decided
}

#[tokio::test]
async fn the_ledger_says_what_it_booked_and_what_it_refused_and_nothing_about_the_rest() {
    let bank = Bank::open().await;
    let (source, destination) = (bank.account_with(10_000).await, bank.account_with(0).await);
    bank.forget_events().await;
    let booked = transfer(source.id, destination.id, 2_500);
    let refused = transfer(source.id, destination.id, 2_500_000);
    bank.post(&[booked.clone(), refused.clone()]).await.expect("decided");
    let [booked, refused, unseen] = [booked.envelope.aggregate_id, refused.envelope.aggregate_id, Uuid::now_v7()];

    let mut said = decided(&bank, &[booked, refused, unseen]).await;
    said.sort_by_key(|decision| decision.refusal_code.is_some());
    let codes: Vec<_> = said.iter().map(|one| (one.transaction_id, one.refusal_code.as_deref())).collect();
    assert_eq!(codes, [(booked, None), (refused, Some("ACC_INSUFFICIENT_FUNDS"))]);
    let events = bank.database.published(PostingAppliedV1::TYPE).await;
    let event: PostingAppliedV1 = serde_json::from_value(events[0].clone()).expect("an event");
    assert_eq!(said[0].decided_at, event.booked_at, "the event says the same time");
}

/// A decision that is not committed is none: it may be rolled back, and whoever heard of it would be wrong for ever.
#[tokio::test]
async fn a_decision_that_is_not_committed_is_not_told() {
    let bank = Bank::open().await;
    let account = bank.account_with(0).await;
    let event = transfer(internal(InternalRole::Cash), account.id, 1);
    let mut transaction = vostro_messaging::begin(bank.database.pool()).await.expect("begun");
    let handled = bank.handler("postings").handle_in_tx(&mut transaction, std::slice::from_ref(&event)).await;
    drop(handled.expect("decided"));
    assert_eq!(decided(&bank, &[event.envelope.aggregate_id]).await, []);
    transaction.commit().await.expect("committed");
    assert_eq!(decided(&bank, &[event.envelope.aggregate_id]).await.len(), 1);
}

#[tokio::test]
async fn too_many_at_once_are_refused() {
    let bank = Bank::open().await;
    let many: Vec<Uuid> = (0..=PostingDecisionsV1::LIMIT).map(|_| Uuid::now_v7()).collect();
    let refusal = ask(&bank, &many).await.expect_err("too many");
    assert!(matches!(refusal, RespondError::Refused(_)), "{refusal:?}");
    assert_eq!(decided(&bank, &many[1..]).await, []);
}

#[tokio::test]
async fn every_question_of_the_manifest_has_a_responder_and_no_other() {
    let bank = Bank::open().await;
    let served: Vec<&str> = bank.accounts.responders().iter().map(|responder| responder.query()).collect();
    assert_eq!(served, bank.accounts.manifest().serves);
}
