//! The three modules in a process of their own, behind an engine that asks them over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use chrono::TimeDelta;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use vostro_kernel::{Actor, Clock, Role, SystemClock, SystemIds};
use vostro_messaging::AdmissionGate;
use vostro_schema::door::{AuthFault, Authenticator, Principal};
use vostro_schema::federation::{
    Entrance, EntranceConfig, GatewayKey, Http, HttpTimes, RemoteAuthenticator, STATEMENT_HEADER, Statement,
    TrustedGateways,
};
use vostro_schema::stitch::{ApiSchema, Engine, InProcess, Limits, OperationKind, satisfiability};
use vostro_testkit::eventually;

use crate::fixture::{Calls, accounts, payments, people};
use crate::harness::{Bank, SUPERGRAPH, Tokens, code, person, scope};

const MODULES: [&str; 3] = ["people", "accounts", "payments"];

fn key(byte: u8) -> Arc<GatewayKey> {
    let secret = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
    Arc::new(GatewayKey::new("main", &secret).unwrap())
}

fn trusted() -> TrustedGateways {
    TrustedGateways::new([("main", key(1).public().as_str())]).unwrap()
}

/// A process with subgraphs.
struct Process {
    address: SocketAddr,
    calls: Arc<Calls>,
    _server: JoinSet<()>,
}

impl Process {
    async fn start() -> Self {
        Self::with(|entrance| entrance).await
    }

