//! Handlers that hang, and events that end the process.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::Executor as _;
use vostro::client::documents;

use crate::support::people::transfer_input;
use crate::support::{BankProcess, Person, Staff, World, eventually};

const TOLD: &str = "select count(*) from notification.notification where topic like 'PAYMENT%'";

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_hangs_holds_up_nobody_and_what_it_had_is_handled_later_once() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::join(&world, "bob").await;
    world.leaves_nothing_behind().await;
    let before = world.count(TOLD).await;

    let pool = world.pool().await;
    let mut holding = vostro_messaging::begin(&pool).await.expect("the database answers");
    holding.execute("lock table notification.notification in access exclusive mode").await.expect("locked");
    let paid = ada.transfer("while-it-hangs", &bob.account, "1.00").await;
    assert_eq!(paid["transaction"]["status"], "COMPLETED", "the others go on");
    eventually("its deadline ends the handler, and the event is parked", || async {
        let parked = world.count("select count(*) from notification.parked_message").await;
        (parked > 0).then_some(())
    })
    .await;
    holding.rollback().await.expect("released");
    pool.close().await;

    eventually("both are told", || async { (world.count(TOLD).await == before + 2).then_some(()) }).await;
    eventually("nothing is parked", || async {
        (world.count("select count(*) from notification.parked_key").await == 0).then_some(())
    })
    .await;
    world.leaves_nothing_behind().await;
    assert_eq!(world.count(TOLD).await, before + 2, "told once");
    bank.stop().await;
}

const BOOKED: &str = "select count(*) from account.entry where transaction_id in
    (select id from transaction.transaction where idempotency_key like 'poison-%')";

/// Ends the bank whenever its consumer of postings handles anything.
const POISON: &[(&str, &str)] = &[("VOSTRO_CRASH_AT", "consumer.handled@account.postings:1")];

/// Pays without waiting. The bank may end before it has answered.
async fn pay_what_ends_the_bank(from: &Person, to: &Person) {
    let input = transfer_input("poison-1", &from.account, &to.account, "1.00", "NONE");
    let mut connection = from.connection().await;
    if let Ok(data) = connection.data(documents::TRANSFER, json!({"input": input})).await {
        assert_eq!(data["transferCreate"]["userErrors"], json!([]), "{data}");
    }
}

/// Starts banks that end each time they handle what is in the queue, until one leaves it aside; which one that was.
async fn started_until_it_stays(world: &World) -> (usize, BankProcess) {
    let left_aside = format!("select (select count(*) from account.parked_message) + ({BOOKED})");
    let mut starts = 0;
    loop {
        starts += 1;
        assert!(starts < 20, "it ends every bank that is started");
        let mut bank = world.spawn_bank_without_waiting(POISON);
        let deadline = Instant::now() + BankProcess::PATIENCE;
        while !bank.has_ended() {
            if world.count(&left_aside).await > 0 {
                return (starts, bank);
            }
            assert!(Instant::now() < deadline, "the bank neither ends nor leaves anything aside");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_end_the_process_are_left_aside_long_before_the_broker_gives_up_on_their_neighbours() {
    let world = World::create().await;
    let bank = world.spawn_bank(&[]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
    let bob = Person::with_money(&world, &staff, "bob", "100.00").await;
    assert!(bank.terminate().await.success());

    let mut first = world.spawn_bank(POISON).await;
    pay_what_ends_the_bank(&ada, &bob).await;
    assert!(!first.ended().await.success());
    let (starts, bank) = started_until_it_stays(&world).await;
    assert!(starts <= 5, "ended {starts} times more by one event");
    eventually("it was innocent, and is booked by itself", || async { (world.count(BOOKED).await == 2).then_some(()) })
        .await;
    assert_eq!(world.count("select count(*) from account.parked_key where state = 'QUARANTINED'").await, 0);

    // In order, so that no attempt is cut off; unless one more copy of the event has ended it already.
    bank.terminate().await;
    let bank = world.spawn_bank(&[]).await;
    let next = bob.transfer("poison-2", &ada.account, "1.00").await;
    assert_eq!(next["transaction"]["status"], "COMPLETED", "the next one is handled as ever");
    assert_eq!(world.count(BOOKED).await, 4, "each once");
    // Whatever other consumers held each time the bank ended was left aside with it, as innocent.
    world.everything_is_released().await;
    world.proofs_hold().await;
    world.leaves_nothing_behind().await;
    assert!(bank.terminate().await.success());
}
