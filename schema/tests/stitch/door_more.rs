//! Batches, event streams, registered documents and budgets at the door.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use vostro_schema::door::{Budget, DocumentPolicy, DoorConfig, TrustedDocuments};
use vostro_schema::stitch::{Engine, Limits, SubgraphRequest, SubgraphResponse, SubgraphTransport};
use vostro_testkit::eventually;

use crate::harness::{Bank, OpenBank, code};

const PAY: &str =
    "mutation { pay(input: {idempotencyKey: \"k\", amount: {amount: \"1\", currency: \"EUR\"}}) { number } }";

async fn post(bank: &OpenBank, accept: &str, body: Value) -> Response {
    post_by(&Client::new(), bank, accept, body).await
}

async fn post_by(client: &Client, bank: &OpenBank, accept: &str, body: Value) -> Response {
    let request = client.post(bank.url("/graphql")).header(CONTENT_TYPE, "application/json");
    request.header(ACCEPT, accept).body(body.to_string()).send().await.unwrap()
}

#[tokio::test]
async fn the_operations_of_a_batch_run_in_their_order_and_are_answered_one_by_one() {
    let bank = OpenBank::open().await;
    let batch = json!([{"query": PAY}, {"query": "{ nothing }"}, {"query": PAY},
        {"query": "subscription { balanceChanged(accountId: \"acc_1\") { sequence } }"}]);
    let answers: Value = post(&bank, "application/json", batch).await.json().await.unwrap();
    let answers = answers.as_array().unwrap();
    assert_eq!(answers[0]["data"]["pay"]["number"], 1);
    assert_eq!(code(&answers[1]), "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(answers[2]["data"]["pay"]["number"], 2);
    assert_eq!(code(&answers[3]), "OPERATION_NOT_ALLOWED");
    assert_eq!(bank.bank.paid(), 2);
}

#[tokio::test]
async fn the_operations_of_a_batch_have_the_time_of_one_and_what_it_is_too_late_for_is_not_begun() {
    let limits = Limits { request: Duration::from_millis(200), ..Limits::default() };
    let bank = OpenBank::over(Bank::with(limits), DoorConfig::default()).await;
    let batch = json!([{"query": "{ hello }"}, {"query": "{ hangs }"}, {"query": "{ hangs }"}, {"query": PAY}]);
    let answers: Value = post(&bank, "application/json", batch).await.json().await.unwrap();
    assert_eq!(answers[0]["data"]["hello"], "hello you");
    for late in 1..=3 {
        assert_eq!(code(&answers[late]), "TIMEOUT", "{answers}");
    }
    assert_eq!(bank.bank.paid(), 0);
    assert!(answers[3].get("data").is_none() && answers[3].to_string().contains("not begun"), "{answers}");
}

#[tokio::test]
async fn a_batch_is_answered_in_the_media_type_that_the_client_likes_best() {
    let bank = OpenBank::open().await;
    for (accept, expected) in [
        ("application/graphql-response+json", "application/graphql-response+json; charset=utf-8"),
        ("application/graphql-response+json;q=0.5, application/json", "application/json; charset=utf-8"),
    ] {
        let answer = post(&bank, accept, json!([{"query": "{ hello }"}])).await;
        assert_eq!((answer.status(), &answer.headers()[CONTENT_TYPE]), (StatusCode::OK, &expected.parse().unwrap()));
    }
}

#[tokio::test]
async fn an_operation_is_a_stream_only_for_a_client_that_accepts_one_and_likes_no_other_answer_better() {
    let bank = OpenBank::open().await;
    let subscription = json!({"query": "subscription { balanceChanged(accountId: \"acc_1\") { sequence } }"});
    let both = "application/json, text/event-stream;q=0.5";
    assert_eq!(events(post(&bank, both, subscription.clone()).await).await.len(), 4, "there is no other answer to it");
    let answer = post(&bank, both, json!({"query": "{ hello }"})).await;
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/json; charset=utf-8");
    let refused = post(&bank, "application/json, text/event-stream;q=0", subscription).await;
    assert_eq!(code(&refused.json().await.unwrap()), "OPERATION_NOT_ALLOWED");
}

/// The events of a stream up to its end.
async fn events(response: Response) -> Vec<(String, Value)> {
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream; charset=utf-8");
    let text = response.text().await.unwrap();
    let event = |event: &str| {
        let mut lines = event.lines();
        let kind = lines.next()?.strip_prefix("event: ")?.to_owned();
        let data = lines.next()?.strip_prefix("data:")?.trim();
        Some((kind, serde_json::from_str(data).unwrap_or(Value::Null)))
    };
    text.split("\n\n").filter_map(event).collect()
}

#[tokio::test]
async fn a_subscription_is_a_stream_of_events_that_says_when_it_is_over() {
    let bank = OpenBank::open().await;
    let subscription = json!({"query": "subscription { balanceChanged(accountId: \"acc_1\") { sequence } }"});
    let told = events(post(&bank, "text/event-stream", subscription).await).await;
    let kinds: Vec<_> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["next", "next", "next", "complete"]);
    assert_eq!(told[1].1["data"], json!({"balanceChanged": {"sequence": 2}}));

    let told = events(post(&bank, "text/event-stream", json!({"query": "{ hello }"})).await).await;
    assert_eq!((told[0].1["data"].clone(), told.len()), (json!({"hello": "hello you"}), 2));

    let refused = post(&bank, "text/event-stream", json!({"query": "subscription { nothing }"})).await;
    assert_eq!(code(&refused.json().await.unwrap()), "GRAPHQL_VALIDATION_FAILED");
}

