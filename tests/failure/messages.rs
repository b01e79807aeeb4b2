//! Messages that come twice, late, in the wrong order, or that are no messages at all.

use std::collections::BTreeMap;

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use secrecy::ExposeSecret as _;
use serde_json::json;
use vostro::{app, broker};
use vostro_messaging::EventSelector;
use vostro_rabbitmq::Topology;
use vostro_rabbitmq::topology::user_name;

use crate::support::{Person, Staff, World, eventually};

/// An administrator's, who may do everything.
pub async fn channel(world: &World) -> (Connection, Channel) {
    open(world.config.broker.url.expose_secret()).await
}

/// One that may do what a module may, and sends in its name.
async fn channel_of(world: &World, module: &str) -> (Connection, Channel) {
    let url = world.config.broker.url.expose_secret();
    let (_, address) = url.rsplit_once('@').expect("an address with a user");
    let topology = Topology::of(&app::manifests()).expect("the manifests agree");
    let passwords = broker::passwords(&world.config.broker, &topology).expect("complete");
    let password = passwords.of(module).expect("a module");
    open(&format!("amqp://{}:{password}@{address}", user_name(world.vhost(), module))).await
}

async fn open(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("the broker accepts");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    (connection, channel)
}

/// A message as it was on the wire.
struct Captured {
    exchange: String,
    routing_key: String,
    properties: BasicProperties,
    body: Vec<u8>,
}

const CAPTURE: &str = "capture";

/// A queue that keeps a copy of every event.
pub async fn capture_everything(channel: &Channel) {
    channel
        .queue_declare(
            CAPTURE.into(),
            QueueDeclareOptions { auto_delete: false, ..Default::default() },
            FieldTable::default(),
        )
        .await
        .expect("declared");
    for manifest in app::manifests() {
        let exchange = format!("ev.{}", manifest.module);
        channel
            .queue_bind(CAPTURE.into(), exchange.into(), "#".into(), QueueBindOptions::default(), FieldTable::default())
            .await
            .expect("bound");
    }
}

async fn captured(channel: &Channel) -> Vec<Captured> {
    let mut messages = Vec::new();
    while let Some(message) = channel.basic_get(CAPTURE.into(), BasicGetOptions::default()).await.expect("an answer") {
        messages.push(Captured {
            exchange: message.delivery.exchange.to_string(),
            routing_key: message.delivery.routing_key.to_string(),
            properties: message.delivery.properties.clone(),
            body: message.delivery.data.clone(),
        });
        message.delivery.ack(BasicAckOptions::default()).await.expect("acknowledged");
    }
    messages
}

pub async fn publish(channel: &Channel, exchange: &str, routing_key: &str, properties: BasicProperties, body: &[u8]) {
    channel
        .basic_publish(exchange.into(), routing_key.into(), BasicPublishOptions::default(), body, properties)
        .await
        .expect("sent")
        .await
        .expect("confirmed");
}

/// Sends what was captured again in its senders' names, the latest first, and then once more as it was; how many these are.
pub async fn repeat_in_reverse_and_in_order(world: &World, channel: &Channel) -> usize {
    let messages = captured(channel).await;
    let mut senders = BTreeMap::new();
    for manifest in app::manifests() {
        senders.insert(format!("ev.{}", manifest.module), channel_of(world, manifest.module).await);
    }
    for message in messages.iter().rev().chain(&messages) {
        let properties = message.properties.clone();
        let (_, channel) = &senders[&message.exchange];
        publish(channel, &message.exchange, &message.routing_key, properties, &message.body).await;
    }
    messages.len()
}

