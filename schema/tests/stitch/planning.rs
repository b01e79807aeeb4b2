//! Operations over one and several modules.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use vostro_kernel::Actor;

use crate::harness::Bank;

const PAY: &str = "mutation Pay($input: PayInput!) { pay(input: $input) { number account { id balance { amount } } } }";

fn pay_input() -> serde_json::Value {
    json!({"input": {"idempotencyKey": "k1", "amount": {"amount": "1.50", "currency": "EUR"}}})
}

#[tokio::test]
async fn one_module_answers_in_the_order_asked_without_a_detour() {
    let bank = Bank::open();
    let query = "{ account(id: \"acc_1\") { number id balance { currency amount } status } }";
    assert!(bank.passes_through(query));
    assert_eq!(
        bank.data(query).await,
        r#"{"account":{"number":"00acc_1","id":"acc_1","balance":{"currency":"EUR","amount":"10.50"},"status":"ACTIVE"}}"#
    );
    assert!(bank.passes_through(PAY));
}

#[tokio::test]
async fn fragments_and_aliases_of_one_module_pass_through() {
    let bank = Bank::open();
    let query = "{ all: accounts { ...A ...B } } fragment A on Account { id balance { amount } }
                 fragment B on Account { n: number balance { currency } }";
    assert!(bank.passes_through(query));
    assert_eq!(
        bank.data(query).await,
        r#"{"all":[{"id":"acc_1","balance":{"amount":"10.50","currency":"EUR"},"n":"00acc_1"},{"id":"acc_2","balance":{"amount":"10.50","currency":"EUR"},"n":"00acc_2"}]}"#
    );
}

#[tokio::test]
async fn an_operation_is_planned_across_modules() {
    let bank = Bank::open();
    let query = "{ payments { id fee source { number owner { name } } destination { number } } hello }";
    assert!(!bank.passes_through(query));
    assert_eq!(
        bank.data(query).await,
        r#"{"payments":[{"id":"txn_1","fee":"fee of 0.01","source":{"number":"00acc_1","owner":{"name":"Ada"}},"destination":{"number":"00acc_2"}},{"id":"txn_2","fee":"fee of 0.02","source":{"number":"00acc_1","owner":{"name":"Ada"}},"destination":{"number":"00acc_2"}}],"hello":"hello you"}"#
    );
}

