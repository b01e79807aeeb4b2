use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use vostro_messaging::{Broker as _, PublishError, Publisher as _};
use vostro_rabbitmq::testing::TestBroker;
use vostro_rabbitmq::{AmqpPublisher, Endpoint, Supervisor};

use crate::support::{
    QUEUE, UPDATED, assert_all_settled, eventually, frame, manifests, next, number, tamper, until_ready, within,
};

const NOBODYS: &str = "auth.user-deleted.v1";

fn unroutable() -> Result<(), PublishError> {
    Err(PublishError::Unroutable { exchange: "ev.auth".into(), routing_key: format!("{NOBODYS}.s00") })
}

/// Without the alternate exchange an unroutable message comes back.
async fn without_alternate_exchange(purpose: &str) -> TestBroker {
    let broker = TestBroker::with_topology(purpose, &manifests()).await;
    tamper(Method::DELETE, &format!("policies/{}/events", broker.vhost), json!({})).await;
    eventually("the policy to go", async || {
        let live = vostro_rabbitmq::topology::read_live(&broker.management, &broker.vhost).await.expect("answered");
        live.exchanges["ev.auth"].policy.is_none().then_some(())
    })
    .await;
    broker
}

#[tokio::test]
async fn five_thousand_pipelined_frames_are_all_confirmed_and_arrive_in_order() {
    let broker = TestBroker::with_topology("pipeline", &manifests()).await;
    let (publisher, consumers) = (broker.publisher("auth"), broker.broker());
    let mut deliveries = consumers.consume(QUEUE, 512).await.expect("consuming");
    let publishing = async {
        let mut windows = Vec::new();
        for window in 0..10 {
            let frames = (0..500).map(|index| frame(UPDATED, window * 500 + index)).collect();
            windows.push(publisher.send(frames).await.expect("written"));
        }
        within("confirms", join_all(windows)).await
    };
    let consuming = async {
        let mut numbers = Vec::new();
        while numbers.len() < 5000 {
            let mut last = next(deliveries.as_mut()).await;
            numbers.push(number(&last));
            while let Some(delivery) = deliveries.next_ready() {
                numbers.push(number(&delivery));
                last = delivery;
            }
            deliveries.ack_through(last.tag).await.expect("acknowledged");
        }
        numbers
    };
    let (results, numbers) = tokio::join!(publishing, consuming);
    assert_eq!(results.iter().flatten().filter(|result| result.is_ok()).count(), 5000);
    assert_eq!(numbers, (0..5000).collect::<Vec<_>>());
    drop(deliveries);
    assert_all_settled(&broker).await;
}

#[tokio::test]
async fn nothing_to_send_is_confirmed_at_once() {
    let broker = TestBroker::with_topology("nothing", &manifests()).await;
    let publisher = broker.publisher("auth");
    let confirms = publisher.send(vec![]).await.expect("written");
    assert_eq!(within("confirms", confirms).await, []);
}

#[tokio::test]
async fn unroutable_frames_are_told_from_the_others_in_every_pipelined_window() {
    let broker = without_alternate_exchange("returns").await;
    let publisher = broker.publisher("auth");
    let types = |window: i64| (0..200).map(move |index| if (index * 7 + window) % 5 == 0 { NOBODYS } else { UPDATED });
    for _ in 0..3 {
        let mut windows = Vec::new();
        for window in 0..5 {
            let frames = types(window).zip(0..).map(|(event_type, number)| frame(event_type, number)).collect();
            windows.push(publisher.send(frames).await.expect("written"));
        }
        for (results, window) in within("confirms", join_all(windows)).await.into_iter().zip(0..) {
            let expected: Vec<_> =
                types(window).map(|event_type| if event_type == NOBODYS { unroutable() } else { Ok(()) }).collect();
            assert_eq!(results, expected);
        }
    }
}

#[tokio::test]
async fn what_nobody_takes_is_kept_by_the_alternate_exchange() {
    let broker = TestBroker::with_topology("unrouted", &manifests()).await;
    let confirms = broker.publisher("auth").send(vec![frame(NOBODYS, 1)]).await.expect("written");
    assert_eq!(within("confirms", confirms).await, [Ok(())]);
    until_ready(&broker, "q.ev.unrouted", 1).await;
}

#[tokio::test]
async fn an_overfull_queue_refuses_until_there_is_room_and_publishing_goes_on() {
    let broker = TestBroker::with_topology("full", &manifests()).await;
    let policy = |length: u32| {
        json!({ "pattern": "^q\\.account\\.customers$", "apply-to": "queues",
                "definition": { "max-length": length, "overflow": "reject-publish" } })
    };
    let path = format!("policies/{}/sub-account.customers", broker.vhost);
    tamper(Method::PUT, &path, policy(10)).await;
    let publisher = broker.publisher("auth");
    let refused = eventually("a refusal", async || {
        let frames = (0..50).map(|index| frame(UPDATED, index)).collect();
        let results = within("confirms", publisher.send(frames).await.expect("written")).await;
        assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(PublishError::Refused))), "{results:?}");
        Some(results.iter().filter(|result| result.is_err()).count()).filter(|refused| *refused > 0)
    })
    .await;
    assert!(refused > 0);
    tamper(Method::PUT, &path, policy(1_000_000)).await;
    eventually("acceptance", async || {
        let results = within("confirms", publisher.send(vec![frame(UPDATED, 99)]).await.expect("written")).await;
        (results == [Ok(())]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_is_a_persistent_cloud_event_with_everything_an_operator_looks_for() {
    let broker = TestBroker::with_topology("properties", &manifests()).await;
    // A queue with a single active consumer lets nobody look at its messages; this one does.
    let sent = frame(NOBODYS, 42);
    let confirms = broker.publisher("auth").send(vec![sent.clone()]).await.expect("written");
    assert_eq!(within("confirms", confirms).await, [Ok(())]);
    let get = json!({ "count": 1, "ackmode": "ack_requeue_true", "encoding": "auto" });
    let response = tamper(Method::POST, &format!("queues/{}/q.ev.unrouted/get", broker.vhost), get).await;
    let messages: Value = response.json().await.expect("JSON");
    let properties = &messages[0]["properties"];
    assert_eq!(properties["delivery_mode"], 2);
    assert_eq!(properties["message_id"], sent.message_id.to_string());
    assert_eq!(properties["type"], NOBODYS);
    assert_eq!(properties["app_id"], "auth");
    assert_eq!(properties["user_id"], format!("{}.auth", broker.vhost));
    assert_eq!(properties["timestamp"], 0);
    assert_eq!(properties["content_type"], "application/json");
    let headers = &properties["headers"];
    assert_eq!(headers["cloudEvents_id"], sent.message_id.to_string());
    assert_eq!(headers["cloudEvents_specversion"], "1.0");
    assert_eq!(headers["cloudEvents_traceparent"], "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert!(messages[0]["payload"].as_str().is_some_and(|body| body.starts_with("{\"padding\"")));
}

#[tokio::test]
async fn without_a_broker_publishing_is_unavailable_and_the_reason_is_told() {
    let endpoint = Endpoint::parse("amqp://u:p@127.0.0.1:1").expect("valid");
    let publisher = AmqpPublisher::new(Supervisor::start(endpoint, "nobody"), "auth");
    let Err(error) = within("the answer", publisher.send(vec![frame(UPDATED, 1)])).await else {
        panic!("there is no broker")
    };
    assert!(matches!(&error, PublishError::Unavailable(reason) if reason.contains("refused")), "{error}");
}