    async fn with(change: impl FnOnce(Entrance) -> Entrance) -> Self {
        let calls = Arc::new(Calls::default());
        let config = EntranceConfig { keep_alive: Duration::from_millis(50), ..EntranceConfig::default() };
        let entrance = Entrance::new(trusted(), Arc::new(SystemClock), Arc::new(SystemIds), config)
            .subgraph("people", InProcess(people::schema()))
            .subgraph("accounts", InProcess(accounts::schema(calls.clone())))
            .subgraph("payments", InProcess(payments::schema()))
            .identifies_with(Arc::new(Tokens::default()));
        let (router, _) = change(entrance).router();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, calls, _server: server }
    }

    fn gateway(&self, times: HttpTimes) -> Bank {
        let base = format!("http://{}", self.address);
        let bases = MODULES.map(|name| (name, base.clone()));
        Bank { engine: engine(&bases, times), calls: Arc::clone(&self.calls) }
    }

    async fn post(&self, path: &str, statement: Option<&str>, body: &str) -> (u16, Value) {
        let request = reqwest::Client::new().post(format!("http://{}{path}", self.address));
        let request = request.header("content-type", "application/json").header("x-user-id", "1");
        let request = match statement {
            Some(statement) => request.header(STATEMENT_HEADER.as_str(), statement),
            None => request,
        };
        let response = request.body(body.to_owned()).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

fn engine(bases: &[(&str, String)], times: HttpTimes) -> Engine {
    let mut engine = Engine::over(SUPERGRAPH).unwrap().limits(Limits::default());
    for (name, base) in bases {
        let transport = Http::new(name, base, key(1), Arc::new(SystemClock), times).unwrap();
        engine = engine.module(*name, transport);
    }
    engine.build().unwrap()
}

fn statement(actor: Actor) -> Statement {
    Statement { actor, correlation_id: uuid::Uuid::from_u128(7), traceparent: None, wait_ms: 5_000 }
}

/// Without what differs from one request to the next.
pub fn told(mut answer: Value) -> Value {
    for error in answer["errors"].as_array_mut().into_iter().flatten() {
        error["extensions"].as_object_mut().unwrap().remove("traceId");
    }
    answer
}

/// Some that were written for it, and every path on which no field has to be given a value.
pub fn documents(schema: &ApiSchema) -> Vec<String> {
    let written = [
        "{ payments(first: 3) { id fee source { number owner { name email } } destination { number limit { amount } } } }",
        "{ allWithBroken { id iban } hello }",
        "{ cashMovements { __typename id account { number balance { amount currency } } ... on Deposit { branch } } }",
        "{ a: account(id: \"acc_1\") { ...f } b: account(id: \"acc_9\") { ...f } } fragment f on Account { id status owner { name } }",
        "{ search { ... on Payment { fee source { limit { amount } } } ... on Deposit { account { iban } } } }",
        "{ broken hello me { name } }",
        "{ panics }",
        "{ account(id: \"acc_1\") { entries(first: 1000) { nodes { id } } } }",
        "mutation { pay(input: {idempotencyKey: \"k\", amount: {amount: \"1.00\", currency: \"EUR\"}}) { account { owner { name } } } freeze { number } }",
        "mutation { pay(input: {idempotencyKey: \"k\", amount: {amount: \"1.001\", currency: \"EUR\"}}) { account { id } } }",
    ];
    let paths = satisfiability::every_path(schema, OperationKind::Query);
    // The field that never answers is another test's.
    let paths = paths.into_iter().filter(|document| !document.contains('$') && !document.contains("hangs"));
    written.into_iter().map(str::to_owned).chain(paths).collect()
}

#[tokio::test]
async fn an_operation_is_answered_over_http_as_in_one_process() {
    let (here, process) = (Bank::open(), Process::start().await);
    let there = process.gateway(HttpTimes::default());
    let documents = documents(here.engine.planner().api_schema());
    assert!(documents.len() > 20, "{}", documents.len());
    for actor in [Actor::ANONYMOUS, person(&[Role::Customer]), person(&[Role::Operator, Role::Admin])] {
        for document in &documents {
            let expected = told(here.ask_as(actor, document, Value::Null).await);
            let answer = told(there.ask_as(actor, document, Value::Null).await);
            assert_eq!(answer, expected, "{document} as {actor:?}");
        }
    }
    assert_eq!(here.paid(), there.paid(), "every payment is made once here and there");
}

#[tokio::test]
async fn a_batch_of_entities_stays_one_over_http() {
    let process = Process::start().await;
    let bank = process.gateway(HttpTimes::default());
    let body = bank.ask("{ payments(first: 6) { source { number } destination { number } } }").await;
    assert_eq!(body.get("errors"), None, "{body}");
    assert_eq!(process.calls.account_entities.load(Ordering::SeqCst), 3, "each of three accounts once");
}

#[tokio::test]
async fn fields_of_a_process_that_is_away_are_null_and_say_so_and_the_others_stay() {
    let process = Process::start().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let base = format!("http://{}", process.address);
    let bases = [("people", format!("http://{nobody}")), ("accounts", base.clone()), ("payments", base)];
    let bank = Bank { engine: engine(&bases, HttpTimes::default()), calls: Arc::default() };
    let customer = person(&[Role::Customer]);
    let document = "{ accounts { number owner { id name } } me { name } payments(first: 1) { id } }";
    let body = bank.ask_as(customer, document, Value::Null).await;
    assert_eq!(body["data"]["payments"], json!([{"id": "txn_1"}]));
    assert_eq!(body["data"]["me"], Value::Null);
    assert_eq!(body["data"]["accounts"][1], json!({"number": "00acc_2", "owner": null}));
    for error in body["errors"].as_array().unwrap() {
        let seen = (&error["extensions"]["code"], &error["extensions"]["module"], &error["extensions"]["retryable"]);
        assert_eq!(seen, (&json!("MODULE_UNAVAILABLE"), &json!("people"), &json!(true)), "{error}");
        assert!(!error.to_string().contains(&nobody.to_string()), "no internal text: {error}");
    }
    assert!(body["errors"].as_array().unwrap().iter().any(|error| error["path"] == json!(["me"])), "{body}");
    // Alone as among others.
    let body = bank.ask_as(customer, "{ me { name } other: me { id } }", Value::Null).await;
    assert_eq!(body["data"], json!({"me": null, "other": null}), "{body}");
    let paths: Vec<_> = body["errors"].as_array().unwrap().iter().map(|error| error["path"].clone()).collect();
    assert_eq!(paths, [json!(["me"]), json!(["other"])]);
}

#[tokio::test]
async fn a_process_that_is_slow_costs_its_own_fields_only() {
    let process = Process::start().await;
    let bank = process.gateway(HttpTimes { call: Duration::from_secs(3), ..HttpTimes::default() });
    let body = bank.ask("{ hangs accounts { number } }").await;
    assert_eq!(body["data"]["hangs"], Value::Null);
    assert_eq!(body["data"]["accounts"][0]["number"], "00acc_1");
    assert_eq!(code(&body), "TIMEOUT");
    assert_eq!(body["errors"][0]["path"], json!(["hangs"]));
}

/// Reads requests and breaks every connection instead of answering; counts them.
async fn breaking() -> (SocketAddr, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, read) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (counted, mut server) = (Arc::clone(&read), JoinSet::new());
    server.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 16 * 1024];
            if stream.read(&mut buffer).await.unwrap() > 0 {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, read, server)
}

