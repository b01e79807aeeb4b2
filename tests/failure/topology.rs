//! Somebody takes away what events travel through, while the bank runs.

use lapin::types::FieldTable;
use serde_json::json;
use vostro::client::{Connection, documents};

use crate::support::people::transfer_input;
use crate::support::{Person, Staff, World, eventually};

use super::messages::channel;

async fn until_ready_or_not(world: &World, ready: bool, reason: &str) {
    let what = format!("the bank is {}ready: {reason}", if ready { "" } else { "not " });
    eventually(&what, || async {
        let mut connection = Connection::open(world.config.http.address).await.ok()?;
        let (status, body) = connection.get("/health/ready").await.ok()?;
        (status.is_success() == ready && String::from_utf8_lossy(&body).contains(reason)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_queue_is_missing_the_bank_is_not_ready_and_says_which() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    world.management().delete_queue(world.vhost(), "q.transaction.accounts").await.expect("deleted");
    until_ready_or_not(&world, false, "q.transaction.accounts").await;
    let applied = world.command(&["topology", "apply"]).output().expect("started");
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    until_ready_or_not(&world, true, "").await;
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_binding_is_missing_the_bank_is_not_ready_and_says_which() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let (_connection, channel) = channel(&world).await;
    let topology = vostro::app::topology(&world.config).expect("the manifests agree");
    let gone = topology.bindings.iter().find(|binding| binding.queue == "q.account.postings").expect("a binding");
    let (queue, exchange, key) = (gone.queue.as_str(), gone.exchange.as_str(), gone.routing_key.as_str());
    channel.queue_unbind(queue.into(), exchange.into(), key.into(), FieldTable::default()).await.expect("unbound");
    until_ready_or_not(&world, false, "q.account.postings").await;
    world.provision_broker().await;
    until_ready_or_not(&world, true, "").await;
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_queues_are_missing_waits_in_the_outboxes_and_reaches_everybody_when_they_are_back() {
    const GONE: [&str; 2] = ["q.transaction.postings", "q.notification.business-events"];
    let world = World::create().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::with_money(&world, &staff, "bob", "0.01").await;
    world.leaves_nothing_behind().await;
    let told = "select count(*) from notification.notification where topic = 'PAYMENT_RECEIVED' and channel = 'IN_APP'";
    let told_before = world.count(told).await;

    for queue in GONE {
        world.management().delete_queue(world.vhost(), queue).await.expect("deleted");
    }
    for queue in GONE {
        until_ready_or_not(&world, false, queue).await;
    }
    let mut connection = ada.connection().await;
    for n in 0..5 {
        let input = transfer_input(&format!("meanwhile-{n}"), &ada.account, &bob.account, "1.00", "NONE");
        let answer = connection.data(documents::TRANSFER, json!({"input": input})).await.expect("accepted");
        assert_eq!(answer["transferCreate"]["transaction"]["status"], "INITIATED", "{answer}");
    }
    world.provision_broker().await;
    until_ready_or_not(&world, true, "").await;
    let completed = "select count(*) from transaction.transaction where status = 'COMPLETED' and reference = 'test'";
    eventually("every transfer is completed", || async { (world.count(completed).await == 5).then_some(()) }).await;
    eventually("the payee is told of each", || async { (world.count(told).await == told_before + 5).then_some(()) })
        .await;
    world.leaves_nothing_behind().await;
    world.proofs_hold().await;
    bank.stop().await;
}
