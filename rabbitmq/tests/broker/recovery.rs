use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vostro_messaging::{Broker as _, PublishError, Publisher};
use vostro_rabbitmq::testing::TestBroker;
use vostro_rabbitmq::{AmqpBroker, AmqpPublisher, ConnectionHealth, Supervisor};

use crate::proxy::Proxy;
use crate::support::{QUEUE, UPDATED, assert_all_settled, eventually, frame, manifests, next, number, within};

/// What the relay does: everything from the first failure on is published again, until something has been confirmed that
/// was sent after `stop`, because an end to the disturbance is no proof yet that publishing goes on. The number of frames
/// that were confirmed.
async fn publish_until(publisher: &dyn Publisher, stop: &CancellationToken) -> i64 {
    let mut confirmed = 0;
    loop {
        let last = stop.is_cancelled();
        let frames = (confirmed..confirmed + 100).map(|index| frame(UPDATED, index)).collect();
        let Ok(confirms) = publisher.send(frames).await else { continue };
        let count = confirms.await.iter().take_while(|result| result.is_ok()).count();
        confirmed += i64::try_from(count).expect("small");
        if last && count > 0 {
            return confirmed;
        }
    }
}

/// What a consumer does, until it has seen all that was confirmed, which it learns when publishing has ended: a new one
/// whenever the old one ends, and duplicates are expected.
async fn consume_all(consumers: &AmqpBroker, mut confirmed: watch::Receiver<Option<i64>>) {
    let mut seen = BTreeSet::new();
    // Every number below it was seen. Looking from the first one at each delivery would take longer than the deliveries.
    let mut complete_below = 0;
    loop {
        let Ok(mut deliveries) = consumers.consume(QUEUE, 64).await else { continue };
        loop {
            let delivery = tokio::select! {
                delivery = deliveries.next() => delivery,
                _ = confirmed.wait_for(|confirmed| confirmed.is_some_and(|all| all <= complete_below)) => return,
            };
            let Some(delivery) = delivery else { break };
            seen.insert(number(&delivery));
            while seen.remove(&complete_below) {
                complete_below += 1;
            }
            if deliveries.ack_through(delivery.tag).await.is_err() {
                break;
            }
        }
    }
}

/// Publishes and consumes while `disturb` runs, and then until everything that was confirmed has been consumed.
async fn under_disturbance(publisher: &dyn Publisher, consumers: &AmqpBroker, disturb: impl Future<Output = ()>) {
    let (stop, confirmed) = (CancellationToken::new(), watch::Sender::new(None));
    let disturbing = async {
        disturb.await;
        stop.cancel();
    };
    let publishing = async {
        confirmed.send_replace(Some(publish_until(publisher, &stop).await));
    };
    let working = async { tokio::join!(disturbing, publishing, consume_all(consumers, confirmed.subscribe())) };
    within("every confirmed frame to arrive", working).await;
}

#[tokio::test]
async fn nothing_is_lost_when_the_network_is_cut_again_and_again() {
    let broker = TestBroker::with_topology("cut", &manifests()).await;
    let proxy = Proxy::to(&broker).await;
    let publisher = AmqpPublisher::new(Supervisor::start(proxy.publishing.clone(), "publish"), "auth");
    let consumers = AmqpBroker::new(Supervisor::start(proxy.endpoint.clone(), "consume"));
    let disturb = async {
        let mut cuts = 0;
        while cuts < 8 {
            tokio::time::sleep(Duration::from_millis(rand::random_range(50..400))).await;
            cuts += proxy.cut();
        }
    };
    under_disturbance(&publisher, &consumers, disturb).await;
}

#[tokio::test]
async fn nothing_is_lost_when_the_broker_closes_connections() {
    let broker = TestBroker::with_topology("closed", &manifests()).await;
    let (publisher, consumers) = (broker.publisher("auth"), broker.broker());
    let disturb = async {
        broker.close_connections().await;
    };
    under_disturbance(&publisher, &consumers, disturb).await;
}

#[tokio::test]
async fn a_consumer_ends_with_its_connection_and_the_next_one_continues() {
    let broker = TestBroker::with_topology("continue", &manifests()).await;
    let proxy = Proxy::to(&broker).await;
    let (publisher, consumers) =
        (broker.publisher("auth"), AmqpBroker::new(Supervisor::start(proxy.endpoint.clone(), "consume")));
    let mut deliveries = consumers.consume(QUEUE, 10).await.expect("consuming");
    let frames = (0..2).map(|index| frame(UPDATED, index)).collect();
    let confirms = publisher.send(frames).await.expect("written");
    assert_eq!(within("confirms", confirms).await, [Ok(()), Ok(())]);
    let first = next(deliveries.as_mut()).await;
    assert_eq!(proxy.cut(), 1);
    while within("the end", deliveries.next()).await.is_some() {}
    let error = deliveries.ack_through(first.tag).await.expect_err("a tag of a connection that is gone");
    assert!(!error.to_string().is_empty());
    deliveries.reject(first.tag).await.expect_err("a tag of a connection that is gone");

    let mut deliveries = eventually("a new connection", async || consumers.consume(QUEUE, 10).await.ok()).await;
    let again = next(deliveries.as_mut()).await;
    assert_eq!((number(&again), again.delivery_count), (0, 1));
    let second = next(deliveries.as_mut()).await;
    deliveries.ack_through(second.tag).await.expect("acknowledged");
    assert_eq!(consumers.supervisor().health(), ConnectionHealth::Connected);
    drop(deliveries);
    assert_all_settled(&broker).await;
}

