//! The schema, asked for by its clients.

use serde_json::json;
use vostro_schema::stitch::Limits;

use crate::harness::Bank;

/// A bank that tells its schema.
fn open() -> Bank {
    Bank::with(Limits { introspection: true, ..Limits::default() })
}

/// What GraphiQL and most code generators send.
const USUAL: &str = include_str!("../fixtures/introspection.query");

#[tokio::test]
async fn the_usual_introspection_query_is_answered_with_the_whole_api() {
    let bank = open();
    let body = bank.ask(USUAL).await;
    assert_eq!(body.get("errors"), None, "{body}");
    let schema = &body["data"]["__schema"];
    assert_eq!(schema["queryType"]["name"], "Query");
    assert_eq!(schema["mutationType"]["name"], "Mutation");
    assert_eq!(schema["subscriptionType"]["name"], "Subscription");
    let types = schema["types"].as_array().unwrap();
    let named = |name: &str| types.iter().find(|kind| kind["name"] == name).unwrap();
    let account = named("Account");
    let balance = account["fields"].as_array().unwrap().iter().find(|field| field["name"] == "balance").unwrap();
    assert_eq!(balance["type"]["kind"], "NON_NULL");
    assert_eq!(balance["type"]["ofType"]["name"], "Money");
    assert_eq!(named("CashMovement")["possibleTypes"].as_array().unwrap().len(), 2);
    assert_eq!(named("AccountStatus")["enumValues"][0]["name"], "ACTIVE");
    assert!(named("CurrencyCode")["specifiedByURL"].as_str().unwrap().contains("4217"));
    let copies = named("PayInput")["inputFields"].as_array().unwrap().iter().find(|input| input["name"] == "copies");
    assert_eq!(copies.unwrap()["defaultValue"], "1");
    assert!(types.iter().all(|kind| !kind["name"].as_str().unwrap().starts_with("join__")), "federation must not show");
    assert!(types.iter().all(|kind| !["_Any", "_Entity", "_Service"].contains(&kind["name"].as_str().unwrap())));
    let query = named("Query")["fields"].as_array().unwrap();
    assert!(query.iter().all(|field| !field["name"].as_str().unwrap().starts_with("__")));
}

#[tokio::test]
async fn one_type_can_be_asked_for_beside_data() {
    let bank = open();
    let query = "{ hello t: __type(name: \"Money\") { __typename kind fields { name type { kind ofType { name } } } }
                   no: __type(name: \"Nothing\") { name } }";
    let body = bank.ask(query).await;
    assert_eq!(body["data"]["hello"], "hello you");
    assert_eq!(body["data"]["t"]["__typename"], "__Type");
    assert_eq!(
        body["data"]["t"]["fields"],
        json!([{"name": "amount", "type": {"kind": "NON_NULL", "ofType": {"name": "Decimal"}}},
               {"name": "currency", "type": {"kind": "NON_NULL", "ofType": {"name": "CurrencyCode"}}}])
    );
    assert_eq!(body["data"]["no"], json!(null));
}

#[tokio::test]
async fn introspection_is_off_unless_it_is_switched_on() {
    let bank = Bank::open();
    assert_eq!(bank.code("{ __schema { queryType { name } } }").await, "INTROSPECTION_DISABLED");
    assert_eq!(
        bank.code("{ ...a } fragment a on Query { t: __type(name: \"Money\") { name } }").await,
        "INTROSPECTION_DISABLED"
    );
    assert_eq!(bank.data("{ __typename hello }").await, r#"{"__typename":"Query","hello":"hello you"}"#);
}

#[test]
fn a_whole_schema_costs_more_than_a_type_and_what_is_selected_of_it_nothing() {
    let bank = open();
    let cost = |document: &str| {
        let prepared = bank.engine.prepare(document, None).unwrap();
        prepared.planned.projection.estimate(&Default::default())
    };
    assert_eq!(cost(USUAL), 100);
    assert_eq!(cost("{ __schema { queryType { name } } }"), 100);
    assert_eq!(cost("{ hello __type(name: \"Money\") { name fields { name } } }"), 11);
}