#[tokio::test]
async fn a_mutation_whose_answer_is_lost_is_not_sent_again() {
    let (address, read, _server) = breaking().await;
    let bases = MODULES.map(|name| (name, format!("http://{address}")));
    let bank = Bank { engine: engine(&bases, HttpTimes::default()), calls: Arc::default() };
    let body = bank.ask_as(person(&[Role::Operator]), "mutation { freeze { number } }", Value::Null).await;
    assert_eq!(code(&body), "MODULE_UNAVAILABLE");
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("idempotency key"), "{body}");
    assert_eq!(read.load(Ordering::SeqCst), 1, "a command is sent once");
    assert_eq!(code(&bank.ask("{ accounts { number } }").await), "MODULE_UNAVAILABLE");
    assert_eq!(read.load(Ordering::SeqCst), 3, "a question is asked once more");
}

#[tokio::test]
async fn nothing_is_sent_when_the_caller_may_see_nothing_of_it() {
    let (process, (address, read, _server)) = (Process::start().await, breaking().await);
    let (there, closed) = (format!("http://{}", process.address), format!("http://{address}"));
    let bases = [("people", closed.clone()), ("accounts", there.clone()), ("payments", there.clone())];
    let bank = Bank { engine: engine(&bases, HttpTimes::default()), calls: Arc::default() };
    let customer = person(&[Role::Customer]);
    let body = bank.ask_as(customer, "{ accounts { number owner { email } } }", Value::Null).await;
    let expected =
        json!([{"number": "00acc_1", "owner": {"email": null}}, {"number": "00acc_2", "owner": {"email": null}}]);
    assert_eq!((&body["data"]["accounts"], code(&body).as_str()), (&expected, "FORBIDDEN"), "{body}");
    assert_eq!(code(&bank.ask("{ me { name } }").await), "UNAUTHENTICATED");

    let bases = [("people", there.clone()), ("accounts", closed), ("payments", there)];
    let bank = Bank { engine: engine(&bases, HttpTimes::default()), calls: Arc::default() };
    let body = bank.ask_as(customer, "mutation { freeze { number } }", Value::Null).await;
    assert_eq!((&body["data"], code(&body).as_str()), (&json!({"freeze": null}), "FORBIDDEN"));
    let events = bank.events("subscription { private }").await;
    assert_eq!((events.len(), code(&events[0]).as_str()), (1, "UNAUTHENTICATED"));
    assert_eq!(read.load(Ordering::SeqCst), 0, "no request has left");
}

