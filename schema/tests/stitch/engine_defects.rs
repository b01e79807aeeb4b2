//! What the modules' library does when it is asked directly, and why the door stands before it. Each defect is shown on
//! the bare library first: when a new version mends one, the test says so, and what stands around it can go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_graphql::{EmptyMutation, EmptySubscription, Object, Result, Schema, SimpleObject};
use serde_json::json;
use vostro_kernel::Actor;

use crate::harness::Bank;

#[derive(SimpleObject)]
struct Paid {
    number: usize,
    account: String,
}

struct Query;

#[Object]
impl Query {
    async fn fine(&self) -> i32 {
        1
    }
    async fn broken(&self) -> Result<Option<i32>> {
        Err("broken".into())
    }
}

struct Mutation(Arc<AtomicUsize>);

#[Object]
impl Mutation {
    async fn pay(&self) -> Paid {
        Paid { number: self.0.fetch_add(1, Ordering::SeqCst) + 1, account: "a".to_owned() }
    }
}

#[tokio::test]
async fn a_command_written_twice_under_one_key_runs_twice_in_the_library_and_once_at_the_bank() {
    let runs = Arc::new(AtomicUsize::new(0));
    let bare = Schema::new(Query, Mutation(Arc::clone(&runs)), EmptySubscription);
    bare.execute("mutation { pay { number } pay { account } }").await;
    assert_eq!(runs.load(Ordering::SeqCst), 2, "the library has been mended");

    let bank = Bank::open();
    let input = "input: {idempotencyKey: \"k\", amount: {amount: \"1\", currency: \"EUR\"}}";
    let doubled = format!(
        "mutation {{ pay({input}) {{ number }} ...again }} fragment again on Mutation {{ pay({input}) {{ account {{ id }} }} }}"
    );
    let answer = bank.ask_as(Actor::ANONYMOUS, &doubled, json!({})).await;
    assert_eq!(answer, json!({"data": {"pay": {"number": 1, "account": {"id": "acc_1"}}}}));
    assert_eq!(bank.paid(), 1);
}

#[tokio::test]
async fn a_failed_nullable_field_takes_its_siblings_in_the_library_and_stays_alone_at_the_bank() {
    let bare = Schema::new(Query, EmptyMutation, EmptySubscription);
    let response = bare.execute("{ fine broken }").await;
    assert_eq!(response.data.into_json().unwrap(), json!(null), "the library has been mended");

    let answer = Bank::open().ask("{ hello broken }").await;
    assert_eq!(answer["data"], json!({"hello": "hello you", "broken": null}));
    assert_eq!(answer["errors"][0]["path"], json!(["broken"]));
}

#[tokio::test]
async fn introspection_switched_off_is_silent_in_the_library_and_an_error_at_the_bank() {
    let bare = Schema::build(Query, EmptyMutation, EmptySubscription).disable_introspection().finish();
    let response = bare.execute("{ __schema { queryType { name } } }").await;
    assert!(response.errors.is_empty(), "the library has been mended");

    let bank = Bank::with(vostro_schema::stitch::Limits { introspection: false, ..Default::default() });
    assert_eq!(bank.code("{ __schema { queryType { name } } }").await, "INTROSPECTION_DISABLED");
}

#[tokio::test]
async fn a_misspelt_name_gets_no_suggestion() {
    let bank = Bank::open();
    for document in ["{ helo }", "{ account(idd: 1) { id } }", "{ me }", "{ acounts { id } }", "{ me { nam } }"] {
        let answer = bank.ask(document).await;
        assert!(!answer.to_string().contains("Did you mean"), "{answer}");
    }
}
