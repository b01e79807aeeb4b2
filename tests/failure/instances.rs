//! Several instances of the bank on one database and one broker. They come and go under load; order per aggregate holds,
//! and every effect happens once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Output};

use lapin::BasicProperties;
use lapin::options::QueuePurgeOptions;

use crate::support::{BankProcess, Person, Servers, Staff, World, eventually};

use super::load::{Load, nothing_is_lost_or_doubled};
use super::messages::{channel, publish};

/// A world, its first instance, and two customers with money.
struct Scene {
    world: World,
    first: BankProcess,
    ada: Person,
    bob: Person,
}

impl Scene {
    async fn set(messaging: &str) -> Self {
        let world = World::create_with(&Servers::shared(), messaging).await;
        let first = world.spawn_bank(&[]).await;
        let staff = Staff::hire(&world).await;
        let ada = Person::with_money(&world, &staff, "ada", "1000.00").await;
        let bob = Person::with_money(&world, &staff, "bob", "1000.00").await;
        Self { world, first, ada, bob }
    }

    fn address(&self) -> SocketAddr {
        self.world.config.http.address
    }
}

/// Who holds each lease of every module, as operators see it.
async fn holders(world: &World) -> BTreeMap<String, Option<String>> {
    let (status, modules) = world.json_command(&["module", "status", "--json"]).await;
    assert!(status.success(), "{modules}");
    let modules = modules.as_array().expect("a list").clone();
    let leases = modules.iter().flat_map(|module| {
        let name = module["module"].as_str().expect("a name").to_owned();
        let leases = module["leases"].as_array().expect("a list").clone();
        leases.into_iter().map(move |lease| {
            let held = lease["expired"] == false;
            let holder = lease["holder"].as_str().filter(|_| held).map(str::to_owned);
            (format!("{name} {}", lease["what"].as_str().expect("a name")), holder)
        })
    });
    leases.collect()
}

async fn held_by(world: &World, process: u32) -> usize {
    let process = format!("(process {process})");
    holders(world).await.values().flatten().filter(|holder| holder.ends_with(&process)).count()
}

pub async fn everything_is_held_by(world: &World, processes: &[u32]) {
    eventually("every lease is held by an instance that runs", || async {
        let holders = holders(world).await;
        let runs = |holder: &Option<String>| {
            let holder = holder.as_deref().unwrap_or_default();
            processes.iter().any(|process| holder.ends_with(&format!("(process {process})")))
        };
        holders.values().all(runs).then_some(())
    })
    .await;
}

/// What the subscribers' own tables say about order: every aggregate's sequence without a gap and, in the archive, stored
/// in its order.
pub async fn order_held(world: &World) {
    let none = |what: &'static str, query: &'static str| async move {
        assert_eq!(world.count(query).await, 0, "{what}");
    };
    none(
        "aggregates with a gap in the archive",
        "select count(*) from (select from compliance.event group by stream, aggregate_id
         having min(sequence) <> 1 or max(sequence) <> count(*) or count(distinct sequence) <> count(*)) broken",
    )
    .await;
    none(
        "events that were archived before an earlier one of their aggregate",
        "select count(*) from (select sequence, lag(sequence) over (partition by stream, aggregate_id order by position) before
         from compliance.event) e where before >= sequence",
    )
    .await;
    none(
        "accounts with a gap in their entries",
        "select count(*) from (select from account.entry group by account_id
         having min(sequence) <> 1 or max(sequence) <> count(*)) broken",
    )
    .await;
    eventually("the transaction module knows each account's last balance", || async {
        let behind = "select count(*) from account.balance b join transaction.account_view v on v.id = b.account_id
                      where v.balance_sequence <> b.sequence";
        (world.count(behind).await == 0).then_some(())
    })
    .await;
}

