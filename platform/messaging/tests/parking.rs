//! Sequenced parking: order per key survives failure, and other keys do not notice.

mod rig;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rig::{Mood, Rig};
use uuid::Uuid;
use vostro_messaging::{InboundMessage, InboxMode, RetrySchedule, SENDER};
use vostro_testkit::{Consuming, Queue};

#[tokio::test]
async fn a_blocked_event_holds_back_its_key_and_no_other() {
    let rig = Rig::create(InboxMode::Rows).await;
    let (a, b) = (rig.key(3), rig.key(2));
    rig.handler.set(&a[0], Mood::Blocked);
    let consuming = rig.start();
    consuming.take(&[a[0].clone(), b[0].clone(), a[1].clone()]).await;
    consuming.take(&[b[1].clone(), a[2].clone()]).await;
    assert_eq!(rig.effects().await, Rig::ids(&b), "the other key went on, this one waits");
    assert_eq!(consuming.parked().await.waiting, 1);
    assert_eq!(consuming.retry_due().await, 0, "not due yet");

    rig.handler.set(&a[0], Mood::Fine);
    rig.clock.advance(TimeDelta::seconds(2));
    assert_eq!(consuming.retry_due().await, 1);
    assert_eq!(rig.effects().await, Rig::ids(&[b, a].concat()));
    consuming.leaves_nothing_behind(&rig.database).await;
}