#[tokio::test]
async fn whatever_is_no_answer_is_a_module_that_is_not_available() {
    let cases = [
        "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n<html>no</html>",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"data\":",
        "nonsense",
    ];
    for answer in cases {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 16 * 1024];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let bases = MODULES.map(|name| (name, format!("http://{address}")));
        let bank = Bank { engine: engine(&bases, HttpTimes::default()), calls: Arc::default() };
        let body = bank.ask_as(person(&[Role::Customer]), "{ me { name } }", Value::Null).await;
        assert_eq!((code(&body).as_str(), &body["data"]), ("MODULE_UNAVAILABLE", &json!({"me": null})), "{answer}");
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_statement_of_a_trusted_gateway() {
    let process = Process::start().await;
    let body = r#"{"query":"{ me { name } }"}"#;
    let now = SystemClock.now();
    let staff = statement(person(&[Role::Admin]));
    let by = |key: &GatewayKey, audience: &str, body: &str, now| key.sign(&staff, audience, body.as_bytes(), now);
    let good = by(&key(1), "people", body, now);
    assert_eq!(process.post("/subgraph/people", Some(&good), body).await.1["data"]["me"]["name"], "Ada");
    let refused = [
        None,
        Some("Bearer staff".to_owned()),
        Some(by(&key(2), "people", body, now)),
        Some(by(&key(1), "accounts", body, now)),
        Some(by(&key(1), "people", "{}", now)),
        Some(by(&key(1), "people", body, now - TimeDelta::minutes(2))),
    ];
    for statement in refused {
        let (status, answer) = process.post("/subgraph/people", statement.as_deref(), body).await;
        assert_eq!((status, code(&answer).as_str()), (401, "UNAUTHENTICATED"), "{statement:?}: {answer}");
        assert_eq!(answer.get("data"), None);
    }
    let (status, _) = process.post("/subgraph/nothing", Some(&good), body).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_gateway_that_is_not_trusted_is_the_operators_business_and_not_the_clients() {
    let process = Process::with(|_| {
        let other = TrustedGateways::new([("main", key(9).public().as_str())]).unwrap();
        Entrance::new(other, Arc::new(SystemClock), Arc::new(SystemIds), EntranceConfig::default())
            .subgraph("people", InProcess(people::schema()))
    })
    .await;
    let bank = process.gateway(HttpTimes::default());
    let body = bank.ask_as(person(&[Role::Customer]), "{ me { name } }", Value::Null).await;
    assert_eq!(code(&body), "MODULE_UNAVAILABLE");
}

#[tokio::test]
async fn a_hostile_document_is_refused_at_the_entrance_too() {
    let process = Process::start().await;
    let mut bomb = String::from("{ accounts { ...f0 } }");
    for n in 0..20 {
        let next = n + 1;
        bomb.push_str(&format!(" fragment f{n} on Account {{ a{n}: id ...f{next} ...f{next} }}"));
    }
    bomb.push_str(" fragment f20 on Account { id }");
    let deep = "{a".repeat(5_000) + &"}".repeat(5_000);
    for (document, expected) in [
        (bomb.as_str(), "COMPLEXITY_LIMIT_EXCEEDED"),
        (deep.as_str(), "DEPTH_LIMIT_EXCEEDED"),
        ("{ accounts {", "GRAPHQL_PARSE_FAILED"),
        ("query a { hello } query b { hello }", "BAD_USER_INPUT"),
    ] {
        let body = json!({"query": document}).to_string();
        let signed = key(1).sign(&statement(Actor::ANONYMOUS), "accounts", body.as_bytes(), SystemClock.now());
        let (status, answer) = process.post("/subgraph/accounts", Some(&signed), &body).await;
        assert_eq!((status, code(&answer).as_str()), (200, expected), "{answer}");
    }
}

#[tokio::test]
async fn commands_are_turned_away_where_their_module_cannot_pass_them_on() {
    let gate = AdmissionGate::closed(Duration::from_secs(3));
    let process = Process::with(|entrance| entrance.gate("accounts", gate, &["freeze"])).await;
    let bank = process.gateway(HttpTimes::default());
    let pay =
        "mutation { pay(input: {idempotencyKey: \"k\", amount: {amount: \"1.00\", currency: \"EUR\"}}) { number } }";
    let body = bank.ask(pay).await;
    assert_eq!(code(&body), "OVERLOADED");
    assert_eq!(body["errors"][0]["extensions"]["retryAfterMs"], 3_000, "{body}");
    assert_eq!(process.calls.pay.load(Ordering::SeqCst), 0);
    let operator = person(&[Role::Operator]);
    assert_eq!(bank.ask_as(operator, "mutation { freeze { number } }", Value::Null).await.get("errors"), None);
    assert_eq!(bank.ask("{ accounts { number } }").await.get("errors"), None);
}

#[tokio::test]
async fn events_come_over_http_and_are_completed_by_the_other_modules() {
    let (here, process) = (Bank::open(), Process::start().await);
    let there = process.gateway(HttpTimes::default());
    for document in [
        "subscription { balanceChanged(accountId: \"acc_1\") { sequence account { number owner { name } } } }",
        "subscription { update: paymentUpdated { payment { source { number owner { name } } } sequence } }",
        "subscription { balanceChanged(accountId: \"acc_9\") { sequence } }",
        "subscription { private }",
    ] {
        let told = |events: Vec<Value>| events.into_iter().map(told).collect::<Vec<_>>();
        assert_eq!(told(there.events(document).await), told(here.events(document).await), "{document}");
    }
}

async fn becomes(what: &str, count: &AtomicUsize, expected: usize) {
    eventually(what, || async { (count.load(Ordering::SeqCst) == expected).then_some(()) }).await;
}

#[tokio::test]
async fn a_subscriber_who_goes_ends_the_subscription_in_the_other_process() {
    let process = Process::start().await;
    let bank = process.gateway(HttpTimes::default());
    let query = "subscription { balanceChanged(accountId: \"acc_1\", endless: true) { sequence } }";
    let prepared = bank.engine.prepare(query, None).unwrap();
    let mut replies = bank.engine.subscribe(prepared, Default::default(), scope(Actor::ANONYMOUS));
    for _ in 0..3 {
        assert!(replies.next().await.unwrap().has_data);
    }
    assert_eq!(process.calls.open_streams.load(Ordering::SeqCst), 1);
    drop(replies);
    becomes("the module hears that nobody listens", &process.calls.open_streams, 0).await;
}

#[tokio::test]
async fn a_subscription_whose_process_dies_says_so_and_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bases = MODULES.map(|name| (name, format!("http://{}", listener.local_addr().unwrap())));
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 16 * 1024];
        let _ = stream.read(&mut buffer).await;
        let event = "event: next\ndata: {\"data\":{\"balanceChanged\":{\"sequence\":1}}}\n\n";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(format!("{head}{:x}\r\n{event}\r\n", event.len()).as_bytes()).await;
    });
    let bank = Bank { engine: engine(&bases, HttpTimes::default()), calls: Arc::default() };
    let events = bank.events("subscription { balanceChanged(accountId: \"acc_1\", endless: true) { sequence } }").await;
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[0]["data"]["balanceChanged"]["sequence"], 1);
    assert_eq!(code(&events[1]), "MODULE_UNAVAILABLE");
}

