//! What the modules' library does when it is asked directly, and why the door stands before it. Each defect is shown on
//! the bare library first: when a new version mends one, the test says so, and what stands around it can go.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::runtime::{TokioSpawner, TokioTimer};
use async_graphql::{
    Context, EmptyMutation, EmptySubscription, Guard, Object, Result, Schema, SimpleObject, Subscription,
};
use futures::{Stream, StreamExt, stream};
use serde_json::json;
use tokio::time::Instant;
use vostro_kernel::{Actor, Role};
use vostro_schema::hostile::{bomb_of_900_bytes, doubling};
use vostro_schema::loader::Batch;

use crate::harness::{Bank, person, scope};

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
    async fn account(&self) -> Option<Account> {
        Some(Account { number: 1, limit: Some(2) })
    }
}

#[derive(SimpleObject)]
struct Account {
    number: i32,
    #[graphql(guard = "Nobody")]
    limit: Option<i32>,
}

struct Nobody;

impl Guard for Nobody {
    async fn check(&self, _: &Context<'_>) -> Result<()> {
        Err("forbidden".into())
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
async fn a_forbidden_field_takes_its_object_in_the_library_and_stays_alone_at_the_bank() {
    let bare = Schema::new(Query, EmptyMutation, EmptySubscription);
    let response = bare.execute("{ account { number limit } }").await;
    assert_eq!(response.data.into_json().unwrap(), json!({"account": null}), "the library has been mended");

    let answer = Bank::open().ask_as(person(&[Role::Customer]), "{ me { id email } }", json!({})).await;
    assert_eq!(answer["data"], json!({"me": {"id": "usr_1", "email": null}}));
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");
}

#[tokio::test]
async fn a_refused_request_has_data_in_the_library_and_none_at_the_bank() {
    let bare = Schema::new(Query, EmptyMutation, EmptySubscription);
    let answer = serde_json::to_value(bare.execute("{ nothing }").await).unwrap();
    assert_eq!(answer.get("data"), Some(&json!(null)), "the library has been mended");

    let answer = Bank::open().ask("{ nothing }").await;
    assert_eq!(answer.get("data"), None, "{answer}");
}

/// A query that counts how often the library comes by its only field before anything is carried out: computing what an
/// operation costs asks the field for its price.
struct Priced;

static PRICED: AtomicUsize = AtomicUsize::new(0);

fn price() -> usize {
    PRICED.fetch_add(1, Ordering::SeqCst);
    1
}

#[Object(name = "Query")]
impl Priced {
    #[graphql(complexity = "price()")]
    async fn fine(&self) -> i32 {
        1
    }
}

/// That our limits look at each selection once is counted beside them (`each_selection_of_a_bomb_is_looked_at_once`); how
/// long it takes is tested with the other hostile documents.
#[tokio::test]
async fn fragments_that_double_are_expanded_by_the_librarys_own_limits_and_never_at_the_bank() {
    let bare = Schema::build(Priced, EmptyMutation, EmptySubscription)
        .limit_complexity(100)
        .limit_depth(10)
        .limit_aliases(10)
        .limit_directives(10)
        .limit_recursive_depth(30)
        .finish();
    let bomb = |links| doubling(links).replace("__typename", "fine");
    for links in [8, 10, 12] {
        PRICED.store(0, Ordering::SeqCst);
        let response = bare.execute(bomb(links)).await;
        assert_eq!(response.errors[0].message, "Query is too complex.");
        assert_eq!(PRICED.load(Ordering::SeqCst), 1 << links, "the library has been mended");
    }

    let bank = Bank::open();
    for document in [doubling(12), bomb_of_900_bytes().document, doubling(200)] {
        assert_eq!(bank.code(&document).await, "COMPLEXITY_LIMIT_EXCEEDED", "{} bytes", document.len());
    }
}

struct Changes;

#[Subscription(name = "Subscription")]
impl Changes {
    async fn one(&self) -> impl Stream<Item = i32> + use<> {
        stream::iter([1])
    }
    async fn other(&self) -> impl Stream<Item = i32> + use<> {
        stream::iter([2])
    }
}

#[tokio::test]
async fn two_subscriptions_in_one_run_in_the_library_and_are_refused_at_the_bank() {
    let bare = Schema::new(Query, EmptyMutation, Changes);
    let events: Vec<_> = bare.execute_stream("subscription { one other }").collect().await;
    assert_eq!(events.len(), 2, "the library has been mended");
    assert!(events.iter().all(|event| event.errors.is_empty()), "the library has been mended: {events:?}");

    let both = "subscription { balanceChanged(accountId: \"acc_1\") { sequence } paymentUpdated { sequence } }";
    assert_eq!(Bank::open().code(both).await, "GRAPHQL_VALIDATION_FAILED");
}

struct Squares;

fn squares(keys: &[u64]) -> HashMap<u64, u64> {
    keys.iter().map(|key| (*key, key * key)).collect()
}

impl Loader<u64> for Squares {
    type Value = u64;
    type Error = Infallible;

    async fn load(&self, keys: &[u64]) -> Result<HashMap<u64, u64>, Infallible> {
        Ok(squares(keys))
    }
}

/// The clock stands still unless somebody waits for it.
#[tokio::test(start_paused = true)]
async fn each_step_from_row_to_row_waits_for_a_timer_in_the_library_and_for_none_at_the_bank() {
    let steps = 3;
    let bare = DataLoader::new(Squares, TokioSpawner::current(), TokioTimer::default());
    let started = Instant::now();
    for key in 0..steps {
        assert_eq!(bare.load_one(key).await, Ok(Some(key * key)));
    }
    assert!(started.elapsed() >= Duration::from_millis(steps), "the library has been mended: {:?}", started.elapsed());

    let ours = Batch::of(&scope(Actor::ANONYMOUS));
    let started = Instant::now();
    for key in 0..steps {
        let loaded = ours.load(key, async |keys: Vec<u64>| Ok(squares(&keys))).await;
        assert_eq!(loaded.unwrap(), Some(key * key));
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn introspection_switched_off_is_silent_in_the_library_and_an_error_at_the_bank() {
    let bare = Schema::build(Query, EmptyMutation, EmptySubscription).disable_introspection().finish();
    let response = bare.execute("{ __schema { queryType { name } } }").await;
    assert!(response.errors.is_empty(), "the library has been mended");

    let bank = Bank::open();
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
