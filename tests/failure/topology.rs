//! Somebody takes away what events travel through, while the bank runs.

use lapin::types::FieldTable;
use vostro::client::Connection;

use crate::support::{World, eventually};

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
