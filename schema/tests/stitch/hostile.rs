//! Documents that mean harm, or nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vostro_kernel::Actor;
use vostro_schema::faults::FaultCode;
use vostro_schema::hostile::{Hostile, KILOBYTE, corpus, doubling, kilobyte};
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::stitch::{Engine, Limits};

use crate::harness::{Bank, code};

/// How often a time is taken. The best of them counts: the machine may be busy with something else for long, but not always.
const RUNS: u32 = 200;

/// How long it may take to refuse something hostile: the goal, and several times of it in an engine that is built without
/// optimisation. The validation has the most to do.
const fn at_most(code: FaultCode) -> Duration {
    Duration::from_millis(match (cfg!(debug_assertions), code) {
        (false, _) => 2,
        (true, FaultCode::GraphqlValidationFailed) => 30,
        (true, _) => 10,
    })
}

/// An engine over the bank's own API, for which the corpus is written. No module is asked for what is refused.
fn engine() -> Engine {
    Engine::over(SUPERGRAPH).unwrap().build().unwrap()
}

/// Has it refused, and tells how long that took.
fn refuse(engine: &Engine, document: &str, code: FaultCode) -> Duration {
    let started = Instant::now();
    let prepared = engine.prepare(document, None);
    let took = started.elapsed();
    let errors = prepared.map(|_| ()).expect_err(document);
    assert_eq!(errors[0].code, code, "{document}: {}", errors[0].message);
    took
}

fn refuse_in_time(engine: &Engine, document: &str, code: FaultCode) {
    let in_time = at_most(code);
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        best = best.min(refuse(engine, document, code));
        if best <= in_time {
            return;
        }
    }
    panic!("{best:?} for {document}");
}

#[test]
fn a_kilobyte_of_every_hostile_class_is_refused_in_time() {
    let engine = engine();
    for Hostile { document, code, .. } in kilobyte() {
        refuse_in_time(&engine, &document, code);
    }
}

/// The selections that the limits look at are counted where they are looked at (`twice_the_document_is_twice_the_work`, in
/// `limits` and `merging`); what the parser and the validation do besides can only be timed.
#[test]
fn refusing_twice_as_much_takes_at_most_three_times_as_long() {
    let engine = engine();
    for (one, two) in corpus(KILOBYTE).into_iter().zip(corpus(2 * KILOBYTE)) {
        let [mut once, mut twice] = [Duration::MAX; 2];
        // By turns, so that both find the machine equally busy, and at least so often that the first has had its chance.
        for run in 1..=RUNS {
            once = once.min(refuse(&engine, &one.document, one.code));
            twice = twice.min(refuse(&engine, &two.document, two.code));
            if run >= 10 && twice <= 3 * once {
                break;
            }
        }
        assert!(twice <= 3 * once, "{}: {once:?}, and {twice:?} for twice the text", one.class);
    }
}

#[test]
fn hostile_documents_are_refused_at_once_with_their_code() {
    let bank = Bank::open();
    let nested = |n: usize| format!("{{ payments {}id{} }}", "{ source { owner ".repeat(n), " } }".repeat(n));
    let cases = [
        (doubling(30), FaultCode::ComplexityLimitExceeded),
        (doubling(12), FaultCode::ComplexityLimitExceeded),
        (
            format!("{{ {} }}", (0..400).map(|i| format!("a{i}: hello ")).collect::<String>()),
            FaultCode::ComplexityLimitExceeded,
        ),
        (format!("{{ {} }}", "hello ".repeat(2000)), FaultCode::ComplexityLimitExceeded),
        (format!("{{ hello {} }}", "@skip(if: false) ".repeat(100)), FaultCode::ComplexityLimitExceeded),
        (format!("{{ accounts {{ id: number {} }} }}", "id ".repeat(320)), FaultCode::GraphqlValidationFailed),
        (
            format!("{{ hello }} fragment unused on Account {{ id: number {} }}", "id ".repeat(320)),
            FaultCode::GraphqlValidationFailed,
        ),
        (nested(10), FaultCode::DepthLimitExceeded),
        (format!("{}a{}", "{ a ".repeat(600), "}".repeat(600)), FaultCode::DepthLimitExceeded),
        (format!("{}a{}", "{ a ".repeat(60), "}".repeat(60)), FaultCode::DepthLimitExceeded),
        (format!("{{ hello(name: {}1{}) }}", "[".repeat(200), "]".repeat(200)), FaultCode::DepthLimitExceeded),
        (format!("{{ hello }} {}", "#".repeat(20_000)), FaultCode::PayloadTooLarge),
        (
            "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }"
                .into(),
            FaultCode::DepthLimitExceeded,
        ),
    ];
    for (document, code) in cases {
        refuse_in_time(&bank.engine, &document, code);
    }
}

