//! An event that a module cannot handle, and two operators who see to it over GraphQL.

use serde_json::{Value, json};
use vostro::client::Connection;

use crate::support::{Person, Staff, World, eventually};

/// The picture the transaction module has of the accounts refuses one of them while it is on the list; whatever it takes
/// is noted in the order in which it was taken.
const BREAKABLE: &str = "
    create table public.broken (account uuid);
    create table public.taken (nth bigint generated always as identity, account uuid, sequence bigint);
    create function public.note_or_refuse() returns trigger language plpgsql security definer as $$
    begin
        if exists (select from public.broken where account = new.id) then
            raise exception 'something is broken' using errcode = 'check_violation';
        end if;
        insert into public.taken (account, sequence) values (new.id, new.balance_sequence);
        return new;
    end $$;
    create trigger breakable before update on transaction.account_view
        for each row execute function public.note_or_refuse();";

const PARKED: &str = "query ($key: ID!) { parkedMessages(filter: {key: $key}) {
    nodes { id module subscription eventType isFirst state reasonCode } } }";
const REDRIVE: &str = "mutation ($key: ID!) { parkedRedrive(input: {selection: {key: $key}, reason: \"mended\"}) {
    outcome request { id state requestedBy { id displayName } } userErrors { code } } }";
const APPROVE: &str = "mutation ($id: ID!) { parkingRequestApprove(input: {requestId: $id}) {
    outcome count request { state decidedBy { displayName } } userErrors { code } } }";

async fn run(world: &World, sql: String) {
    let pool = world.pool().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.expect("the owner may do this");
    pool.close().await;
}

async fn ask(connection: &mut Connection, document: &str, variables: Value) -> Value {
    let answer = connection.answer(document, variables).await.expect("an answer");
    assert_eq!(answer.get("errors"), None, "{answer}");
    answer["data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_is_seen_and_redriven_by_two_operators_and_the_order_of_its_key_is_kept() {
    let mut world = World::create().await;
    world.config.messaging.approval_of_redrive = true;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::join(&world, "ada").await;
    let bob = Person::join(&world, "bob").await;
    world.leaves_nothing_behind().await;
    let account = ada.account.trim_start_matches("acc_").to_owned();
    run(&world, format!("{BREAKABLE} insert into public.broken values ('{account}')")).await;
    for (nth, amount) in ["1.00", "2.00", "3.00"].iter().enumerate() {
        staff.deposit(&ada.account, amount, &format!("deposit-{nth}")).await;
    }
    let key = json!({"key": account});
    let mut operator = staff.operator_connection().await;
    let operator_connection = tokio::sync::Mutex::new(&mut operator);
    let parked = eventually("all three events of the account wait in order", || async {
        let mut connection = operator_connection.lock().await;
        let parked = ask(&mut connection, PARKED, key.clone()).await["parkedMessages"]["nodes"].clone();
        (parked.as_array()?.len() == 3).then_some(parked)
    })
    .await;
    assert_eq!(
        parked[0],
        json!({"id": parked[0]["id"], "module": "transaction", "subscription": "transaction.accounts",
            "eventType": "account.balance-changed.v1", "isFirst": true, "state": "QUARANTINED",
            "reasonCode": "EFFECT_REFUSED"})
    );
    assert_eq!((&parked[1]["isFirst"], &parked[2]["isFirst"]), (&json!(false), &json!(false)));
    let healthy = "select count(*) from public.taken where account <> (select account from public.broken)";
    staff.deposit(&bob.account, "1.00", "beside-it").await;
    eventually("other keys go on", || async { (world.count(healthy).await > 0).then_some(()) }).await;

    run(&world, "delete from public.broken".to_owned()).await;
    let asked = ask(&mut operator, REDRIVE, key).await;
    assert_eq!(asked["parkedRedrive"]["outcome"], "REQUESTED", "{asked}");
    let request = &asked["parkedRedrive"]["request"];
    assert_eq!(request["requestedBy"]["displayName"], "OPERATOR", "the name comes from auth: {asked}");
    let id = json!({"id": request["id"]});
    let alone = ask(&mut operator, APPROVE, id.clone()).await;
    assert_eq!(alone["parkingRequestApprove"]["userErrors"], json!([{"code": "PARKING_SAME_PERSON"}]));
    let agreed = ask(&mut staff.admin_connection().await, APPROVE, id).await;
    assert_eq!(agreed["parkingRequestApprove"]["outcome"], "DONE", "{agreed}");
    assert_eq!(agreed["parkingRequestApprove"]["request"]["decidedBy"]["displayName"], "ADMIN", "{agreed}");

    let caught_up = format!("select count(*) from public.taken where account = '{account}'");
    eventually("everything of the key is taken", || async { (world.count(&caught_up).await == 3).then_some(()) }).await;
    let out_of_order = "select count(*) from public.taken a join public.taken b using (account)
         where a.nth < b.nth and a.sequence >= b.sequence";
    assert_eq!(world.count(out_of_order).await, 0);
    let recorded = "select count(*) from compliance.event e join compliance.event_type t on t.code = e.type
         where e.actor_id is not null and (
             (t.name = 'transaction.operator-acted.v1' and e.command = 'parkedRedrive')
             or (t.name = 'transaction.command-refused.v1' and e.code = 'PARKING_SAME_PERSON'))";
    eventually("request, refusal and approval are in the audit log", || async {
        (world.count(recorded).await == 3).then_some(())
    })
    .await;
    world.proofs_hold().await;
    world.leaves_nothing_behind().await;
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_outboxes_consumers_and_the_brokers_topology() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let mut operator = staff.operator_connection().await;
    let document = "{ outboxes { module waiting } consumptions { module isPaused queues { consumers } }
        topologyDifferences { text isHarmful } }";
    let seen = ask(&mut operator, document, json!({})).await;
    assert_eq!(seen["outboxes"].as_array().map(Vec::len), Some(5), "{seen}");
    assert_eq!(seen["consumptions"].as_array().map(Vec::len), Some(5), "{seen}");
    assert_eq!(seen["topologyDifferences"], json!([]), "{seen}");
    world.management().delete_queue(world.vhost(), "dlq.account.postings").await.expect("deleted");
    let seen = ask(&mut operator, document, json!({})).await;
    let difference = &seen["topologyDifferences"][0];
    assert_eq!(difference["isHarmful"], true, "{seen}");
    assert!(difference["text"].as_str().is_some_and(|text| text.contains("dlq.account.postings")), "{seen}");
    bank.stop().await;
}