#[tokio::test]
async fn a_stream_ends_with_its_token_its_reader_or_the_bank() {
    let bank = OpenBank::open().await;
    let endless = json!({"query": "subscription { balanceChanged(accountId: \"acc_1\", endless: true) { sequence } }"});
    let open_at = |bank: &OpenBank, token: &'static str| {
        let request = Client::new().post(bank.url("/graphql")).header(CONTENT_TYPE, "application/json");
        let request = request.header(ACCEPT, "text/event-stream").header(AUTHORIZATION, token);
        request.body(endless.to_string()).send()
    };
    let attentive = DoorConfig { keep_alive: Duration::from_millis(30), ..DoorConfig::default() };
    let told = events(open_at(&OpenBank::with(attentive).await, "Bearer leaving").await.unwrap()).await;
    let [.., (_, error), (end, _)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((code(error).as_str(), end.as_str()), ("UNAUTHENTICATED", "complete"), "logged out");

    let open = |token| open_at(&bank, token);
    let told = events(open("Bearer brief").await.unwrap()).await;
    let [.., (_, error), (end, _)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((code(error).as_str(), end.as_str()), ("UNAUTHENTICATED", "complete"));

    let mut reader = open("Bearer customer").await.unwrap();
    reader.chunk().await.unwrap().unwrap();
    let streams = || bank.bank.calls.open_streams.load(std::sync::atomic::Ordering::SeqCst);
    eventually("those before it have ended", || async { (streams() == 1).then_some(()) }).await;
    drop(reader);
    eventually("the stream ends with its reader", || async { (streams() == 0).then_some(()) }).await;

    let response = open("Bearer customer").await.unwrap();
    bank.door.close_connections();
    let told = events(response).await;
    assert!(
        told.iter().all(|(kind, _)| kind == "next"),
        "the operation is not complete, so that clients come back: {told:?}"
    );
}

#[tokio::test]
async fn a_mutation_that_has_begun_is_answered_though_its_token_expires_and_the_bank_closes() {
    // Longer than the life of the token: the first sign of life tells that its time is over.
    let keep_alive = Duration::from_millis(200);
    let bank = OpenBank::with(DoorConfig { keep_alive, ..DoorConfig::default() }).await;
    let slow = PAY.replace("idempotencyKey", "note: \"wait\", idempotencyKey");
    let request = Client::new().post(bank.url("/graphql")).header(CONTENT_TYPE, "application/json");
    let request = request.header(ACCEPT, "text/event-stream").header(AUTHORIZATION, "Bearer brief");
    let mut response = request.body(json!({"query": slow}).to_string()).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), ":\n\n");
    bank.door.close_connections();
    assert_eq!(response.chunk().await.unwrap().unwrap(), ":\n\n");
    bank.bank.calls.proceed.notify_one();
    let told = events(response).await;
    let kinds: Vec<_> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["next", "complete"]);
    assert_eq!(told[0].1["data"]["pay"]["number"], 1, "{told:?}");
}

