//! What an operator sees and does.

use secrecy::ExposeSecret as _;
use serde_json::json;
use vostro::client::Connection;
use vostro::{app, broker};
use vostro_rabbitmq::Topology;
use vostro_rabbitmq::topology::user_name;

use crate::support::{Person, Staff, World};

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_keys_are_served() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    ada.transfer("measured", &bob.account, "1.00").await;
    let mut connection = Connection::open(world.config.http.address).await.expect("the bank listens");
    let (status, body) = connection.get("/health").await.expect("an answer");
    let health: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert!(status.is_success(), "{health}");
    assert_eq!(health["modules"].as_array().map(Vec::len), Some(5));
    let (_, keys) = connection.get("/.well-known/jwks.json").await.expect("an answer");
    let keys: serde_json::Value = serde_json::from_slice(&keys).expect("JSON");
    assert!(keys["keys"].as_array().is_some_and(|keys| !keys.is_empty()), "{keys}");
    assert!(!keys.to_string().contains("\"d\""), "a private key is published");
    let connection = tokio::sync::Mutex::new(connection);
    for metric in [
        "vostro_http_requests_total",
        "vostro_graphql_operation_seconds",
        "vostro_db_pool_connections",
        "vostro_outbox_rows",
        "vostro_published_total",
        "vostro_publish_confirm_seconds",
        "vostro_consumed_total",
        "vostro_end_to_end_seconds",
        "vostro_transactions_total",
    ] {
        // Some are measured only now and then.
        crate::support::eventually(&format!("{metric} is shown"), || async {
            let (_, page) = connection.lock().await.get("/metrics").await.expect("an answer");
            String::from_utf8_lossy(&page).contains(metric).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_the_bank_drains_and_ends_with_success() {
    let world = World::create().await;
    // A third of it is for what is in the outbox, on a slow machine as well.
    let bank = world.spawn_bank(&[("VOSTRO__HTTP__DRAIN_SECONDS", "60")]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    ada.transfer("before-the-end", &bob.account, "1.00").await;
    assert!(bank.terminate().await.success());
    let (_, outboxes) = world.json_command(&["outbox", "status", "--json"]).await;
    assert!(outboxes.as_array().expect("a list").iter().all(|outbox| outbox["rows"] == json!(0)), "{outboxes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_nothing_wrong_and_names_what_is() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let (status, findings) = world.json_command(&["doctor", "--json"]).await;
    assert!(status.success(), "{findings}");
    bank.stop().await;
    let (status, findings) = world.json_command(&["doctor", "--json"]).await;
    assert_eq!(status.code(), Some(1));
    let wrong: Vec<_> =
        findings["checks"].as_array().expect("a list").iter().filter(|check| check["ok"] == json!(false)).collect();
    assert_eq!(wrong.len(), 1, "{findings}");
    assert_eq!(wrong[0]["check"], "bank is ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_and_the_check_of_the_configuration_warn_of_what_is_meant_for_development() {
    let world = World::create().await;
    let told = async |words: &[&str], graphiql: &str| {
        let mut command = world.command(words);
        command.env("VOSTRO__HTTP__GRAPHIQL", graphiql);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("started");
        String::from_utf8(output.stdout).expect("text")
    };
    for words in [&["config", "check"][..], &["doctor"], &["doctor", "--json"]] {
        let (on, off) = (told(words, "true").await, told(words, "false").await);
        assert!(on.contains("http.graphiql is on"), "{words:?}: {on}");
        assert!(!off.contains("http.graphiql is on"), "{words:?}: {off}");
    }
}

/// The bank says that it is not ready and why, in these words.
async fn is_unready_because(world: &World, words: &str) -> String {
    crate::support::eventually("the bank says why it is not ready", || async {
        let mut connection = Connection::open(world.config.http.address).await.ok()?;
        let (status, body) = connection.get("/health/ready").await.ok()?;
        let body = String::from_utf8(body.to_vec()).ok()?;
        (!status.is_success() && body.contains(words)).then_some(body)
    })
    .await
}

async fn becomes_ready_by_itself(world: &World) {
    crate::support::eventually("the bank becomes ready by itself", || async {
        let mut connection = Connection::open(world.config.http.address).await.ok()?;
        let (status, _) = connection.get("/health/ready").await.ok()?;
        status.is_success().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_keeps_the_bank_unready_and_is_named() {
    let world = World::create().await;
    let management = world.management();
    management.delete_queue(world.vhost(), "q.account.postings").await.expect("deleted");
    let _bank = world.spawn_bank_without_waiting(&[]);
    let reasons = is_unready_because(&world, "q.account.postings").await;
    assert!(reasons.contains("topology apply"), "{reasons}");
    world.provision_broker().await;
    becomes_ready_by_itself(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_too_wide_keep_the_bank_unready_and_are_named() {
    let world = World::create().await;
    let user = user_name(world.vhost(), "notification");
    world.management().grant(world.vhost(), &user, "", ".*", ".*").await.expect("granted");
    let _bank = world.spawn_bank_without_waiting(&[]);
    let reasons = is_unready_because(&world, "what the user of notification may write to: it is .*").await;
    assert!(reasons.contains("topology apply"), "{reasons}");
    world.provision_broker().await;
    becomes_ready_by_itself(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_whose_password_the_broker_does_not_know_keeps_the_bank_unready_and_is_named() {
    let world = World::create().await;
    let _bank = world.spawn_bank_without_waiting(&[("VOSTRO__BROKER__PASSWORDS__ACCOUNT", "another")]);
    let user = user_name(world.vhost(), "account");
    let reasons = is_unready_because(&world, &format!("cannot connect as {user}")).await;
    assert!(reasons.contains("vostro account"), "{reasons}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bank_needs_no_administrator_of_the_broker() {
    let world = World::create().await;
    let topology = Topology::of(&app::manifests()).expect("the manifests agree");
    let passwords = broker::passwords(&world.config.broker, &topology).expect("complete");
    let (_, address) = world.config.broker.management_url.expose_secret().rsplit_once('@').expect("a user");
    let (monitor, password) = (user_name(world.vhost(), "monitor"), passwords.of("monitor").expect("derived"));
    let eyes = format!("http://{monitor}:{password}@{address}");
    let (_, address) = world.config.broker.url.expose_secret().rsplit_once('@').expect("a user");
    let nobody = format!("amqp://{address}");
    let environment = [("VOSTRO__BROKER__MANAGEMENT_URL", eyes.as_str()), ("VOSTRO__BROKER__URL", nobody.as_str())];
    let _bank = world.spawn_bank(&environment).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    assert_eq!(ada.balance().await, "10.00");
    let mut command = world.command(&["topology", "apply"]);
    command.envs(environment);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("started");
    assert_eq!(output.status.code(), Some(1), "looking is not changing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_with_pending_migrations_refuses_to_start_and_says_what_to_do() {
    let world = World::create().await;
    let pool = world.pool().await;
    sqlx::raw_sql("delete from transaction._module_migrations").execute(&pool).await.expect("forgotten");
    pool.close().await;
    let mut command = world.command(&["serve"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("started");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("vostro migrate"));
}
