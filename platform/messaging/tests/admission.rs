//! The gate of a module's outbox, watched in a real database.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vostro_messaging::{AdmissionBounds, AdmissionGate, AdmissionWatch};
use vostro_testkit::{Database, eventually};

static NO_MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;

/// Adds so many rows, as commands would.
async fn fill(database: &Database, rows: i64) {
    let fill = format!(
        "insert into outbox (event_id, event_type, slot, aggregate_id, occurred_at, event)
         select gen_random_uuid(), 'account.account-created.v1', 0, gen_random_uuid(), now(), ''
         from generate_series(1, {rows})"
    );
    database.tamper(&fill).await;
}

async fn until(gate: &AdmissionGate, closed: bool) {
    let what = if closed { "the gate is closed" } else { "the gate is open" };
    eventually(what, || async { (gate.refuses().is_some() == closed).then_some(()) }).await;
}

#[tokio::test]
async fn an_outbox_beyond_its_bound_closes_the_gate_however_much_went_through_it_before() {
    let database = Database::create("account", &NO_MIGRATIONS).await;
    let (gate, stop) = (AdmissionGate::default(), CancellationToken::new());
    let bounds = AdmissionBounds { rows: 100, stalled: Duration::from_secs(3_600) };
    let watch = AdmissionWatch::new("account", database.pool().clone(), bounds, gate.clone());
    let watching = tokio::spawn(watch.run(stop.clone()));
    for _ in 0..3 {
        fill(&database, 101).await;
        until(&gate, true).await;
        // Of these 101, the newer half is left: it opens there and not before.
        database.tamper("delete from outbox where id <= (select max(id) - 51 from outbox)").await;
        database.tamper("delete from outbox where id = (select min(id) from outbox)").await;
        until(&gate, false).await;
        // What is passed over now is never counted.
        database.tamper("delete from outbox").await;
        fill(&database, 99).await;
        database.tamper("delete from outbox").await;
    }
    stop.cancel();
    watching.await.expect("the watch ends");
}
