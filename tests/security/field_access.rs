//! What one may not see or do.

use serde_json::{Value, json};

use crate::support::{Person, Staff, World};

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_objects_do_not_exist() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    let eve = Person::join(&world, "eve").await;
    let transfer = ada.transfer("private", &bob.account, "1.00").await;
    let mut connection = eve.connection().await;
    let document = "query($account: ID!, $transaction: ID!, $user: ID!) {
        account(id: $account) { id } transaction(id: $transaction) { id } user(id: $user) { id } }";
    let variables = json!({"account": ada.account, "transaction": transfer["transaction"]["id"], "user": ada.user});
    let answer = connection.answer(document, variables).await.expect("an answer");
    let nothing = json!({"account": null, "transaction": null, "user": null});
    assert_eq!(answer["data"], nothing, "{answer}");
    assert!(!answer.to_string().contains("ada"), "{answer}");
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
