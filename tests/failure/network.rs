//! The network between the bank and its servers fails in the ways that nobody reports.

use vostro_testkit::{Moment, Proxy};

use crate::support::{Person, Staff, World, eventually};

use super::load::{Load, nothing_is_lost_or_doubled};

/// A bank that has stopped, and two people with money in it.
async fn scene() -> (World, Person, Person) {
    let world = World::create().await;
    let bank = world.spawn_bank(&[]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "1000.00").await;
    let bob = Person::with_money(&world, &staff, "bob", "1000.00").await;
    assert!(bank.terminate().await.success());
    (world, ada, bob)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_falls_silent_blocks_no_command_and_everything_arrives_when_it_speaks_again() {
    let (world, ada, bob) = scene().await;
    let network = Proxy::to(world.broker_address()).await;
    let bank = world.spawn_bank(&[("VOSTRO__BROKER__URL", &world.broker_url_through(network.address()))]).await;
    let load = Load::start(world.config.http.address, &ada, &bob);
    load.progresses_by(100).await;
    network.black_hole(true);
    load.progresses_by(100).await;
    eventually("events wait for the broker", || async {
        (world.count("select count(*) from transaction.outbox").await >= 100).then_some(())
    })
    .await;
    network.black_hole(false);
    load.progresses_by(100).await;
    let accepted = load.finish().await;
    nothing_is_lost_or_doubled(&world, &accepted).await;
    assert!(bank.terminate().await.success());
}

/// Ten commits in a row are cut off, whichever these are: a command's, a consumer's, a relay's.
async fn commits_are_cut_off(moment: Moment) {
    let (world, ada, bob) = scene().await;
    let network = Proxy::to(world.database_address()).await;
    let url = world.database_url_through(network.address());
    let bank = world.spawn_bank(&[("VOSTRO__DATABASE__URL", &url)]).await;
    let load = Load::start(world.config.http.address, &ada, &bob);
    for _ in 0..10 {
        load.progresses_by(10).await;
        network.cut_at(b"COMMIT\0", 7, moment);
        eventually("a commit is cut off", || async { network.has_cut().then_some(()) }).await;
    }
    load.progresses_by(50).await;
    let accepted = load.finish().await;
    nothing_is_lost_or_doubled(&world, &accepted).await;
    assert!(bank.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrives_is_made_again() {
    commits_are_cut_off(Moment::BeforeTheyArrive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_never_comes_takes_effect_once() {
    commits_are_cut_off(Moment::BeforeTheAnswer).await;
}
