//! What clients would meet if the library's own door stood open, and why the bank has another. Each defect is shown on that
//! door first: when a new version mends one, the test says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_graphql::{Object, Schema, Subscription};
use async_graphql_axum::{GraphQL, GraphQLSubscription};
use axum::Router;
use axum::routing::get_service;
use futures::{SinkExt, Stream, StreamExt, stream};
use reqwest::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::harness::{OpenBank, code};

const JSON: &str = "application/json";
const GRAPHQL: &str = "application/graphql-response+json";
const EVENTS: &str = "text/event-stream";

struct Query;

#[Object]
impl Query {
    async fn fine(&self) -> i32 {
        1
    }
}

struct Mutation {
    paid: Arc<AtomicUsize>,
    two: Barrier,
}

#[Object]
impl Mutation {
    async fn pay(&self) -> usize {
        self.paid.fetch_add(1, Ordering::SeqCst) + 1
    }
    /// Comes to an end when two of it run at the same time.
    async fn meet(&self) -> bool {
        self.two.wait().await;
        true
    }
}

struct Changes;

#[Subscription(name = "Subscription")]
impl Changes {
    /// One change, and no end.
    async fn changed(&self) -> impl Stream<Item = i32> + use<> {
        stream::iter([1]).chain(stream::pending())
    }
}

/// The library's door, on a port of the loopback interface.
struct Bare {
    address: SocketAddr,
    paid: Arc<AtomicUsize>,
    _server: tokio::task::JoinSet<()>,
}

impl Bare {
    async fn open() -> Self {
        let paid = Arc::new(AtomicUsize::new(0));
        let schema = Schema::new(Query, Mutation { paid: Arc::clone(&paid), two: Barrier::new(2) }, Changes);
        let router = Router::new()
            .route("/graphql", get_service(GraphQL::new(schema.clone())).post_service(GraphQL::new(schema.clone())))
            .route_service("/socket", GraphQLSubscription::new(schema));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = tokio::task::JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, paid, _server: server }
    }

    fn paid(&self) -> usize {
        self.paid.load(Ordering::SeqCst)
    }
}

/// A payment at the library's door, and one at the bank.
const PAY: &str = "mutation { pay }";
const PAY_BANK: &str =
    "mutation { pay(input: {idempotencyKey: \"k\", amount: {amount: \"1\", currency: \"EUR\"}}) { number } }";

fn post(address: SocketAddr, content_type: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    Client::new().post(format!("http://{address}/graphql")).header(CONTENT_TYPE, content_type).body(body)
}

async fn ask(address: SocketAddr, accept: &str, query: &str) -> Response {
    post(address, JSON, json!({"query": query}).to_string()).header(ACCEPT, accept).send().await.unwrap()
}

