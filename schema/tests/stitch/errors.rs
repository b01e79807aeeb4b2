//! What clients see when something fails.

use serde_json::{Value, json};
use vostro_kernel::{Actor, Role};
use vostro_schema::stitch::{Engine, InProcess, Limits};

use crate::fixture::people;
use crate::harness::{Bank, SUPERGRAPH, code, person, scope};

fn errors(body: &Value) -> Vec<(String, String)> {
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    let mut seen: Vec<_> = errors
        .iter()
        .map(|error| (error["path"].to_string(), error["extensions"]["code"].as_str().unwrap_or_default().to_owned()))
        .collect();
    seen.sort();
    seen
}

fn seen(path: &str, code: &str) -> (String, String) {
    (path.to_owned(), code.to_owned())
}

#[tokio::test]
async fn a_nullable_field_that_fails_is_null_and_its_siblings_stay() {
    let bank = Bank::open();
    let body = bank.ask("{ accounts { id limit { amount } number } }").await;
    assert_eq!(
        body["data"]["accounts"],
        json!([{"id": "acc_1", "limit": {"amount": "0.00"}, "number": "00acc_1"}, {"id": "acc_2", "limit": null, "number": "00acc_2"}])
    );
    assert_eq!(errors(&body), [seen(r#"["accounts",1,"limit"]"#, "MODULE_UNAVAILABLE")]);
    assert_eq!(body["errors"][0]["extensions"]["retryable"], true);
    assert_eq!(body["errors"][0]["extensions"]["module"], "accounts");
    assert!(body["errors"][0]["extensions"]["traceId"].is_string());
}

#[tokio::test]
async fn a_field_that_cannot_be_null_takes_its_nearest_nullable_parent_along() {
    let bank = Bank::open();
    let body = bank.ask("{ allWithBroken { id iban } hello }").await;
    assert_eq!(body["data"], json!({"allWithBroken": [{"id": "acc_1", "iban": "XX"}, null], "hello": "hello you"}));
    assert_eq!(errors(&body), [seen(r#"["allWithBroken",1,"iban"]"#, "MODULE_UNAVAILABLE")]);
}

#[tokio::test]
async fn an_error_inside_an_entity_is_reported_at_the_clients_path() {
    let bank = Bank::open();
    let body =
        bank.ask("{ payments(first: 1) { id destination { number limit { amount } } source { number } } }").await;
    assert_eq!(
        body["data"]["payments"],
        json!([{"id": "txn_1", "destination": {"number": "00acc_2", "limit": null}, "source": {"number": "00acc_1"}}])
    );
    assert_eq!(errors(&body), [seen(r#"["payments",0,"destination","limit"]"#, "MODULE_UNAVAILABLE")]);
}

#[tokio::test]
async fn an_error_in_some_entities_is_reported_at_these_and_not_at_others_that_are_null() {
    let bank = Bank::open();
    let body = bank.ask("{ payments(first: 3) { destination { limit { amount } } } }").await;
    // Of the third account nothing but a field that may be null is asked, so it does not show that it is hidden.
    let failed = json!({"destination": {"limit": null}});
    assert_eq!(body["data"]["payments"], json!([failed, failed, failed]));
    let at = |payment| seen(&format!(r#"["payments",{payment},"destination","limit"]"#), "MODULE_UNAVAILABLE");
    assert_eq!(errors(&body), [at(0), at(1)]);
}

#[tokio::test]
async fn an_entity_whose_field_cannot_be_null_fails_alone() {
    let bank = Bank::open();
    let body = bank.ask("{ payments(first: 7) { destination { iban } } }").await;
    let (fine, hidden) = (json!({"destination": {"iban": "XX"}}), json!({"destination": null}));
    assert_eq!(body["data"]["payments"], json!([fine, fine, hidden, fine, fine, hidden, {"destination": null}]));
    assert_eq!(errors(&body), [seen(r#"["payments",6,"destination","iban"]"#, "MODULE_UNAVAILABLE")]);
}

#[tokio::test]
async fn a_hidden_entity_is_null_like_an_absent_one() {
    let bank = Bank::open();
    let body = bank.ask("{ payments(first: 3) { id destination { id number } } }").await;
    assert_eq!(body["data"]["payments"][2], json!({"id": "txn_3", "destination": null}));
    assert_eq!(body["data"]["payments"][0]["destination"]["number"], "00acc_2");
    assert_eq!(body.get("errors"), None);
}

#[tokio::test]
async fn a_forbidden_field_is_null_and_says_so() {
    let bank = Bank::open();
    let query = "{ me { id name email } }";
    let body = bank.ask_as(person(&[Role::Customer]), query, Value::Null).await;
    assert_eq!(body["data"]["me"], json!({"id": "usr_1", "name": "Ada", "email": null}));
    assert_eq!(errors(&body), [seen(r#"["me","email"]"#, "FORBIDDEN")]);
    let body = bank.ask_as(person(&[Role::Admin]), query, Value::Null).await;
    assert_eq!(body["data"]["me"]["email"], "Ada@example.org");

    let across = "{ account(id: \"acc_1\") { id owner { name email } } }";
    let body = bank.ask_as(person(&[Role::Customer]), across, Value::Null).await;
    assert_eq!(body["data"]["account"], json!({"id": "acc_1", "owner": {"name": "Ada", "email": null}}));
    assert_eq!(errors(&body), [seen(r#"["account","owner","email"]"#, "FORBIDDEN")]);
}

#[tokio::test]
async fn a_field_for_those_logged_in_says_unauthenticated_to_others() {
    let bank = Bank::open();
    let body = bank.ask("{ me { id } hello }").await;
    assert_eq!(body["data"], json!({"me": null, "hello": "hello you"}));
    assert_eq!(errors(&body), [seen(r#"["me"]"#, "UNAUTHENTICATED")]);
    assert_eq!(
        code(&bank.ask_as(person(&[Role::Customer]), "mutation { freeze { id } }", Value::Null).await),
        "FORBIDDEN"
    );
}

#[tokio::test]
async fn internal_text_never_reaches_a_client() {
    let bank = Bank::open();
    for (query, path) in [("{ broken }", r#"["broken"]"#), ("{ broken hello accounts { id } }", r#"["broken"]"#)] {
        let body = bank.ask(query).await;
        assert!(!body.to_string().contains("hunter2"), "{body}");
        assert_eq!(errors(&body), [seen(path, "INTERNAL_SERVER_ERROR")]);
    }
}

#[tokio::test]
async fn a_panicking_resolver_is_a_fault_of_its_request_only() {
    let bank = Bank::open();
    let body = bank.ask("{ panics accounts { id } }").await;
    assert_eq!(body["data"]["panics"], Value::Null);
    assert_eq!(body["data"]["accounts"][0]["id"], "acc_1");
    assert_eq!(errors(&body), [seen(r#"["panics"]"#, "INTERNAL_SERVER_ERROR")]);
    assert_eq!(bank.data("{ hello }").await, r#"{"hello":"hello you"}"#);
}

#[tokio::test]
async fn an_operation_past_its_deadline_is_a_retryable_timeout() {
    let bank = Bank::with(Limits { request: std::time::Duration::from_millis(20), ..Limits::default() });
    let body = bank.ask("{ hangs }").await;
    assert_eq!(code(&body), "TIMEOUT");
    assert_eq!(body["errors"][0]["extensions"]["retryable"], true);
    assert_eq!(body.get("data"), None);
}

#[tokio::test]
async fn a_module_that_does_not_run_here_is_unavailable_and_the_rest_answers() {
    let engine = Engine::over(SUPERGRAPH).unwrap().module("people", InProcess(people::schema())).build().unwrap();
    let prepared = engine.prepare("{ hello account(id: \"acc_1\") { id } }", None).unwrap();
    let reply = engine.execute(&prepared, Default::default(), scope(Actor::ANONYMOUS)).await;
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["data"], json!({"hello": "hello you", "account": null}));
    assert_eq!(errors(&body), [seen(r#"["account"]"#, "MODULE_UNAVAILABLE")]);
}

#[tokio::test]
async fn a_module_the_supergraph_does_not_know_is_refused_at_start() {
    let built = Engine::over(SUPERGRAPH).unwrap().module("loans", InProcess(people::schema())).build();
    assert!(built.is_err_and(|error| error.to_string().contains("loans")));
    assert!(Engine::over("type Query { a: Int }").is_err());
    assert!(Engine::over("not a schema").is_err());
}

#[tokio::test]
async fn a_bad_value_of_a_custom_scalar_is_bad_user_input_with_the_reason() {
    let bank = Bank::open();
    let query = "mutation($i: PayInput!) { pay(input: $i) { number } }";
    for (amount, currency, reason) in [
        (json!("NaN"), "EUR", "decimal number"),
        (json!(1.5), "EUR", "decimal number"),
        (json!("1.505"), "EUR", "too many decimals"),
        (json!("1"), "EURO", "ISO 4217"),
    ] {
        let input = json!({"i": {"idempotencyKey": "k", "amount": {"amount": amount, "currency": currency}}});
        let body = bank.ask_as(Actor::ANONYMOUS, query, input).await;
        assert_eq!(code(&body), "BAD_USER_INPUT", "{body}");
        assert!(body["errors"][0]["message"].as_str().unwrap().contains(reason), "{body}");
    }
    assert_eq!(bank.paid(), 0);
}

#[tokio::test]
async fn the_operation_to_run_must_be_clear() {
    let bank = Bank::open();
    let two = "query A { hello } query B { b: hello }";
    assert!(bank.engine.prepare(two, Some("B")).is_ok());
    for name in [None, Some("C"), Some("")] {
        let errors = bank.engine.prepare(two, name).err().unwrap();
        assert_eq!(errors[0].code.as_str(), "BAD_USER_INPUT");
    }
    assert!(bank.engine.prepare("query A { hello }", Some("B")).is_err());
}
