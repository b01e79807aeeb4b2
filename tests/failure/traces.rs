//! Traces survive what transfers survive, and whatever becomes of the collector, the bank goes on.

use std::net::SocketAddr;

use serde_json::json;
use tokio::net::TcpListener;
use vostro::client::{Connection, documents};

use super::parking::{BOOKED, BREAK, MEND, as_operator, statement, until_parked};
use crate::support::people::transfer_input;
use crate::support::{Collector, Person, Port, Staff, World, eventually, traced_bank, traced_bank_without_room};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const POSTING: &str = "process account.postings";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_tried_again_parked_and_redriven_stays_in_its_trace() {
    let (world, collector) = (World::create().await, Collector::start().await);
    let bank = traced_bank(&world, collector.address, "1.0").await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    statement(&world, BREAK).await;
    let mut connection = ada.connection().await;
    connection.trace_as(TRACEPARENT);
    let input = transfer_input("poison", &ada.account, &bob.account, "6.66", "NONE");
    let data = connection.data(documents::TRANSFER, json!({"input": input})).await.expect("an answer");
    assert_eq!(data["transferCreate"]["userErrors"], json!([]), "{data}");
    until_parked(&world, 1).await;
    statement(&world, MEND).await;
    let redriven =
        as_operator(&world, &["parked", "redrive", "--subscription", "account.postings"], "operator@bank.example");
    redriven.await.expect("redriven, or nothing left to redrive");
    eventually("it is booked", || async { (world.count(BOOKED).await == 2).then_some(()) }).await;

    let spans = eventually("what came of it is traced", || async {
        let spans = collector.spans_of(TRACE);
        let has = |name: &str| spans.iter().any(|span| span.name == name && !span.has_failed);
        // Spans are sent as they end, which those of one thing that led to the other may do in any order.
        [
            "mutation transferCreate",
            POSTING,
            "process transaction.postings",
            "completion",
            "process notification.business-events",
            "process compliance.archive",
        ]
        .into_iter()
        .all(has)
        .then_some(spans)
    })
    .await;
    let command = spans.iter().find(|span| span.name == "mutation transferCreate").expect("the command");
    let (failed, done): (Vec<_>, Vec<_>) =
        spans.iter().filter(|span| span.name == POSTING).partition(|span| span.has_failed);
    assert!(failed.len() > 1, "each attempt is a span: {spans:#?}");
    assert_eq!(done.len(), 1, "one of them has booked it: {spans:#?}");
    assert!(failed.iter().chain(&done).all(|span| span.parent == command.id), "the context is what came: {spans:#?}");
    let outcome = spans.iter().find(|span| span.name == "process transaction.postings").expect("the outcome");
    assert_eq!(outcome.parent, done[0].id, "what follows is below the attempt that worked: {spans:#?}");
    until_parked(&world, 0).await;
    assert!(bank.terminate().await.success());
}

/// Spans that are lost, as the bank counts them.
async fn lost_spans(address: SocketAddr) -> u64 {
    let mut connection = Connection::open(address).await.expect("the bank listens");
    let (_, page) = connection.get("/metrics").await.expect("an answer");
    let page = String::from_utf8_lossy(&page).into_owned();
    let line = page.lines().find_map(|line| line.strip_prefix("vostro_spans_total{outcome=\"lost\"} "));
    line.and_then(|count| count.parse().ok()).expect("the counter is there from the start")
}

/// Whole transfers while the collector does not take any spans.
async fn goes_on_without(world: &World, collector: SocketAddr) -> (crate::support::BankProcess, Person, Person) {
    let bank = traced_bank_without_room(world, collector).await;
    let staff = Staff::hire(world).await;
    let ada = Person::with_money(world, &staff, "ada", "100.00").await;
    let bob = Person::join(world, "bob").await;
    for number in 0..30 {
        let transfer = ada.transfer(&format!("untraced-{number}"), &bob.account, "1.00").await;
        assert_eq!(transfer["transaction"]["status"], "COMPLETED", "{transfer}");
    }
    let address = world.config.http.address;
    eventually("the loss is counted", || async { (lost_spans(address).await > 0).then_some(()) }).await;
    (bank, ada, bob)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_spans_and_is_used_again_when_it_is_back() {
    let world = World::create().await;
    let port = Port::free();
    let nobody = port.address();
    let (bank, ada, bob) = goes_on_without(&world, nobody).await;
    let collector = Collector::start_at(nobody).await;
    let mut connection = ada.connection().await;
    connection.trace_as(TRACEPARENT);
    let input = transfer_input("traced", &ada.account, &bob.account, "1.00", "COMPLETED");
    connection.data(documents::TRANSFER, json!({"input": input})).await.expect("an answer");
    eventually("spans arrive again", || async { (!collector.spans_of(TRACE).is_empty()).then_some(()) }).await;
    world.proofs_hold().await;
    assert!(bank.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_holds_up_neither_transfers_nor_the_end_of_the_bank() {
    let world = World::create().await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    let (bank, _, _) = goes_on_without(&world, address).await;
    world.proofs_hold().await;
    assert!(bank.terminate().await.success());
    silent.abort();
}
