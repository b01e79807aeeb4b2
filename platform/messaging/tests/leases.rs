//! One instance at a time: leases are taken, renewed, handed over and taken over; whoever lost one changes nothing.

mod instance;
mod rig;

use std::sync::Arc;
use std::time::Duration;

use instance::{Holders, Instance, Work, owner_of, until};
use rig::{Mood, Rig};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_messaging::lease::{Lease, LeaseTimes, What, leases};
use vostro_messaging::{Consumer, DeadLetterDrain, Handler, InboxMode};
use vostro_testkit::{Database, Queue};

const QUEUE: &str = "q.account.parking-test";

async fn database() -> Database {
    Database::create("account", &sqlx::migrate::Migrator::DEFAULT).await
}

fn queue(name: &str) -> What {
    What::Queue(name.to_owned())
}

fn consumer(rig: &Rig, queue: &Queue, lease: &Lease) -> Consumer {
    let handler: Arc<dyn Handler> = rig.handler.clone();
    Consumer::new(rig.intake(), handler, Arc::new(queue.clone())).on(QUEUE, lease.fence())
}

/// A lease whose holder was stopped and which another instance has taken since, and that one's.
async fn taken_over(database: &Database) -> (Lease, Lease) {
    let first = Instance::start(database, "first");
    let stale = first.holds(queue(QUEUE)).await;
    first.freeze();
    let second = Instance::start(database, "second");
    let present = second.holds(queue(QUEUE)).await;
    assert!(present.epoch() > stale.epoch());
    second.go_on_for_ever();
    (stale, present)
}

async fn refuses_a_stale_holder(mode: InboxMode) {
    let rig = Rig::create(mode).await;
    let (stale, present) = taken_over(&rig.database).await;
    let (queue, events) = (Queue::default(), rig.key(2));
    events.iter().for_each(|event| queue.publish(event));

    // Nobody tells it to stop: it finds out by itself.
    consumer(&rig, &queue, &stale).run(CancellationToken::new()).await;
    assert_eq!(rig.effects().await, Vec::<Uuid>::new());
    assert_eq!(queue.unsettled(), 2, "what was delivered goes back to the queue");

    let stop = CancellationToken::new();
    let consuming = tokio::spawn(consumer(&rig, &queue, &present).run(stop.clone()));
    queue.settled().await;
    assert_eq!(rig.effects().await, Rig::ids(&events));
    stop.cancel();
    consuming.await.expect("ends");
}

#[tokio::test]
async fn a_handler_whose_lease_was_taken_changes_nothing() {
    refuses_a_stale_holder(InboxMode::Rows).await;
}

#[tokio::test]
async fn a_handler_that_keeps_its_own_inbox_is_refused_too() {
    refuses_a_stale_holder(InboxMode::Handler).await;
}

#[tokio::test]
async fn whoever_lost_the_lease_puts_nothing_behind_a_parked_key() {
    let rig = Rig::create(InboxMode::Rows).await;
    let events = rig.key(2);
    rig.handler.set(&events[0], Mood::Invalid);
    let consuming = rig.start();
    consuming.take(&events[..1]).await;
    consuming.leaves_parked(0, 1).await;

    let (stale, _) = taken_over(&rig.database).await;
    let queue = Queue::default();
    queue.publish(&events[1]);
    consumer(&rig, &queue, &stale).run(CancellationToken::new()).await;
    assert_eq!(rig.parked_events().await, Rig::ids(&events[..1]));
    assert_eq!(queue.unsettled(), 1);
}

#[tokio::test]
async fn whoever_lost_the_lease_drains_no_dead_letter() {
    let rig = Rig::create(InboxMode::Rows).await;
    let (stale, present) = taken_over(&rig.database).await;
    let (dead_letters, events) = (Queue::default(), rig.key(1));
    dead_letters.publish(&events[0]);
    let drain = |lease: &Lease| DeadLetterDrain::new(rig.intake(), Arc::new(dead_letters.clone())).under(lease.fence());
    drain(&stale).run(CancellationToken::new()).await;
    assert_eq!(rig.parked_events().await, Vec::<Uuid>::new());
    assert_eq!(dead_letters.unsettled(), 1);

    let stop = CancellationToken::new();
    let draining = tokio::spawn(drain(&present).run(stop.clone()));
    dead_letters.settled().await;
    assert_eq!(rig.parked_events().await, Rig::ids(&events));
    stop.cancel();
    draining.await.expect("ends");
}