#[tokio::test]
async fn what_came_before_a_poison_event_in_its_key_is_applied_and_what_comes_after_waits() {
    let rig = Rig::create(InboxMode::Handler).await;
    let (a, b) = (rig.key(3), rig.key(1));
    rig.handler.set(&a[1], Mood::Invalid);
    let mut consuming = rig.start();
    consuming.pause().await;
    for event in [&a[0], &a[1], &b[0], &a[2]] {
        consuming.queue().publish(event);
    }
    consuming.go_on();
    consuming.queue().settled().await;
    assert_eq!(rig.effects().await, Rig::ids(&[a[0].clone(), b[0].clone()]));
    rig.clock.advance(TimeDelta::days(30));
    assert_eq!(consuming.retry_due().await, 0, "time does not heal what is invalid");
    consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn a_failure_that_passes_soon_parks_nothing() {
    let rig = Rig::create(InboxMode::Rows).await;
    let a = rig.key(1);
    rig.handler.set(&a[0], Mood::FailsTimes(2));
    let consuming = rig.start();
    consuming.take(&a).await;
    assert_eq!(rig.effects().await, Rig::ids(&a));
    consuming.leaves_nothing_behind(&rig.database).await;
}

#[tokio::test]
async fn a_database_that_answers_and_takes_nothing_is_not_asked_as_fast_as_it_refuses() {
    let rig = Rig::create(InboxMode::Rows).await;
    let a = rig.key(1);
    rig.handler.set(&a[0], Mood::FindsItReadOnlyTimes(10));
    let consuming = rig.start();
    let started = Instant::now();
    consuming.take(&a).await;
    assert_eq!(rig.effects().await, Rig::ids(&a), "it is held, however often it is refused");
    assert!(started.elapsed() >= Duration::from_secs(1), "ten refusals, and a pause after each");
    consuming.leaves_nothing_behind(&rig.database).await;
}

#[tokio::test]
async fn a_failure_of_one_event_that_stays_parks_its_key_alone() {
    let rig = Rig::create(InboxMode::Rows).await;
    let (a, b) = (rig.key(2), rig.key(2));
    rig.handler.set(&a[0], Mood::Fails);
    let mut consuming = rig.start();
    consuming.pause().await;
    for event in [&b[0], &a[0], &a[1], &b[1]] {
        consuming.queue().publish(event);
    }
    consuming.go_on();
    consuming.queue().settled().await;
    assert_eq!(rig.effects().await, Rig::ids(&b));
    assert_eq!(rig.reasons().await, ["RETRIES_EXHAUSTED"]);
    consuming.leaves_parked(1, 0).await;
}

#[tokio::test]
async fn an_effect_the_database_refuses_is_quarantined_at_once() {
    let rig = Rig::create(InboxMode::Rows).await;
    let a = rig.key(1);
    rig.handler.set(&a[0], Mood::BreaksAConstraint);
    let consuming = rig.start();
    consuming.take(&a).await;
    assert_eq!(rig.reasons().await, ["EFFECT_REFUSED"]);
    consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_retries_late_and_keeps_their_order() {
    let rig = Rig::create(InboxMode::Rows).await;
    let a = rig.key(3);
    rig.handler.set(&a[0], Mood::Blocked);
    let consuming = rig.start();
    consuming.take(&a[..1]).await;
    rig.clock.advance(TimeDelta::hours(-1));
    consuming.take(&a[1..]).await;
    rig.handler.set(&a[0], Mood::Fine);
    assert_eq!(consuming.retry_due().await, 0, "late, and not lost");
    rig.clock.advance(TimeDelta::hours(1) + TimeDelta::seconds(2));
    assert_eq!(consuming.retry_due().await, 1);
    assert_eq!(rig.effects().await, Rig::ids(&a), "what was parked at an earlier hour is later still");
    assert_eq!(consuming.retry_due().await, 0, "once");
    consuming.leaves_nothing_behind(&rig.database).await;
}

#[tokio::test]
async fn after_twelve_attempts_a_key_is_quarantined() {
    let rig = Rig::create(InboxMode::Rows).await;
    let a = rig.key(1);
    rig.handler.set(&a[0], Mood::Blocked);
    let consuming = rig.start();
    consuming.take(&a).await;
    for attempt in 1..=RetrySchedule::default().attempts {
        assert_eq!(consuming.parked().await.waiting, 1, "before attempt {attempt}");
        rig.clock.advance(TimeDelta::hours(8));
        assert_eq!(consuming.retry_due().await, 1, "attempt {attempt}");
    }
    rig.clock.advance(TimeDelta::days(30));
    assert_eq!(consuming.retry_due().await, 0);
    consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn an_attempt_that_ends_the_process_counts() {
    let rig = Rig::create(InboxMode::Rows).await;
    let a = rig.key(1);
    rig.handler.set(&a[0], Mood::Blocked);
    let consuming = rig.start();
    consuming.take(&a).await;
    // As if twelve processes had taken the key and none had come back from it.
    rig.database.tamper("update parked_key set attempts = 12").await;
    rig.clock.advance(TimeDelta::hours(1));
    rig.handler.set(&a[0], Mood::Fine);
    assert_eq!(consuming.retry_due().await, 1);
    assert_eq!(rig.effects().await, Vec::<Uuid>::new(), "it is not tried once more");
    assert_eq!(rig.reasons().await, ["CRASH_LOOP"]);
    consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn what_was_there_whenever_the_process_ended_is_parked_and_tried_alone_in_its_order() {
    for mode in [InboxMode::Rows, InboxMode::Handler] {
        let rig = Rig::create(mode).await;
        let (a, b, c) = (rig.key(3), rig.key(1), rig.key(1));
        let mut consuming = rig.start();
        consuming.pause().await;
        for (event, returns) in [(&a[0], 4), (&b[0], 4), (&a[1], 4), (&c[0], 3), (&a[2], 0)] {
            consuming.queue().publish_returned(event, returns);
        }
        consuming.go_on();
        consuming.queue().settled().await;
        assert_eq!(rig.effects().await, Rig::ids(&c), "not even the later ones of their keys are handled here");
        assert_eq!(rig.reasons().await, ["INTERRUPTED"; 2]);
        rig.clock.advance(TimeDelta::seconds(2));
        assert_eq!(consuming.retry_due().await, 2);
        let effects = rig.effects().await;
        let of_a: Vec<Uuid> = effects.iter().copied().filter(|id| Rig::ids(&a).contains(id)).collect();
        assert_eq!((of_a, effects.len()), (Rig::ids(&a), 5));
        consuming.leaves_nothing_behind(&rig.database).await;
    }
}

#[tokio::test]
async fn what_came_back_after_crashes_is_committed_in_portions_that_grow() {
    let rig = Rig::create(InboxMode::Rows).await;
    let events = rig.key(20);
    let mut consuming = rig.start();
    consuming.pause().await;
    for event in &events {
        consuming.queue().publish_returned(event, 2);
    }
    consuming.go_on();
    consuming.queue().settled().await;
    assert_eq!(rig.effects().await, Rig::ids(&events));
    let portions: Vec<i64> =
        sqlx::query_scalar("select count(*) from effect group by xmin::text::bigint order by min(nth)")
            .fetch_all(rig.database.pool())
            .await
            .expect("read");
    assert_eq!(portions, [1, 2, 4, 8, 5]);
    consuming.leaves_nothing_behind(&rig.database).await;
}

#[tokio::test]
async fn a_message_that_comes_again_after_it_was_parked_lies_there_once() {
    for mode in [InboxMode::Rows, InboxMode::Handler] {
        let rig = Rig::create(mode).await;
        let a = rig.key(2);
        rig.handler.set(&a[0], Mood::Blocked);
        let consuming = rig.start();
        consuming.take(&a).await;
        consuming.take(&a).await;
        assert_eq!(rig.parked_events().await, Rig::ids(&a), "{mode:?}");
        rig.handler.set(&a[0], Mood::Fine);
        rig.clock.advance(TimeDelta::seconds(2));
        consuming.retry_due().await;
        consuming.take(&a).await;
        assert_eq!(rig.effects().await, Rig::ids(&a), "{mode:?}");
        consuming.leaves_nothing_behind(&rig.database).await;
    }
}

#[tokio::test]
async fn an_instance_that_gets_the_queue_knows_what_the_other_parked() {
    let rig = Rig::create(InboxMode::Rows).await;
    let a = rig.key(3);
    let mut second = rig.start();
    second.pause().await;
    assert_eq!(second.parked().await.waiting, 0, "it has learned that nothing is parked");

    rig.handler.set(&a[0], Mood::Blocked);
    let first = rig.on(second.queue().clone());
    first.take(&a[..1]).await;
    first.leaves_parked(1, 0).await;

    second.go_on();
    second.take(&a[1..]).await;
    assert_eq!(rig.effects().await, Vec::<Uuid>::new(), "nothing overtook the parked event");
    rig.handler.set(&a[0], Mood::Fine);
    rig.clock.advance(TimeDelta::seconds(2));
    second.retry_due().await;
    assert_eq!(rig.effects().await, Rig::ids(&a));
    second.leaves_nothing_behind(&rig.database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_release_that_races_with_new_messages_of_its_key_lets_none_slip_past() {
    let rig = Rig::create(InboxMode::Rows).await;
    let keys: Vec<_> = (0..4).map(|_| rig.key(40)).collect();
    // Every fifth event fails once: keys are parked and released again and again while their events keep coming.
    for event in keys.iter().flat_map(|key| key.iter().step_by(5)) {
        rig.handler.set(event, Mood::BlockedOnce);
    }
    let consuming = Arc::new(rig.start());
    let retrying = {
        let (consuming, clock) = (Arc::clone(&consuming), Arc::clone(&rig.clock));
        tokio::spawn(async move {
            loop {
                clock.advance(TimeDelta::seconds(2));
                consuming.retry_due().await;
                tokio::task::yield_now().await;
            }
        })
    };
    for nth in 0..40 {
        for key in &keys {
            consuming.queue().publish(&key[nth]);
        }
        tokio::task::yield_now().await;
    }
    consuming.queue().settled().await;
    let all: usize = keys.iter().map(Vec::len).sum();
    rig.until("every event has had its effect", async || rig.effects().await.len() >= all).await;
    retrying.abort();
    let _ = retrying.await;
    let effects = rig.effects().await;
    assert_eq!(effects.len(), all, "each once");
    for key in &keys {
        let ids = Rig::ids(key);
        let in_order: Vec<Uuid> = effects.iter().copied().filter(|id| ids.contains(id)).collect();
        assert_eq!(in_order, ids);
    }
    let consuming = Arc::into_inner(consuming).expect("the worker is gone");
    consuming.leaves_nothing_behind(&rig.database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_workers_never_try_one_key_at_the_same_time() {
    let rig = Rig::create(InboxMode::Handler).await;
    let keys: Vec<_> = (0..12).map(|_| rig.key(2)).collect();
    for key in &keys {
        rig.handler.set(&key[0], Mood::Blocked);
    }
    let first = rig.start();
    first.take(&keys.concat()).await;
    for key in &keys {
        rig.handler.set(&key[0], Mood::Fine);
    }
    let second = rig.on(Queue::default());
    rig.clock.advance(TimeDelta::seconds(2));
    let (one, other) = tokio::join!(first.retry_due(), second.retry_due());
    assert_eq!(one + other, keys.len());
    assert_eq!(rig.effects().await.len(), keys.len() * 2);
    second.leaves_nothing_behind(&rig.database).await;
    first.leaves_nothing_behind(&rig.database).await;
}

#[tokio::test]
async fn dead_letters_are_quarantined_in_the_same_place_once() {
    let rig = Rig::create(InboxMode::Rows).await;
    let a = rig.key(2);
    let consuming = rig.start();
    let dead_letters = Queue::default();
    let garbage =
        InboundMessage { content_type: "application/json".into(), body: b"\xff".to_vec(), ..Default::default() };
    for _ in 0..2 {
        dead_letters.publish_message(garbage.clone());
        dead_letters.publish(&a[0]);
    }
    consuming.drain(&dead_letters).await;
    assert_eq!(rig.reasons().await, ["CRASH_LOOP", "UNDECODABLE"]);
    consuming.take(&a[1..]).await;
    assert_eq!(rig.effects().await, Vec::<Uuid>::new(), "it waits behind the event that ends the process");
    consuming.leaves_parked(0, 2).await;
}

#[tokio::test]
async fn a_message_of_a_foreign_sender_is_still_one_after_it_was_tried_again() {
    let rig = Rig::create(InboxMode::Rows).await;
    let event = &rig.key(1)[0];
    let consuming = rig.start();
    let dead_letters = Queue::default();
    dead_letters.publish_message(InboundMessage {
        content_type: "application/cloudevents+json".into(),
        headers: [(SENDER.to_owned(), "auth".to_owned())].into(),
        body: vostro_events::write_structured(&event.envelope, &event.data),
    });
    consuming.drain(&dead_letters).await;
    assert_eq!(rig.reasons().await, ["FOREIGN_SENDER"]);
    rig.database.tamper("update parked_key set state = 'WAITING', attempts = 0, next_attempt_at = '-infinity'").await;
    assert_eq!(consuming.retry_due().await, 1);
    assert_eq!(rig.reasons().await, ["FOREIGN_SENDER"], "an alert, a runbook and a person go by this");
    consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn messages_that_differ_only_in_their_headers_are_all_kept() {
    let rig = Rig::create(InboxMode::Rows).await;
    let consuming = rig.start();
    let dead_letters = Queue::default();
    let garbage = |id: &str| InboundMessage {
        content_type: "application/json".into(),
        headers: [("cloudEvents_id".to_owned(), id.to_owned())].into(),
        body: b"{}".to_vec(),
    };
    for id in ["one", "two", "one"] {
        dead_letters.publish_message(garbage(id));
    }
    consuming.drain(&dead_letters).await;
    consuming.leaves_parked(0, 2).await;
}

#[tokio::test]
async fn a_message_with_what_the_database_cannot_store_stops_nobody() {
    let rig = Rig::create(InboxMode::Rows).await;
    let consuming = rig.start();
    let dead_letters = Queue::default();
    dead_letters.publish_message(InboundMessage {
        content_type: "text/\0plain".into(),
        headers: [("cloudEvents_type".to_owned(), "a\0b".to_owned())].into(),
        body: b"\0".to_vec(),
    });
    consuming.drain(&dead_letters).await;
    consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn two_failures_of_one_key_are_parked_in_their_order() {
    let rig = Rig::create(InboxMode::Handler).await;
    let a = rig.key(1);
    let mut foreign = rig.foreign();
    foreign.envelope.partition_key = a[0].envelope.partition_key;
    rig.handler.set(&a[0], Mood::Invalid);
    let mut consuming = rig.start();
    consuming.pause().await;
    consuming.queue().publish(&a[0]);
    consuming.queue().publish(&foreign);
    consuming.go_on();
    consuming.queue().settled().await;
    assert_eq!(rig.parked_events().await, Rig::ids(&[a[0].clone(), foreign]));
    assert_eq!(rig.reasons().await, ["INVALID"]);
    consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn an_unreadable_message_is_rejected_and_the_rest_is_settled() {
    let rig = Rig::create(InboxMode::Rows).await;
    let a = rig.key(1);
    let consuming = rig.start();
    let garbage = InboundMessage { content_type: "text/plain".into(), ..Default::default() };
    consuming.queue().publish_message(garbage.clone());
    consuming.take(&a).await;
    assert_eq!(consuming.queue().rejected(), [garbage]);
    assert_eq!(rig.effects().await, Rig::ids(&a));
    consuming.leaves_parked(0, 0).await;
}

#[tokio::test]
async fn an_event_the_subscription_does_not_take_is_quarantined_with_its_key() {
    let rig = Rig::create(InboxMode::Rows).await;
    let (a, foreign) = (rig.key(1), rig.foreign());
    let consuming = rig.start();
    consuming.take(&[foreign, a[0].clone()]).await;
    assert_eq!(rig.reasons().await, ["UNKNOWN_EVENT"]);
    assert_eq!(rig.effects().await, Rig::ids(&a));
    consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn a_connection_that_is_cut_before_the_acknowledgement_doubles_nothing() {
    let rig = Rig::create(InboxMode::Rows).await;
    let (a, b) = (rig.key(2), rig.key(2));
    rig.handler.set(&a[0], Mood::Blocked);
    let mut consuming = rig.start();
    consuming.pause().await;
    for event in [&a[0], &b[0], &a[1], &b[1]] {
        consuming.queue().publish(event);
    }
    rig.handler.cut_when_handling(&b[0], consuming.queue().clone());
    consuming.go_on();
    rig.until("everything is settled although the connection went", async || consuming.queue().unsettled() == 0).await;
    assert_eq!(rig.effects().await, Rig::ids(&b));
    assert_eq!(rig.parked_events().await, Rig::ids(&a));
    consuming.leaves_parked(1, 0).await;
}

#[tokio::test]
#[should_panic(expected = "keys are parked")]
async fn a_test_that_leaves_a_parked_key_behind_fails() {
    let rig = Rig::create(InboxMode::Rows).await;
    let a = rig.key(1);
    rig.handler.set(&a[0], Mood::Invalid);
    let consuming = rig.start();
    consuming.take(&a).await;
    consuming.leaves_nothing_behind(&rig.database).await;
}

#[tokio::test]
#[should_panic(expected = "deliveries are not acknowledged")]
async fn a_test_that_leaves_a_delivery_behind_fails() {
    let rig = Rig::create(InboxMode::Rows).await;
    let mut consuming: Consuming = rig.start();
    consuming.pause().await;
    consuming.queue().publish(&rig.key(1)[0]);
    consuming.leaves_nothing_behind(&rig.database).await;
}

#[tokio::test]
#[should_panic(expected = "end the test with leaves_nothing_behind")]
async fn a_test_that_does_not_look_at_what_it_leaves_fails() {
    let rig = Rig::create(InboxMode::Rows).await;
    drop(rig.start());
}
