//! The door over WebSocket.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use vostro_schema::door::{Budget, DoorConfig, TrustedDocuments};
use vostro_testkit::eventually;

use crate::harness::OpenBank;

const ENDLESS: &str = "subscription { balanceChanged(accountId: \"acc_1\", endless: true) { sequence } }";

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn to(bank: &OpenBank) -> Self {
        Self::with_protocol(bank, Some("graphql-transport-ws")).await
    }

    async fn with_protocol(bank: &OpenBank, protocol: Option<&str>) -> Self {
        let mut request = format!("ws://{}/graphql", bank.address).into_client_request().unwrap();
        if let Some(protocol) = protocol {
            request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, response)) => {
                assert!(response.headers().contains_key("x-correlation-id"));
                Self(socket)
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Connected, introduced and acknowledged.
    async fn open(bank: &OpenBank, payload: Value) -> Self {
        let mut socket = Self::to(bank).await;
        socket.send(json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(socket.next().await, json!({"type": "connection_ack"}));
        socket
    }

    async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn subscribe(&mut self, id: &str, query: &str) {
        self.send(json!({"type": "subscribe", "id": id, "payload": {"query": query}})).await;
    }

    async fn subscribe_to_registered(&mut self, id: &str, document: &str) {
        self.send(json!({"type": "subscribe", "id": id, "payload": {"documentId": document}})).await;
    }

    async fn next(&mut self) -> Value {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn close_code(&mut self) -> u16 {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Waits until the modules have no open streams left.
async fn no_streams(bank: &OpenBank) {
    let open = &bank.bank.calls.open_streams;
    eventually("no stream is open", || async { (open.load(Ordering::SeqCst) == 0).then_some(()) }).await;
}

#[tokio::test]
async fn a_subscription_sends_its_events_and_completes() {
    let bank = OpenBank::open().await;
    let mut socket = Socket::open(&bank, json!({"authorization": "Bearer customer"})).await;
    socket.subscribe("1", "subscription { balanceChanged(accountId: \"acc_1\") { sequence } }").await;
    for sequence in 1..=3 {
        let event = json!({"type": "next", "id": "1", "payload": {"data": {"balanceChanged": {"sequence": sequence}}}});
        assert_eq!(socket.next().await, event);
    }
    assert_eq!(socket.next().await, json!({"type": "complete", "id": "1"}));
    // The id is free again.
    socket.subscribe("1", "subscription { private }").await;
    assert_eq!(socket.next().await["payload"]["data"]["private"], 1);
}

#[tokio::test]
async fn events_are_completed_across_modules() {
    let bank = OpenBank::open().await;
    let mut socket = Socket::open(&bank, Value::Null).await;
    socket.subscribe("a", "subscription { paymentUpdated { sequence payment { source { owner { name } } } } }").await;
    let event = socket.next().await;
    assert_eq!(event["payload"]["data"]["paymentUpdated"]["payment"]["source"]["owner"]["name"], "Ada");
}

#[tokio::test]
async fn queries_and_mutations_work_over_the_socket_too() {
    let bank = OpenBank::open().await;
    let mut socket = Socket::open(&bank, json!({})).await;
    let query = "query($n: String) { hello(name: $n) }";
    let payload = json!({"query": query, "variables": {"n": "Ada"}});
    socket.send(json!({"type": "subscribe", "id": "q", "payload": payload})).await;
    let next = socket.next().await;
    assert_eq!((&next["type"], &next["id"]), (&json!("next"), &json!("q")));
    assert_eq!(next["payload"]["data"], json!({"hello": "hello Ada"}));
    assert_eq!(socket.next().await, json!({"type": "complete", "id": "q"}));
    // A field that fails is data with errors, not the end of the operation.
    socket.subscribe("r", "{ me { id } }").await;
    assert_eq!(socket.next().await["payload"]["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    assert_eq!(socket.next().await["type"], "complete");
}

#[tokio::test]
async fn an_operation_that_cannot_start_is_an_error_and_the_connection_stays() {
    let bank = OpenBank::open().await;
    let mut socket = Socket::open(&bank, Value::Null).await;
    for (query, code) in [
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("subscription { private }", "UNAUTHENTICATED"),
        ("subscription { balanceChanged(accountId: \"acc_9\") { sequence } }", "BAD_USER_INPUT"),
        (
            "subscription($x: Int!) { balanceChanged(accountId: \"acc_1\", endless: true) { sequence @skip(if: $x) } }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
    ] {
        socket.subscribe("1", query).await;
        let message = socket.next().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!("1")), "{message}");
        assert_eq!(message["payload"][0]["extensions"]["code"], code, "{message}");
    }
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.next().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn completing_an_operation_ends_it_in_the_module() {
    let bank = OpenBank::open().await;
    let mut socket = Socket::open(&bank, Value::Null).await;
    socket.subscribe("1", ENDLESS).await;
    assert_eq!(socket.next().await["payload"]["data"]["balanceChanged"]["sequence"], 1);
    assert_eq!(bank.bank.calls.open_streams.load(Ordering::SeqCst), 1);
    socket.send(json!({"type": "complete", "id": "1"})).await;
    no_streams(&bank).await;

    socket.subscribe("1", ENDLESS).await;
    assert_eq!(socket.next().await["id"], "1");
    drop(socket);
    no_streams(&bank).await;
}

#[tokio::test]
async fn the_protocol_is_kept_by_closing_with_its_codes() {
    let bank = OpenBank::open().await;
    let init = json!({"type": "connection_init"});
    let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": ENDLESS}});
    let cases: [(&[Value], u16); 8] = [
        (&[json!("hello")], 4400),
        (&[init.clone(), json!({"type": "start"})], 4400),
        (&[init.clone(), json!({"type": "subscribe", "id": "1"})], 4400),
        (std::slice::from_ref(&subscribe), 4401),
        (&[json!({"type": "connection_init", "payload": {"authorization": "Bearer forged"}})], 4403),
        (&[json!({"type": "connection_init", "payload": {"authorization": "forged"}})], 4403),
        (&[init.clone(), subscribe.clone(), subscribe.clone()], 4409),
        (&[init.clone(), init], 4429),
    ];
    for (messages, expected) in cases {
        let mut socket = Socket::to(&bank).await;
        for message in messages {
            socket.send(message.clone()).await;
        }
        assert_eq!(socket.close_code().await, expected, "{messages:?}");
    }
    let mut socket = Socket::open(&bank, Value::Null).await;
    socket.0.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(socket.close_code().await, 4400);
    no_streams(&bank).await;
}

#[tokio::test]
async fn a_client_whose_token_cannot_be_looked_at_is_told_to_come_back_and_not_that_it_is_refused() {
    let bank = OpenBank::open().await;
    let mut socket = Socket::to(&bank).await;
    socket.send(json!({"type": "connection_init", "payload": {"authorization": "Bearer unread"}})).await;
    assert_eq!(socket.close_code().await, 1013);
}

#[tokio::test]
async fn another_sub_protocol_is_turned_away() {
    let bank = OpenBank::open().await;
    let mut socket = Socket::with_protocol(&bank, None).await;
    assert_eq!(socket.close_code().await, 4406);
}

#[tokio::test]
async fn a_client_that_does_not_introduce_itself_is_turned_away() {
    let config = DoorConfig { init_timeout: Duration::from_millis(20), ..DoorConfig::default() };
    let bank = OpenBank::with(config).await;
    let mut socket = Socket::to(&bank).await;
    assert_eq!(socket.close_code().await, 4408);
}

#[tokio::test]
async fn the_connection_ends_when_the_token_expires() {
    let bank = OpenBank::open().await;
    let mut socket = Socket::open(&bank, json!({"authorization": "Bearer brief"})).await;
    socket.subscribe("1", ENDLESS).await;
    assert_eq!(socket.close_code().await, 4403);
    no_streams(&bank).await;
}

/// Answers to one who reads none of them would otherwise wait for minutes, and go out whenever it reads on.
#[tokio::test]
async fn a_client_that_does_not_read_is_let_go_when_its_token_expires() {
    let config = DoorConfig { operations_per_connection: 2_000, ..DoorConfig::default() };
    let bank = OpenBank::with(config).await;
    let mut socket = Socket::open(&bank, json!({"authorization": "Bearer short"})).await;
    socket.subscribe("1", ENDLESS).await;
    assert_eq!(socket.next().await["type"], "next");
    let aliases: String = (0..10).map(|number| format!("a{number}{}: __typename ", "_".repeat(1_400))).collect();
    let large = format!("{{ {aliases} }}");
    let asking = async {
        for number in 0..1_000 {
            let payload = json!({"query": large});
            let asked = json!({"type": "subscribe", "id": format!("q{number}"), "payload": payload});
            if socket.0.send(Message::text(asked.to_string())).await.is_err() {
                return;
            }
        }
        futures::future::pending::<()>().await;
    };
    tokio::select! {
        () = asking => {}
        ended = tokio::time::timeout(Duration::from_secs(45), no_streams(&bank)) => {
            ended.expect("long before a connection is given up that gives no sign of life");
        }
    }
    no_streams(&bank).await;
}

#[tokio::test]
async fn the_connection_ends_when_its_owner_has_logged_out() {
    let config = DoorConfig { keep_alive: Duration::from_millis(30), ..DoorConfig::default() };
    let bank = OpenBank::with(config).await;
    let mut socket = Socket::open(&bank, json!({"authorization": "Bearer leaving"})).await;
    socket.subscribe("1", ENDLESS).await;
    assert_eq!(socket.close_code().await, 4403);
    no_streams(&bank).await;
}

#[tokio::test]
async fn a_door_that_closes_tells_its_clients() {
    let bank = OpenBank::open().await;
    let mut socket = Socket::open(&bank, Value::Null).await;
    socket.subscribe("1", ENDLESS).await;
    assert_eq!(socket.next().await["type"], "next");
    bank.door.close_connections();
    assert_eq!(socket.close_code().await, 1001);
    no_streams(&bank).await;
}

#[tokio::test]
async fn operations_on_one_connection_are_limited() {
    let config = DoorConfig { operations_per_connection: 2, ..DoorConfig::default() };
    let bank = OpenBank::with(config).await;
    let mut socket = Socket::open(&bank, Value::Null).await;
    for id in ["1", "2", "3"] {
        socket.subscribe(id, ENDLESS).await;
    }
    let refused = loop {
        let message = socket.next().await;
        if message["type"] == "error" {
            break message;
        }
    };
    assert_eq!(refused["id"], "3");
    assert_eq!(refused["payload"][0]["extensions"]["code"], "RATE_LIMITED");
}

/// The code a connection of this caller is closed with.
async fn turned_away(bank: &OpenBank, payload: Value) -> u16 {
    let mut socket = Socket::to(bank).await;
    socket.send(json!({"type": "connection_init", "payload": payload})).await;
    socket.close_code().await
}

#[tokio::test]
async fn the_connections_of_one_caller_are_limited_whichever_way_they_come() {
    let bank = OpenBank::with(DoorConfig { connections_per_caller: 2, ..DoorConfig::default() }).await;
    let (customer, nobody) = (json!({"authorization": "Bearer customer"}), Value::Null);
    let first = Socket::open(&bank, customer.clone()).await;
    let request = reqwest::Client::new().post(bank.url("/graphql")).header("content-type", "application/json");
    let request = request.header("accept", "text/event-stream").header("authorization", "Bearer customer");
    let request = request.body(json!({"query": ENDLESS}).to_string());
    let stream = request.try_clone().unwrap().send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert_eq!(turned_away(&bank, customer.clone()).await, 1013);
    let refused = request.send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(crate::harness::code(&refused.json().await.unwrap()), "RATE_LIMITED");
    Socket::open(&bank, nobody).await;
    drop((first, stream));
    eventually("both have ended and others may come", || async {
        let mut socket = Socket::to(&bank).await;
        socket.send(json!({"type": "connection_init", "payload": customer})).await;
        matches!(socket.0.next().await, Some(Ok(Message::Text(_)))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_silent_connection_is_asked_and_given_up() {
    let config = DoorConfig { keep_alive: Duration::from_millis(30), ..DoorConfig::default() };
    let bank = OpenBank::with(config).await;
    let mut socket = Socket::open(&bank, Value::Null).await;
    // A client that reads answers pings by itself and stays.
    socket.subscribe("1", ENDLESS).await;
    for _ in 0..3 {
        socket.next().await;
    }
    let mut pings = 0;
    while pings < 5 {
        if let Message::Ping(_) = socket.0.next().await.unwrap().unwrap() {
            pings += 1;
        }
    }
    assert_eq!(bank.bank.calls.open_streams.load(Ordering::SeqCst), 1);
    // One that does not is gone, and its streams with it.
    no_streams(&bank).await;
}

/// A bank that takes registered documents only from one of its clients, and gives each client sixty points of a hundred.
fn with_clients() -> DoorConfig {
    let mut documents = TrustedDocuments::default();
    documents.register("app", vec![("hi".to_owned(), "{ hello }".to_owned())]).unwrap();
    documents.know("partner");
    assert!(documents.require_ids("app"));
    DoorConfig {
        registered: std::sync::Arc::new(documents),
        budget: Some(Budget { maximum: 100, restore_per_second: 1 }),
        client_budget: Some(Budget { maximum: 60, restore_per_second: 1 }),
        ..DoorConfig::default()
    }
}

#[tokio::test]
async fn a_client_that_names_itself_in_its_first_message_sends_ids_only_where_it_has_to() {
    let bank = OpenBank::with(with_clients()).await;
    let mut app = Socket::open(&bank, json!({"apollographql-client-name": "app"})).await;
    app.subscribe("1", "{ hello }").await;
    let refused = app.next().await;
    assert_eq!(refused["payload"][0]["extensions"]["code"], "OPERATION_NOT_ALLOWED", "{refused}");
    app.subscribe_to_registered("2", "hi").await;
    assert_eq!(app.next().await["payload"]["data"]["hello"], "hello you");

    let mut partner = Socket::open(&bank, json!({"graphql-client-name": "partner"})).await;
    partner.subscribe("1", "{ hello }").await;
    let answer = partner.next().await;
    assert_eq!(answer["payload"]["data"]["hello"], "hello you");
    let throttle = &answer["payload"]["extensions"]["cost"]["throttleStatus"];
    assert_eq!((&throttle["bucket"], &throttle["maximumAvailable"]), (&json!("CLIENT"), &json!(60)), "{answer}");
}

#[tokio::test]
async fn a_client_that_names_itself_when_it_connects_is_known_by_that_until_it_says_another_name() {
    let bank = OpenBank::with(with_clients()).await;
    for (payload, expected) in [(Value::Null, true), (json!({"graphql-client-name": "partner"}), false)] {
        let mut request = format!("ws://{}/graphql", bank.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        request.headers_mut().insert("graphql-client-name", "app".parse().unwrap());
        let mut socket = Socket(connect_async(request).await.unwrap().0);
        socket.send(json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(socket.next().await["type"], "connection_ack");
        socket.subscribe("1", "{ hello }").await;
        assert_eq!(socket.next().await["type"] == "error", expected, "{payload}");
    }
}
