//! Transfers whose outcome does not come: the ledger stands still, or the broker loses what it said.

use serde_json::json;
use vostro::client::{Connection, documents};
use vostro_rabbitmq::{AmqpBroker, QueueDepth, Supervisor};

use crate::support::people::transfer_input;
use crate::support::{Person, Staff, World, eventually};

const OVERDUE: &str = "select count(*) from transaction.overdue";
const COMPLETED: &str = "select count(*) from transaction.transaction where status = 'COMPLETED'";
const ENDS: &str = "select count(*) from compliance.event e join compliance.event_type t on t.code = e.type \
     where t.name = 'transaction.completed.v1'";

/// As `vostro module pause` does, without its four eyes.
async fn consuming(world: &World, module: &str, paused: bool) {
    let pool = world.pool().await;
    let statement = format!("update {module}.consumption set paused = {paused}, changed_at = now()");
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&pool).await.expect("the owner may do this");
    pool.close().await;
}

/// Waits for a queue to be so, by the queue's own word: the management API's figures are some seconds old.
async fn until(world: &World, queue: &str, what: &str, is_so: impl Fn(QueueDepth) -> bool) {
    let endpoint = vostro::broker::endpoint(&world.config.broker).expect("a broker's address");
    let broker = AmqpBroker::new(Supervisor::start(endpoint, "looks into queues"));
    eventually(what, || async { broker.depth(queue).await.is_ok_and(&is_so).then_some(()) }).await;
}

async fn metric(world: &World, series: &str) -> Option<f64> {
    let mut connection = Connection::open(world.config.http.address).await.ok()?;
    let (_, body) = connection.get("/metrics").await.ok()?;
    let text = String::from_utf8_lossy(&body);
    let line = text.lines().find(|line| line.starts_with(series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// A world in which a transfer is overdue after a second.
async fn impatient() -> World {
    let mut world = World::create().await;
    world.config.transaction.decision_timeout_s = 1;
    world.config.transaction.decision_check_s = 1;
    world
}

async fn send(from: &Person, to: &Person) {
    let input = transfer_input("late", &from.account, &to.account, "1.00", "NONE");
    let data = from.connection().await.data(documents::TRANSFER, json!({"input": input})).await.expect("answered");
    assert_eq!(data["transferCreate"]["userErrors"], json!([]), "{data}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_ledger_stands_still_transfers_are_overdue_and_none_fails() {
    let world = impatient().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    let before = world.count(COMPLETED).await;
    consuming(&world, "account", true).await;
    until(&world, "q.account.postings", "the consumer stops", |queue| queue.consumers == 0).await;
    send(&ada, &bob).await;
    eventually("it is overdue", || async { (world.count(OVERDUE).await == 1).then_some(()) }).await;
    eventually("it is reported", || async {
        (metric(&world, "vostro_transactions_overdue ").await == Some(1.0)).then_some(())
    })
    .await;
    assert_eq!(world.count("select count(*) from transaction.transaction where status = 'FAILED'").await, 0);

    consuming(&world, "account", false).await;
    eventually("it is completed", || async { (world.count(COMPLETED).await == before + 1).then_some(()) }).await;
    eventually("it is not overdue any more", || async { (world.count(OVERDUE).await == 0).then_some(()) }).await;
    assert_eq!(ada.balance().await, "99.00");
    world.proofs_hold().await;
    world.leaves_nothing_behind().await;
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_the_broker_loses_is_learned_by_asking_the_ledger() {
    let world = impatient().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    let before = world.count(COMPLETED).await;
    // On a slow machine the deposit may have been overdue as well.
    let repaired =
        async || metric(&world, "vostro_transactions_repaired_total{status=\"COMPLETED\"}").await.unwrap_or(0.0);
    let repaired_before = repaired().await;
    consuming(&world, "transaction", true).await;
    until(&world, "q.transaction.postings", "the consumer stops", |queue| queue.consumers == 0).await;
    send(&ada, &bob).await;
    until(&world, "q.transaction.postings", "the ledger has said so", |queue| queue.ready > 0).await;
    world
        .management()
        .delete_queue(world.vhost(), "q.transaction.postings")
        .await
        .expect("deleted, with what was in it");
    world.provision_broker().await;
    consuming(&world, "transaction", false).await;

    eventually("it is completed", || async { (world.count(COMPLETED).await == before + 1).then_some(()) }).await;
    eventually("nothing is overdue", || async { (world.count(OVERDUE).await == 0).then_some(()) }).await;
    eventually("it is counted", || async { (repaired().await >= repaired_before + 1.0).then_some(()) }).await;
    assert_eq!(repaired().await, repaired_before + 1.0, "once");
    world.proofs_hold().await;
    world.leaves_nothing_behind().await;
    eventually("each end is archived once", || async { (world.count(ENDS).await == before + 1).then_some(()) }).await;
    bank.stop().await;
}
