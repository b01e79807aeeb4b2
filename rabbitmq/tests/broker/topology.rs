use reqwest::Method;
use serde_json::json;
use vostro_messaging::{EventSelector, Partitions, Publisher as _};
use vostro_rabbitmq::testing::TestBroker;
use vostro_rabbitmq::topology::{Difference, apply, diff, prune, read_live, user_name};
use vostro_rabbitmq::{ConnectionHealth, Endpoint, Passwords, Supervisor, Topology};

use crate::support::{QUEUE, UPDATED, eventually, frame, manifests, tamper, within};

fn topology() -> Topology {
    Topology::of(&manifests()).expect("valid")
}

async fn differences(broker: &TestBroker) -> Vec<String> {
    let live = read_live(&broker.management, &broker.vhost).await.expect("the broker answers");
    diff(&topology(), &live).iter().map(ToString::to_string).collect()
}

async fn apply_again(broker: &TestBroker) -> Vec<Difference> {
    apply(&topology(), &broker.management, &broker.vhost, broker.passwords()).await.expect("the broker answers")
}

#[tokio::test]
async fn an_applied_topology_shows_no_difference_however_often_it_is_applied() {
    let broker = TestBroker::with_topology("apply", &manifests()).await;
    assert_eq!(apply_again(&broker).await, []);
    assert_eq!(differences(&broker).await, [""; 0]);
}

#[tokio::test]
async fn a_topology_that_is_divided_otherwise_takes_the_bindings_from_the_queues_it_retires() {
    let broker = TestBroker::with_topology("divide", &manifests()).await;
    let four = Partitions::new(4).expect("a power of two");
    let divided = Topology::divided(&manifests(), four).expect("valid");
    for (wanted, retired) in [(&divided, QUEUE.to_owned()), (&topology(), format!("{QUEUE}.p03"))] {
        let applied = apply(wanted, &broker.management, &broker.vhost, broker.passwords()).await;
        let harmful = applied.expect("the broker answers").into_iter().filter(Difference::is_harmful);
        assert_eq!(harmful.collect::<Vec<_>>(), []);
        let live = read_live(&broker.management, &broker.vhost).await.expect("the broker answers");
        assert!(live.queues.contains_key(&retired), "a queue is never deleted");
        assert!(live.bindings.keys().all(|binding| binding.queue != retired), "{retired} still gets events");
    }
}