#[tokio::test]
async fn a_lease_is_not_taken_from_under_a_transaction_that_holds_it() {
    let database = database().await;
    let first = Instance::start(&database, "first");
    let lease = first.holds(queue("a")).await;
    first.freeze();
    let mut transaction = vostro_messaging::begin(database.pool()).await.expect("begins");
    let hold = sqlx::query("select hold_lease('a', $1)").bind(lease.epoch());
    hold.execute(&mut *transaction).await.expect("still the first instance's");

    let second = Instance::start(&database, "second");
    let holding = second.wants(queue("a"));
    second.looks_twice_after_expiry_of("a").await;
    assert_eq!(owner_of(&database, "a").await, Some(first.id()), "its transaction may still commit");

    transaction.commit().await.expect("commits");
    until("the second instance takes over", async || owner_of(&database, "a").await == Some(second.id())).await;
    drop(holding);
}

#[tokio::test]
async fn what_is_renewed_is_not_taken_and_what_is_given_back_is() {
    let database = database().await;
    let (first, second) = (Instance::steady(&database, "first"), Instance::steady(&database, "second"));
    let working = first.wants(queue("a"));
    until("the first has it", async || owner_of(&database, "a").await == Some(first.id())).await;
    let waiting = second.wants(queue("a"));
    // Longer than a lease lasts.
    second.looks(4).await;
    assert_eq!(owner_of(&database, "a").await, Some(first.id()), "renewed all the time");

    working.stop().await;
    until("the second has it", async || owner_of(&database, "a").await == Some(second.id())).await;
    waiting.stop().await;
    assert_eq!(owner_of(&database, "a").await, None, "given back, and nobody wants it");
}

#[tokio::test]
async fn what_a_killed_instance_held_is_taken_without_waiting_for_it_to_expire() {
    let database = database().await;
    let times = LeaseTimes::expiring_after(Duration::from_secs(600));
    let first = Instance::start_with(&database, "first", times);
    let held = first.holds(queue("a")).await;
    first.kill().await;
    let second = Instance::start_with(&database, "second", times);
    let present = second.holds(queue("a")).await;
    assert!(present.epoch() > held.epoch());
    second.stop().await;
}

#[tokio::test]
async fn work_is_dropped_when_its_lease_was_not_renewed_in_time() {
    let database = database().await;
    let holders = Holders::default();
    let first = Instance::start(&database, "first");
    let working = first.works_on(queue("a"), &holders);
    until("the first works", async || holders.of("a") == Some(first.id())).await;
    first.freeze();
    // The database is never asked: nobody else is there to take it, and still the work may not go on.
    until("the work is dropped", async || holders.of("a").is_none()).await;
    assert_eq!(owner_of(&database, "a").await, Some(first.id()));
    drop(working);
}

#[tokio::test]
async fn instances_come_and_go_and_each_queue_is_consumed_by_one_at_a_time() {
    let database = database().await;
    let (names, holders) = (["q.p00", "q.p01", "q.p02", "q.p03"], Holders::default());
    let all = |instance: &Instance| names.map(|name| instance.works_on(queue(name), &holders));
    let first = Instance::start(&database, "first");
    let _of_first = all(&first);
    until("one instance takes everything", async || holders.count(first.id()) == 4).await;

    let second = Instance::start(&database, "second");
    let _of_second = all(&second);
    until("two have two each", async || holders.count(first.id()) == 2 && holders.count(second.id()) == 2).await;

    let third = Instance::start(&database, "third");
    let of_third = all(&third);
    let counts = || [&first, &second, &third].map(|instance| holders.count(instance.id()));
    until("nobody goes without", async || {
        counts().iter().all(|count| *count >= 1) && counts().iter().sum::<usize>() == 4
    })
    .await;

    // One is killed: what it had expires.
    second.freeze();
    until("the others take over", async || counts() == [2, 0, 2]).await;
    for work in of_third {
        work.stop().await;
    }
    third.stop().await;
    until("the first has everything again", async || holders.count(first.id()) == 4).await;
    assert!(holders.were_exclusive(), "two instances worked on one queue at the same time");
}

