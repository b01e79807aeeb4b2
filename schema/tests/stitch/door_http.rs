//! The door over HTTP.

use std::time::Duration;

use reqwest::header::{ACCEPT, ALLOW, AUTHORIZATION, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vostro_schema::door::{DoorConfig, Statuses};

use crate::harness::{OpenBank, code};

const JSON: &str = "application/json";
const GRAPHQL: &str = "application/graphql-response+json";

fn client() -> Client {
    Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

async fn post(bank: &OpenBank, body: impl Into<reqwest::Body>) -> Response {
    client()
        .post(bank.url("/graphql"))
        .header(CONTENT_TYPE, JSON)
        .header(ACCEPT, GRAPHQL)
        .body(body)
        .send()
        .await
        .unwrap()
}

async fn ask(bank: &OpenBank, query: &str) -> Response {
    post(bank, json!({"query": query}).to_string()).await
}

async fn refused(response: Response, status: StatusCode, expected: &str) -> Value {
    assert_eq!(response.status(), status);
    assert!(response.headers().contains_key("x-correlation-id"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(code(&body), expected, "{body}");
    assert_eq!(body.get("data"), None);
    body
}

#[tokio::test]
async fn a_query_is_answered_in_the_media_type_asked_for() {
    let bank = OpenBank::open().await;
    let response = ask(&bank, "{ hello }").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/graphql-response+json; charset=utf-8");
    assert_eq!(response.headers()["cache-control"], "private, no-store");
    let text = response.text().await.unwrap();
    assert!(text.starts_with(r#"{"data":{"hello":"hello you"},"extensions":{"cost":{"#), "{text}");

    let body = r#"{"query": "{ nothing }"}"#;
    let plain = client().post(bank.url("/graphql")).header(CONTENT_TYPE, "application/json; charset=UTF-8").body(body);
    let response = plain.send().await.unwrap();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json; charset=utf-8");
    refused(response, StatusCode::OK, "GRAPHQL_VALIDATION_FAILED").await;
    refused(post(&bank, body).await, StatusCode::BAD_REQUEST, "GRAPHQL_VALIDATION_FAILED").await;
    let html = client().post(bank.url("/graphql")).header(CONTENT_TYPE, JSON).header(ACCEPT, "text/html").body(body);
    refused(html.send().await.unwrap(), StatusCode::NOT_ACCEPTABLE, "BAD_USER_INPUT").await;
}

#[tokio::test]
async fn statuses_are_those_of_the_newest_draft_where_they_are_wanted() {
    let bank = OpenBank::with(DoorConfig { statuses: Statuses::Draft, ..DoorConfig::default() }).await;
    refused(ask(&bank, "{").await, StatusCode::BAD_REQUEST, "GRAPHQL_PARSE_FAILED").await;
    refused(ask(&bank, "{ nothing }").await, StatusCode::UNPROCESSABLE_ENTITY, "GRAPHQL_VALIDATION_FAILED").await;
    let wrong = json!({"query": "query($n: String) { hello(name: $n) }", "variables": {"n": 7}}).to_string();
    refused(post(&bank, wrong).await, StatusCode::UNPROCESSABLE_ENTITY, "BAD_USER_INPUT").await;
    refused(post(&bank, "7").await, StatusCode::BAD_REQUEST, "BAD_USER_INPUT").await;
    assert_eq!(ask(&bank, "{ hello }").await.status(), StatusCode::OK);
    let partial = ask(&bank, "{ hello broken }").await;
    assert_eq!(partial.status().as_u16(), 294);
    assert_eq!(partial.json::<Value>().await.unwrap()["data"], json!({"hello": "hello you", "broken": null}));
    let plain = client().post(bank.url("/graphql")).header(CONTENT_TYPE, JSON).body(r#"{"query": "{ nothing }"}"#);
    assert_eq!(plain.send().await.unwrap().status(), StatusCode::OK, "application/json has 200 as ever");
}

#[tokio::test]
async fn a_get_runs_queries_and_nothing_else() {
    let bank = OpenBank::open().await;
    let get = |query: &'static str, variables: &'static str| {
        let url = reqwest::Url::parse_with_params(&bank.url("/graphql"), [("query", query), ("variables", variables)]);
        client().get(url.unwrap()).header(ACCEPT, GRAPHQL).send()
    };
    let response = get("query($n: String) { hello(name: $n) }", r#"{"n": "Ada"}"#).await.unwrap();
    assert_eq!(response.json::<Value>().await.unwrap()["data"], json!({"hello": "hello Ada"}));

    let mutation =
        "mutation { pay(input: {idempotencyKey: \"k\", amount: {amount: \"1\", currency: \"EUR\"}}) { number } }";
    let response = get(mutation, "").await.unwrap();
    assert_eq!(response.headers()[ALLOW], "POST");
    refused(response, StatusCode::METHOD_NOT_ALLOWED, "OPERATION_NOT_ALLOWED").await;
    assert_eq!(bank.bank.paid(), 0);

    refused(get("{ hello }", "7").await.unwrap(), StatusCode::BAD_REQUEST, "BAD_USER_INPUT").await;
    refused(get("{ hello", "").await.unwrap(), StatusCode::BAD_REQUEST, "GRAPHQL_PARSE_FAILED").await;
    let nothing = client().get(bank.url("/graphql")).send().await.unwrap();
    refused(nothing, StatusCode::BAD_REQUEST, "BAD_USER_INPUT").await;
    for method in [reqwest::Method::PUT, reqwest::Method::DELETE, reqwest::Method::PATCH] {
        let response = client().request(method, bank.url("/graphql")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert!(response.headers().contains_key("x-correlation-id"));
    }
}

#[tokio::test]
async fn what_a_browser_sends_to_other_sites_without_asking_is_refused() {
    let bank = OpenBank::open().await;
    let mutation =
        "mutation { pay(input: {idempotencyKey: \"k\", amount: {amount: \"1\", currency: \"EUR\"}}) { number } }";
    let body = json!({"query": mutation}).to_string();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/graphql", ""] {
        let request = client().post(bank.url("/graphql")).header(CONTENT_TYPE, content_type).body(body.clone());
        refused(request.send().await.unwrap(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "BAD_USER_INPUT").await;
    }
    let form =
        client().post(bank.url("/graphql")).header(CONTENT_TYPE, "multipart/form-data; boundary=x").body(form(&body));
    refused(form.send().await.unwrap(), StatusCode::BAD_REQUEST, "OPERATION_NOT_ALLOWED").await;
    assert_eq!(bank.bank.paid(), 0);
}

/// A request with one file, by the multipart request specification.
fn form(operations: &str) -> String {
    let parts = [("operations", operations), ("map", r#"{"0": ["variables.file"]}"#), ("0", "content")];
    let parts = parts
        .map(|(name, content)| format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n"));
    format!("{}--x--\r\n", parts.concat())
}

#[tokio::test]
async fn files_come_with_a_mutation_that_takes_them_and_with_nothing_else() {
    let bank = OpenBank::open().await;
    let pay = "mutation { pay(input: {idempotencyKey: \"k\", amount: {amount: \"1\", currency: \"EUR\"}}) { number } }";
    let one = |query: &str| json!({"query": query, "variables": {"file": null}}).to_string();
    for (operations, code) in [
        (one(pay), "OPERATION_NOT_ALLOWED"),
        (one("{ hello }"), "OPERATION_NOT_ALLOWED"),
        (one("{ nothing }"), "GRAPHQL_VALIDATION_FAILED"),
        (format!("[{}]", one(pay)), "BAD_USER_INPUT"),
        ("{}".to_owned(), "BAD_USER_INPUT"),
    ] {
        let request = client().post(bank.url("/graphql")).header(CONTENT_TYPE, "multipart/form-data; boundary=x");
        let request = request.header(ACCEPT, GRAPHQL).header("x-graphql-csrf", "1").body(form(&operations));
        refused(request.send().await.unwrap(), StatusCode::BAD_REQUEST, code).await;
    }
    assert_eq!(bank.bank.paid(), 0);
}

#[tokio::test]
async fn malformed_bodies_are_refused_by_kind() {
    let bank = OpenBank::open().await;
    for body in ["", "{", "null", "{}", r#"{"query": 1}"#, r#"{"query": "{ hello }", "variables": 7}"#] {
        refused(post(&bank, body).await, StatusCode::BAD_REQUEST, "BAD_USER_INPUT").await;
    }
    let batch = format!("[{}]", [r#"{"query": "{ hello }"}"#; 11].join(","));
    refused(post(&bank, batch).await, StatusCode::BAD_REQUEST, "BATCH_LIMIT_EXCEEDED").await;
    let large = json!({"query": "{ hello }", "variables": {"a": "x".repeat(200_000)}}).to_string();
    refused(post(&bank, large).await, StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE").await;
    refused(post(&bank, vec![0xff, 0xfe]).await, StatusCode::BAD_REQUEST, "BAD_USER_INPUT").await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up_and_the_client_is_told() {
    let impatient = DoorConfig { body_limit: 1_024, body_timeout: Duration::from_millis(200), ..DoorConfig::default() };
    let bank = OpenBank::with(impatient).await;
    let form = "multipart/form-data; boundary=x\r\nx-graphql-csrf: 1";
    for (media, beginning) in
        [("application/json", "{\"query\""), (form, "--x\r\ncontent-disposition: form-data; name=")]
    {
        let mut connection = TcpStream::connect(bank.address).await.unwrap();
        let head =
            format!("POST /graphql HTTP/1.1\r\nhost: bank\r\ncontent-length: 500\r\ncontent-type: {media}\r\n\r\n");
        connection.write_all(format!("{head}{beginning}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        // Until the connection is closed: what is left of the body would be taken for the next request.
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains(r#""code":"TIMEOUT""#), "{answer}");
    }
    assert_eq!(bank.bank.paid(), 0);
}

#[tokio::test]
async fn a_token_that_proves_nothing_refuses_the_request_and_says_why() {
    let bank = OpenBank::open().await;
    let ask = |value: &'static str| {
        let body = r#"{"query": "{ hello me { id email } }"}"#;
        client().post(bank.url("/graphql")).header(CONTENT_TYPE, JSON).header(AUTHORIZATION, value).body(body).send()
    };
    for (value, reason) in [
        ("Bearer forged", "not one of this bank's"),
        ("Bearer expired", "expired"),
        ("Bearer refresh", "not an access token"),
        ("Basic abc", "malformed"),
        ("Bearer", "malformed"),
    ] {
        let response = ask(value).await.unwrap();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer error=\"invalid_token\"");
        let body = refused(response, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED").await;
        assert!(body["errors"][0]["message"].as_str().unwrap().contains(reason), "{body}");
    }
    let body: Value = ask("Bearer staff").await.unwrap().json().await.unwrap();
    assert_eq!(body["data"]["me"]["email"], "Ada@example.org");
    let body: Value = ask("bearer customer").await.unwrap().json().await.unwrap();
    assert_eq!(body["data"]["me"], json!({"id": "usr_1", "email": null}));
    assert_eq!(code(&body), "FORBIDDEN");
}

#[tokio::test]
async fn the_correlation_id_goes_both_ways_and_into_errors() {
    let bank = OpenBank::open().await;
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let ask = |id: &'static str| {
        let request = client().post(bank.url("/graphql")).header(CONTENT_TYPE, JSON).header("x-correlation-id", id);
        request.body(r#"{"query": "{ me { id } }"}"#).send()
    };
    let response = ask(id).await.unwrap();
    assert_eq!(response.headers()["x-correlation-id"], id);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["errors"][0]["extensions"]["traceId"], id);

    let response = ask("'; drop table account; --").await.unwrap();
    let own = response.headers()["x-correlation-id"].to_str().unwrap().to_owned();
    assert!(uuid::Uuid::try_parse(&own).is_ok(), "{own}");
}

#[tokio::test]
async fn a_subscription_over_http_is_sent_to_the_socket() {
    let bank = OpenBank::open().await;
    let response = ask(&bank, "subscription { balanceChanged(accountId: \"acc_1\") { sequence } }").await;
    refused(response, StatusCode::BAD_REQUEST, "OPERATION_NOT_ALLOWED").await;
}

#[tokio::test]
async fn graphiql_comes_from_inside_the_binary_where_it_is_switched_on() {
    let bank = OpenBank::with(DoorConfig { graphiql: true, ..DoorConfig::default() }).await;
    let page = client().get(bank.url("/graphiql")).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("script-src 'self'"));
    let text = page.text().await.unwrap();
    for file in text.split('"').filter(|part| part.starts_with("graphiql/")) {
        let asset = client().get(bank.url(&format!("/{file}"))).send().await.unwrap();
        assert_eq!(asset.status(), StatusCode::OK, "{file}");
        assert_eq!(asset.headers()["x-content-type-options"], "nosniff");
    }
    assert_eq!(client().get(bank.url("/graphiql/../Cargo.toml")).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let modules: Value = client().get(bank.url("/graphiql/modules.json")).send().await.unwrap().json().await.unwrap();
    let fields = modules["fields"].as_array().unwrap();
    let freeze = fields.iter().find(|field| field["name"] == "freeze").unwrap();
    assert_eq!((&freeze["module"], &freeze["access"]), (&json!("accounts"), &json!("OPERATOR")));
    assert!(modules["examples"].as_array().unwrap().len() > 5);
    let browser = client().get(bank.url("/graphql")).header(ACCEPT, "text/html,*/*;q=0.8").send().await.unwrap();
    assert_eq!((browser.status(), &browser.headers()[LOCATION]), (StatusCode::SEE_OTHER, &"graphiql".parse().unwrap()));

    let bank = OpenBank::open().await;
    assert_eq!(client().get(bank.url("/graphiql")).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}
