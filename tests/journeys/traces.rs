//! One trace covers a transfer, from the request over every module to its completion.

use serde_json::json;
use vostro::client::documents;

use crate::support::people::transfer_input;
use crate::support::{Collector, Person, Span, Staff, World, eventually, traced_bank};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// What a transfer of money leads to, everywhere.
const STEPS: [&str; 11] = [
    "POST /graphql",
    "mutation transferCreate",
    "commit",
    "publish transaction.initiated.v1",
    "process account.postings",
    "publish account.posting-applied.v1",
    "process transaction.postings",
    "completion",
    "publish transaction.completed.v1",
    "process notification.business-events",
    "process compliance.archive",
];

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("{name} is not in {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>()))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_covers_a_transfer_from_the_door_over_every_module_to_its_completion() {
    let (world, collector) = (World::create().await, Collector::start().await);
    let bank = traced_bank(&world, collector.address, "1.0").await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    let mut connection = ada.connection().await;
    connection.trace_as(&format!("00-{TRACE}-{CALLER}-01"));
    let input = transfer_input("traced", &ada.account, &bob.account, "3.00", "COMPLETED");
    let data = connection.data(documents::TRANSFER, json!({"input": input})).await.expect("an answer");
    assert_eq!(data["transferCreate"]["transaction"]["status"], "COMPLETED", "{data}");

    let spans = eventually("every step of the transfer is traced", || async {
        let spans = collector.spans_of(TRACE);
        STEPS.iter().all(|step| spans.iter().any(|span| span.name == *step)).then_some(spans)
    })
    .await;
    assert!(spans.iter().all(|span| !span.has_failed && span.started <= span.ended), "{spans:#?}");
    // Each below the one that led to it.
    for (step, parent) in [
        ("mutation transferCreate", "POST /graphql"),
        ("commit", "mutation transferCreate"),
        ("publish transaction.initiated.v1", "mutation transferCreate"),
        ("process account.postings", "mutation transferCreate"),
        ("publish account.posting-applied.v1", "process account.postings"),
        ("process transaction.postings", "process account.postings"),
        ("publish transaction.completed.v1", "process transaction.postings"),
        ("completion", "process transaction.postings"),
    ] {
        assert_eq!(named(&spans, step).parent, named(&spans, parent).id, "{step} is below {parent}: {spans:#?}");
    }
    assert_eq!(named(&spans, "POST /graphql").parent, CALLER);
    let (completion, command) = (named(&spans, "completion"), named(&spans, "mutation transferCreate"));
    assert!(completion.started >= command.started && completion.started < completion.ended, "{spans:#?}");
    assert!(bank.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_between_modules_belongs_to_the_trace_of_whoever_had_it_asked() {
    let (world, collector) = (World::create().await, Collector::start().await);
    let _bank = traced_bank(&world, collector.address, "1.0").await;
    let ada = Person::join(&world, "ada").await;
    let bob = Person::join(&world, "bob").await;
    let account = bob.connection().await.data("{ accounts { nodes { number } } }", json!({})).await.expect("an answer");
    let iban = &account["accounts"]["nodes"][0]["number"];
    let check = "query($iban: String!) { payeeVerification(iban: $iban, name: \"bob\") { result } }";
    // Whoever verifies a name is not kept waiting for long, so a slow machine needs to be asked more than once.
    eventually("the name is verified", || async {
        let mut connection = ada.connection().await;
        connection.trace_as(&format!("00-{TRACE}-{CALLER}-01"));
        let checked = connection.data(check, json!({"iban": iban})).await.expect("an answer");
        (checked["payeeVerification"]["result"] == "MATCH").then_some(())
    })
    .await;
    let spans = eventually("question and answer are traced", || async {
        let spans = collector.spans_of(TRACE);
        ["ask ", "answer "].iter().all(|step| spans.iter().any(|span| span.name.starts_with(step))).then_some(spans)
    })
    .await;
    let of = |step: &'static str| spans.iter().filter(move |span| span.name.starts_with(step));
    assert!(of("answer ").all(|answer| of("ask ").any(|asked| asked.id == answer.parent)), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_does_not_decide_what_is_traced_and_a_malformed_context_is_ignored() {
    let (world, collector) = (World::create().await, Collector::start().await);
    let bank = traced_bank(&world, collector.address, "1.0").await;
    let mut connection = vostro::client::Connection::open(world.config.http.address).await.expect("the bank listens");
    let ask = async |connection: &mut vostro::client::Connection| {
        connection.answer("{ __typename }", json!({})).await.expect("an answer")
    };
    connection.trace_as(&format!("00-{TRACE}-{CALLER}-00"));
    ask(&mut connection).await;
    connection.trace_as(&format!("00-{TRACE}-{CALLER}-zz"));
    ask(&mut connection).await;
    assert!(bank.terminate().await.success(), "which also sends the last spans");
    assert!(collector.spans_of(TRACE).is_empty(), "neither asked for it in a way that counts");
    let requests = collector.spans().into_iter().filter(|span| span.name == "POST /graphql").collect::<Vec<_>>();
    assert!(requests.iter().any(|span| span.parent.is_empty()), "the second is a trace of its own: {requests:?}");

    let bank = traced_bank(&world, collector.address, "0.0").await;
    let before = collector.spans().len();
    let mut connection = vostro::client::Connection::open(world.config.http.address).await.expect("the bank listens");
    connection.trace_as(&format!("00-{TRACE}-{CALLER}-01"));
    ask(&mut connection).await;
    assert!(bank.terminate().await.success());
    assert_eq!(collector.spans().len(), before, "a share of nothing is nothing, whatever the caller asks for");
}