/// Both work on both queues, one each.
async fn two_share_two_queues(first: &Instance, second: &Instance, holders: &Holders) -> [[Work; 2]; 2] {
    let work = [first, second].map(|instance| ["a", "b"].map(|name| instance.works_on(queue(name), holders)));
    until("they share", async || (holders.count(first.id()), holders.count(second.id())) == (1, 1)).await;
    work
}

#[tokio::test]
async fn an_instance_that_does_not_reach_the_broker_leaves_the_queues_to_one_that_does() {
    let (database, holders) = (database().await, Holders::default());
    let (first, second) = (Instance::steady(&database, "first"), Instance::steady(&database, "second"));
    let _work = two_share_two_queues(&first, &second, &holders).await;
    second.reaches_the_broker(false);
    until("the first has both", async || holders.count(first.id()) == 2).await;
    // Longer than it rests, and longer than a lease lasts.
    second.looks(4).await;
    assert_eq!(holders.count(first.id()), 2, "nothing is handed to an instance that cannot do it");
    second.reaches_the_broker(true);
    until("they share again", async || (holders.count(first.id()), holders.count(second.id())) == (1, 1)).await;
    assert!(holders.were_exclusive());
    first.go_on_for_ever();
    second.go_on_for_ever();
}

#[tokio::test]
async fn what_an_instance_that_is_stopping_gives_back_is_taken_while_it_still_finishes_other_work() {
    let (database, holders) = (database().await, Holders::default());
    let (first, mut second) = (Instance::steady(&database, "first"), Instance::steady(&database, "second"));
    let names = ["a", "b", "c", "d"];
    let quick = ["a", "b"].map(|name| second.works_on(queue(name), &holders));
    let finish = second.is_slow();
    let slow = ["c", "d"].map(|name| second.works_on(queue(name), &holders));
    until("the second has all", async || holders.count(second.id()) == 4).await;
    let _work = names.map(|name| first.works_on(queue(name), &holders));
    first.looks(2).await;
    quick.iter().chain(&slow).for_each(Work::begins_to_stop);
    until("the first takes what is free", async || holders.count(first.id()) == 2).await;
    assert_eq!(holders.count(second.id()), 2, "the second is still finishing");
    finish.cancel();
    until("the first takes the rest", async || holders.count(first.id()) == 4).await;
    assert!(holders.were_exclusive());
    first.go_on_for_ever();
    second.go_on_for_ever();
}

#[tokio::test]
async fn operators_see_who_holds_what() {
    let database = database().await;
    let instance = Instance::steady(&database, "127.0.0.1:21080 (process 7)");
    let working = instance.wants(queue("a"));
    until("it has the lease", async || owner_of(&database, "a").await.is_some()).await;
    let status = leases(database.pool()).await.expect("readable");
    assert_eq!(status.len(), 1);
    assert_eq!((status[0].what.as_str(), status[0].holder.as_deref()), ("a", Some("127.0.0.1:21080 (process 7)")));
    assert!(!status[0].expired && status[0].expires_at > status[0].since);
    working.stop().await;
    assert_eq!(leases(database.pool()).await.expect("readable")[0].holder, None);
}

#[tokio::test]
async fn a_dead_instances_row_says_that_it_has_expired() {
    let database = database().await;
    let instance = Instance::start(&database, "first");
    let _working = instance.wants(queue("a"));
    until("it has the lease", async || owner_of(&database, "a").await.is_some()).await;
    instance.freeze();
    until("it expires", async || leases(database.pool()).await.expect("readable")[0].expired).await;
}
