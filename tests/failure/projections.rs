//! What modules keep of others' events is built again from the event store: while money moves, after damage, and after a
//! crash in the middle.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::parking::{as_operator, statement};
use crate::support::people::PASSWORD;
use crate::support::{Person, Staff, World, eventually};

const VIEW: &str = "transaction.account_view";
const ALL: [&str; 3] = ["transaction.account_view", "notification.recipient", "notification.account"];

/// Columns that do not follow from others' events: the module's own.
const NOT_REBUILT: [(&str, &str); 1] = [("notification.recipient", "preference_version")];

/// Name and type, in the table's order.
async fn columns_of(pool: &sqlx::PgPool, schema: &str, table: &str) -> Vec<(String, String)> {
    let columns = "select column_name::text, data_type::text from information_schema.columns
                   where table_schema = $1 and table_name = $2 order by ordinal_position";
    sqlx::query_as(columns).bind(schema).bind(table).fetch_all(pool).await.expect("readable")
}

/// Accounts of which the transaction module has another picture than the ledger.
const STALE: &str = "select count(*) from account.balance b left join transaction.account_view v on v.id = b.account_id
    where (v.balance_sequence, v.available_minor) is distinct from
        (b.sequence, b.posted - b.pending_out - b.locked + b.overdraft_limit) and b.sequence > 0";

pub async fn compared(world: &World, name: &str) -> (bool, Value) {
    let (status, report) = world.json_command(&["projection", "rebuild", name, "--dry-run", "--json"]).await;
    assert_eq!(report["changed"], Value::Null, "comparing changes nothing");
    (status.success(), report)
}

async fn rebuilt(world: &World, arguments: &[&str]) -> Result<Value, String> {
    let command = [&["projection", "rebuild"], arguments, &["--reason", "a test"]].concat();
    as_operator(world, &command, "operator@bank.example").await
}

/// Everything that tells somebody something, but for what an operator's own login and order lead to.
async fn told(world: &World) -> i64 {
    let events = "select count(*) from compliance.event e join compliance.event_type t on t.code = e.type
        where t.name not like 'auth.%' and t.name not like 'notification.%' and t.name not like '%.operator-acted.v1'";
    // E-mails are rows here as well, from the moment they are queued.
    let notifications = "select count(*) from notification.notification where topic <> 'SECURITY'";
    world.count(events).await + world.count(notifications).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_is_swapped_while_money_moves_and_no_event_is_lost() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "1000.00").await;
    let bob = Person::with_money(&world, &staff, "bob", "1000.00").await;
    let done = AtomicBool::new(false);
    let pay = async |from: &Person, to: &Person, name: &str| {
        let mut paid = 0;
        while !done.load(Ordering::Relaxed) {
            let transfer = from.transfer(&format!("{name}-{paid}"), &to.account, "0.01").await;
            assert_eq!(transfer["transaction"]["status"], "COMPLETED", "{transfer}");
            paid += 1;
        }
        paid
    };
    let swapping = async {
        for _ in 0..5 {
            let report = rebuilt(&world, &[VIEW]).await.expect("swapped");
            assert_eq!(report["different"], 0, "what both have taken is the same: {report}");
        }
        done.store(true, Ordering::Relaxed);
    };
    let (there, back, ()) = tokio::join!(pay(&ada, &bob, "there"), pay(&bob, &ada, "back"), swapping);
    assert!(there > 0 && back > 0, "{there} and {back} payments went through beside it");
    world.proofs_hold().await;
    world.leaves_nothing_behind().await;
    assert_eq!(world.count(STALE).await, 0, "the view has every balance of the ledger");
    for name in ALL {
        let (equal, report) = compared(&world, name).await;
        assert!(equal && report["same"].as_i64() > Some(0), "{name}: {report}");
        assert_eq!(report["checksumLive"], report["checksumRebuilt"], "{report}");
    }
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_projections_are_found_and_mended_and_nobody_is_told() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::with_money(&world, &staff, "bob", "50.00").await;
    world.leaves_nothing_behind().await;
    let id = |person: &Person| person.account.trim_start_matches("acc_").to_owned();
    let user = ada.user.trim_start_matches("usr_");
    statement(
        &world,
        &format!(
            "update transaction.account_view set available_minor = available_minor + 1 where id = '{}';
             delete from transaction.account_view where id = '{}';
             update notification.recipient set locale = 'xx' where user_id = '{user}';
             update notification.account set tail = '0000' where account_id = '{}';",
            id(&ada),
            id(&bob),
            id(&ada),
        ),
    )
    .await;
    let before = told(&world).await;
    for (name, different, behind) in [(ALL[0], 1, 1), (ALL[1], 1, 0), (ALL[2], 1, 0)] {
        let arguments = ["projection", "rebuild", name, "--dry-run", "--wait", "1", "--json"];
        let (status, report) = world.json_command(&arguments).await;
        assert_eq!(status.code(), Some(1), "{report}");
        let found = (&report["different"], &report["behind"], &report["ahead"]);
        assert_eq!(found, (&json!(different), &json!(behind), &json!(0)), "{name}: {report}");
        assert_ne!(report["checksumLive"], report["checksumRebuilt"]);
        let mended = rebuilt(&world, &[name]).await.expect("mended");
        assert_eq!(mended["changed"], json!(different + behind), "only what differs is written: {mended}");
        let (equal, report) = compared(&world, name).await;
        assert!(equal, "{name}: {report}");
    }
    world.leaves_nothing_behind().await;
    assert_eq!(world.count(STALE).await, 0);
    assert_eq!(told(&world).await, before, "no event, no notification, no mail");
    let recorded = "select count(*) from compliance.event where command = 'projectionRebuild' and actor_id is not null";
    eventually("who did it is on record", || async { (world.count(recorded).await == 3).then_some(()) }).await;
    let transfer = ada.transfer("after-it", &bob.account, "1.00").await;
    assert_eq!(transfer["transaction"]["status"], "COMPLETED", "{transfer}");
    world.proofs_hold().await;
    bank.stop().await;
}

