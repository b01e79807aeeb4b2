//! Transfers the ledger cannot book wait in order, are booked when it can, and are decided about by two people.

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use serde_json::{Value, json};
use vostro::client::documents;
use vostro_rabbitmq::topology::UNROUTED_QUEUE;

use crate::support::people::{PASSWORD, transfer_input};
use crate::support::{Person, Staff, World, eventually};

use super::messages::channel;

/// The ledger refuses to book 6.66 for as long as this stands: not by a rule of the domain, but as a defect would.
pub(super) const BREAK: &str = "
    create function account.break_down() returns trigger language plpgsql as $$
    begin
        if abs(new.amount) = 666 then raise exception 'something is broken'; end if;
        return new;
    end $$;
    create trigger broken before insert on account.entry for each row execute function account.break_down();";
pub(super) const MEND: &str = "drop trigger broken on account.entry";

/// An event that nobody but the archive takes.
const CHANGED: &str = "notification.preference-changed.v1";

const PARKED: &str = "select count(*) from account.parked_message where subscription = 'account.postings'";
pub(super) const BOOKED: &str = "select count(*) from account.entry where abs(amount) = 666";

pub async fn statement(world: &World, sql: &str) {
    let pool = world.pool().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&pool).await.expect("the owner may do this");
    pool.close().await;
}

/// Asks for a transfer of 6.66 and does not wait. A bank that is to crash may do so before it has answered.
async fn send_poison(from: &Person, to: &Person) {
    let input = transfer_input("poison", &from.account, &to.account, "6.66", "NONE");
    let mut connection = from.connection().await;
    if let Ok(data) = connection.data(documents::TRANSFER, json!({"input": input})).await {
        assert_eq!(data["transferCreate"]["userErrors"], json!([]), "{data}");
    }
}

pub(super) async fn until_parked(world: &World, messages: i64) {
    eventually("the posting is parked", || async { (world.count(PARKED).await == messages).then_some(()) }).await;
}

/// Runs an operator's command that prints JSON.
pub async fn as_operator(world: &World, arguments: &[&str], who: &str) -> Result<Value, String> {
    let mut command = world.command(arguments);
    command.args(["--json", "--operator", who]).env("VOSTRO_OPERATOR_PASSWORD", PASSWORD);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("started");
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).expect("JSON"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_the_ledger_cannot_book_waits_alone_and_is_booked_by_itself_when_it_can() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    statement(&world, BREAK).await;
    send_poison(&ada, &bob).await;
    until_parked(&world, 1).await;
    let healthy = ada.transfer("beside-it", &bob.account, "1.00").await;
    assert_eq!(healthy["transaction"]["status"], "COMPLETED");
    statement(&world, MEND).await;
    eventually("it is booked", || async { (world.count(BOOKED).await == 2).then_some(()) }).await;
    until_parked(&world, 0).await;
    world.proofs_hold().await;
    world.leaves_nothing_behind().await;
    bank.stop().await;
}

