use reqwest::Method;
use serde_json::json;
use vostro_rabbitmq::Topology;
use vostro_rabbitmq::testing::TestBroker;
use vostro_rabbitmq::topology::{Difference, apply, diff, read_live};

use crate::support::{QUEUE, eventually, manifests, tamper};

fn topology() -> Topology {
    Topology::of(&manifests()).expect("valid")
}

async fn differences(broker: &TestBroker) -> Vec<String> {
    let live = read_live(&broker.management, &broker.vhost).await.expect("the broker answers");
    diff(&topology(), &live).iter().map(ToString::to_string).collect()
}

async fn apply_again(broker: &TestBroker) -> Vec<Difference> {
    apply(&topology(), &broker.management, &broker.vhost).await.expect("the broker answers")
}

#[tokio::test]
async fn an_applied_topology_shows_no_difference_however_often_it_is_applied() {
    let broker = TestBroker::with_topology("apply", &manifests()).await;
    assert_eq!(apply_again(&broker).await, []);
    assert_eq!(differences(&broker).await, [""; 0]);
}

#[tokio::test]
async fn an_empty_virtual_host_lacks_everything_and_a_missing_one_is_an_error() {
    let broker = TestBroker::create("empty").await;
    let topology = topology();
    let objects = topology.exchanges.len() + topology.queues.len() + topology.bindings.len() + topology.policies.len();
    assert_eq!(differences(&broker).await.len(), objects);
    let error = read_live(&broker.management, "no-such-vhost").await.expect_err("missing");
    assert!(error.to_string().contains("no-such-vhost"), "{error}");
}

#[tokio::test]
async fn a_removed_binding_a_deleted_queue_and_a_changed_policy_are_named_and_repaired() {
    let broker = TestBroker::with_topology("drift", &manifests()).await;
    let vhost = &broker.vhost;
    tamper(Method::DELETE, &format!("bindings/{vhost}/e/ev.auth/q/{QUEUE}/auth.user-updated.v1.%2523"), json!({}))
        .await;
    assert_eq!(
        differences(&broker).await,
        ["missing: the binding of the queue q.account.customers to the exchange ev.auth with the key \
         \"auth.user-updated.v1.#\""]
    );
    assert_eq!(apply_again(&broker).await, []);

    broker.management.delete_queue(vhost, "q.ev.unrouted").await.expect("deleted");
    assert_eq!(
        differences(&broker).await,
        [
            "missing: the queue q.ev.unrouted",
            "missing: the binding of the queue q.ev.unrouted to the exchange ev.unrouted with the key \"\"",
        ]
    );
    assert_eq!(apply_again(&broker).await, []);

    let policy = json!({ "pattern": "^dlq\\.", "apply-to": "queues", "definition": { "max-length": 1 } });
    tamper(Method::PUT, &format!("policies/{vhost}/dead-letters"), policy).await;
    assert_eq!(
        differences(&broker).await,
        [
            "delivery-limit of the policy dead-letters: it is null, it should be 1000000",
            "max-length of the policy dead-letters: it is 1, it should be 500000",
            "overflow of the policy dead-letters: it is null, it should be \"reject-publish\"",
        ]
    );
    assert_eq!(apply_again(&broker).await, []);
}

#[tokio::test]
async fn a_policy_that_shadows_ours_is_named() {
    let broker = TestBroker::with_topology("shadow", &manifests()).await;
    let policy = json!({ "pattern": ".*", "priority": 9, "apply-to": "all", "definition": { "max-length": 1 } });
    tamper(Method::PUT, &format!("policies/{}/everything", broker.vhost), policy).await;
    let shadowed = eventually("the policy to come into effect", async || {
        Some(differences(&broker).await).filter(|differences| differences.len() == 5)
    })
    .await;
    assert_eq!(
        shadowed[0],
        "the policy in effect on dlq.account.customers: it is everything, it should be dead-letters"
    );
}

#[tokio::test]
async fn a_binding_of_an_earlier_release_is_removed_and_a_foreign_queue_left_alone() {
    let broker = TestBroker::with_topology("stale", &manifests()).await;
    let vhost = &broker.vhost;
    let tap = json!({ "durable": true, "arguments": { "x-queue-type": "quorum" } });
    tamper(Method::PUT, &format!("queues/{vhost}/tap"), tap).await;
    for queue in [QUEUE, "tap"] {
        let key = json!({ "routing_key": "auth.user-deleted.v1.#" });
        tamper(Method::POST, &format!("bindings/{vhost}/e/ev.auth/q/{queue}"), key).await;
    }
    assert_eq!(differences(&broker).await.len(), 2);
    let remaining = apply_again(&broker).await;
    assert_eq!(
        remaining.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["unexpected: the binding of the queue tap to the exchange ev.auth with the key \"auth.user-deleted.v1.#\""]
    );
    assert!(!remaining[0].is_harmful());
}

#[tokio::test]
async fn a_queue_of_another_type_is_named_and_kept() {
    let broker = TestBroker::create("other-type").await;
    let classic = json!({ "durable": true, "arguments": { "x-queue-type": "classic" } });
    tamper(Method::PUT, &format!("queues/{}/{QUEUE}", broker.vhost), classic).await;
    let remaining = apply_again(&broker).await;
    assert_eq!(
        remaining[0].to_string(),
        "the arguments of the queue q.account.customers: it is {\"x-queue-type\":\"classic\"}, it should be \
         {\"x-queue-type\":\"quorum\",\"x-single-active-consumer\":true}"
    );
    assert!(remaining[0].is_harmful());
}

#[tokio::test]
async fn the_definitions_file_sets_up_a_broker_without_the_bank() {
    let broker = TestBroker::create("file").await;
    let definitions = topology().definitions(&broker.vhost).parse().expect("JSON");
    tamper(Method::POST, "definitions", definitions).await;
    assert_eq!(differences(&broker).await, [""; 0]);
}

#[tokio::test]
async fn the_broker_tells_its_version_and_that_no_alarm_is_in_force() {
    let broker = TestBroker::create("overview").await;
    assert!(broker.management.version().await.expect("answered").contains('.'));
    assert_eq!(broker.management.alarm().await.expect("answered"), None);
    assert!(broker.management.vhost_exists(&broker.vhost).await.expect("answered"));
    broker.management.delete_vhost(&broker.vhost).await.expect("deleted");
    assert!(!broker.management.vhost_exists(&broker.vhost).await.expect("answered"));
    broker.management.delete_vhost(&broker.vhost).await.expect("deleting twice is fine");
}
