//! The servers the bank stands on are killed and come back, under load.

use serde_json::json;
use vostro::client::documents;
use vostro_testkit::Proxy;

use crate::support::people::transfer_input;
use crate::support::{Person, PrivateServers, Staff, World, at, eventually};

use super::load::{Load, nothing_is_lost_or_doubled};

/// Servers of one's own, a bank on them, two customers with money.
struct Scene {
    servers: PrivateServers,
    world: World,
    bank: crate::support::BankProcess,
    ada: Person,
    bob: Person,
}

impl Scene {
    async fn set() -> Self {
        Self::set_on(PrivateServers::start()).await
    }

    async fn set_on(servers: PrivateServers) -> Self {
        let world = World::create_on(&servers.servers).await;
        let bank = world.spawn_bank(&[]).await;
        let staff = Staff::hire(&world).await;
        let ada = Person::with_money(&world, &staff, "ada", "1000.00").await;
        let bob = Person::with_money(&world, &staff, "bob", "1000.00").await;
        Self { servers, world, bank, ada, bob }
    }

    fn load(&self) -> Load {
        Load::start(self.world.config.http.address, &self.ada, &self.bob)
    }

    /// While the broker takes nothing commands are accepted and their events wait; once it is itself again they leave.
    async fn holds_events_until(self, it_is_itself_again: impl FnOnce(&PrivateServers)) {
        let load = self.load();
        self.holds_events(&load).await;
        it_is_itself_again(&self.servers);
        self.drains().await;
        self.proves_itself(load).await;
    }

    async fn holds_events(&self, load: &Load) {
        load.progresses_by(200).await;
        // The broker may have confirmed the first of them.
        eventually("events wait for the broker", || async { (self.waiting().await >= 200).then_some(()) }).await;
    }

    /// What waits now leaves, whatever is accepted meanwhile.
    async fn drains(&self) {
        let newest = self.world.count("select coalesce(max(id), 0) from transaction.outbox").await;
        let held = format!("select count(*) from transaction.outbox where id <= {newest}");
        eventually("what waited in the outbox has left", || async {
            (self.world.count(&held).await == 0).then_some(())
        })
        .await;
    }

    async fn waiting(&self) -> i64 {
        self.world.count("select count(*) from transaction.outbox").await
    }

    async fn proves_itself(self, load: Load) {
        let accepted = load.finish().await;
        nothing_is_lost_or_doubled(&self.world, &accepted).await;
        assert!(self.bank.terminate().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_killed_and_restarted() {
    let scene = Scene::set().await;
    let load = scene.load();
    load.progresses_by(100).await;
    scene.servers.kill("rabbitmq");
    // A broker that is away blocks no command.
    load.progresses_by(100).await;
    scene.servers.start_again("rabbitmq");
    load.progresses_by(100).await;
    scene.proves_itself(load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_stopped_for_a_while_and_the_outbox_drains_by_itself() {
    let scene = Scene::set().await;
    scene.servers.stop("rabbitmq");
    scene.holds_events_until(|servers| servers.start_again("rabbitmq")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_short_of_memory_commands_are_accepted_and_events_wait() {
    let scene = Scene::set().await;
    scene.servers.memory_alarm(true);
    scene.holds_events_until(|servers| servers.memory_alarm(false)).await;
}

/// What the broker had confirmed and nobody had taken yet is lost with its disk, so nothing is on its way when it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_lost_its_disk_is_set_up_again_and_what_was_accepted_meanwhile_arrives() {
    let scene = Scene::set().await;
    let load = scene.load();
    load.progresses_by(100).await;
    let mut accepted = load.finish().await;
    nothing_is_lost_or_doubled(&scene.world, &accepted).await;
    scene.servers.wipe_the_broker();
    let ada = &scene.ada;
    let input = transfer_input("without-topology", &ada.account, &scene.bob.account, "1.00", "NONE");
    let mut connection = ada.connection().await;
    let answer = connection.data(documents::TRANSFER, json!({"input": input})).await.expect("an answer");
    let id = answer["transferCreate"]["transaction"]["id"].as_str().expect("accepted").to_owned();
    accepted.insert("without-topology".to_owned(), id);
    scene.world.provision_broker().await;
    nothing_is_lost_or_doubled(&scene.world, &accepted).await;
    let later = ada.transfer("with-topology", &scene.bob.account, "1.00").await;
    assert_eq!(later["transaction"]["status"], "COMPLETED");
    assert!(scene.bank.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_killed_and_restarted() {
    let scene = Scene::set().await;
    let load = scene.load();
    load.progresses_by(100).await;
    scene.servers.kill("postgresql");
    scene.servers.start_again("postgresql");
    load.progresses_by(100).await;
    scene.proves_itself(load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bank_itself_is_killed_and_restarted() {
    let world = World::create().await;
    let bank = world.spawn_bank(&[]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "1000.00").await;
    let bob = Person::with_money(&world, &staff, "bob", "1000.00").await;
    let load = Load::start(world.config.http.address, &ada, &bob);
    load.progresses_by(100).await;
    bank.kill();
    let restarted = world.spawn_bank(&[]).await;
    load.progresses_by(100).await;
    let accepted = load.finish().await;
    nothing_is_lost_or_doubled(&world, &accepted).await;
    assert!(restarted.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_leave_while_one_node_of_three_is_lost_and_wait_while_two_are() {
    let scene = Scene::set_on(PrivateServers::start_with_three_nodes()).await;
    let load = scene.load();
    load.progresses_by(100).await;
    // The first is where the queues were declared and so are led, and whose management API is asked.
    scene.servers.kill_node(1);
    load.progresses_by(100).await;
    scene.drains().await;
    scene.servers.kill_node(2);
    scene.holds_events(&load).await;
    scene.servers.start_nodes_again(&[1, 2]);
    scene.drains().await;
    scene.proves_itself(load).await;
}

/// The way to the database leads to the standby afterwards, as it does behind a virtual address or a balancer.
#[tokio::test(flavor = "multi_thread")]
async fn the_standby_of_a_lost_database_goes_on_without_a_loss() {
    let mut servers = PrivateServers::start_with_standby();
    let way = Proxy::to(servers.database()).await;
    servers.servers.database_url = at(&servers.servers.database_url, way.address());
    let scene = Scene::set_on(servers).await;
    let load = scene.load();
    load.progresses_by(100).await;
    way.lead_to(scene.servers.fail_over());
    load.progresses_by(100).await;
    scene.proves_itself(load).await;
}