/// See also `door_http::a_query_is_answered_in_the_media_type_asked_for`.
#[tokio::test]
async fn a_refused_request_is_a_success_at_the_librarys_door_and_400_at_the_banks() {
    let bare = Bare::open().await;
    let response = ask(bare.address, GRAPHQL, "{ nothing }").await;
    assert_eq!(response.status(), StatusCode::OK, "the library has been mended");

    let bank = OpenBank::open().await;
    assert_eq!(ask(bank.address, GRAPHQL, "{ nothing }").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_the_client_reads_is_nothing_to_the_librarys_door_and_heeded_at_the_banks() {
    let (bare, bank) = (Bare::open().await, OpenBank::open().await);
    for accept in [JSON, "text/html"] {
        let response = ask(bare.address, accept, "{ fine }").await;
        let answer = (response.status(), response.headers()[CONTENT_TYPE].to_str().unwrap());
        assert_eq!(answer, (StatusCode::OK, GRAPHQL), "the library has been mended");
    }
    let response = ask(bank.address, JSON, "{ hello }").await;
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json; charset=utf-8");
    assert_eq!(ask(bank.address, "text/html", "{ hello }").await.status(), StatusCode::NOT_ACCEPTABLE);
}

/// See also `door_http::a_get_runs_queries_and_nothing_else`.
#[tokio::test]
async fn a_link_pays_at_the_librarys_door_and_not_at_the_banks() {
    let follow = async |address: SocketAddr, query: &str| {
        let url = Url::parse_with_params(&format!("http://{address}/graphql"), [("query", query)]).unwrap();
        Client::new().get(url).send().await.unwrap()
    };
    let bare = Bare::open().await;
    follow(bare.address, PAY).await;
    assert_eq!(bare.paid(), 1, "the library has been mended");

    let bank = OpenBank::open().await;
    let response = follow(bank.address, PAY_BANK).await;
    assert_eq!(
        (response.status(), &response.headers()[ALLOW]),
        (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
    );
    assert_eq!(bank.bank.paid(), 0);
}

/// What a page of another site can have a browser send, with the cookies of whoever looks at it and without asking first.
///
/// See also `door_http::what_a_browser_sends_to_other_sites_without_asking_is_refused`.
#[tokio::test]
async fn a_page_of_another_site_pays_at_the_librarys_door_and_not_at_the_banks() {
    let send = async |address: SocketAddr, query: &str| {
        let operation = json!({"query": query}).to_string();
        let part = |name, content: &str| {
            format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
        };
        let form = [part("operations", &operation), part("map", "{}"), "--x--\r\n".to_owned()].concat();
        let bodies = [
            ("text/plain", operation.clone()),
            ("application/x-www-form-urlencoded", operation),
            ("multipart/form-data; boundary=x", form),
        ];
        let mut answers = Vec::new();
        for (content_type, body) in bodies {
            answers.push(post(address, content_type, body).send().await.unwrap().status());
        }
        answers
    };
    let bare = Bare::open().await;
    assert_eq!(send(bare.address, PAY).await, [StatusCode::OK; 3], "the library has been mended");
    assert_eq!(bare.paid(), 3, "the library has been mended");

    let bank = OpenBank::open().await;
    let refused = [StatusCode::UNSUPPORTED_MEDIA_TYPE, StatusCode::UNSUPPORTED_MEDIA_TYPE, StatusCode::BAD_REQUEST];
    assert_eq!(send(bank.address, PAY_BANK).await, refused);
    assert_eq!(bank.bank.paid(), 0);
}

fn batch(query: &str, size: usize) -> String {
    Value::from(vec![json!({"query": query}); size]).to_string()
}

#[tokio::test]
async fn a_thousand_payments_in_one_request_are_made_at_the_librarys_door_and_refused_at_the_banks() {
    let bare = Bare::open().await;
    post(bare.address, JSON, batch(PAY, 1_000)).send().await.unwrap();
    assert_eq!(bare.paid(), 1_000, "the library has been mended");

    let bank = OpenBank::open().await;
    let refused = post(bank.address, JSON, batch(PAY_BANK, 1_000)).send().await.unwrap();
    assert_eq!(code(&refused.json().await.unwrap()), "BATCH_LIMIT_EXCEEDED");
    assert_eq!(bank.bank.paid(), 0);
}

/// That the bank carries them out in their order is `door_more::the_operations_of_a_batch_run_in_their_order_…`.
#[tokio::test]
async fn the_commands_of_a_batch_run_at_the_same_time_at_the_librarys_door() {
    let bare = Bare::open().await;
    let met = post(bare.address, JSON, batch("mutation { meet }", 2)).send();
    let met = tokio::time::timeout(Duration::from_secs(10), met).await.expect("the library has been mended");
    assert_eq!(met.unwrap().json::<Value>().await.unwrap()[1]["data"]["meet"], true);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_told_the_inside_of_the_librarys_door_and_nothing_of_the_banks() {
    let bare = Bare::open().await;
    let told = post(bare.address, JSON, "{").send().await.unwrap().text().await.unwrap();
    assert!(told.starts_with("InvalidRequest(Error("), "the library has been mended: {told}");

    let bank = OpenBank::open().await;
    let told = post(bank.address, JSON, "{").send().await.unwrap().text().await.unwrap();
    assert!(!told.contains("Error("), "{told}");
    assert_eq!(code(&serde_json::from_str(&told).unwrap()), "BAD_USER_INPUT");
}

/// See also `door_more::a_subscription_is_a_stream_of_events_that_says_when_it_is_over`.
#[tokio::test]
async fn a_stream_of_events_is_not_to_be_had_at_the_librarys_door_and_is_at_the_banks() {
    let bare = Bare::open().await;
    let response = ask(bare.address, EVENTS, "subscription { changed }").await;
    assert_eq!(response.headers()[CONTENT_TYPE], GRAPHQL, "the library has been mended");
    let answer: Value = response.json().await.unwrap();
    assert!(answer["errors"][0]["message"].is_string(), "the library has been mended: {answer}");

    let bank = OpenBank::open().await;
    let response =
        ask(bank.address, EVENTS, "subscription { balanceChanged(accountId: \"acc_1\") { sequence } }").await;
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream; charset=utf-8");
}

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn to(address: SocketAddr, path: &str) -> Self {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        Self(connect_async(request).await.unwrap().0)
    }

    async fn send(&mut self, messages: &[Value]) {
        for message in messages {
            self.0.send(Message::text(message.to_string())).await.unwrap();
        }
    }

    /// What comes next: a message, or the number of the code the connection is closed with.
    async fn next(&mut self) -> Value {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(Some(frame)))) => return u16::from(frame.code).into(),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The code the connection is closed with.
    async fn closed(&mut self) -> Value {
        loop {
            let next = self.next().await;
            if next.is_number() {
                return next;
            }
        }
    }
}

fn init() -> Value {
    json!({"type": "connection_init"})
}

fn subscribe(query: &str) -> Value {
    json!({"type": "subscribe", "id": "1", "payload": {"query": query}})
}

const ENDLESS: &str = "subscription { changed }";
const ENDLESS_BANK: &str = "subscription { balanceChanged(accountId: \"acc_1\", endless: true) { sequence } }";

/// See also `door_socket::the_protocol_is_kept_by_closing_with_its_codes`.
#[tokio::test]
async fn the_librarys_door_closes_with_codes_of_its_own_and_the_banks_with_those_of_the_protocol() {
    let (bare, bank) = (Bare::open().await, OpenBank::open().await);
    for (message, theirs, ours) in [
        (subscribe("{ __typename }"), 1011, 4401),
        (json!({"type": "start"}), 1002, 4400),
        (json!("hello"), 1002, 4400),
    ] {
        let mut socket = Socket::to(bare.address, "/socket").await;
        socket.send(std::slice::from_ref(&message)).await;
        assert_eq!(socket.next().await, json!(theirs), "the library has been mended: {message}");

        let mut socket = Socket::to(bank.address, "/graphql").await;
        socket.send(std::slice::from_ref(&message)).await;
        assert_eq!(socket.next().await, json!(ours), "{message}");
    }
}

#[tokio::test]
async fn an_id_taken_twice_loses_a_subscription_at_the_librarys_door_and_is_refused_at_the_banks() {
    let bare = Bare::open().await;
    let mut socket = Socket::to(bare.address, "/socket").await;
    socket.send(&[init(), subscribe(ENDLESS)]).await;
    assert_eq!(socket.next().await["type"], "connection_ack");
    assert_eq!(socket.next().await["type"], "next");
    socket.send(&[subscribe(ENDLESS)]).await;
    assert_eq!(socket.next().await["type"], "next", "the library has been mended");
    // One of them has gone without a word.
    socket.send(&[json!({"type": "complete", "id": "1"}), json!({"type": "ping"})]).await;
    assert_eq!(socket.next().await, json!({"type": "complete", "id": "1"}));
    assert_eq!(socket.next().await["type"], "pong");

    let bank = OpenBank::open().await;
    let mut socket = Socket::to(bank.address, "/graphql").await;
    socket.send(&[init(), subscribe(ENDLESS_BANK), subscribe(ENDLESS_BANK)]).await;
    assert_eq!(socket.closed().await, json!(4409));
}

/// See also `door_socket::a_client_that_does_not_introduce_itself_is_turned_away`.
#[tokio::test]
async fn who_says_nothing_for_an_hour_is_still_let_in_at_the_librarys_door_and_not_at_the_banks() {
    let (bare, bank) = (Bare::open().await, OpenBank::open().await);
    let mut at_the_librarys = Socket::to(bare.address, "/socket").await;
    let mut at_the_banks = Socket::to(bank.address, "/graphql").await;
    // So that whatever counts the time there has begun to.
    at_the_librarys.send(&[json!({"type": "ping"})]).await;
    assert_eq!(at_the_librarys.next().await["type"], "pong");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3_600)).await;
    at_the_librarys.send(&[init()]).await;
    assert_eq!(at_the_librarys.next().await["type"], "connection_ack", "the library has been mended");
    assert_eq!(at_the_banks.closed().await, json!(4408));
}