/// The bank crashes at a place of parking and starts again; the poison is parked once, and booked once when it can be.
async fn survives_a_crash(place: &str) {
    let world = World::create().await;
    let bank = world.spawn_bank(&[]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    assert!(bank.terminate().await.success());
    statement(&world, BREAK).await;
    let mut bank = world.spawn_bank(&[("VOSTRO_CRASH_AT", place)]).await;
    send_poison(&ada, &bob).await;
    until_parked(&world, 1).await;
    if !place.starts_with("parking.parked") {
        statement(&world, MEND).await;
    }
    let status = bank.ended().await;
    assert!(!status.success(), "the bank ended by itself instead of crashing at {place}");

    let bank = world.spawn_bank(&[]).await;
    let healthy = ada.transfer("after-the-crash", &bob.account, "1.00").await;
    assert_eq!(healthy["transaction"]["status"], "COMPLETED");
    if place.starts_with("parking.parked") {
        assert_eq!(world.count(PARKED).await, 1, "it came again after the crash and lies there once");
        statement(&world, MEND).await;
    }
    let redriven =
        as_operator(&world, &["parked", "redrive", "--subscription", "account.postings"], "operator@bank.example");
    redriven.await.expect("redriven, or nothing left to redrive");
    eventually("it is booked", || async { (world.count(BOOKED).await == 2).then_some(()) }).await;
    until_parked(&world, 0).await;
    world.proofs_hold().await;
    world.leaves_nothing_behind().await;
    assert!(bank.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_parking_and_acknowledging() {
    survives_a_crash("parking.parked@account.postings:1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_booking_a_parked_transfer_and_releasing_its_key() {
    survives_a_crash("parking.retried@account.postings:1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_releasing_a_key() {
    survives_a_crash("parking.released@account.postings:1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_posting_is_given_up_by_two_people_and_that_is_on_record() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    statement(&world, BREAK).await;
    send_poison(&ada, &bob).await;
    until_parked(&world, 1).await;
    let (_, parked) = world.json_command(&["parked", "list", "--subscription", "account.postings", "--json"]).await;
    let id = parked[0]["id"].as_str().expect("an id").to_owned();
    let (_, shown) = world.json_command(&["parked", "show", &id, "--json"]).await;
    assert_eq!(shown["data"][0]["reference"].as_str().unwrap_or("[redacted]"), "[redacted]", "{shown}");

    let discard = ["parked", "discard", &id, "--reason", "a test of two people"];
    let without_rights = as_operator(&world, &discard, "compliance_officer@bank.example").await;
    assert!(without_rights.is_err_and(|text| text.contains("OPERATOR")));
    let asked = as_operator(&world, &discard, "operator@bank.example").await.expect("asked");
    assert_eq!(asked["outcome"], "requested");
    let request = asked["requestId"].as_str().expect("an id").to_owned();
    let approve = ["parked", "approve", &request];
    let alone = as_operator(&world, &approve, "operator@bank.example").await;
    assert!(alone.is_err_and(|text| text.contains("PARKING_SAME_PERSON")));
    let done = as_operator(&world, &approve, "admin@bank.example").await.expect("agreed");
    assert_eq!((done["outcome"].clone(), done["count"].clone()), (json!("done"), json!(1)));
    until_parked(&world, 0).await;
    eventually("both steps are in the audit log", || async {
        let steps = world
            .count(
                "select count(*) from compliance.event e join compliance.event_type t on t.code = e.type
                 where t.name = 'account.operator-acted.v1' and e.actor_id is not null and e.command = 'parkedDiscard'",
            )
            .await;
        (steps == 2).then_some(())
    })
    .await;
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_the_broker_lost_are_published_once_more_and_take_effect_once() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    world.proofs_hold().await;
    world.leaves_nothing_behind().await;
    let told = "select count(*) from notification.notification where topic like 'PAYMENT%'";
    let before = world.count(told).await;
    let queue = "q.notification.business-events";
    world.management().delete_queue(world.vhost(), queue).await.expect("deleted");
    ada.transfer("nobody-hears-of-it", &bob.account, "1.00").await;
    world.proofs_hold().await;
    world.provision_broker().await;
    world.leaves_nothing_behind().await;

    let republish = ["outbox", "republish", "--module", "transaction", "--from", "1"];
    let (_, counted) = world.json_command(&[&republish[..], &["--dry-run", "--json"]].concat()).await;
    assert_eq!(counted["types"]["transaction.completed.v1"], 2, "{counted}");
    assert_eq!(world.count(told).await, before, "a dry run publishes nothing");
    let with_reason = [&republish[..], &["--reason", "the queue was deleted"]].concat();
    let done = as_operator(&world, &with_reason, "operator@bank.example").await.expect("published");
    assert_eq!(done["count"], counted["count"]);
    eventually("both are told", || async { (world.count(told).await == before + 2).then_some(()) }).await;
    ada.transfer("after-it", &bob.account, "1.00").await;
    eventually("the later one too", || async { (world.count(told).await == before + 4).then_some(()) }).await;
    assert_eq!(world.count("select count(*) from account.entry").await, 6, "nothing was booked twice");
    world.proofs_hold().await;
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_no_queue_took_are_published_once_more_when_the_topology_is_right_again() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let _staff = Staff::hire(&world).await;
    let ada = Person::join(&world, "ada").await;
    world.proofs_hold().await;
    world.leaves_nothing_behind().await;
    // Something nobody can read lies before it, and stays there.
    let (_connection, channel) = channel(&world).await;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish("".into(), UNROUTED_QUEUE.into(), options, b"garbage", properties).await.expect("published");
    eventually("the garbage is there", || async {
        let (_, found) = world.json_command(&["unrouted", "list", "--json"]).await;
        (found["unreadable"].as_array()?.len() == 1).then_some(())
    })
    .await;
    // Other events that only the archive takes may be unrouted as well.
    let prefer = "mutation { preferencesUpdate(input: {topic: PAYMENT_SENT, channel: IN_APP, enabled: false}) {
        userErrors { code } } }";
    world.management().delete_queue(world.vhost(), "q.compliance.archive").await.expect("deleted");
    ada.connection().await.data(prefer, json!({})).await.expect("an answer");
    eventually("the event is unrouted", || async {
        let (status, found) = world.json_command(&["unrouted", "list", "--json"]).await;
        assert_eq!(status.code(), Some(1), "{found}");
        (found["types"][CHANGED] == 1).then_some(())
    })
    .await;

    let redrive = ["unrouted", "redrive", "--count", "2", "--reason", "the archive's queue was deleted"];
    let too_early = as_operator(&world, &redrive, "operator@bank.example").await.expect_err("it would come back");
    assert!(too_early.contains("run vostro topology apply first"), "{too_early}");
    world.provision_broker().await;
    let (status, counted) = world.json_command(&["unrouted", "redrive", "--dry-run", "--json"]).await;
    assert!(status.success());
    assert_eq!(counted["types"][CHANGED], 1, "{counted}");
    let archived = "select count(*) from compliance.event e join compliance.event_type t on t.code = e.type
                    where t.name = 'notification.preference-changed.v1'";
    assert_eq!(world.count(archived).await, 0, "a dry run publishes nothing");
    let messages = counted["messages"].to_string();
    let redrive = ["unrouted", "redrive", "--count", &messages, "--reason", "the archive's queue was deleted"];
    let done = as_operator(&world, &redrive, "operator@bank.example").await.expect("published");
    assert_eq!(done, counted);
    eventually("the archive has it", || async { (world.count(archived).await == 1).then_some(()) }).await;
    eventually("nothing is left, and doing it again does nothing", || async {
        let again = as_operator(&world, &redrive, "operator@bank.example").await.expect("as good as once");
        (again["messages"] == 0).then_some(())
    })
    .await;
    let on_record = "select count(*) from compliance.event where command = 'unroutedRedrive' and actor_id is not null";
    eventually("who did it is on record", || async { (world.count(on_record).await > 0).then_some(()) }).await;
    assert_eq!(world.count(archived).await, 1);
    world.proofs_hold().await;
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "the test leaves 1 parked keys behind")]
async fn a_test_that_leaves_a_parked_key_behind_fails() {
    let world = World::create().await;
    let parked = "insert into auth.parked_key values ('auth.people', gen_random_uuid(), 'WAITING', 0, now(), 'BLOCKED', 'x', now())";
    statement(&world, parked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_module_takes_nothing_until_it_is_resumed() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    let order = async |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.args(["--operator", "operator@bank.example"]).env("VOSTRO_OPERATOR_PASSWORD", PASSWORD);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    order(&["module", "drain", "account", "--reason", "a test"]).await;
    let input = transfer_input("meanwhile", &ada.account, &bob.account, "1.00", "NONE");
    let mut connection = ada.connection().await;
    connection.data(documents::TRANSFER, json!({"input": input})).await.expect("accepted while the ledger is paused");
    let initiated = "select count(*) from transaction.transaction where status = 'INITIATED'";
    eventually("the transfer waits in the ledger's queue", || async {
        let queues = world.management().queues(world.vhost()).await.ok()?;
        let postings = queues.iter().find(|queue| queue.name == "q.account.postings")?;
        (postings.ready == 1 && postings.unacknowledged == 0).then_some(())
    })
    .await;
    assert_eq!(world.count(initiated).await, 1);
    order(&["module", "resume", "account"]).await;
    eventually("it is booked after the pause", || async { (world.count(initiated).await == 0).then_some(()) }).await;
    world.proofs_hold().await;
    bank.stop().await;
}