/// Knows `staff` until it is told otherwise.
struct Sessions {
    ended: std::sync::atomic::AtomicBool,
    asked: AtomicUsize,
}

#[async_trait]
impl Authenticator for Sessions {
    async fn authenticate(&self, bearer: Option<&str>) -> Result<Principal, AuthFault> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.ended.load(Ordering::SeqCst) {
            Err(AuthFault::Revoked)
        } else {
            Tokens::default().authenticate(bearer).await
        }
    }
}

fn remote(process: &Process, byte: u8) -> RemoteAuthenticator {
    let (base, clock) = (format!("http://{}", process.address), Arc::new(SystemClock));
    RemoteAuthenticator::new(&base, key(byte), clock, Arc::new(SystemIds), HttpTimes::default()).unwrap()
}

#[tokio::test]
async fn a_gateway_learns_whom_a_token_speaks_for_and_soon_that_its_session_has_ended() {
    let sessions = Arc::new(Sessions { ended: false.into(), asked: AtomicUsize::new(0) });
    let process = Process::with(|entrance| entrance.identifies_with(sessions.clone())).await;
    let authenticator = remote(&process, 1);
    for _ in 0..20 {
        let principal = authenticator.authenticate(Some("staff")).await.unwrap();
        assert_eq!(principal.actor, person(&[Role::Operator, Role::Admin]));
    }
    assert!(sessions.asked.load(Ordering::SeqCst) < 20, "answers are kept for a moment");
    assert_eq!(authenticator.authenticate(Some("expired")).await, Err(AuthFault::Expired));
    assert_eq!(authenticator.authenticate(Some("else")).await, Err(AuthFault::Forged));
    assert_eq!(authenticator.authenticate(None).await, Ok(Principal::ANONYMOUS));
    sessions.ended.store(true, Ordering::SeqCst);
    eventually("the end of the session is heard of", || async {
        (authenticator.authenticate(Some("staff")).await == Err(AuthFault::Revoked)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn when_nobody_reads_tokens_a_request_is_repeated_and_not_a_login() {
    let process = Process::start().await;
    let authenticator = remote(&process, 1);
    assert!(authenticator.authenticate(Some("staff")).await.is_ok());
    assert_eq!(remote(&process, 2).authenticate(Some("staff")).await, Err(AuthFault::Unavailable), "an impostor");
    drop(process);
    assert_eq!(authenticator.authenticate(Some("customer")).await, Err(AuthFault::Unavailable));
    // What was known a moment ago serves for a while.
    assert!(authenticator.authenticate(Some("staff")).await.is_ok());
}
