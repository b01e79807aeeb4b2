use reqwest::Method;
use serde_json::json;
use vostro_messaging::{Broker as _, Publisher as _, decode};
use vostro_rabbitmq::testing::TestBroker;
use vostro_rabbitmq::{AmqpBroker, QueueDepth};

use crate::support::{
    DEAD_LETTERS, QUEUE, UPDATED, assert_all_settled, eventually, frame, manifests, next, number, tamper, until_ready,
    within,
};

async fn with_messages(purpose: &str, count: i64) -> (TestBroker, AmqpBroker) {
    let broker = TestBroker::with_topology(purpose, &manifests()).await;
    let frames = (0..count).map(|index| frame(UPDATED, index)).collect();
    let confirms = broker.publisher("auth").send(frames).await.expect("written");
    assert!(within("confirms", confirms).await.iter().all(Result::is_ok));
    let consumers = broker.broker();
    (broker, consumers)
}

async fn send_rubbish(broker: &TestBroker) {
    let message = json!({
        "routing_key": format!("{UPDATED}.s00"), "payload": "\u{1}rubbish", "payload_encoding": "string",
        "properties": { "delivery_mode": 2, "content_type": "text/plain" },
    });
    tamper(Method::POST, &format!("exchanges/{}/ev.auth/publish", broker.vhost), message).await;
}

#[tokio::test]
async fn acknowledging_through_a_message_settles_all_before_it() {
    let (broker, consumers) = with_messages("through", 10).await;
    let mut deliveries = consumers.consume(QUEUE, 100).await.expect("consuming");
    let mut tags = Vec::new();
    while tags.len() < 10 {
        tags.push(next(deliveries.as_mut()).await.tag);
    }
    deliveries.ack_through(tags[6]).await.expect("acknowledged");
    deliveries.ack_through(tags[6]).await.expect("acknowledging again is harmless");
    drop(deliveries);
    until_ready(&broker, QUEUE, 3).await;
    let mut deliveries = consumers.consume(QUEUE, 100).await.expect("consuming");
    for expected in 7..10 {
        assert_eq!(number(&next(deliveries.as_mut()).await), expected);
    }
}

#[tokio::test]
async fn an_undecodable_message_goes_to_the_dead_letters_and_the_rest_is_settled() {
    let (broker, consumers) = with_messages("undecodable", 2).await;
    send_rubbish(&broker).await;
    let mut deliveries = consumers.consume(QUEUE, 100).await.expect("consuming");
    for expected in 0..2 {
        assert_eq!(number(&next(deliveries.as_mut()).await), expected);
    }
    let rubbish = next(deliveries.as_mut()).await;
    assert!(decode(&rubbish.message).is_err());
    deliveries.reject(rubbish.tag).await.expect("rejected");
    // The consumer acknowledges through the last message of its batch, which is the rejected one.
    deliveries.ack_through(rubbish.tag).await.expect("acknowledged");
    until_ready(&broker, DEAD_LETTERS, 1).await;
    let mut letters = consumers.consume(DEAD_LETTERS, 16).await.expect("the connection is still good");
    let letter = next(letters.as_mut()).await;
    assert_eq!(
        (letter.message.body.as_slice(), letter.message.content_type.as_str()),
        (&b"\x01rubbish"[..], "text/plain")
    );
    letters.ack_through(letter.tag).await.expect("acknowledged");
    drop(deliveries);
    assert_all_settled(&broker).await;
}

#[tokio::test]
async fn a_message_that_comes_again_says_how_often_it_came_and_ends_as_a_dead_letter() {
    let (broker, consumers) = with_messages("again", 1).await;
    for count in 0..=8 {
        let mut deliveries = consumers.consume(QUEUE, 1).await.expect("consuming");
        let delivery = next(deliveries.as_mut()).await;
        assert_eq!(delivery.delivery_count, count);
    }
    until_ready(&broker, DEAD_LETTERS, 1).await;
    assert_eq!(consumers.depth(QUEUE).await, Ok(QueueDepth { ready: 0, consumers: 0 }));
}

