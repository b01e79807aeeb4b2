//! A heavy job of the real bank: the process ends in the middle of a statement, and another goes on behind the last
//! part. Its parts are too large to travel, so their subscribers ask for them.

use serde_json::{Value, json};
use uuid::Uuid;

use super::parking::statement;
use crate::support::{Person, Staff, World, eventually};

pub const GENERATE: &str = "mutation ($input: StatementGenerateInput!) { statementGenerate(input: $input) {
    statement { id status progress { total } } userErrors { code } } }";
const READ: &str = "query ($id: ID!) { statement(id: $id) {
    status parts progress { done total } closingBalance { amount }
    one: part(number: 1) two: part(number: 2) three: part(number: 3) four: part(number: 4) } }";

const NODE: &str = "query ($id: ID!) { node(id: $id) { id ... on Statement { status account { id } } } }";

/// A part of twenty entries has two thousand bytes.
const SETTINGS: &str = "lease_ms = 3000\nclaim_over_bytes = 1024";
const PARTS: (&str, &str) = ("VOSTRO__ACCOUNT__STATEMENT_PART_ENTRIES", "20");

async fn survives_a_crash(place: &str) {
    let world = World::create_with(&crate::support::Servers::shared(), SETTINGS).await;
    let bank = world.spawn_bank(&[PARTS]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    for number in 0..49 {
        let transfer = ada.transfer(&format!("t{number}"), &bob.account, "1.00").await;
        assert_eq!(transfer["transaction"]["status"], "COMPLETED", "{transfer}");
    }
    world.leaves_nothing_behind().await;
    assert!(bank.terminate().await.success());
    // Only what is over can be asked for.
    statement(
        &world,
        "alter table account.entry disable trigger user;
         update account.entry set booking_date = '2024-01-05';
         alter table account.entry enable trigger user",
    )
    .await;

    let mut bank = world.spawn_bank(&[PARTS, ("VOSTRO_CRASH_AT", place)]).await;
    let input = json!({"input": {
        "idempotencyKey": "january", "accountId": ada.account, "from": "2024-01-01", "to": "2024-01-31"}});
    // The bank may end before it has answered; the key makes it safe to ask again.
    let _ = ada.connection().await.data(GENERATE, input.clone()).await;
    assert!(!bank.ended().await.success(), "the bank ended by itself instead of crashing at {place}");
    let left =
        world.count("select coalesce(max(parts), 0)::bigint from account.statement where status = 'PREPARING'").await;
    assert!((1..3).contains(&left), "it is in the middle, at part {left}");

    let bank = world.spawn_bank(&[PARTS]).await;
    let answer = ada.connection().await.data(GENERATE, input).await.expect("an answer");
    let id = answer["statementGenerate"]["statement"]["id"].clone();
    assert!(id.is_string(), "{answer}");
    let read = eventually("the statement is ready", || async {
        let read = ada.connection().await.data(READ, json!({"id": id})).await.ok()?;
        (read["statement"]["status"] == "READY").then(|| read["statement"].clone())
    })
    .await;
    assert_eq!((&read["parts"], &read["progress"]), (&json!(3), &json!({"done": 50, "total": 50})), "{read}");
    assert_eq!((&read["closingBalance"]["amount"], &read["four"]), (&json!("51.00"), &Value::Null), "{read}");
    let document = ["one", "two", "three"].map(|part| read[part].as_str().expect("a part")).concat();
    assert_eq!(document.lines().count(), 51, "{document}");

    let found = ada.connection().await.data(NODE, json!({"id": id})).await.expect("an answer");
    assert_eq!(found["node"], json!({"id": id, "status": "READY", "account": {"id": ada.account}}));
    let hidden = bob.connection().await.data(NODE, json!({"id": id})).await.expect("an answer");
    assert_eq!(hidden["node"], Value::Null, "somebody else's does not exist");

    world.leaves_nothing_behind().await;
    assert_eq!(world.count("select count(*) from account.claim").await, 3, "the parts stayed where they were written");
    assert_eq!(archived(&world, id.as_str().expect("an id")).await, document, "the archive has them whole");
    let told = "select count(*) from notification.notification where message->>'template' = 'statement_ready'
        and channel = 'IN_APP'";
    assert_eq!(world.count(told).await, 1, "its holder is told once");
    let waiting = "select count(*) from account.scheduled_event where purpose = 'statement-term'";
    assert_eq!(world.count(waiting).await, 1, "when it will be deleted is settled");
    world.proofs_hold().await;
    assert!(bank.terminate().await.success());
}

/// The statement as the event archive has it.
async fn archived(world: &World, id: &str) -> String {
    let id: Uuid = id.trim_start_matches("stm_").parse().expect("an id");
    let pool = world.pool().await;
    let parts: Vec<String> = sqlx::query_scalar(
        "select e.data::json->>'content' from compliance.event e join compliance.event_type t on t.code = e.type
         where e.aggregate_id = $1 and t.name = 'account.statement-part-written.v1' order by e.sequence",
    )
    .bind(id)
    .fetch_all(&pool)
    .await
    .expect("the archive is readable");
    pool.close().await;
    parts.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_writing_and_committing_a_part_of_a_statement() {
    survives_a_crash("job.part-written@account.statements:2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_committing_a_part_of_a_statement_and_saying_so() {
    survives_a_crash("job.part-committed@account.statements:1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_the_term_of_a_statement_ends_ends_it_once() {
    let world = World::create().await;
    let mut bank = world.spawn_bank(&[("VOSTRO_CRASH_AT", "schedule.due@account:1")]).await;
    let ada = Person::join(&world, "ada").await;
    let input = json!({"input": {
        "idempotencyKey": "january", "accountId": ada.account, "from": "2024-01-01", "to": "2024-01-31"}});
    let answer = ada.connection().await.data(GENERATE, input).await.expect("an answer");
    let id = answer["statementGenerate"]["statement"]["id"].clone();
    let status = async || {
        let read = ada.connection().await.data(READ, json!({"id": id})).await.ok()?;
        read["statement"]["status"].as_str().map(str::to_owned)
    };
    eventually("it is ready", || async { (status().await? == "READY").then_some(()) }).await;
    statement(&world, "update account.scheduled_event set due_at = now()").await;
    assert!(!bank.ended().await.success(), "the bank ended by itself instead of crashing");
    assert_eq!(world.count("select count(*) from account.scheduled_event").await, 1, "it is still due");

    let bank = world.spawn_bank(&[]).await;
    eventually("it has expired", || async { (status().await? == "EXPIRED").then_some(()) }).await;
    assert_eq!(world.count("select count(*) from account.statement_part").await, 0);
    world.leaves_nothing_behind().await;
    let ended = "select count(*) from compliance.event e join compliance.event_type t on t.code = e.type
        where t.name in ('account.statement-term-ended.v1', 'account.statement-ended.v1')";
    assert_eq!(world.count(ended).await, 2, "one term, one end");
    world.proofs_hold().await;
    assert!(bank.terminate().await.success());
}