const EFFECTS_OF_A_DEPOSIT_AND_21_TRANSFERS: [(&str, &str, i64); 4] = [
    ("entries", "select count(*) from account.entry", 44),
    ("ended transactions", "select count(*) from transaction.transaction where status = 'COMPLETED'", 22),
    ("notifications", "select count(*) from notification.notification where topic like 'PAYMENT%'", 43),
    (
        "archived outcomes",
        "select count(*) from compliance.event e join compliance.event_type t on t.code = e.type
         where t.name = 'transaction.completed.v1'",
        22,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_message_again_and_in_reverse_order_changes_nothing() {
    let world = World::create().await;
    let (_connection, channel) = channel(&world).await;
    capture_everything(&channel).await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    for number in 0..20 {
        ada.transfer(&format!("payment-{number}"), &bob.account, "1.00").await;
    }
    world.proofs_hold().await;
    let repeated = repeat_in_reverse_and_in_order(&world, &channel).await;
    assert!(repeated >= 40, "only {repeated} messages were captured");
    // Queues are first in, first out: whoever has the news of one more transfer has been through all the repeats.
    ada.transfer("last", &bob.account, "1.00").await;
    for (what, query, expected) in EFFECTS_OF_A_DEPOSIT_AND_21_TRANSFERS {
        eventually(&format!("{what} arrive"), || async { (world.count(query).await >= expected).then_some(()) }).await;
        assert_eq!(world.count(query).await, expected, "{what}: a repeated message had an effect");
    }
    assert_eq!(ada.balance().await, "79.00");
    assert_eq!(bob.balance().await, "21.00");
    world.proofs_hold().await;
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_on_any_queue_is_kept_with_its_reason_and_disturbs_nobody() {
    let world = World::create().await;
    world.expects_parked();
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    let (_connection, channel) = channel(&world).await;
    let subscriptions: Vec<_> = app::manifests().into_iter().flat_map(|manifest| manifest.subscribes).collect();
    for subscription in &subscriptions {
        let garbage = BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        publish(&channel, "", &subscription.queue(), garbage, b"\xff not JSON at all").await;
        if let EventSelector::Types([taken, ..]) = subscription.events {
            let (owner, _) = taken.split_once('.').expect("an event type");
            let (_connection, sender) = channel_of(&world, owner).await;
            let properties = structured_properties(&world, owner);
            let future = structured(&format!("{owner}.something-new.v9"), &json!({}));
            publish(&sender, &format!("ev.{owner}"), &format!("{taken}.s00"), properties, future.as_bytes()).await;
        }
    }
    for subscription in &subscriptions {
        let module = subscription.module;
        let group = subscription.group();
        let parked = |code: &str| {
            format!(
                "select count(*) from {module}.parked_key where subscription = '{group}' and reason_code = '{code}' and reason <> ''"
            )
        };
        let undecodable = parked("UNDECODABLE");
        eventually(&format!("{group} keeps the unreadable message"), || async {
            (world.count(&undecodable).await == 1).then_some(())
        })
        .await;
        if !subscription.takes("auth.something-new.v9") {
            let unknown = parked("UNKNOWN_EVENT");
            // Subscriptions that take the same type share the one that was sent to either.
            eventually(&format!("{group} keeps the event of an unknown version"), || async {
                (world.count(&unknown).await >= 1).then_some(())
            })
            .await;
        }
    }
    let transfer = ada.transfer("after-the-poison", &bob.account, "1.00").await;
    assert_eq!(transfer["transaction"]["status"], "COMPLETED");
    let (status, parked) = world.json_command(&["parked", "list", "--json"]).await;
    assert_eq!(status.code(), Some(1));
    assert!(parked.as_array().is_some_and(|parked| parked.len() >= subscriptions.len()), "{parked}");
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_impossible_data_is_quarantined_alone() {
    let world = World::create().await;
    world.expects_parked();
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    let (_connection, channel) = channel_of(&world, "transaction").await;
    let event = structured("transaction.initiated.v1", &json!({"transactionId": "not a uuid"}));
    let properties = structured_properties(&world, "transaction");
    publish(&channel, "ev.transaction", "transaction.initiated.v1.s00", properties, event.as_bytes()).await;
    eventually("the event is quarantined", || async {
        let parked = "select count(*) from account.parked_key where reason_code = 'INVALID' and state = 'QUARANTINED'";
        (world.count(parked).await == 1).then_some(())
    })
    .await;
    let transfer = ada.transfer("after-it", &bob.account, "1.00").await;
    assert_eq!(transfer["transaction"]["status"], "COMPLETED");
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_event_is_kept_with_its_reason_and_moves_no_money() {
    let world = World::create().await;
    world.expects_parked();
    let (_administrator, channel) = channel(&world).await;
    capture_everything(&channel).await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    ada.transfer("real", &bob.account, "1.00").await;
    world.proofs_hold().await;
    let messages = captured(&channel).await;
    let initiated = "transaction.initiated.v1.";
    let real = messages.iter().rfind(|message| message.routing_key.starts_with(initiated)).expect("a transfer");
    let forged =
        String::from_utf8_lossy(&real.body).replace(&transaction_id(&real.body), &uuid::Uuid::now_v7().to_string());
    // By somebody who gives no name, and by a module in its own name: neither owns the event.
    let nameless = real.properties.clone();
    let nameless = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type(nameless.content_type().clone().expect("present"))
        .with_headers(nameless.headers().clone().expect("present"));
    publish(&channel, "", "q.account.postings", nameless.clone(), forged.as_bytes()).await;
    let (_notification, sender) = channel_of(&world, "notification").await;
    let own_name = nameless.with_user_id(user_name(world.vhost(), "notification").into());
    publish(&sender, "ev.notification", "notification.sent.v1.s00", own_name, forged.as_bytes()).await;
    for module in ["account", "compliance"] {
        let parked = format!("select count(*) from {module}.parked_key where reason_code = 'FOREIGN_SENDER'");
        eventually(&format!("{module} keeps the forged event"), || async {
            (world.count(&parked).await == 1).then_some(())
        })
        .await;
    }
    ada.transfer("after-it", &bob.account, "1.00").await;
    assert_eq!((ada.balance().await, bob.balance().await), ("98.00".to_owned(), "2.00".to_owned()));
    world.proofs_hold().await;
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_too_deep_or_would_expand_without_end_is_quarantined_with_its_reason() {
    let world = World::create().await;
    world.expects_parked();
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    let (_connection, channel) = channel_of(&world, "transaction").await;
    let event = |data: &serde_json::Value| structured("transaction.initiated.v1", data).into_bytes();
    let large = event(&json!({"padding": "x".repeat(vostro_messaging::MESSAGE_BYTES)}));
    // Deep enough to overflow the stack of a parser that recurses.
    let deep = String::from_utf8(event(&json!("deep"))).expect("text");
    let deep = deep.replace("\"deep\"", &format!("{}{}", "[".repeat(200_000), "]".repeat(200_000))).into_bytes();
    let bomb = zstd::bulk::compress(&vec![b' '; 64 * 1024 * 1024], 19).expect("compressed");
    let plain = structured_properties(&world, "transaction");
    let packed = plain.clone().with_content_encoding("zstd".into());
    let packed = packed.with_content_type("application/cloudevents-batch+json".into());
    for (properties, body, reason) in [
        (plain.clone(), large, "at most 1048576 are read"),
        (plain, deep, "nested deeper than 32 levels"),
        (packed, bomb, "has 67108864 bytes"),
    ] {
        publish(&channel, "ev.transaction", "transaction.initiated.v1.s00", properties, &body).await;
        let kept = format!(
            "select count(*) from account.parked_key where subscription = 'account.postings'
             and state = 'QUARANTINED' and reason_code = 'UNDECODABLE' and reason like '%{reason}%'"
        );
        eventually(reason, || async { (world.count(&kept).await == 1).then_some(()) }).await;
    }
    let transfer = ada.transfer("after-them", &bob.account, "1.00").await;
    assert_eq!(transfer["transaction"]["status"], "COMPLETED");
    bank.stop().await;
}

fn transaction_id(body: &[u8]) -> String {
    let data: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    data["transactionId"].as_str().expect("an id").to_owned()
}

fn structured_properties(world: &World, module: &str) -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/cloudevents+json".into())
        .with_user_id(user_name(world.vhost(), module).into())
}

fn structured(event_type: &str, data: &serde_json::Value) -> String {
    let id = || uuid::Uuid::now_v7().to_string();
    let (module, _) = event_type.split_once('.').expect("an event type");
    json!({
        "specversion": "1.0", "id": id(), "source": format!("/vostro/{module}"), "type": event_type, "subject": id(),
        "time": "2026-11-21T10:00:00Z", "aggregatetype": "transaction", "sequence": "00000000000000000001",
        "partitionkey": id(), "correlationid": id(), "causationid": id(), "actorkind": "SYSTEM", "data": data,
    })
    .to_string()
}
