//! What one may not see or do.

use serde_json::{Value, json};
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::stitch::Engine;

use super::everybody::generous_world;
use super::field_matrix::{found, objects_of};
use super::ways::by_id;
use crate::journeys::upload::{LARGE_SUM, attach_letter, violation};
use crate::support::{Person, Staff, World};

/// Nodes that nobody but officers of compliance has.
const OF_OFFICERS: [&str; 2] = ["Evidence", "Violation"];

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_objects_do_not_exist() {
    let world = generous_world().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", LARGE_SUM).await;
    let bob = Person::join(&world, "bob").await;
    let eve = Person::join(&world, "eve").await;
    let mut ids = objects_of(&ada, &bob).await;
    let violation = violation(&staff).await;
    let attached = attach_letter(&world, &staff, &violation).await;
    ids.insert("evd", attached["evidence"]["id"].as_str().expect("an id").to_owned());
    ids.insert("vio", violation);
    let engine = Engine::over(SUPERGRAPH).expect("a supergraph").build().expect("an engine");
    let schema = engine.planner().api_schema();
    let (mut customer, mut stranger) = (ada.connection().await, eve.connection().await);
    let mut officer = staff.officer_connection().await;
    let mut payee = bob.connection().await;
    for of in schema.possible("Node").expect("an interface").iter() {
        let owner = if OF_OFFICERS.contains(&of.as_str()) { &mut officer } else { &mut customer };
        let by_id = by_id(schema, of);
        assert!(!by_id.is_empty(), "{of} cannot be asked for");
        for way in by_id {
            let document = way.question(schema, &ids);
            let answer = owner.answer(&document, json!({})).await.expect("an answer");
            assert!(!found(&answer["data"], &way.path()).is_empty(), "{document}: {answer}");
            let answer = stranger.answer(&document, json!({})).await.expect("an answer");
            assert!(found(&answer["data"], &way.path()).is_empty(), "{document}: {answer}");
            assert_eq!(answer.get("errors"), None, "somebody else's object and none are the same: {answer}");
            assert!(!answer.to_string().contains("ada"), "{answer}");
        }
    }
    // Whoever shares a payment sees their own end of it.
    let ends = "query($id: ID!) { transaction(id: $id) { source { name } destination { name } } }";
    for (connection, own, other) in [(&mut customer, "source", "destination"), (&mut payee, "destination", "source")] {
        let answer = connection.answer(ends, json!({"id": ids["txn"]})).await.expect("an answer");
        let transaction = &answer["data"]["transaction"];
        assert!(transaction[own]["name"].is_string() && transaction[other].is_null(), "{answer}");
        assert_eq!(answer.get("errors"), None, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_role_is_forbidden_to_everybody_else() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::join(&world, "ada").await;
    let cases: [(&str, &str, Value); 6] = [
        ("officer", "{ auditVerification { ok } }", json!({})),
        ("officer", "{ eventCounts { type } }", json!({})),
        ("operator", "{ trialBalance { balanced } }", json!({})),
        ("operator", "{ internalAccounts { id } }", json!({})),
        (
            "operator",
            "mutation($input: DepositRecordInput!) { depositRecord(input: $input) { userErrors { code } } }",
            json!({"input": {"idempotencyKey": "theft", "accountId": ada.account, "amount": {"amount": "1.00", "currency": "EUR"}}}),
        ),
        (
            "admin",
            "mutation($input: RoleAssignInput!) { roleAssign(input: $input) { userErrors { code } } }",
            json!({"input": {"userId": ada.user, "role": "ADMIN"}}),
        ),
    ];
    for (role, document, variables) in cases {
        let answer = ada.connection().await.answer(document, variables.clone()).await.expect("an answer");
        assert!(forbids(&answer), "a customer may: {document}: {answer}");
        let mut allowed = match role {
            "officer" => staff.officer_connection().await,
            "operator" => staff.operator_connection().await,
            _ => staff.admin_connection().await,
        };
        let answer = allowed.answer(document, variables).await.expect("an answer");
        assert!(!forbids(&answer), "the {role} may not: {document}: {answer}");
    }
}

/// As a fault on the field, or as a refusal of the module.
fn forbids(answer: &Value) -> bool {
    let fault = answer["errors"][0]["extensions"]["code"].as_str();
    let refusal = answer["data"]
        .as_object()
        .and_then(|data| data.values().find_map(|field| field["userErrors"][0]["code"].as_str()));
    fault == Some("FORBIDDEN") || refusal.is_some_and(|code| code.ends_with("_FORBIDDEN"))
}
