//! Questions and replies on a real broker, each module logged in as its own user.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use reqwest::Method;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_events::query::Query;
use vostro_messaging::Manifest;
use vostro_messaging::rpc::{
    AskError, Asking, BreakerState, CallError, Callee, Caller as _, Reply, Request, respond_to,
};
use vostro_rabbitmq::rpc::{AmqpCaller, serve};
use vostro_rabbitmq::testing::TestBroker;
use vostro_rabbitmq::topology::{apply, user_name};
use vostro_rabbitmq::{Supervisor, Topology};

use crate::support::{eventually, tamper, within};

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers with the text, once its turn has come; with [`PANIC`] it panics.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Echo {
    text: String,
}

const PANIC: &str = "of the test's making";

impl Query for Echo {
    const TYPE: &'static str = "account.echo.v1";
    type Answer = String;
}

/// Named by the caller's manifest and by nobody's topology: a newer caller with an older callee.
const NEWER: &str = "account.echo.v2";

fn manifest(module: &'static str, calls: &'static [&'static str], serves: &'static [&'static str]) -> Manifest {
    Manifest { calls, serves, ..vostro_testkit::manifest(module) }
}

/// transaction asks account; auth asks nobody.
fn manifests() -> Vec<Manifest> {
    vec![
        manifest("account", &[], &[Echo::TYPE]),
        manifest("transaction", &[Echo::TYPE], &[]),
        manifest("auth", &[], &[]),
    ]
}

struct Desk {
    /// A permit per answer.
    turns: Arc<Semaphore>,
    begun: Arc<AtomicU32>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Desk {
    fn open(broker: &TestBroker) -> Self {
        Self::open_with(broker, Semaphore::MAX_PERMITS)
    }

    fn open_with(broker: &TestBroker, turns: usize) -> Self {
        let (turns, begun) = (Arc::new(Semaphore::new(turns)), Arc::new(AtomicU32::new(0)));
        let responder = respond_to({
            let (turns, begun) = (Arc::clone(&turns), Arc::clone(&begun));
            move |Echo { text }| {
                let (turns, begun) = (Arc::clone(&turns), Arc::clone(&begun));
                async move {
                    begun.fetch_add(1, Ordering::SeqCst);
                    assert_ne!(text, PANIC);
                    turns.acquire().await.expect("never closed").forget();
                    Ok(text)
                }
            }
        });
        let callee = Arc::new(Callee::new("account", vec![responder], &manifests()));
        let stop = CancellationToken::new();
        let supervisor = |what: &str| Supervisor::start(broker.endpoint_of("account"), what);
        let serving = tokio::spawn(serve(callee, supervisor("questions"), supervisor("replies"), stop.clone()));
        Self { turns, begun, stop, serving }
    }

    async fn close(self) {
        self.stop.cancel();
        within("the desk to close", self.serving).await.expect("no panic");
    }
}

fn caller(broker: &TestBroker, module: &str) -> AmqpCaller {
    let supervisor = |what: &str| Supervisor::start(broker.endpoint_of(module), what);
    AmqpCaller::new(module, supervisor("asks"), supervisor("hears"))
}

fn asking(broker: &TestBroker) -> Asking {
    let asking = Asking::new("transaction");
    asking.connect(Arc::new(caller(broker, "transaction")));
    asking
}

fn echo(text: &str) -> Echo {
    Echo { text: text.to_owned() }
}

fn request(text: &str, deadline: TimeDelta) -> Request {
    let body = serde_json::to_vec(&echo(text)).expect("JSON");
    let deadline = Utc::now() + deadline;
    Request { id: Uuid::now_v7(), query: Echo::TYPE, callee: "account", deadline, body, traceparent: None }
}

#[tokio::test]
async fn questions_are_answered_each_with_its_own_answer() {
    let broker = TestBroker::with_topology("rpc", &manifests()).await;
    let (desk, asking) = (Desk::open(&broker), asking(&broker));
    let texts: Vec<String> = (0..200).map(|number| format!("number {number}")).collect();
    let answers = texts.iter().map(|text| async { asking.ask(&echo(text), PATIENCE).await });
    let answers = futures::future::join_all(answers).await;
    assert_eq!(answers.into_iter().map(|answer| answer.expect("answered")).collect::<Vec<_>>(), texts);
    desk.close().await;
}

#[tokio::test]
async fn a_running_caller_is_no_difference_to_the_topology() {
    let broker = TestBroker::with_topology("rpc-diff", &manifests()).await;
    let (desk, asking) = (Desk::open(&broker), asking(&broker));
    asking.ask(&echo("are you there?"), PATIENCE).await.expect("answered");
    let live = vostro_rabbitmq::topology::read_live(&broker.management, &broker.vhost).await.expect("answered");
    assert!(live.queues.keys().any(|name| name.starts_with("reply.transaction.")), "it has a reply queue");
    let topology = Topology::of(&manifests()).expect("valid");
    assert_eq!(vostro_rabbitmq::topology::diff(&topology, &live), []);
    desk.close().await;
}

#[tokio::test]
async fn a_question_that_nobody_serves_fails_at_once() {
    let broker = TestBroker::with_topology("rpc-unroutable", &manifests()).await;
    let caller = caller(&broker, "transaction");
    let newer = || Request { query: NEWER, ..request("hello", TimeDelta::hours(1)) };
    assert_eq!(within("the refusal", caller.call(newer())).await, Err(CallError::Unroutable));
    // Beside others: each gets its own fate, however the broker's answers are interleaved.
    let desk = Desk::open(&broker);
    let mixed = (0..100).map(|number| {
        let caller = &caller;
        async move {
            if number % 3 == 0 {
                assert_eq!(caller.call(newer()).await, Err(CallError::Unroutable), "{number}");
            } else {
                let body = format!("{number}");
                let answer = caller.call(request(&body, TimeDelta::seconds(30))).await;
                assert_eq!(answer, Ok(Reply::Answered(format!("\"{number}\"").into_bytes())));
            }
        }
    });
    within("all of them", futures::future::join_all(mixed)).await;
    desk.close().await;
}

#[tokio::test]
async fn a_late_reply_is_dropped_and_counted_and_disturbs_nobody() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let broker = TestBroker::with_topology("rpc-late", &manifests()).await;
    let desk = Desk::open_with(&broker, 0);
    let caller = caller(&broker, "transaction");
    // The callee begins, and is not done when the caller has gone.
    {
        let call = caller.call(request("too late", TimeDelta::minutes(10)));
        tokio::pin!(call);
        let begun = eventually("the callee to begin", async || (desk.begun.load(Ordering::SeqCst) == 1).then_some(()));
        tokio::select! {
            answer = &mut call => panic!("nobody may have answered: {answer:?}"),
            () = begun => {}
        }
    }
    desk.turns.add_permits(2);
    let answer = within("the next answer", caller.call(request("in time", TimeDelta::seconds(30)))).await;
    assert_eq!(answer, Ok(Reply::Answered(b"\"in time\"".to_vec())));
    let late = "vostro_rpc_late_replies_total{caller=\"transaction\"} 1";
    eventually("the late reply to be counted", async || metrics.render().contains(late).then_some(())).await;
    desk.close().await;
}

#[tokio::test]
async fn while_the_callee_is_away_the_deadline_ends_the_wait_and_the_question_expires() {
    let broker = TestBroker::with_topology("rpc-away", &manifests()).await;
    let caller = caller(&broker, "transaction");
    let answer = within("the deadline", caller.call(request("anybody?", TimeDelta::milliseconds(300)))).await;
    assert_eq!(answer, Err(CallError::DeadlineExceeded));
    // A callee that comes later answers what comes later.
    let desk = Desk::open(&broker);
    let answer = within("an answer", caller.call(request("now?", TimeDelta::seconds(30)))).await;
    assert_eq!(answer, Ok(Reply::Answered(b"\"now?\"".to_vec())));
    assert_eq!(desk.begun.load(Ordering::SeqCst), 1, "nobody waited for the first any more");
    desk.close().await;
}

#[tokio::test]
async fn the_breaker_opens_while_the_callee_is_away_and_closes_when_it_is_back() {
    let broker = TestBroker::with_topology("rpc-breaker", &manifests()).await;
    let asking = asking(&broker);
    eventually("the breaker to open", async || {
        let _ = asking.ask(&echo("?"), Duration::from_millis(50)).await;
        (asking.state_of("account") == BreakerState::Open).then_some(())
    })
    .await;
    // A slow machine may take longer than the pause after which one question tries again.
    eventually("a question to fail at once", async || {
        let answer = asking.ask(&echo("?"), Duration::from_millis(50)).await;
        (answer == Err(AskError::CircuitOpen("account"))).then_some(())
    })
    .await;
    let desk = Desk::open(&broker);
    eventually("an answer", async || asking.ask(&echo("!"), PATIENCE).await.ok()).await;
    assert_eq!(asking.state_of("account"), BreakerState::Closed);
    desk.close().await;
}

#[tokio::test]
async fn both_sides_go_on_after_the_broker_has_closed_their_connections() {
    let broker = TestBroker::with_topology("rpc-recovery", &manifests()).await;
    let (desk, caller) = (Desk::open(&broker), caller(&broker, "transaction"));
    within("an answer", caller.call(request("before", TimeDelta::seconds(30)))).await.expect("answered");
    broker.close_connections().await;
    let answer =
        eventually("an answer after it", async || caller.call(request("after", TimeDelta::seconds(2))).await.ok())
            .await;
    assert_eq!(answer, Reply::Answered(b"\"after\"".to_vec()));
    desk.close().await;
}

#[tokio::test]
async fn both_sides_go_on_after_the_exchange_of_replies_was_deleted_and_is_there_again() {
    let broker = TestBroker::with_topology("rpc-no-replies", &manifests()).await;
    let (desk, caller) = (Desk::open(&broker), caller(&broker, "transaction"));
    let ask = |deadline| caller.call(request("are you there?", deadline));
    let answered = Ok(Reply::Answered(b"\"are you there?\"".to_vec()));
    assert_eq!(ask(TimeDelta::seconds(30)).await, answered);
    tamper(Method::DELETE, &format!("exchanges/{}/rpc.reply", broker.vhost), json!({})).await;
    assert_eq!(ask(TimeDelta::seconds(1)).await, Err(CallError::DeadlineExceeded));
    let topology = Topology::of(&manifests()).expect("valid");
    apply(&topology, &broker.management, &broker.vhost, broker.passwords()).await.expect("applied");
    eventually("a question to be answered", async || (ask(TimeDelta::seconds(3)).await == answered).then_some(()))
        .await;
    desk.close().await;
}

#[tokio::test]
async fn a_responder_that_panics_keeps_no_place_from_the_questions_after_it() {
    let broker = TestBroker::with_topology("rpc-panic", &manifests()).await;
    let (desk, caller) = (Desk::open(&broker), caller(&broker, "transaction"));
    // More than are worked on at the same time.
    for _ in 0..40 {
        let answer = within("its failure", caller.call(request(PANIC, TimeDelta::seconds(30)))).await;
        assert_eq!(answer, Ok(Reply::Failed));
    }
    let answer = within("an answer", caller.call(request("alive?", TimeDelta::seconds(30)))).await;
    assert_eq!(answer, Ok(Reply::Answered(b"\"alive?\"".to_vec())));
    desk.close().await;
}

#[tokio::test]
async fn an_answer_that_hangs_does_not_keep_the_bank_from_stopping_and_its_question_comes_again() {
    let broker = TestBroker::with_topology("rpc-hangs", &manifests()).await;
    let (hanging, caller) = (Desk::open_with(&broker, 0), caller(&broker, "transaction"));
    let call = caller.call(request("patiently", TimeDelta::hours(1)));
    let stopped = async {
        let begun = async || (hanging.begun.load(Ordering::SeqCst) == 1).then_some(());
        eventually("the callee to begin", begun).await;
        hanging.close().await;
        Desk::open(&broker)
    };
    let (answer, desk) = within("an answer", async { tokio::join!(call, stopped) }).await;
    assert_eq!(answer, Ok(Reply::Answered(b"\"patiently\"".to_vec())));
    desk.close().await;
}

#[tokio::test]
async fn a_caller_that_loses_one_of_its_connections_leaves_no_reply_queue_behind() {
    let broker = TestBroker::with_topology("rpc-half", &manifests()).await;
    let desk = Desk::open(&broker);
    let connections = async || {
        let connections = broker.management.connections(&broker.vhost).await.expect("answered");
        connections.into_iter().map(|connection| connection.name).collect::<BTreeSet<_>>()
    };
    let started = async |count: usize| {
        eventually("the connections", async || Some(connections().await).filter(|names| names.len() == count)).await
    };
    let supervisor = |what: &str| Supervisor::start(broker.endpoint_of("transaction"), what);
    let hears = supervisor("hears");
    let before = started(3).await;
    let asks = supervisor("asks");
    let asking = started(4).await.difference(&before).next().expect("the new one").clone();
    let caller = AmqpCaller::new("transaction", asks, hears);
    within("an answer", caller.call(request("before", TimeDelta::seconds(30)))).await.expect("answered");

    broker.management.close_connection(&asking).await.expect("the broker closes it");
    eventually("the broker to forget it", async || (!connections().await.contains(&asking)).then_some(())).await;
    eventually("an answer after it", async || caller.call(request("after", TimeDelta::seconds(2))).await.ok()).await;
    eventually("the first reply queue to go", async || {
        let live = vostro_rabbitmq::topology::read_live(&broker.management, &broker.vhost).await.expect("answered");
        let queues = live.queues.keys().filter(|name| name.starts_with("reply.transaction.")).count();
        (queues == 1).then_some(())
    })
    .await;
    desk.close().await;
}

async fn channel_of(broker: &TestBroker, module: &str) -> (Connection, lapin::Channel) {
    let url = std::env::var(vostro_rabbitmq::testing::AMQP_URL).expect("set, or the test would not have come here");
    let (_, address) = url.rsplit_once('@').expect("an address with a user");
    let password = broker.passwords().of(module).expect("a module");
    let url = format!("amqp://{}:{password}@{address}/{}", user_name(&broker.vhost, module), broker.vhost);
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.expect("it can log in");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

#[tokio::test]
async fn who_has_nothing_to_ask_is_refused_by_the_broker() {
    let broker = TestBroker::with_topology("rpc-forbidden", &manifests()).await;
    let refused = within("the refusal", caller(&broker, "auth").call(request("hello", TimeDelta::seconds(30)))).await;
    let Err(CallError::Unavailable(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("ACCESS_REFUSED"), "{reason}");

    // Nor may it write to the callee's exchange without a reply queue.
    let (_connection, channel) = channel_of(&broker, "auth").await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("allowed");
    let options = BasicPublishOptions::default();
    let publish =
        channel.basic_publish("rpc.account".into(), Echo::TYPE.into(), options, b"{}", BasicProperties::default());
    let error = within("the refusal", async { publish.await?.await }).await.expect_err("forbidden").to_string();
    assert!(error.contains("ACCESS_REFUSED"), "{error}");
}

#[tokio::test]
async fn a_caller_can_have_no_queue_but_its_own_and_read_nobody_elses_questions() {
    let broker = TestBroker::with_topology("rpc-rights", &manifests()).await;
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    for queue in ["reply.account.1", "q.transaction.rpc", "anything"] {
        let (_connection, channel) = channel_of(&broker, "transaction").await;
        let declared = channel.queue_declare(queue.into(), exclusive, FieldTable::default()).await;
        let error = declared.expect_err(queue).to_string();
        assert!(error.contains("ACCESS_REFUSED"), "{queue}: {error}");
    }
    let (_connection, channel) = channel_of(&broker, "transaction").await;
    let consume = channel.basic_consume(
        "q.account.rpc".into(),
        "spy".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    assert!(consume.await.expect_err("forbidden").to_string().contains("ACCESS_REFUSED"));
    let (_connection, channel) = channel_of(&broker, "transaction").await;
    let own = channel.queue_declare("reply.transaction.1".into(), exclusive, FieldTable::default()).await;
    own.expect("its own reply queue");
    let bound = channel.queue_bind(
        "reply.transaction.1".into(),
        "rpc.account".into(),
        Echo::TYPE.into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    let error = bound.await.expect_err("it would read questions").to_string();
    assert!(error.contains("ACCESS_REFUSED"), "{error}");
}