async fn come_and_go(messaging: &str) {
    let scene = Scene::set(messaging).await;
    let world = &scene.world;
    let (second, second_address) = world.spawn_another().await;
    let (third, third_address) = world.spawn_another().await;
    everything_is_held_by(world, &[scene.first.id(), second.id(), third.id()]).await;
    let load = Load::start_on(&[scene.address(), second_address, third_address], &scene.ada, &scene.bob);
    load.progresses_by(50).await;

    // The first has the relays: it was there before the others.
    scene.first.kill();
    load.progresses_by(50).await;
    everything_is_held_by(world, &[second.id(), third.id()]).await;

    assert!(second.terminate().await.success());
    everything_is_held_by(world, &[third.id()]).await;
    load.progresses_by(50).await;

    let again = world.spawn_bank(&[]).await;
    load.progresses_by(50).await;
    let accepted = load.finish().await;
    nothing_is_lost_or_doubled(world, &accepted).await;
    order_held(world).await;
    assert!(again.terminate().await.success());
    assert!(third.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_instances_come_and_go_under_load() {
    come_and_go("lease_ms = 2000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_instances_that_share_divided_queues_come_and_go_under_load() {
    come_and_go("lease_ms = 2000\npartitions = 4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_instance_is_taken_over_from_and_changes_nothing_when_it_goes_on() {
    let scene = Scene::set("lease_ms = 2000").await;
    let (world, first) = (&scene.world, &scene.first);
    let (second, second_address) = world.spawn_another().await;
    let load = Load::start_on(&[second_address], &scene.ada, &scene.bob);
    load.progresses_by(50).await;
    eventually("the first holds something", || async { (held_by(world, first.id()).await > 0).then_some(()) }).await;

    // In the middle of whatever it does: of a transaction, of a batch that is published.
    first.pause();
    everything_is_held_by(world, &[second.id()]).await;
    load.progresses_by(50).await;
    first.go_on();
    load.progresses_by(50).await;

    let accepted = load.finish().await;
    nothing_is_lost_or_doubled(world, &accepted).await;
    order_held(world).await;
    assert!(scene.first.terminate().await.success());
    assert!(second.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_an_outcome_is_answered_at_every_instance() {
    let scene = Scene::set("lease_ms = 2000").await;
    let (second, second_address) = scene.world.spawn_another().await;
    // The outcome is applied at one of the two, so one of the callers waits at the other.
    for (number, address) in [scene.address(), second_address].into_iter().enumerate() {
        let ada = scene.ada.at(address);
        let answer = ada.transfer(&format!("at-{number}"), &scene.bob.account, "1.00").await;
        assert_eq!(answer["transaction"]["status"], "COMPLETED", "{answer}");
    }
    assert_eq!(scene.ada.balance().await, "998.00");
    scene.world.leaves_nothing_behind().await;
    assert!(second.terminate().await.success());
    assert!(scene.first.terminate().await.success());
}

const DIVIDED: (&str, &str) = ("VOSTRO__MESSAGING__PARTITIONS", "4");

fn apply_divided(world: &World) -> Command {
    let mut command = world.command(&["topology", "apply"]);
    command.env(DIVIDED.0, DIVIDED.1);
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("the program can be started")
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_divided_when_they_are_empty_and_not_before() {
    let world = World::create().await;
    let (_connection, channel) = channel(&world).await;
    let durable = BasicProperties::default().with_delivery_mode(2);
    publish(&channel, "", "q.account.postings", durable, b"somebody's money").await;
    let refused = output(apply_divided(&world)).await;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("q.account.postings holds 1 messages"), "{words}");

    channel.queue_purge("q.account.postings".into(), QueuePurgeOptions::default()).await.expect("purged");
    let applied = output(apply_divided(&world)).await;
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let bank = world.spawn_bank(&[DIVIDED]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    assert_eq!(ada.balance().await, "10.00");
    eventually("each part of the queue is consumed", || async {
        holders(&world).await.contains_key("account q.account.postings.p03").then_some(())
    })
    .await;
    assert!(bank.terminate().await.success());
}