async fn survives_a_crash(place: &str) {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    world.leaves_nothing_behind().await;
    statement(&world, "update transaction.account_view set available_minor = 7 where owner_id is not null").await;
    let mut command = world.command(&["projection", "rebuild", VIEW, "--reason", "a test", "--operator"]);
    command.arg("operator@bank.example").env("VOSTRO_OPERATOR_PASSWORD", PASSWORD).env("VOSTRO_CRASH_AT", place);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("started");
    assert_eq!(output.status.code(), None, "it was to end by a signal at {place}");
    let damaged = "select count(*) from transaction.account_view where available_minor = 7";
    // The bank goes on with it within seconds; until then nothing is changed.
    let untouched = "select count(*) from transaction.account_view where available_minor = 7
        or exists (select from transaction.maintenance_job where state = 'DONE')";
    assert!(world.count(untouched).await >= 1, "the live view is untouched");
    rebuilt(&world, &[VIEW]).await.expect("the second attempt works");
    let changed = "select sum((report->>'changed')::bigint)::bigint from transaction.maintenance_job";
    assert_eq!(world.count(changed).await, 1, "one row was damaged, and it was mended once");
    assert_eq!(world.count(damaged).await, 0);
    assert_eq!(world.count(STALE).await, 0);
    assert_eq!(ada.balance().await, "100.00");
    world.leaves_nothing_behind().await;
    let recorded = "select count(*) from compliance.event where command = 'projectionRebuild'";
    let done = "select count(*) from transaction.maintenance_job where state = 'DONE'";
    assert_eq!(world.count(recorded).await, world.count(done).await, "each swap is on record, and nothing else");
    world.proofs_hold().await;
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_events_are_applied_leaves_the_live_view_alone() {
    survives_a_crash("rebuild.applied@transaction.account_view").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_swap_leaves_the_live_view_alone() {
    survives_a_crash("rebuild.filled@transaction.account_view").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_swap_leaves_the_live_view_alone() {
    survives_a_crash("rebuild.adopted@transaction.account_view").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_view_that_claims_more_than_the_event_store_has_is_replaced_only_when_told_so() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let _ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    world.leaves_nothing_behind().await;
    statement(&world, "update transaction.account_view set balance_sequence = 4711 where owner_id is not null").await;
    let refused = rebuilt(&world, &[VIEW, "--wait", "1"]).await;
    assert!(refused.as_ref().is_err_and(|text| text.contains("REBUILD_EVENTS_MISSING")), "{refused:?}");
    let damaged = "select count(*) from transaction.account_view where balance_sequence = 4711";
    assert_eq!(world.count(damaged).await, 1, "nothing was changed");
    let asked = rebuilt(&world, &[VIEW, "--wait", "1", "--trust-event-store"]).await.expect("asked for");
    assert_eq!(asked["state"], "OPEN", "what is given up is given up by two: {asked}");
    assert_eq!(world.count(damaged).await, 1, "nothing was changed");
    let job = asked["jobId"].as_str().expect("an id");
    let alone = as_operator(&world, &["maintenance", "approve", job], "operator@bank.example").await;
    assert!(alone.as_ref().is_err_and(|text| text.contains("MAINTENANCE_SAME_PERSON")), "{alone:?}");
    let done = as_operator(&world, &["maintenance", "approve", job], "admin@bank.example").await.expect("replaced");
    assert_eq!((&done["report"]["ahead"], &done["report"]["changed"]), (&json!(1), &json!(1)), "{done}");
    assert_eq!(world.count(STALE).await, 0);

    statement(
        &world,
        "insert into compliance.event_gap (aggregate_id, stream, before_sequence, opened_at)
         select gen_random_uuid(), code, 2, now() from compliance.stream where module = 'account' limit 1",
    )
    .await;
    let refused = rebuilt(&world, &[VIEW, "--wait", "1"]).await;
    assert!(refused.as_ref().is_err_and(|text| text.contains("has 1 gaps")), "{refused:?}");
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_projection_follows_from_what_its_subscription_takes_and_has_a_table_beside_it_of_the_same_columns() {
    let world = World::create().await;
    let known = vostro::app::projections(&world.config).expect("the modules can be built");
    let names: Vec<String> = known.iter().map(vostro::app::KnownProjection::name).collect();
    let mut expected = ALL.map(str::to_owned).to_vec();
    expected.sort_unstable();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected, "a projection that is not rebuilt in these tests");
    let (_, listed) = world.json_command(&["projection", "list", "--json"]).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(names.len()), "{listed}");
    let pool = world.pool().await;
    for known in known {
        let (module, table) = (known.module, known.projection.name());
        let subscription = known.projection.subscription();
        assert_eq!(subscription.module, module);
        for event in known.projection.events() {
            assert!(subscription.takes(event), "{module}.{table} does not hear of {event}");
        }
        // Rows are compared as text, so the order counts as well.
        let name = known.name();
        let mut live = columns_of(&pool, module, table).await;
        live.retain(|(column, _)| !NOT_REBUILT.contains(&(name.as_str(), column.as_str())));
        assert!(!live.is_empty(), "{name} has no columns");
        assert_eq!(columns_of(&pool, module, &format!("{table}_rebuild")).await, live, "{name} and what is beside it");
    }
}