#[tokio::test]
async fn the_largest_documents_allowed_are_planned_in_reasonable_time() {
    let bank = Bank::open();
    let doubling: String = (0..8).map(|i| format!("fragment f{i} on Account {{ ...f{0} ...f{0} }} ", i + 1)).collect();
    let doubling = format!("{{ accounts {{ ...f0 }} }} {doubling} fragment f8 on Account {{ id owner {{ name id }} }}");
    let later = |i: usize| (i + 1..10).map(|j| format!("...f{j} ")).collect::<String>();
    let all = (0..10).map(|i| format!("fragment f{i} on Account {{ owner {{ name id }} {} }} ", later(i)));
    let each_in_all_others = format!("{{ accounts {{ ...f0 }} }} {}", all.collect::<String>());
    let repeated = format!("{{ payments {{ {} }} }}", "source { id owner { name } } ".repeat(120));
    let repeated_leaf = format!("{{ payments {{ source {{ {} }} }} }}", "id ".repeat(980));
    let spread = format!("fragment f on Account {{ {} }}", "id ".repeat(480));
    let repeated_fragment = format!("{{ payments {{ {} }} }} {spread}", "source { ...f } ".repeat(9));
    let variables: String = (0..40).map(|i| format!("$v{i}: Boolean! ")).collect();
    let conditional: String = (0..40).map(|i| format!("... @include(if: $v{i}) {{ owner {{ name }} }} ")).collect();
    let conditional = format!("query({variables}) {{ accounts {{ {conditional} }} }}");
    for document in [doubling, each_in_all_others, repeated, repeated_leaf, repeated_fragment, conditional] {
        let started = Instant::now();
        let prepared = bank.engine.prepare(&document, None);
        assert!(prepared.is_ok(), "{document}: {:?}", prepared.err());
        assert!(started.elapsed() < Duration::from_secs(1), "{document}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn what_is_not_graphql_says_where() {
    let bank = Bank::open();
    let body = bank.ask("{ hello(").await;
    assert_eq!(code(&body), "GRAPHQL_PARSE_FAILED");
    assert_eq!(body["errors"][0]["locations"][0]["line"], 1);
    assert_eq!(body.get("data"), None);
    for document in
        ["", "   ", "query", "{", "}", "{}", "select * from account", "{ hello }}", "\u{0}", "{ hello(name: 1e) }"]
    {
        assert_eq!(bank.code(document).await, "GRAPHQL_PARSE_FAILED", "{document:?}");
    }
}

#[tokio::test]
async fn what_does_not_fit_the_schema_says_where() {
    let bank = Bank::open();
    for document in [
        "{ nothing }",
        "{ hello { more } }",
        "{ me }",
        "{ account { id } }",
        "{ hello(nobody: 1) }",
        "{ hello(name: 1) }",
        "{ hello(name: 99999999999999999999999999) }",
        "{ accounts(status: OPEN) { id } }",
        "query($a: Nothing) { hello }",
        "query($a: Int) { hello }",
        "{ hello(name: $a) }",
        "{ ...a }",
        "{ ...a } fragment a on Account { id }",
        "{ hello } fragment a on Query { hello }",
        "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }",
        "{ a: hello a: broken }",
        "{ hello } query A { hello }",
        "query A { hello } query A { hello }",
        "{ hello @unknown }",
        "subscription { balanceChanged(accountId: 1) { sequence } private }",
        "mutation { hello }",
        "{ _entities(representations: []) { __typename } }",
        "{ _service { sdl } }",
    ] {
        let body = bank.ask(document).await;
        let codes = ["GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED"];
        assert!(codes.contains(&code(&body).as_str()), "{document}: {body}");
        assert_eq!(body.get("data"), None, "{document}");
    }
}

#[tokio::test]
async fn variables_that_do_not_fit_are_bad_user_input() {
    let bank = Bank::open();
    let query = "mutation($i: PayInput!) { pay(input: $i) { number } }";
    for variables in [
        Value::Null,
        json!({"i": null}),
        json!({"i": {}}),
        json!({"i": {"idempotencyKey": "k", "amount": {"amount": "1"}}}),
        json!({"i": {"idempotencyKey": "k", "amount": {"amount": "1", "currency": "EUR"}, "more": 1}}),
        json!({"i": {"idempotencyKey": "k", "amount": {"amount": "1", "currency": "EUR"}, "copies": "many"}}),
    ] {
        let body = bank.ask_as(Actor::ANONYMOUS, query, variables.clone()).await;
        assert_eq!(code(&body), "BAD_USER_INPUT", "{variables}");
    }
    assert_eq!(bank.paid(), 0);
}

#[tokio::test]
async fn refused_documents_do_not_displace_good_ones() {
    let bank = Bank::with(Limits { cached_documents: 2, ..Limits::default() });
    let first = bank.engine.prepare("{ hello }", None).unwrap();
    for i in 0..50 {
        assert!(bank.engine.prepare(&format!("{{ nothing{i} }}"), None).is_err());
    }
    let second = bank.engine.prepare("{ hello }", None).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &second));
}
