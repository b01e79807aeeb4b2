//! More than the bank can pass on: commands are turned away at the door, queries go on, and it ends by itself.

use serde_json::{Value, json};
use sqlx::Connection as _;
use vostro::client::{Connection, documents};

use super::load::{Load, nothing_is_lost_or_doubled};
use crate::support::people::{PASSWORD, log_in, transfer_input};
use crate::support::{Person, PrivateServers, Servers, Staff, World, eventually};

async fn order(connection: &mut Connection, key: &str, ada: &Person, bob: &Person) -> Value {
    let input = transfer_input(key, &ada.account, &bob.account, "0.01", "NONE");
    connection.answer(documents::TRANSFER, json!({"input": input})).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_turned_away_while_the_outbox_is_full_and_accepted_again_when_it_has_drained() {
    let servers = PrivateServers::start();
    let world = World::create_with(&servers.servers, "lease_ms = 3000\nadmission_rows = 200").await;
    let bank = world.spawn_bank(&[]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "1000.00").await;
    let bob = Person::with_money(&world, &staff, "bob", "1000.00").await;
    servers.stop("rabbitmq");
    let load = Load::start(world.config.http.address, &ada, &bob);
    // Not many more are accepted before the door closes, as events of before may wait in the outbox as well.
    load.progresses_by(100).await;

    let key = is_turned_away(&ada, &bob).await;
    let begun = format!("select count(*) from transaction.transaction where idempotency_key = '{key}'");
    assert_eq!(world.count(&begun).await, 0, "nothing was begun");

    assert_eq!(ada.balance().await, "1000.00", "queries go on");
    log_in(world.config.http.address, "ada@example.org", PASSWORD).await;
    let metrics = metrics(&world).await;
    assert!(metrics.contains("vostro_admission_closed{module=\"transaction\"} 1"), "{metrics}");
    assert!(metrics.contains("vostro_commands_turned_away_total{module=\"transaction\"}"), "{metrics}");

    servers.start_again("rabbitmq");
    is_accepted_again(&key, &ada, &bob).await;
    nothing_is_lost_or_doubled(&world, &load.finish().await).await;
    assert!(bank.terminate().await.success());
}

/// Commands are turned away with a refusal that says when to come again; the key of one of them.
async fn is_turned_away(ada: &Person, bob: &Person) -> String {
    let numbers = std::sync::atomic::AtomicUsize::new(0);
    let (key, refusal) = eventually("a command is turned away", || async {
        let key = format!("knock-{}", numbers.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let answer = order(&mut ada.connection().await, &key, ada, bob).await;
        // Under load a slow machine may also have no connection free for it, or no time.
        let refusal = answer.get("errors").map(|errors| errors[0].clone());
        refusal.filter(|refusal| refusal["extensions"]["code"] == "OVERLOADED").map(|refusal| (key, refusal))
    })
    .await;
    assert_eq!(refusal["extensions"]["retryable"], true);
    let wait = refusal["extensions"]["retryAfterMs"].as_u64().expect("when to come again");
    assert!((1_000..=60_000).contains(&wait), "{wait}");
    key
}

async fn is_accepted_again(key: &str, ada: &Person, bob: &Person) {
    eventually("the same command is accepted", || async {
        let answer = order(&mut ada.connection().await, key, ada, bob).await;
        answer["data"]["transferCreate"]["transaction"]["id"].as_str().map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_of_one_subscriber_holds_the_relay_until_it_drains_and_nothing_is_lost() {
    let world = World::create_with(&Servers::shared(), "lease_ms = 3000\nadmission_rows = 200").await;
    let bank = world.spawn_bank(&[]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "1000.00").await;
    let bob = Person::with_money(&world, &staff, "bob", "1000.00").await;
    world.leaves_nothing_behind().await;
    let pause = ["module", "pause", "notification", "--reason", "a test"];
    operate(&world, &pause).await;
    world.limit_queue("notification.business-events", 5).await;
    let load = Load::start(world.config.http.address, &ada, &bob);

    let key = is_turned_away(&ada, &bob).await;
    eventually("the relay says that it is held up", || async {
        let blocked = "vostro_relay_blocked{module=\"transaction\"} 1";
        metrics(&world).await.contains(blocked).then_some(())
    })
    .await;
    let held = world.count("select count(*) from transaction.outbox").await;
    assert!(held > 100, "{held} events wait where they are safe");
    world.provision_broker().await;
    operate(&world, &["module", "resume", "notification"]).await;
    is_accepted_again(&key, &ada, &bob).await;
    nothing_is_lost_or_doubled(&world, &load.finish().await).await;
    assert!(bank.terminate().await.success());
}

/// Runs an operator's command.
async fn operate(world: &World, arguments: &[&str]) {
    let mut command = world.command(arguments);
    command.args(["--operator", "operator@bank.example"]).env("VOSTRO_OPERATOR_PASSWORD", PASSWORD);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("started");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn metrics(world: &World) -> String {
    let mut connection = Connection::open(world.config.http.address).await.expect("the bank listens");
    let (_, page) = connection.get("/metrics").await.expect("a page");
    String::from_utf8(page.to_vec()).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_without_a_free_connection_says_so_and_the_others_go_on() {
    let world = World::create().await;
    let bank = world.spawn_bank(&[("VOSTRO__GRAPHQL__TIMEOUT_MILLIS", "10000")]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    // Whoever asks for transactions now keeps a connection and waits.
    let mut owner = world.pool().await.acquire().await.expect("a connection").detach();
    let mut lock = owner.begin().await.expect("a transaction");
    sqlx::raw_sql("lock table transaction.transaction in access exclusive mode")
        .execute(&mut *lock)
        .await
        .expect("locked");

    let asked = (0..12).map(|nth| {
        let (ada, bob) = (&ada, &bob);
        async move { order(&mut ada.connection().await, &format!("busy-{nth}"), ada, bob).await }
    });
    let listed = (0..12).map(|_| async {
        let document = "{ transactions(first: 1) { nodes { id } } }";
        ada.connection().await.answer(document, json!({})).await.expect("an answer")
    });
    let (asked, listed, balance) =
        tokio::join!(futures::future::join_all(asked), futures::future::join_all(listed), ada.balance());
    assert_eq!(balance, "10.00", "another module's queries go on");
    let codes: Vec<_> = asked.iter().chain(&listed).map(|answer| &answer["errors"][0]["extensions"]).collect();
    assert!(codes.iter().all(|extensions| extensions["retryable"] == true), "{codes:?}");
    assert!(codes.iter().any(|extensions| extensions["code"] == "MODULE_UNAVAILABLE"), "{codes:?}");

    lock.rollback().await.expect("rolled back");
    eventually("commands are accepted again", || async {
        let answer = order(&mut ada.connection().await, "busy-0", &ada, &bob).await;
        answer["data"]["transferCreate"]["transaction"]["id"].as_str().map(drop)
    })
    .await;
    world.proofs_hold().await;
    assert!(bank.terminate().await.success());
}
