//! The broker's certificate runs out, is renewed, and comes from a new authority, while the bank runs.

use std::collections::BTreeMap;

use serde_json::json;
use vostro::client::{Connection, documents};
use vostro_testkit::{Authority, Issued};

use crate::support::people::transfer_input;
use crate::support::{BankProcess, Person, PrivateServers, Staff, World, eventually};

use super::load::nothing_is_lost_or_doubled;

struct Scene {
    servers: PrivateServers,
    world: World,
    bank: BankProcess,
    ada: Person,
    bob: Person,
    /// Key and id of each transfer.
    accepted: BTreeMap<String, String>,
}

impl Scene {
    async fn set(authority: &Authority, broker: &Issued, bank: &Issued) -> Self {
        let servers = PrivateServers::start_with_tls(authority, broker, bank);
        let world = World::create_on(&servers.servers).await;
        let bank = world.spawn_bank(&[]).await;
        let staff = Staff::hire(&world).await;
        let ada = Person::with_money(&world, &staff, "ada", "1000.00").await;
        let bob = Person::join(&world, "bob").await;
        Self { servers, world, bank, ada, bob, accepted: BTreeMap::new() }
    }

    /// A payment that arrives: its events go to the broker and come back, as soon as there are connections.
    async fn pays(&mut self, key: &str) {
        let paid = eventually(key, || async {
            let paid = self.ada.transfer(key, &self.bob.account, "1.00").await;
            (paid["transaction"]["status"] == "COMPLETED").then_some(paid)
        });
        let paid = paid.await;
        self.note(key, &paid["transaction"]["id"]);
    }

    /// The bank says why it has no connection, and a payment is accepted whose event waits.
    async fn is_cut_off_with(&mut self, code: &str) {
        eventually(code, || async { self.bank.log().contains(&format!("{code}: ")).then_some(()) }).await;
        eventually("every connection is down", || async {
            let metrics = self.metrics().await?;
            let mut connections = metrics.lines().filter(|line| line.starts_with("vostro_broker_connected{"));
            connections.all(|line| line.ends_with(" 0")).then_some(())
        })
        .await;
        let told = self.world.management().version().await.expect_err("new connections are refused").to_string();
        assert!(told.contains(code), "{told}");
        let input = transfer_input(code, &self.ada.account, &self.bob.account, "1.00", "NONE");
        let mut connection = self.ada.connection().await;
        let answer = connection.data(documents::TRANSFER, json!({"input": input})).await.expect("an answer");
        let transaction = &answer["transferCreate"]["transaction"];
        assert_eq!(transaction["status"], "INITIATED", "{answer}");
        self.note(code, &transaction["id"]);
        assert!(self.world.count("select count(*) from transaction.outbox").await > 0, "{code}: its event has left");
    }

    fn note(&mut self, key: &str, id: &serde_json::Value) {
        self.accepted.insert(key.to_owned(), id.as_str().expect("accepted").to_owned());
    }

    /// The metric says of each when it expires.
    async fn shows_expiry(&self, broker: &Issued, bank: &Issued, authority: &Authority) {
        let expected = [("broker", broker.expiry), ("client", bank.expiry), ("ca", authority.expiry)];
        for (certificate, expiry) in expected {
            eventually(&format!("{certificate} expires at {expiry}"), || async {
                (shown(&self.metrics().await?, certificate)? == expiry).then_some(())
            })
            .await;
        }
    }

    async fn metrics(&self) -> Option<String> {
        let mut connection = Connection::open(self.world.config.http.address).await.ok()?;
        let (_, page) = connection.get("/metrics").await.ok()?;
        String::from_utf8(page.to_vec()).ok()
    }
}

/// In seconds since 1970.
fn shown(page: &str, certificate: &str) -> Option<i64> {
    let of_it = format!("certificate=\"{certificate}\"");
    let mut lines = page.lines().filter(|line| line.starts_with("vostro_certificate_expiry_timestamp_seconds{"));
    lines.find(|line| line.contains(&of_it))?.rsplit_once(' ')?.1.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_authorities_are_replaced_while_the_bank_runs_and_events_wait_for_one_it_can_trust() {
    let (first, second) = (Authority::new("first", 300), Authority::new("second", 400));
    let (of_broker, of_bank) = (first.issue("localhost", -1..20), first.issue("vostro", -1..30));
    let mut scene = Scene::set(&first, &of_broker, &of_bank).await;
    scene.pays("encrypted").await;
    scene.shows_expiry(&of_broker, &of_bank, &first).await;

    let renewed = second.issue("localhost", -1..40);
    scene.servers.renew_certificate(&renewed);
    scene.is_cut_off_with("BROKER_NOT_TRUSTED").await;
    second.write_to(scene.servers.servers.certificates.as_deref().expect("a broker with TLS"));
    scene.pays("trusted-again").await;
    scene.shows_expiry(&renewed, &of_bank, &second).await;

    scene.servers.renew_certificate(&second.issue("localhost", -20..-1));
    scene.is_cut_off_with("BROKER_CERTIFICATE_EXPIRED").await;
    scene.servers.renew_certificate(&renewed);
    scene.pays("renewed").await;

    nothing_is_lost_or_doubled(&scene.world, &scene.accepted).await;
    assert!(scene.bank.terminate().await.success());
}
