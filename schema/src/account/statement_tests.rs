//! Statements through the sub-schema. What they say and when they end is tested with the module.

use std::time::Duration;

use async_graphql::Response;
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::BoxStream;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_kernel::ids::IdKind;
use vostro_messaging::Module as _;

use super::tests::{Bank, acc, cash, code, operator, stranger};

const GENERATE: &str = "mutation ($input: StatementGenerateInput!) { statementGenerate(input: $input) {
    statement { id status from to account { id } progress { done total } openingBalance { amount }
                closingBalance { amount } parts part(number: 1) endedAt }
    userErrors { code field }
} }";
const CANCEL: &str = "mutation ($input: StatementCancelInput!) { statementCancel(input: $input) {
    statement { status } userErrors { code field } } }";
const UPDATES: &str = "subscription ($id: ID!, $after: String) { statementUpdated(statementId: $id, after: $after) {
    sequence occurredAt kind cursor statement { id status requestedAt endedAt progress { done total } } } }";
const PROGRESS: &str = "subscription ($id: ID!) { statementProgress(statementId: $id) { status } }";
const READ: &str = "query ($id: ID!) { statement(id: $id) {
    status openingBalance { amount } closingBalance { amount currency } parts first: part(number: 1)
    second: part(number: 2) endedAt } }";
const LIST: &str = "query ($id: ID!) { account(id: $id) { statements(first: 5) { nodes { id status } } } }";

/// Whatever is booked in this test is booked in this period.
fn asked(bank: &Bank, key: &str) -> Json {
    json!({"input": {"idempotencyKey": key, "accountId": acc(bank.account), "from": "2024-01-01", "to": "2024-01-31"}})
}

/// A bank whose customer has two entries, both in January 2024.
async fn bank() -> Bank {
    let bank = Bank::open().await;
    bank.pay(bank.account, cash(), 1).await;
    bank.database
        .tamper(
            "alter table account.entry disable trigger user;
             update account.entry set booking_date = '2024-01-05', booked_at = '2024-01-05 09:30:00Z';
             alter table account.entry enable trigger user",
        )
        .await;
    bank
}

async fn within_a_minute<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it comes")
}

/// What is told first behind a cursor, and the rest.
async fn first_update(bank: &Bank, id: &Json, after: Json) -> (Json, BoxStream<'static, Response>) {
    let request = bank.request(Some(bank.me), UPDATES, json!({"id": id, "after": after}));
    let mut updates = bank.schema.execute_stream(request).boxed();
    let first = within_a_minute(updates.next()).await.expect("an update");
    assert!(first.errors.is_empty(), "{:?}", first.errors);
    (first.data.into_json().expect("JSON")["statementUpdated"].take(), updates)
}

#[tokio::test]
async fn a_statement_is_asked_for_watched_and_read() {
    let bank = bank().await;
    let answer = bank.answer(bank.me, GENERATE, asked(&bank, "k")).await;
    let statement = &answer["statementGenerate"]["statement"];
    let id = statement["id"].clone();
    let expected = json!({"id": id, "status": "PREPARING", "from": "2024-01-01", "to": "2024-01-31",
        "account": {"id": acc(bank.account)}, "progress": {"done": 0, "total": 2},
        "openingBalance": {"amount": "0.00"}, "closingBalance": null, "parts": 0, "part": null, "endedAt": null});
    assert_eq!(statement, &expected, "{answer}");
    assert_eq!(answer["statementGenerate"]["userErrors"], json!([]));

    let (first, mut updates) = first_update(&bank, &id, Json::Null).await;
    let expected = json!({"sequence": 1, "kind": "SNAPSHOT", "cursor": first["cursor"],
        "occurredAt": first["statement"]["requestedAt"],
        "statement": {"id": id, "status": "PREPARING", "progress": {"done": 0, "total": 2},
                      "requestedAt": first["statement"]["requestedAt"], "endedAt": null}});
    assert_eq!(first, expected);
    let older = bank.schema.execute_stream(bank.request(Some(bank.me), PROGRESS, json!({"id": id})));
    let stop = CancellationToken::new();
    let writing = tokio::spawn(join_all(bank.accounts.background(stop.clone())));
    let last = within_a_minute(updates.next()).await.expect("the end").data.into_json().expect("JSON");
    let last = &last["statementUpdated"];
    assert_eq!((&last["sequence"], &last["kind"]), (&json!(3), &json!("CHANGE")), "{last}");
    assert_eq!((&last["statement"]["status"], &last["occurredAt"]), (&json!("READY"), &last["statement"]["endedAt"]));
    assert!(within_a_minute(updates.next()).await.is_none(), "nothing comes after the end");
    let states = within_a_minute(older.collect::<Vec<_>>()).await;
    let end = states.into_iter().next_back().map(|state| state.data.into_json().expect("JSON"));
    assert_eq!(end, Some(json!({"statementProgress": {"status": "READY"}})), "as before there were cursors");
    stop.cancel();
    writing.await.expect("the writer ends");

    // Whoever comes back is told what it has not seen: all, or nothing.
    let (again, _) = first_update(&bank, &id, first["cursor"].clone()).await;
    assert_eq!(&again, last);
    let over = json!({"id": id, "after": last["cursor"]});
    let mut over = bank.schema.execute_stream(bank.request(Some(bank.me), UPDATES, over)).boxed();
    assert!(over.next().await.is_none());
    let elsewhere = json!({"id": id, "after": "bm8gY3Vyc29y"});
    let mut refused = bank.schema.execute_stream(bank.request(Some(bank.me), UPDATES, elsewhere)).boxed();
    assert_eq!(code(&refused.next().await.expect("an answer")), Some("BAD_USER_INPUT".into()));

    let read = bank.answer(bank.me, READ, json!({"id": id})).await["statement"].clone();
    assert_eq!((&read["status"], &read["parts"], &read["second"]), (&json!("READY"), &json!(1), &Json::Null));
    assert_eq!(read["closingBalance"], json!({"amount": "99.99", "currency": "EUR"}));
    let document = read["first"].as_str().expect("a text");
    assert!(document.starts_with("entry,booking_date,") && document.ends_with(",-0.01,99.99\r\n"), "{document}");
    let listed = bank.answer(bank.me, LIST, json!({"id": acc(bank.account)})).await;
    assert_eq!(listed["account"]["statements"]["nodes"], json!([{"id": id, "status": "READY"}]));
    let of_staff = bank.answer(operator(), READ, json!({"id": id})).await;
    assert_eq!(of_staff["statement"], read);
}

