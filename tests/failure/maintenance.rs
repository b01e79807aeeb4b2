//! What operators order over GraphQL that takes long, on a running bank, and what becomes of it when the bank ends.

use serde_json::{Value, json};

use super::parking::statement;
use crate::support::{Person, Staff, World, eventually};

const REPUBLISH: &str = "mutation ($input: RepublishOutboxInput!) {
    republishOutbox(input: $input) { job { id state } userErrors { code } } }";
const REBUILD: &str = "mutation ($input: RebuildProjectionInput!) {
    rebuildProjection(input: $input) { job { id state } userErrors { code } } }";
const JOB: &str = "query ($id: ID!) { maintenanceJob(id: $id) {
    state position target events expectedEvents eventCounts { eventType count } comparison { isEqual changed } } }";

/// Gives the order and says which job it made. The bank begins at once, and may end before it has answered.
async fn ordered(world: &World, staff: &Staff, document: &str, input: Value) -> String {
    if let Ok(data) = staff.operator_connection().await.data(document, json!({ "input": input })).await {
        let payload = data.as_object().and_then(|fields| fields.values().next()).expect("one field");
        assert_eq!(payload["userErrors"], json!([]), "{payload}");
    }
    let pool = world.pool().await;
    let job = sqlx::query_scalar("select id::text from transaction.maintenance_job").fetch_one(&pool).await;
    pool.close().await;
    job.expect("one job")
}

/// Waits until the job is done and shows it.
async fn done(staff: &Staff, job: &str) -> Value {
    eventually("the job is done", || async {
        let data = staff.operator_connection().await.data(JOB, json!({"id": job})).await.ok()?;
        (data["maintenanceJob"]["state"] == "DONE").then(|| data["maintenanceJob"].clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_republication_that_a_crash_cuts_off_is_gone_on_with_and_takes_effect_once() {
    let world = World::create().await;
    let mut bank = world.spawn_bank(&[("VOSTRO_CRASH_AT", "republish.appended@transaction")]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    world.leaves_nothing_behind().await;
    let told = "select count(*) from notification.notification where topic like 'PAYMENT%'";
    let before = world.count(told).await;
    world.management().delete_queue(world.vhost(), "q.notification.business-events").await.expect("deleted");
    ada.transfer("nobody-hears-of-it", &bob.account, "1.00").await;
    world.proofs_hold().await;
    world.provision_broker().await;

    let input = json!({"module": "transaction", "from": {"position": 1}, "reason": "the queue was deleted"});
    let job = ordered(&world, &staff, REPUBLISH, input).await;
    assert!(!bank.ended().await.success(), "it ends with a page in its transaction");
    let job_row = format!("select events from transaction.maintenance_job where id = '{job}'");
    assert_eq!(world.count(&job_row).await, 0, "nothing of the page was committed");
    let bank = world.spawn_bank(&[]).await;
    let report = done(&staff, &job).await;
    assert_eq!(report["events"], report["expectedEvents"], "{report}");
    eventually("both are told", || async { (world.count(told).await == before + 2).then_some(()) }).await;
    assert_eq!(world.count("select count(*) from account.entry").await, 4, "nothing was booked twice");
    let recorded = "select count(*) from compliance.event where command = 'outboxRepublish' and actor_id is not null";
    eventually("who did it is on record once", || async { (world.count(recorded).await == 1).then_some(()) }).await;
    world.proofs_hold().await;
    world.leaves_nothing_behind().await;
    assert!(bank.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_whose_bank_ends_in_the_swap_is_gone_on_with_by_the_next_one() {
    let world = World::create().await;
    let mut bank = world.spawn_bank(&[("VOSTRO_CRASH_AT", "rebuild.adopted@transaction.account_view")]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    world.leaves_nothing_behind().await;
    statement(&world, "update transaction.account_view set available_minor = 7 where owner_id is not null").await;
    let damaged = "select count(*) from transaction.account_view where available_minor = 7";

    let input = json!({"projection": "transaction.account_view", "reason": "damaged by hand"});
    let job = ordered(&world, &staff, REBUILD, input).await;
    assert!(!bank.ended().await.success(), "it ends with the swap in its transaction");
    assert_eq!(world.count(damaged).await, 1, "the live view is untouched");
    let bank = world.spawn_bank(&[]).await;
    let report = done(&staff, &job).await;
    assert_eq!(report["comparison"], json!({"isEqual": false, "changed": 1}), "{report}");
    assert_eq!(world.count(damaged).await, 0);
    assert_eq!(ada.balance().await, "100.00");
    let recorded = "select count(*) from compliance.event where command = 'projectionRebuild' and actor_id is not null";
    eventually("who did it is on record once", || async { (world.count(recorded).await == 1).then_some(()) }).await;
    world.proofs_hold().await;
    world.leaves_nothing_behind().await;
    assert!(bank.terminate().await.success());
}