#[tokio::test]
async fn without_confirms_in_time_the_connection_is_replaced() {
    let broker = TestBroker::with_topology("silent", &manifests()).await;
    let proxy = Proxy::to(&broker).await;
    let publisher = AmqpPublisher::new(Supervisor::start(proxy.publishing.clone(), "publish"), "auth");
    let confirms = publisher.send(vec![frame(UPDATED, 0)]).await.expect("written");
    assert_eq!(within("confirms", confirms).await, [Ok(())]);
    proxy.swallow(true);
    let confirms = publisher.send(vec![frame(UPDATED, 1)]).await.expect("written");
    let unavailable = PublishError::Unavailable("no confirm within 10 s".into());
    assert_eq!(within("the deadline", confirms).await, [Err(unavailable)]);
    proxy.swallow(false);
    eventually("a new connection", async || {
        let confirms = publisher.send(vec![frame(UPDATED, 1)]).await.ok()?;
        (confirms.await == [Ok(())]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_given_up_and_no_connection_is_left_behind() {
    let broker = TestBroker::with_topology("mute", &manifests()).await;
    let proxy = Proxy::to(&broker).await;
    proxy.swallow(true);
    let supervisor = Supervisor::start(proxy.publishing.clone(), "publish");
    eventually("the first attempt", async || (proxy.connections() == 1).then_some(())).await;
    let silent = ConnectionHealth::Down("no connection within 10 s".into());
    eventually("the end of the attempt", async || (supervisor.health() == silent).then_some(())).await;
    supervisor.close().await;
    eventually("no connection", async || (proxy.connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn while_the_broker_accepts_nothing_publishing_is_refused_at_once_with_the_reason() {
    let broker = TestBroker::with_topology("blocked", &manifests()).await;
    let proxy = Proxy::to(&broker).await;
    let supervisor = Supervisor::start(proxy.publishing.clone(), "publish");
    let publisher = AmqpPublisher::new(supervisor.clone(), "auth");
    let confirms = publisher.send(vec![frame(UPDATED, 0)]).await.expect("written");
    assert_eq!(within("confirms", confirms).await, [Ok(())]);
    proxy.block();
    let blocked = ConnectionHealth::Blocked("low on memory".into());
    eventually("the alarm to be known", async || (supervisor.health() == blocked).then_some(())).await;
    let Err(error) = publisher.send(vec![frame(UPDATED, 1)]).await else { panic!("nothing is accepted") };
    assert_eq!(error, PublishError::Unavailable("the broker accepts no messages: low on memory".into()));
    proxy.unblock();
    eventually("the end of the alarm", async || {
        let confirms = publisher.send(vec![frame(UPDATED, 1)]).await.ok()?;
        (confirms.await == [Ok(())]).then_some(())
    })
    .await;
    assert_eq!(proxy.cut(), 1, "the connection outlives an alarm");
}

#[tokio::test]
async fn what_an_alarm_leaves_unconfirmed_is_given_up_and_the_connection_replaced_after_it() {
    let broker = TestBroker::with_topology("stuck", &manifests()).await;
    let proxy = Proxy::to(&broker).await;
    let supervisor = Supervisor::start(proxy.publishing.clone(), "publish");
    let publisher = AmqpPublisher::new(supervisor.clone(), "auth");
    let confirms = publisher.send(vec![frame(UPDATED, 0)]).await.expect("written");
    assert_eq!(within("confirms", confirms).await, [Ok(())]);
    proxy.swallow(true);
    let confirms = publisher.send(vec![frame(UPDATED, 1)]).await.expect("written");
    proxy.block();
    let results = within("the deadline", confirms).await;
    assert_eq!(results, [Err(PublishError::Unavailable("no confirm within 10 s".into()))]);
    assert!(matches!(supervisor.health(), ConnectionHealth::Blocked(_)), "it is kept while it is blocked");
    proxy.swallow(false);
    proxy.unblock();
    eventually("a new connection", async || {
        let confirms = publisher.send(vec![frame(UPDATED, 1)]).await.ok()?;
        (confirms.await == [Ok(())]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_carry_their_names_and_go_when_closed_or_unused() {
    let broker = TestBroker::with_topology("names", &manifests()).await;
    let names = async || {
        let connections = broker.management.connections(&broker.vhost).await.expect("answered");
        connections.into_iter().map(|connection| connection.client_name).collect::<BTreeSet<_>>()
    };
    let (publisher, consumers) = (broker.publisher("auth"), broker.broker());
    let expected = BTreeSet::from([publisher.supervisor().name().to_owned(), consumers.supervisor().name().to_owned()]);
    eventually("both connections", async || (names().await == expected).then_some(())).await;
    consumers.supervisor().close().await;
    assert!(consumers.consume(QUEUE, 1).await.is_err());
    drop(publisher);
    eventually("no connection", async || names().await.is_empty().then_some(())).await;
}