#[tokio::test]
async fn refusals_are_data() {
    let bank = bank().await;
    let refused = async |person, input: Json| {
        let answer = bank.answer(person, GENERATE, input).await;
        assert_eq!(answer["statementGenerate"]["statement"], Json::Null, "{answer}");
        answer["statementGenerate"]["userErrors"][0].clone()
    };
    let mut backwards = asked(&bank, "k");
    backwards["input"]["to"] = json!("2023-12-31");
    let expected = json!({"code": "ACC_PERIOD_INVALID", "field": ["input", "from"]});
    assert_eq!(refused(bank.me, backwards).await, expected);
    let mut unfinished = asked(&bank, "k");
    unfinished["input"]["from"] = json!("9999-12-31");
    unfinished["input"]["to"] = json!("9999-12-31");
    let expected = json!({"code": "ACC_PERIOD_NOT_OVER", "field": ["input", "to"]});
    assert_eq!(refused(bank.me, unfinished).await, expected);
    let expected = json!({"code": "ACC_NOT_FOUND", "field": ["input", "accountId"]});
    assert_eq!(refused(stranger(), asked(&bank, "k")).await, expected);

    let mut no_day = asked(&bank, "k");
    no_day["input"]["to"] = json!("2024-02-30");
    let response = bank.ask(Some(bank.me), GENERATE, no_day).await;
    assert_eq!(response.errors.len(), 1, "{response:?}");
    let response = bank.ask(None, GENERATE, asked(&bank, "k")).await;
    assert_eq!(code(&response), Some("UNAUTHENTICATED".into()));
}

#[tokio::test]
async fn a_statement_is_cancelled_once_and_that_of_somebody_else_does_not_exist() {
    let bank = bank().await;
    let answer = bank.answer(bank.me, GENERATE, asked(&bank, "k")).await;
    let id = answer["statementGenerate"]["statement"]["id"].clone();
    let input = json!({"input": {"statementId": id}});
    let answer = bank.answer(stranger(), CANCEL, input.clone()).await;
    let expected = json!([{"code": "ACC_STATEMENT_NOT_FOUND", "field": ["input", "statementId"]}]);
    assert_eq!(answer["statementCancel"]["userErrors"], expected);
    assert_eq!(bank.answer(stranger(), READ, json!({"id": id})).await["statement"], Json::Null);
    for subscription in [UPDATES, PROGRESS] {
        let request = bank.request(Some(stranger()), subscription, json!({"id": id}));
        let refused = bank.schema.execute_stream(request).boxed().next().await.expect("an answer");
        assert_eq!(code(&refused), Some("BAD_USER_INPUT".into()));
    }
    for _ in 0..2 {
        let answer = bank.answer(bank.me, CANCEL, input.clone()).await;
        assert_eq!(answer["statementCancel"]["statement"]["status"], "CANCELLED", "{answer}");
    }
    let unknown = IdKind::Statement.encode(Uuid::now_v7());
    assert_eq!(bank.answer(bank.me, READ, json!({"id": unknown})).await["statement"], Json::Null);
}

#[tokio::test]
async fn a_statement_that_failed_says_why_and_one_that_may_still_succeed_does_not() {
    let bank = bank().await;
    let answer = bank.answer(bank.me, GENERATE, asked(&bank, "k")).await;
    let id = answer["statementGenerate"]["statement"]["id"].clone();
    let why = "query ($id: ID!) { statement(id: $id) { status failureCode } }";
    bank.database.tamper("update account.statement set failure_code = 'NOT_WRITTEN', attempts = 1").await;
    let trying = bank.answer(bank.me, why, json!({"id": id})).await;
    assert_eq!(trying["statement"], json!({"status": "PREPARING", "failureCode": null}));
    let fail = "update account.statement set status = 'FAILED', ended_at = now(), failure_code = 'LEDGER_INCONSISTENT'";
    bank.database.tamper(fail).await;
    let failed = bank.answer(bank.me, why, json!({"id": id})).await;
    assert_eq!(failed["statement"], json!({"status": "FAILED", "failureCode": "LEDGER_INCONSISTENT"}));
}
