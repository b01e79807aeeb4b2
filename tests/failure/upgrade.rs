//! A release takes the place of an earlier one while people use the bank, in the steps of `docs/upgrading.md`.
//!
//! `make test-upgrade FROM=<commit>` builds that commit and begins with it. The ordinary run has no earlier program at
//! hand and begins with this one, which still shows that instances can be replaced one by one without anybody noticing
//! more than a question to be asked again.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::support::{BankProcess, Person, Staff, World};

use super::instances::{everything_is_held_by, order_held};
use super::load::{Load, nothing_is_lost_or_doubled};

const EARLIER: &str = "VOSTRO_EARLIER_PROGRAM";

fn this_program() -> PathBuf {
    env!("CARGO_BIN_EXE_vostro").into()
}

fn earlier_program() -> PathBuf {
    std::env::var_os(EARLIER).map_or_else(this_program, Into::into)
}

/// Drains an instance and starts one of the world's release in its place.
async fn replace(world: &World, instance: BankProcess, address: SocketAddr) -> BankProcess {
    assert!(instance.terminate().await.success(), "an instance that is replaced finishes what it does, in time");
    let mut next = world.spawn_at(address, &["serve"], &[]);
    next.until_ready(address).await;
    next
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_takes_the_place_of_an_earlier_one_under_load() {
    let mut world = World::made_by(earlier_program()).await;
    let mut first = world.spawn_bank(&[]).await;
    let first_address = world.config.http.address;
    let (mut second, second_address) = world.spawn_another().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "1000.00").await;
    let bob = Person::with_money(&world, &staff, "bob", "1000.00").await;
    let load = Load::start_on(&[first_address, second_address], &ada, &bob);
    load.progresses_by(50).await;

    // The earlier release works on the later one's schemas and topology.
    world.starts(this_program());
    world.is_brought_up().await;
    load.progresses_by(50).await;
    first.until_ready(first_address).await;
    second.until_ready(second_address).await;

    // Both side by side: each takes the other's events, whoever holds the relays. Back, and there again.
    for program in [this_program(), earlier_program(), this_program()] {
        world.starts(program);
        world.does(&["topology", "apply"]).await;
        first = replace(&world, first, first_address).await;
        load.progresses_by(50).await;
    }

    let second = replace(&world, second, second_address).await;
    everything_is_held_by(&world, &[first.id(), second.id()]).await;
    load.progresses_by(50).await;

    let accepted = load.finish().await;
    nothing_is_lost_or_doubled(&world, &accepted).await;
    order_held(&world).await;
    assert!(first.terminate().await.success());
    assert!(second.terminate().await.success());
}