#[tokio::test]
async fn each_entity_is_asked_for_once_in_one_call() {
    let bank = Bank::open();
    bank.data("{ payments(first: 5) { source { number } } }").await;
    assert_eq!(bank.calls.account_entities.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn independent_modules_are_asked_side_by_side() {
    let bank = Bank::open();
    assert_eq!(
        bank.data("{ b: hello(name: \"b\") payments(first: 1) { id } accounts { id } a: hello(name: \"a\") }").await,
        r#"{"b":"hello b","payments":[{"id":"txn_1"}],"accounts":[{"id":"acc_1"},{"id":"acc_2"}],"a":"hello a"}"#
    );
}

#[tokio::test]
async fn interfaces_and_unions_cross_modules() {
    let bank = Bank::open();
    let movements =
        "{ cashMovements { id account { number } ... on Deposit { branch } ... on Withdrawal { machine } } }";
    assert_eq!(
        bank.data(movements).await,
        r#"{"cashMovements":[{"id":"dep_1","account":{"number":"00acc_1"},"branch":"Brno"},{"id":"wdr_1","account":{"number":"00acc_2"},"machine":"ATM 7"}]}"#
    );
    let search =
        "{ search { kind: __typename ... on Payment { source { number } } ... on Deposit { account { number } } } }";
    assert_eq!(
        bank.data(search).await,
        r#"{"search":[{"kind":"Payment","source":{"number":"00acc_1"}},{"kind":"Deposit","account":{"number":"00acc_1"}}]}"#
    );
}

#[tokio::test]
async fn conditions_decide_in_the_module_and_in_the_plan() {
    let bank = Bank::open();
    let query = "query($owner: Boolean!, $id: Boolean = true) {
        account(id: \"acc_1\") { id @include(if: $id) owner @include(if: $owner) { name } number @skip(if: $owner) } }";
    let ask = |variables| bank.ask_as(Actor::ANONYMOUS, query, variables);
    assert_eq!(
        ask(json!({"owner": true})).await,
        json!({"data": {"account": {"id": "acc_1", "owner": {"name": "Ada"}}}})
    );
    assert_eq!(ask(json!({"owner": false, "id": false})).await, json!({"data": {"account": {"number": "00acc_1"}}}));
    let merged =
        "query($x: Boolean!) { account(id: \"acc_1\") { owner { id } ... @include(if: $x) { owner { name } } } }";
    assert_eq!(
        bank.ask_as(Actor::ANONYMOUS, merged, json!({"x": true})).await,
        json!({"data": {"account": {"owner": {"id": "usr_1", "name": "Ada"}}}})
    );
    assert_eq!(
        bank.ask_as(Actor::ANONYMOUS, merged, json!({"x": false})).await,
        json!({"data": {"account": {"owner": {"id": "usr_1"}}}})
    );
}

#[tokio::test]
async fn an_object_of_which_everything_is_skipped_is_empty() {
    let bank = Bank::open();
    assert_eq!(bank.data("{ accounts { id @skip(if: true) } }").await, r#"{"accounts":[{},{}]}"#);
    let query = "query($x: Boolean = true) { payments(first: 1) { source { owner { name @skip(if: $x) } } } }";
    assert_eq!(bank.data(query).await, r#"{"payments":[{"source":{"owner":{}}}]}"#);
}

#[tokio::test]
async fn the_name_of_the_root_type_is_known_without_a_module() {
    let bank = Bank::open();
    assert_eq!(bank.data("{ __typename }").await, r#"{"__typename":"Query"}"#);
    assert_eq!(bank.data("{ a: hello t: __typename }").await, r#"{"a":"hello you","t":"Query"}"#);
}

#[tokio::test]
async fn variables_reach_the_module_with_their_defaults() {
    let bank = Bank::open();
    let body = bank.ask_as(Actor::ANONYMOUS, PAY, pay_input()).await;
    assert_eq!(body["data"]["pay"], json!({"number": 1, "account": {"id": "acc_1", "balance": {"amount": "10.50"}}}));
    let query = "query($s: AccountStatus = FROZEN) { accounts(status: $s) { id } }";
    assert_eq!(bank.data(query).await, r#"{"accounts":[{"id":"acc_2"}]}"#);
    assert_eq!(
        bank.ask_as(Actor::ANONYMOUS, query, json!({"s": "ACTIVE"})).await["data"]["accounts"],
        json!([{"id": "acc_1"}, {"id": "acc_2"}])
    );
}

#[tokio::test]
async fn a_command_written_twice_runs_once() {
    let bank = Bank::open();
    let twice = "mutation($i: PayInput!) { pay(input: $i) { number } pay(input: $i) { account { id } } ...again }
                 fragment again on Mutation { pay(input: $i) { number } }";
    let variables = json!({"i": pay_input()["input"]});
    let body = bank.ask_as(Actor::ANONYMOUS, twice, variables.clone()).await;
    assert_eq!(body, json!({"data": {"pay": {"number": 1, "account": {"id": "acc_1"}}}}));
    assert_eq!(bank.paid(), 1);

    let two_commands = "mutation($i: PayInput!) { pay(input: $i) { number } second: pay(input: $i) { number } }";
    let body = bank.ask_as(Actor::ANONYMOUS, two_commands, variables).await;
    assert_eq!(body, json!({"data": {"pay": {"number": 2}, "second": {"number": 3}}}));
    assert_eq!(bank.paid(), 3);
}

#[tokio::test]
async fn a_command_repeated_under_conditions_is_refused() {
    let bank = Bank::open();
    let query = "mutation($i: PayInput!, $x: Boolean!) {
        pay(input: $i) { number } ... @include(if: $x) { pay(input: $i) { account { id } } } }";
    let body = bank.ask_as(Actor::ANONYMOUS, query, json!({"i": pay_input()["input"], "x": true})).await;
    assert_eq!(crate::harness::code(&body), "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(bank.paid(), 0);
}

#[tokio::test]
async fn commands_of_several_fields_run_in_order() {
    let bank = Bank::open();
    let input = "{idempotencyKey: \"k\", amount: {amount: \"1\", currency: \"EUR\"}, copies: 0}";
    let query = format!(
        "mutation {{ a: pay(input: {input}) {{ number }} b: pay(input: {input}) {{ number account {{ owner {{ name }} }} }} }}"
    );
    assert_eq!(bank.data(&query).await, r#"{"a":{"number":0},"b":{"number":1,"account":{"owner":{"name":"Ada"}}}}"#);
}

#[tokio::test]
async fn connections_are_paged_by_cursor() {
    let bank = Bank::open();
    let page = |after: &str| {
        format!(
            "{{ account(id: \"acc_1\") {{ entries(first: 3{after}) {{ nodes {{ id }} edges {{ cursor }} pageInfo {{ hasNextPage hasPreviousPage endCursor }} }} }} }}"
        )
    };
    let body = bank.ask(&page("")).await;
    let entries = &body["data"]["account"]["entries"];
    assert_eq!(entries["nodes"], json!([{"id": "e1"}, {"id": "e2"}, {"id": "e3"}]));
    assert_eq!(entries["pageInfo"]["hasNextPage"], true);
    let cursor = entries["pageInfo"]["endCursor"].as_str().unwrap();
    let body = bank.ask(&page(&format!(", after: \"{cursor}\""))).await;
    let entries = &body["data"]["account"]["entries"];
    assert_eq!(entries["nodes"], json!([{"id": "e4"}, {"id": "e5"}]));
    assert_eq!(entries["pageInfo"]["hasNextPage"], false);
    assert_eq!(entries["pageInfo"]["hasPreviousPage"], true);
}

#[tokio::test]
async fn connections_are_paged_backwards_by_the_cursor_of_their_first_object() {
    let bank = Bank::open();
    let ask = async |before: Value| {
        let query = "query($before: String) { account(id: \"acc_1\") { entries(last: 3, before: $before) {
            nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor } } } }";
        let mut body = bank.ask_as(Actor::ANONYMOUS, query, json!({"before": before})).await;
        body["data"]["account"]["entries"].take()
    };
    let last = ask(Value::Null).await;
    assert_eq!(last["nodes"], json!([{"id": "e3"}, {"id": "e4"}, {"id": "e5"}]), "in the order of the list");
    assert_eq!((&last["pageInfo"]["hasPreviousPage"], &last["pageInfo"]["hasNextPage"]), (&json!(true), &json!(false)));
    let first = ask(last["pageInfo"]["startCursor"].clone()).await;
    assert_eq!(first["nodes"], json!([{"id": "e1"}, {"id": "e2"}]));
    assert_eq!(
        (&first["pageInfo"]["hasPreviousPage"], &first["pageInfo"]["hasNextPage"]),
        (&json!(false), &json!(true))
    );
}

#[test]
fn a_page_costs_what_it_may_hold_from_whichever_end_it_is_asked_for() {
    let bank = Bank::open();
    let cost = |arguments: &str, variables: Value| {
        let used = ["$first", "$last"].into_iter().filter(|name| arguments.contains(name));
        let declared: String = used.map(|name| format!("{name}: Int ")).collect();
        let declared = if declared.is_empty() { declared } else { format!("({declared})") };
        let query =
            format!("query{declared} {{ account(id: \"acc_1\") {{ entries{arguments} {{ nodes {{ id }} }} }} }}");
        let prepared = bank.engine.prepare(&query, None).unwrap();
        prepared.planned.projection.estimate(&async_graphql::Variables::from_json(variables))
    };
    let both = "(first: $first, last: $last)";
    let usual = cost("(first: 20)", json!({}));
    let of_seven = cost("(first: 7)", json!({}));
    assert!(of_seven < usual);
    for (arguments, variables, expected) in [
        ("", json!({}), usual),
        ("(last: 20)", json!({}), usual),
        ("(last: 7)", json!({}), of_seven),
        ("(first: null, last: 7)", json!({}), of_seven),
        (both, json!({}), usual),
        (both, json!({"last": 7}), of_seven),
        (both, json!({"first": 7, "last": null}), of_seven),
        ("(first: $first, last: 7)", json!({"first": null}), of_seven),
    ] {
        assert_eq!(cost(arguments, variables.clone()), expected, "{arguments} {variables}");
    }
}

#[tokio::test]
async fn the_short_way_and_the_long_way_give_the_same_answer() {
    let bank = Bank::open();
    for selection in [
        "account(id: \"acc_1\") { number id balance { currency amount } status entries(first: 2) { edges { cursor node { amount { amount } } } } }",
        "account(id: \"none\") { id }",
        "accounts { ...a } ",
        "cashMovements { id __typename ... on Deposit { branch } ... on Withdrawal { machine } }",
        "search { __typename ... on Payment { id amount { amount } } ... on Deposit { branch } }",
        "accounts { limit { amount } }",
        "allWithBroken { iban }",
    ] {
        let fragment = if selection.contains("...a") { " fragment a on Account { n: number status }" } else { "" };
        let (short, long) =
            (format!("{{ {selection} }}{fragment}"), format!("{{ {selection} t: __typename }}{fragment}"));
        assert!(bank.passes_through(&short) && !bank.passes_through(&long), "{selection}");
        let (short, mut long) = (bank.ask(&short).await, bank.ask(&long).await);
        assert_eq!(long["data"]["t"].take(), "Query");
        long["data"].as_object_mut().unwrap().remove("t");
        assert_eq!(short["data"], long["data"]);
        let paths = |body: &serde_json::Value| body["errors"][0]["path"].clone();
        assert_eq!(paths(&short), paths(&long));
    }
}