#[tokio::test]
async fn no_more_than_the_prefetch_arrives_without_acknowledgement() {
    let (_broker, consumers) = with_messages("prefetch", 10).await;
    let mut deliveries = consumers.consume(QUEUE, 3).await.expect("consuming");
    let mut last = 0;
    for expected in 0..3 {
        let delivery = next(deliveries.as_mut()).await;
        assert_eq!(number(&delivery), expected);
        last = delivery.tag;
    }
    assert!(deliveries.next_ready().is_none());
    deliveries.ack_through(last).await.expect("acknowledged");
    assert_eq!(number(&next(deliveries.as_mut()).await), 3);
}

#[tokio::test]
async fn one_consumer_is_active_and_the_next_goes_on_in_order() {
    let (broker, consumers) = with_messages("single", 4).await;
    let mut active = consumers.consume(QUEUE, 2).await.expect("consuming");
    let mut waiting = broker.broker().consume(QUEUE, 2).await.expect("consuming");
    assert_eq!(number(&next(active.as_mut()).await), 0);
    let second = next(active.as_mut()).await;
    active.ack_through(second.tag).await.expect("acknowledged");
    assert_eq!(number(&next(active.as_mut()).await), 2);
    assert!(waiting.next_ready().is_none());
    drop(active);
    for expected in 2..4 {
        assert_eq!(number(&next(waiting.as_mut()).await), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_consumer_held_when_it_went_comes_to_the_next_before_anything_later() {
    let (broker, _) = with_messages("hand-over", 1000).await;
    let mut active = broker.broker().consume(QUEUE, 50).await.expect("consuming");
    // No message is with more than five of them: the broker gives up what was returned too often.
    for turn in 0..20 {
        let mut waiting = broker.broker().consume(QUEUE, 50).await.expect("consuming");
        let first = next(active.as_mut()).await;
        assert_eq!(number(&first), turn * 10, "turn {turn}");
        let mut last = first.tag;
        for nth in 1..10 {
            let delivery = next(active.as_mut()).await;
            assert_eq!(number(&delivery), turn * 10 + nth, "turn {turn}");
            last = delivery.tag;
        }
        active.ack_through(last).await.expect("acknowledged");
        std::mem::swap(&mut active, &mut waiting);
        // Forty messages or more are with it, unacknowledged.
        drop(waiting);
    }
}

#[tokio::test]
async fn a_missing_queue_is_an_error_and_does_no_harm_to_other_consumers() {
    let (_broker, consumers) = with_messages("missing", 2).await;
    let mut deliveries = consumers.consume(QUEUE, 1).await.expect("consuming");
    let first = next(deliveries.as_mut()).await;
    let Err(error) = consumers.consume("q.account.nothing", 10).await else { panic!("there is no such queue") };
    assert!(error.to_string().contains("q.account.nothing") && error.to_string().contains("NOT_FOUND"), "{error}");
    deliveries.ack_through(first.tag).await.expect("the other consumer lives");
    assert_eq!(number(&next(deliveries.as_mut()).await), 1);
}

#[tokio::test]
async fn a_deleted_queue_ends_its_consumer() {
    let (broker, consumers) = with_messages("deleted", 0).await;
    let mut deliveries = consumers.consume(QUEUE, 1).await.expect("consuming");
    broker.management.delete_queue(&broker.vhost, QUEUE).await.expect("deleted");
    assert!(within("the end", deliveries.next()).await.is_none());
    assert!(deliveries.next_ready().is_none());
    assert!(consumers.consume(QUEUE, 1).await.is_err());
}

#[tokio::test]
async fn queue_figures_tell_messages_and_consumers() {
    let (broker, consumers) = with_messages("figures", 5).await;
    let mut deliveries = consumers.consume(QUEUE, 2).await.expect("consuming");
    next(deliveries.as_mut()).await;
    // Its parts are measured at different moments, so it is all of them that is waited for.
    eventually("the figures", async || {
        let figures = broker.management.queue(&broker.vhost, QUEUE).await.expect("answered")?;
        let told = (figures.messages, figures.unacknowledged, figures.ready, figures.consumers);
        Some(()).filter(|()| told == (5, 2, 3, 1))
    })
    .await;
    assert_eq!(broker.management.queue(&broker.vhost, "q.none").await.expect("answered"), None);
}
