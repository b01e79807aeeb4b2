//! The bank ends at exactly the worst moment, under load, and starts again. Nothing is lost, nothing is doubled.

use crate::support::{Person, Staff, World};

use super::load::{Load, nothing_is_lost_or_doubled};

async fn survives_a_crash(place: &str) {
    let world = World::create().await;
    let mut bank = world.spawn_bank(&[]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "1000.00").await;
    let bob = Person::with_money(&world, &staff, "bob", "1000.00").await;
    bank.terminate().await;

    bank = world.spawn_bank(&[("VOSTRO_CRASH_AT", place)]).await;
    let load = Load::start(world.config.http.address, &ada, &bob);
    let status = bank.ended().await;
    assert!(!status.success(), "the bank ended by itself instead of crashing at {place}");
    let restarted = world.spawn_bank(&[]).await;
    load.progresses_by(50).await;
    let accepted = load.finish().await;
    nothing_is_lost_or_doubled(&world, &accepted).await;
    assert!(restarted.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn between_commit_and_publish_of_an_accepted_transfer() {
    survives_a_crash("relay.before-publish@transaction:20").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_commit_and_publish_of_a_posting() {
    survives_a_crash("relay.before-publish@account:20").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_confirm_and_delete_in_the_outbox() {
    survives_a_crash("relay.confirmed@transaction:20").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_delivery_and_posting() {
    survives_a_crash("consumer.delivered@account.postings:20").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_writing_and_committing_a_posting() {
    survives_a_crash("consumer.handled@account.postings:20").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_commit_and_acknowledgement_of_a_posting() {
    survives_a_crash("consumer.committed@account.postings:20").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_commit_and_acknowledgement_of_an_outcome() {
    survives_a_crash("consumer.committed@transaction.postings:20").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_commit_and_acknowledgement_of_a_notification() {
    survives_a_crash("consumer.committed@notification.business-events:20").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_commit_and_acknowledgement_in_the_archive() {
    survives_a_crash("consumer.committed@compliance.archive:20").await;
}
