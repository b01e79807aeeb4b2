//! Questions between modules: who may ask, how long, and what a callee that does not answer costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vostro_events::query::Query;
use vostro_messaging::Manifest;
use vostro_messaging::rpc::{
    AskError, Asked, Asking, Breaker, BreakerState, CallError, Callee, Reply, RespondError, Responder, respond_to,
};
use vostro_testkit::{Wire, WireMood, eventually};

/// Longer than any of these tests should take.
const PATIENCE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

#[derive(Debug, Serialize, Deserialize)]
struct Double {
    number: i32,
}

impl Query for Double {
    const TYPE: &'static str = "account.double.v1";
    type Answer = i32;
}

#[derive(Debug, Serialize, Deserialize)]
struct Unserved;

impl Query for Unserved {
    const TYPE: &'static str = "account.unserved.v1";
    type Answer = ();
}

/// Refuses negative numbers, 13 is its bad luck, and 666 its end.
fn responder(answered: &Arc<AtomicU32>) -> Arc<dyn Responder> {
    let answered = Arc::clone(answered);
    respond_to(move |Double { number }| {
        let answered = Arc::clone(&answered);
        async move {
            answered.fetch_add(1, Ordering::SeqCst);
            match number {
                13 => Err(RespondError::Fault("a fault of its own".into())),
                666 => panic!("of the test's making"),
                ..0 => Err(RespondError::Refused("only what is not negative".to_owned())),
                _ => Ok(number * 2),
            }
        }
    })
}

fn manifest(module: &'static str, calls: &'static [&'static str], serves: &'static [&'static str]) -> Manifest {
    Manifest { calls, serves, ..vostro_testkit::manifest(module) }
}

struct Rig {
    asking: Asking,
    wire: Wire,
    answered: Arc<AtomicU32>,
}

fn callee(answered: &Arc<AtomicU32>) -> Callee {
    let manifests =
        [manifest("transaction", &[Double::TYPE, Unserved::TYPE], &[]), manifest("account", &[], &[Double::TYPE])];
    Callee::new("account", vec![responder(answered)], &manifests)
}

fn rig_of(caller: &'static str) -> Rig {
    let answered = Arc::new(AtomicU32::new(0));
    let wire = Wire::new(caller, vec![callee(&answered)]);
    let asking = Asking::new(caller);
    asking.connect(Arc::new(wire.clone()));
    Rig { asking, wire, answered }
}

fn rig() -> Rig {
    rig_of("transaction")
}

impl Rig {
    async fn double(&self, number: i32, budget: Duration) -> Result<i32, AskError> {
        self.asking.ask(&Double { number }, budget).await
    }
}

#[tokio::test]
async fn a_question_is_answered() {
    assert_eq!(rig().double(21, PATIENCE).await, Ok(42));
}

#[tokio::test]
async fn before_the_wire_is_there_nobody_is_available() {
    let error = Asking::new("transaction").ask(&Double { number: 1 }, PATIENCE).await;
    assert_eq!(error, Err(AskError::Call(CallError::Unavailable("not connected yet".to_owned()))));
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused_with_the_reason_and_is_nobodys_failure() {
    let rig = rig();
    for _ in 0..=Breaker::FAILURES {
        assert_eq!(rig.double(-1, PATIENCE).await, Err(AskError::Refused("only what is not negative".to_owned())));
    }
    assert_eq!(rig.asking.state_of("account"), BreakerState::Closed);
}

#[tokio::test]
async fn what_goes_wrong_at_the_callee_stays_there() {
    assert_eq!(rig().double(13, PATIENCE).await, Err(AskError::Failed));
}

#[tokio::test]
async fn a_responder_that_panics_has_failed_and_answers_the_next() {
    let rig = rig();
    assert_eq!(rig.double(666, PATIENCE).await, Err(AskError::Failed));
    assert_eq!(rig.double(2, PATIENCE).await, Ok(4));
}

#[tokio::test]
async fn who_does_not_say_so_in_its_manifest_may_not_ask() {
    let rig = rig_of("notification");
    let error = rig.double(1, PATIENCE).await.expect_err("not in its manifest");
    assert_eq!(error, AskError::Refused("the caller's manifest does not name the question".to_owned()));
    assert_eq!(rig.answered.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_question_this_release_does_not_know_is_refused() {
    let error = rig().asking.ask(&Unserved, PATIENCE).await.expect_err("nobody answers it");
    assert!(matches!(error, AskError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_is_not_answered() {
    let answered = Arc::new(AtomicU32::new(0));
    let callee = callee(&answered);
    let asked = |patience| Asked {
        query: Double::TYPE.to_owned(),
        caller: "transaction".to_owned(),
        patience,
        body: br#"{"number":1}"#.to_vec(),
        traceparent: None,
    };
    assert_eq!(callee.answer(asked(Duration::ZERO)).await, None);
    assert_eq!(answered.load(Ordering::SeqCst), 0);
    let reply = callee.answer(asked(PATIENCE)).await;
    assert_eq!(reply, Some(Reply::Answered(b"2".to_vec())));
}

#[tokio::test]
async fn a_callee_that_does_not_answer_costs_a_few_deadlines_and_then_nothing() {
    let rig = rig();
    rig.wire.set(WireMood::Swallows);
    for _ in 0..Breaker::FAILURES {
        assert_eq!(rig.double(1, SHORT).await, Err(AskError::Call(CallError::DeadlineExceeded)));
    }
    assert_eq!(rig.asking.state_of("account"), BreakerState::Open);
    // A slow machine may take longer than the pause after which one question tries again.
    let carried = eventually("a question fails at once", || async {
        let carried = rig.wire.carried();
        (rig.double(1, SHORT).await == Err(AskError::CircuitOpen("account"))).then_some(carried)
    })
    .await;
    assert_eq!(rig.wire.carried(), carried, "it was not asked");
}

#[tokio::test]
async fn a_callee_that_is_back_is_found_by_one_question_and_then_asked_by_all() {
    let rig = rig();
    rig.wire.set(WireMood::IsCut);
    for _ in 0..Breaker::FAILURES {
        assert!(matches!(rig.double(1, PATIENCE).await, Err(AskError::Call(CallError::Unavailable(_)))));
    }
    rig.wire.set(WireMood::Carries);
    eventually("it is tried again after the pause", || async {
        (rig.double(1, PATIENCE).await != Err(AskError::CircuitOpen("account"))).then_some(())
    })
    .await;
    assert_eq!(rig.asking.state_of("account"), BreakerState::Closed);
    assert_eq!(rig.double(4, PATIENCE).await, Ok(8));
}

#[tokio::test]
async fn one_that_tries_and_fails_opens_it_again() {
    let rig = rig();
    rig.wire.set(WireMood::IsCut);
    eventually("it is tried now and then", || async {
        let _ = rig.double(1, PATIENCE).await;
        (rig.wire.carried() >= Breaker::FAILURES + 2).then_some(())
    })
    .await;
    assert_eq!(rig.asking.state_of("account"), BreakerState::Open);
}