#[tokio::test]
async fn an_empty_virtual_host_lacks_everything_and_a_missing_one_is_an_error() {
    let broker = TestBroker::create("empty").await;
    let Topology { exchanges, queues, bindings, policies, users } = topology();
    let objects = exchanges.len() + queues.len() + bindings.len() + policies.len() + users.len();
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
async fn a_binding_of_an_earlier_release_is_removed_when_it_is_pruned_and_a_foreign_queue_left_alone() {
    let broker = TestBroker::with_topology("stale", &manifests()).await;
    let vhost = &broker.vhost;
    let tap = json!({ "durable": true, "arguments": { "x-queue-type": "quorum" } });
    tamper(Method::PUT, &format!("queues/{vhost}/tap"), tap).await;
    for queue in [QUEUE, "tap"] {
        let key = json!({ "routing_key": "auth.user-deleted.v1.#" });
        tamper(Method::POST, &format!("bindings/{vhost}/e/ev.auth/q/{queue}"), key).await;
    }
    assert_eq!(apply_again(&broker).await.len(), 2, "the earlier release may still run");
    let pruned = prune(&topology(), &broker.management, vhost).await.expect("the broker answers");
    assert_eq!(pruned.iter().map(|binding| binding.queue.as_str()).collect::<Vec<_>>(), [QUEUE]);
    let remaining = apply_again(&broker).await;
    assert_eq!(
        remaining.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["unexpected: the binding of the queue tap to the exchange ev.auth with the key \"auth.user-deleted.v1.#\""]
    );
    assert!(!remaining[0].is_harmful());
}

#[tokio::test]
async fn preparing_a_release_that_listens_to_less_takes_nothing_from_the_one_that_runs() {
    let broker = TestBroker::with_topology("rollout", &manifests()).await;
    let mut next = manifests();
    next[1].subscribes[0].events = EventSelector::Types(&["auth.user-deleted.v1"]);
    let next = Topology::of(&next).expect("valid");
    let applied = apply(&next, &broker.management, &broker.vhost, broker.passwords()).await.expect("applied");
    assert!(!applied.iter().any(Difference::is_harmful), "{applied:?}");
    let live = read_live(&broker.management, &broker.vhost).await.expect("the broker answers");
    let of_the_running_one = diff(&topology(), &live);
    let missing = of_the_running_one.iter().filter(|difference| matches!(difference, Difference::Missing { .. }));
    assert_eq!(missing.count(), 0, "{of_the_running_one:?}");
    assert_eq!(prune(&next, &broker.management, &broker.vhost).await.expect("pruned").len(), 1);
    let live = read_live(&broker.management, &broker.vhost).await.expect("the broker answers");
    assert_eq!(diff(&next, &live), []);
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
async fn a_user_who_may_do_more_is_named_and_corrected_and_keeps_the_password() {
    let broker = TestBroker::with_topology("rights", &manifests()).await;
    let (vhost, user) = (&broker.vhost, user_name(&broker.vhost, "auth"));
    let everything = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    tamper(Method::PUT, &format!("permissions/{vhost}/{user}"), everything).await;
    assert_eq!(
        differences(&broker).await,
        [
            "what the user of auth may configure: it is .*, it should be ^$",
            "what the user of auth may write to: it is .*, it should be ^ev\\.auth$",
            "what the user of auth may read from: it is .*, it should be ^$",
        ]
    );
    assert_eq!(apply_again(&broker).await, []);
    let confirms = broker.publisher("auth").send(vec![frame(UPDATED, 0)]).await.expect("it can still log in");
    assert_eq!(within("confirms", confirms).await, [Ok(())]);
}

#[tokio::test]
async fn a_new_password_is_set_and_passwords_that_are_not_given_stay() {
    let broker = TestBroker::with_topology("new-password", &manifests()).await;
    let changed: Passwords = [("auth".to_owned(), "a new one".to_owned())].into_iter().collect();
    let remaining = apply(&topology(), &broker.management, &broker.vhost, &changed).await.expect("applied");
    assert_eq!(remaining, []);
    let lets_in = async |endpoint: Endpoint| {
        let supervisor = Supervisor::start(endpoint, "log in");
        eventually("an answer", async || match supervisor.health() {
            ConnectionHealth::Connected => Some(true),
            ConnectionHealth::Down(reason) if reason.contains("ACCESS_REFUSED") => Some(false),
            _ => None,
        })
        .await
    };
    let auth = user_name(&broker.vhost, "auth");
    assert!(lets_in(broker.endpoint.clone().with_login(&auth, "a new one")).await);
    assert!(!lets_in(broker.endpoint_of("auth")).await);
    assert!(lets_in(broker.endpoint_of("account")).await);
}

#[tokio::test]
async fn a_user_of_an_earlier_release_and_a_strangers_rights_are_named_and_left_alone() {
    let broker = TestBroker::with_topology("strangers", &manifests()).await;
    let vhost = &broker.vhost;
    let nobody = json!({ "password_hash": "", "tags": "" });
    // The second one's name is another virtual host's; it is deleted below, as nobody else would.
    let (left_over, stranger) = (user_name(vhost, "card"), format!("{vhost}-stranger"));
    for user in [&left_over, &stranger] {
        tamper(Method::PUT, &format!("users/{user}"), nobody.clone()).await;
    }
    let rights = json!({ "configure": "", "write": "", "read": ".*" });
    tamper(Method::PUT, &format!("permissions/{vhost}/{stranger}"), rights).await;
    let remaining = apply_again(&broker).await;
    tamper(Method::DELETE, &format!("users/{stranger}"), json!({})).await;
    assert_eq!(
        remaining.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["unexpected: the user of card".to_owned(), format!("unexpected: rights of the user {stranger}")]
    );
    assert!(!remaining.iter().any(Difference::is_harmful));
}

#[tokio::test]
async fn deleting_a_virtual_host_deletes_its_users() {
    let broker = TestBroker::with_topology("users", &manifests()).await;
    broker.management.delete_vhost(&broker.vhost).await.expect("deleted");
    broker.management.create_vhost(&broker.vhost).await.expect("created");
    let live = read_live(&broker.management, &broker.vhost).await.expect("answered");
    assert!(live.users.is_some_and(|users| users.is_empty()));
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
