//! What auth says when another module asks whether a name is somebody's.

mod common;

use common::{Bank, anonymous, registration};
use uuid::Uuid;
use vostro_auth::Registration;
use vostro_events::query::Query as _;
use vostro_events::query::auth::{NameCheckAnswerV1, NameCheckResult, NameCheckV1};
use vostro_messaging::Module as _;
use vostro_messaging::rpc::RespondError;

async fn ask(bank: &Bank, user_id: Uuid, name: &str) -> Result<NameCheckAnswerV1, RespondError> {
    let responders = bank.auth.responders();
    let responder = responders.iter().find(|responder| responder.query() == NameCheckV1::TYPE);
    let body = serde_json::to_vec(&NameCheckV1 { user_id, name: name.to_owned() }).expect("JSON");
    let answer = responder.expect("the manifest says so").respond(&body).await?;
    Ok(serde_json::from_slice(&answer).expect("an answer"))
}

async fn bank_with(name: &str) -> (Bank, Uuid) {
    let bank = Bank::open().await;
    let registration = Registration { display_name: name.to_owned(), ..registration("jan@example.org") };
    let user = bank.auth.register(&anonymous(), registration).await.expect("registers").user.id;
    (bank, user)
}

#[tokio::test]
async fn a_name_is_compared_where_it_is_kept_and_only_a_close_one_is_hinted_at() {
    let (bank, user) = bank_with("Jan Novák").await;
    let answer =
        |result, suggestion: Option<&str>| NameCheckAnswerV1 { result, suggestion: suggestion.map(str::to_owned) };
    assert_eq!(ask(&bank, user, "NOVAK JAN").await.expect("answered"), answer(NameCheckResult::Match, None));
    let close = ask(&bank, user, "Jan Nowak").await.expect("answered");
    assert_eq!(close, answer(NameCheckResult::CloseMatch, Some("J*** N***")));
    let other = ask(&bank, user, "Petr Svoboda").await.expect("answered");
    assert_eq!(other, answer(NameCheckResult::NoMatch, None));
}

#[tokio::test]
async fn whoever_does_not_exist_has_another_name() {
    let (bank, _) = bank_with("Jan Novák").await;
    let answer = ask(&bank, Uuid::now_v7(), "Jan Novák").await.expect("answered");
    assert_eq!(answer, NameCheckAnswerV1 { result: NameCheckResult::NoMatch, suggestion: None });
}

#[tokio::test]
async fn a_name_that_no_payment_can_carry_is_refused() {
    let (bank, user) = bank_with("Jan Novák").await;
    let refusal = ask(&bank, user, &"x".repeat(141)).await.expect_err("too long");
    assert!(matches!(refusal, RespondError::Refused(_)), "{refusal:?}");
}

#[tokio::test]
async fn every_question_of_the_manifest_has_a_responder_and_no_other() {
    let (bank, _) = bank_with("Jan Novák").await;
    let served: Vec<&str> = bank.auth.responders().iter().map(|responder| responder.query()).collect();
    assert_eq!(served, bank.auth.manifest().serves);
}
