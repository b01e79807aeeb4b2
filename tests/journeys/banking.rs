//! A customer's whole way through the bank.

use serde_json::json;
use vostro::client::documents;

use crate::support::people::transfer_input;
use crate::support::{Person, Staff, World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_registers_receives_and_sends_money_is_told_and_every_step_can_be_shown() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;

    let transfer = ada.transfer("rent", &bob.account, "30.50").await;
    assert_eq!(transfer["transaction"]["status"], "COMPLETED", "{transfer}");
    assert_eq!(ada.balance().await, "69.50");
    assert_eq!(bob.balance().await, "30.50");

    let bobs = tokio::sync::Mutex::new(bob.connection().await);
    let told = eventually("bob is told about the money", || async {
        let data = bobs.lock().await.data(documents::MY_NOTIFICATIONS, json!({})).await.expect("an answer");
        let notifications = data["notifications"]["nodes"].as_array()?.clone();
        notifications.into_iter().find(|notification| notification["topic"] == "PAYMENT_RECEIVED")
    })
    .await;
    assert!(told["body"].as_str().is_some_and(|body| body.contains("30.50")), "{told}");

    let officer = tokio::sync::Mutex::new(staff.officer_connection().await);
    let steps = eventually("compliance has the whole way of the transfer", || async {
        let trail = "query($id: ID!) { auditTrail(aggregateId: $id) { type outcome command actorId correlationId } }";
        let variables = json!({"id": transfer["transaction"]["id"]});
        let data = officer.lock().await.data(trail, variables).await.expect("an answer");
        let steps = data["auditTrail"].as_array()?.clone();
        (steps.len() >= 3).then_some(steps)
    })
    .await;
    let types: Vec<_> = steps.iter().filter_map(|step| step["type"].as_str()).collect();
    for wanted in ["transaction.initiated.v1", "account.posting-applied.v1", "transaction.completed.v1"] {
        assert!(types.contains(&wanted), "{wanted} is missing in {types:?}");
    }
    let command = steps.iter().find(|step| step["command"] == "transferCreate").expect("the command is recorded");
    assert_eq!(command["outcome"], "ACCEPTED");
    assert_eq!(command["actorId"].as_str(), Some(ada.user.as_str()));
    assert!(steps.iter().all(|step| step["correlationId"] == command["correlationId"]), "{steps:?}");
    world.proofs_hold().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_first_result_and_moves_the_money_once() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;

    let first = ada.transfer("once", &bob.account, "4.00").await;
    let again = ada.transfer("once", &bob.account, "4.00").await;
    assert_eq!(first["replayed"], json!(false));
    assert_eq!(again["replayed"], json!(true));
    assert_eq!(again["transaction"]["id"], first["transaction"]["id"]);
    let other = ada.transfer("once", &bob.account, "5.00").await;
    assert_eq!(other["userErrors"][0]["code"], "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(ada.balance().await, "6.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_within_one_document_pays_once() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    let mut connection = ada.connection().await;
    let document = "mutation($input: TransferCreateInput!) {
        transferCreate(input: $input) { transaction { id } } transferCreate(input: $input) { transaction { status } } }";
    let input = transfer_input("twice", &ada.account, &bob.account, "3.00", "COMPLETED");
    let data = connection.data(document, json!({"input": input})).await.expect("an answer");
    assert_eq!(data["transferCreate"]["transaction"]["status"], "COMPLETED", "{data}");
    assert_eq!(ada.balance().await, "7.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_shows_what_happened_newest_first_page_by_page() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    let mut made = Vec::new();
    for number in 0..5 {
        let transfer = ada.transfer(&format!("payment-{number}"), &bob.account, "1.00").await;
        made.push(transfer["transaction"]["id"].clone());
    }
    made.reverse();
    let mut connection = ada.connection().await;
    let document = "query($account: ID!, $after: String) { transactions(filter: {accountId: $account, kind: TRANSFER}, first: 2, after: $after) {
        nodes { id } pageInfo { hasNextPage endCursor } } }";
    let (mut seen, mut after) = (Vec::new(), json!(null));
    loop {
        let variables = json!({"account": ada.account, "after": after});
        let data = connection.data(document, variables).await.expect("an answer");
        let page = &data["transactions"];
        seen.extend(page["nodes"].as_array().expect("a list").iter().map(|node| node["id"].clone()));
        if page["pageInfo"]["hasNextPage"] == json!(false) {
            break;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
    assert_eq!(seen, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_query_joins_what_three_modules_know() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    let transfer = ada.transfer("joined", &bob.account, "1.25").await;
    let mut connection = ada.connection().await;
    let document = "query($id: ID!) { transaction(id: $id) { amount { amount currency }
        source { number balance { posted { amount } } owner { displayName } } } }";
    let data = connection.data(document, json!({"id": transfer["transaction"]["id"]})).await.expect("an answer");
    let transaction = &data["transaction"];
    assert_eq!(transaction["amount"], json!({"amount": "1.25", "currency": "EUR"}));
    assert_eq!(transaction["source"]["balance"]["posted"]["amount"], "8.75");
    assert_eq!(transaction["source"]["owner"]["displayName"], "ada");
}