#[tokio::test]
async fn a_bank_that_takes_registered_documents_only_takes_no_text() {
    let mut documents = TrustedDocuments::default();
    let hi = ("hi".to_owned(), "query Hi($n: String) { hello(name: $n) }".to_owned());
    documents.register("app", vec![hi]).unwrap();
    let config = DoorConfig {
        documents: DocumentPolicy::RegisteredOnly,
        registered: Arc::new(documents),
        ..DoorConfig::default()
    };
    let bank = OpenBank::with(config).await;
    let accept = "application/graphql-response+json";
    let answer = post(&bank, accept, json!({"documentId": "hi", "variables": {"n": "Ada"}})).await;
    assert_eq!(answer.json::<Value>().await.unwrap()["data"]["hello"], "hello Ada");
    for (body, expected) in [
        (json!({"query": "{ hello }"}), "OPERATION_NOT_ALLOWED"),
        (
            json!({"query": PAY, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0"}}}),
            "PERSISTED_DOCUMENT_NOT_FOUND",
        ),
        (json!({"documentId": "nobody's"}), "PERSISTED_DOCUMENT_NOT_FOUND"),
    ] {
        let answer = post(&bank, accept, body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(code(&answer.json().await.unwrap()), expected);
    }
    assert_eq!(bank.bank.paid(), 0);
}

/// A bank that knows three clients, one of which sends ids only.
fn with_clients() -> DoorConfig {
    let mut documents = TrustedDocuments::default();
    documents.register("app", vec![("hi".to_owned(), "{ hello }".to_owned())]).unwrap();
    documents.register("web", vec![("own".to_owned(), "query Own { hello }".to_owned())]).unwrap();
    documents.know("partner");
    assert!(documents.require_ids("app"));
    DoorConfig { registered: Arc::new(documents), ..DoorConfig::default() }
}

const NAME: &str = "graphql-client-name";

/// The first answer of the bank to a client, by whichever way.
async fn first_answer(response: Response) -> Value {
    if response.headers()[CONTENT_TYPE].to_str().unwrap().starts_with("text/event-stream") {
        return events(response).await.swap_remove(0).1;
    }
    match response.json().await.unwrap() {
        Value::Array(answers) => answers[0].clone(),
        answer => answer,
    }
}

#[tokio::test]
async fn a_client_that_sends_ids_only_is_refused_texts_by_whichever_way_and_others_are_not() {
    let bank = OpenBank::with(with_clients()).await;
    let text = json!({"query": "{ hello }"});
    let post = |accept: &str, body: Value| {
        let request = Client::new().post(bank.url("/graphql")).header(CONTENT_TYPE, "application/json");
        request.header(ACCEPT, accept).body(body.to_string())
    };
    let get = |parameters: &str| Client::new().get(bank.url(&format!("/graphql?{parameters}")));
    let ways: [(&str, &dyn Fn() -> reqwest::RequestBuilder); 4] = [
        ("POST", &|| post("application/json", text.clone())),
        ("batch", &|| post("application/json", json!([text]))),
        ("events", &|| post("text/event-stream", text.clone())),
        ("GET", &|| get("query=%7Bhello%7D").header(ACCEPT, "application/json")),
    ];
    for (way, request) in ways {
        let refused = first_answer(request().header(NAME, "app").send().await.unwrap()).await;
        assert_eq!(code(&refused), "OPERATION_NOT_ALLOWED", "{way}");
        for other in ["web", "partner", "nobody the bank knows"] {
            let answer = first_answer(request().header(NAME, other).send().await.unwrap()).await;
            assert_eq!(answer["data"]["hello"], "hello you", "{way} by {other}");
        }
    }
    for request in [
        post("application/json", json!({"documentId": "hi"})),
        post("application/json", json!([{"documentId": "hi"}])),
        post("text/event-stream", json!({"documentId": "hi"})),
        get("documentId=hi").header(ACCEPT, "application/json"),
    ] {
        let answer = first_answer(request.header("apollographql-client-name", "app").send().await.unwrap()).await;
        assert_eq!(answer["data"]["hello"], "hello you");
    }
}

/// What `extensions.cost` tells of the budget.
fn throttle(body: &Value) -> (&str, u64, u64) {
    let throttle = &body["extensions"]["cost"]["throttleStatus"];
    let number = |name: &str| throttle[name].as_u64().unwrap();
    (throttle["bucket"].as_str().unwrap(), number("maximumAvailable"), number("currentlyAvailable"))
}

/// Pays until the points of this client are spent, and returns how it is refused.
async fn spend_all(bank: &OpenBank, client: &Client, name: &str) -> Value {
    for _ in 0..50 {
        let request = client.post(bank.url("/graphql")).header(CONTENT_TYPE, "application/json").header(NAME, name);
        let body: Value = request.body(json!({"query": PAY}).to_string()).send().await.unwrap().json().await.unwrap();
        if code(&body) == "RATE_LIMITED" {
            return body;
        }
        assert_eq!(body.get("errors"), None);
    }
    panic!("the points are spent before they come back");
}

/// A hundred points, of which each client has sixty; a payment is ten.
fn with_shares() -> DoorConfig {
    let budget = Some(Budget { maximum: 100, restore_per_second: 1 });
    let client_budget = Some(Budget { maximum: 60, restore_per_second: 1 });
    DoorConfig { budget, client_budget, ..with_clients() }
}

#[tokio::test]
async fn a_client_that_has_spent_its_share_leaves_points_to_another_of_the_same_person() {
    let bank = OpenBank::with(with_shares()).await;
    let client = Client::new();
    let refused = spend_all(&bank, &client, "partner").await;
    let (bucket, maximum, available) = throttle(&refused);
    assert_eq!((bucket, maximum), ("CLIENT", 60));
    assert!(available < 10, "{refused}");
    assert_eq!(refused["extensions"]["cost"]["requestedQueryCost"], 10);
    assert_eq!(refused["extensions"]["cost"]["actualQueryCost"], 0);
    let paid = bank.bank.paid();
    assert!(paid >= 6, "{paid}");

    let refused = spend_all(&bank, &client, "web").await;
    assert_eq!((throttle(&refused).0, throttle(&refused).1), ("CALLER", 100), "within what the person has");
    assert!(bank.bank.paid() >= paid + 3, "{} and {paid}", bank.bank.paid());
}

#[tokio::test]
async fn made_up_names_are_one_client_and_buy_nothing() {
    let bank = OpenBank::with(with_shares()).await;
    let client = Client::new();
    spend_all(&bank, &client, "made up").await;
    let paid = bank.bank.paid();
    for name in ["another", "Partner", "partner-2", ""] {
        let request = client.post(bank.url("/graphql")).header(CONTENT_TYPE, "application/json").header(NAME, name);
        // 21 points, which do not come back while this runs.
        let body = json!({"query": "{ accounts { id owner { id } } }"}).to_string();
        let body: Value = request.body(body).send().await.unwrap().json().await.unwrap();
        assert_eq!((code(&body).as_str(), throttle(&body).0), ("RATE_LIMITED", "CLIENT"), "{name:?}");
    }
    assert_eq!(bank.bank.paid(), paid);
}

#[tokio::test]
async fn a_registered_document_is_paid_for_by_the_client_that_registered_it() {
    let bank = OpenBank::with(with_shares()).await;
    let client = Client::new();
    spend_all(&bank, &client, "partner").await;
    let body = json!({"documentId": "own"}).to_string();
    let request = client.post(bank.url("/graphql")).header(CONTENT_TYPE, "application/json").header(NAME, "partner");
    let body: Value = request.body(body).send().await.unwrap().json().await.unwrap();
    assert_eq!(body["data"]["hello"], "hello you");
    let (bucket, _, available) = throttle(&body);
    assert_eq!(bucket, "CALLER", "the share of the one that registered it is untouched");
    assert!(available < 60, "{available}");
}

/// Says of any file that it is kept.
struct Keeps;

impl SubgraphTransport for Keeps {
    fn execute(&self, _: SubgraphRequest) -> BoxFuture<'_, SubgraphResponse> {
        let data = json!({"complianceEvidenceAttach": {"replayed": false}});
        let data = async_graphql::Value::from_json(data).unwrap();
        futures::future::ready(SubgraphResponse { data, errors: Vec::new() }).boxed()
    }

    fn execute_stream(&self, _: SubgraphRequest) -> BoxStream<'static, SubgraphResponse> {
        futures::stream::empty().boxed()
    }
}

/// Fifty points, with its file.
const KEEP: &str = "mutation Keep($file: Upload!) {
    complianceEvidenceAttach(input: {violationId: \"vio_1\", file: $file}) { replayed } }";

/// The one API that takes files, before a module that keeps them all.
async fn taking_files(config: DoorConfig) -> OpenBank {
    let engine = Engine::over(vostro_schema::modules::SUPERGRAPH).unwrap().module("compliance", Keeps).build().unwrap();
    OpenBank::over(Bank { engine, calls: Arc::default() }, config).await
}

/// Sends a file with an operation, as a client of this name.
async fn send_file(bank: &OpenBank, name: &str, mut operation: Value) -> Value {
    operation["variables"] = json!({"file": null});
    let parts = [("operations", operation.to_string()), ("map", r#"{"0": ["variables.file"]}"#.to_owned())];
    let parts = parts.into_iter().chain([("0", "%PDF-1.7".to_owned())]);
    let head = |name| format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
    let body = parts.map(|(name, content)| format!("{}{content}\r\n", head(name))).collect::<String>() + "--x--\r\n";
    let request = Client::new().post(bank.url("/graphql")).bearer_auth("staff").header(NAME, name);
    let request = request.header(CONTENT_TYPE, "multipart/form-data; boundary=x").header("x-graphql-csrf", "1");
    request.body(body).send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn with_files_too_a_client_sends_ids_only_where_it_has_to() {
    let mut documents = TrustedDocuments::default();
    documents.register("app", vec![("keep".to_owned(), KEEP.to_owned())]).unwrap();
    documents.know("partner");
    assert!(documents.require_ids("app"));
    let bank = taking_files(DoorConfig { registered: Arc::new(documents), ..DoorConfig::default() }).await;
    let text = json!({"query": KEEP});
    assert_eq!(code(&send_file(&bank, "app", text.clone()).await), "OPERATION_NOT_ALLOWED");
    for (name, operation) in [("app", json!({"documentId": "keep"})), ("partner", text.clone()), ("nobody", text)] {
        let answer = send_file(&bank, name, operation).await;
        assert_eq!(answer["data"]["complianceEvidenceAttach"]["replayed"], false, "{name}: {answer}");
    }
}

#[tokio::test]
async fn a_request_with_files_is_paid_for_by_the_client_that_sends_it() {
    let bank = taking_files(with_shares()).await;
    let keep = || json!({"query": KEEP});
    let kept = send_file(&bank, "partner", keep()).await;
    assert_eq!((throttle(&kept).0, throttle(&kept).1), ("CLIENT", 60), "{kept}");
    let refused = send_file(&bank, "partner", keep()).await;
    assert_eq!((code(&refused).as_str(), throttle(&refused).0), ("RATE_LIMITED", "CLIENT"), "{refused}");
    let kept = send_file(&bank, "web", keep()).await;
    assert_eq!(kept.get("errors"), None, "{kept}");
}

#[tokio::test]
async fn where_no_client_is_known_a_caller_has_all_points_with_any() {
    let config = DoorConfig { registered: Arc::default(), ..with_shares() };
    let bank = OpenBank::with(config).await;
    let body: Value = post(&bank, "application/json", json!({"query": "{ hello }"})).await.json().await.unwrap();
    assert_eq!((throttle(&body).0, throttle(&body).1), ("CALLER", 100));
}

#[tokio::test]
async fn an_operation_is_paid_for_and_whoever_has_spent_all_waits() {
    let budget = Budget { maximum: 60, restore_per_second: 1 };
    let bank = OpenBank::with(DoorConfig { budget: Some(budget), ..DoorConfig::default() }).await;
    let accept = "application/graphql-response+json";
    // One for the list, and for each of ten expected accounts one, and one for its owner; there are two accounts.
    let list = json!({"query": "{ accounts { id owner { id } } }"});
    let client = Client::new();
    let body: Value = post_by(&client, &bank, accept, list).await.json().await.unwrap();
    let cost = &body["extensions"]["cost"];
    assert_eq!((&cost["requestedQueryCost"], &cost["actualQueryCost"]), (&json!(21), &json!(5)));
    let throttle = &cost["throttleStatus"];
    assert_eq!((&throttle["maximumAvailable"], &throttle["restoreRate"]), (&json!(60), &json!(1)));
    let left = throttle["currentlyAvailable"].as_u64().unwrap();
    assert!((55..=60).contains(&left), "what was not needed is paid back: {left}");

    // A point comes back every second, so how many payments the rest is enough for depends on how fast they are.
    let mut refused = None;
    for _ in 0..50 {
        let answer = post_by(&client, &bank, accept, json!({"query": PAY})).await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let refused = refused.expect("the points are spent before they come back");
    assert!(bank.bank.paid() >= 5, "each payment is ten points");
    let wait: u64 = refused.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    let body: Value = refused.json().await.unwrap();
    assert_eq!(code(&body), "RATE_LIMITED");
    let millis = body["errors"][0]["extensions"]["retryAfterMs"].as_u64().unwrap();
    assert!(millis > 0 && millis <= wait * 1000, "{body}");
    assert_eq!(body["errors"][0]["extensions"]["retryable"], true);
}

#[tokio::test]
async fn what_a_caller_is_told_takes_nothing_of_what_commands_are_paid_from() {
    let budget = Budget { maximum: 14, restore_per_second: 1 };
    let bank = OpenBank::with(DoorConfig { budget: Some(budget), ..DoorConfig::default() }).await;
    // Three points to begin with, and as many for each of two more events.
    let query = "subscription { balanceChanged(accountId: \"acc_1\") { account { owner { id } } } }";
    let told = events(post(&bank, "text/event-stream", json!({"query": query})).await).await;
    assert_eq!(told.len(), 4, "{told:?}");
    let body: Value = post(&bank, "application/json", json!({"query": PAY})).await.json().await.unwrap();
    assert_eq!((body.get("errors"), bank.bank.paid()), (None, 1), "{body}");
}

#[tokio::test]
async fn an_operation_that_may_cost_more_than_allowed_is_refused_before_any_module_is_asked() {
    let bank = OpenBank::open().await;
    for size in ["first", "last"] {
        let nested = format!("query($n: Int) {{ accounts {{ entries({size}: $n) {{ nodes {{ id }} }} }} }}");
        let ask = |n: u32| post(&bank, "application/json", json!({"query": nested, "variables": {"n": n}}));
        assert_eq!(code(&ask(100).await.json().await.unwrap()), "COST_LIMIT_EXCEEDED", "{size}");
        assert_eq!(ask(5).await.json::<Value>().await.unwrap().get("errors"), None, "{size}");
    }
}
