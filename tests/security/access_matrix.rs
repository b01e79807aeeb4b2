//! Every root field by everybody: what the schema declares is what happens.

use std::time::Duration;

use graphql_tools::static_graphql::schema::TypeDefinition;
use serde_json::{Value, json};
use vostro::client::Connection;
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::reference::{RootField, root_fields};
use vostro_schema::stitch::{ApiSchema, Engine, OperationKind};

use super::arguments::{Arguments, Ids};
use super::everybody;
use super::ways::refusal;
use crate::journeys::upload::{LARGE_SUM, violation};
use crate::support::{EventStream, Person, Staff, World, listen};

#[tokio::test(flavor = "multi_thread")]
async fn every_root_field_is_open_to_whom_it_declares_and_to_nobody_else() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::join(&world, "ada").await;
    let mut everybody = everybody::connections(&world, &staff, &ada).await;
    let engine = Engine::over(SUPERGRAPH).expect("a supergraph").build().expect("an engine");
    let schema = engine.planner().api_schema();
    let mut fields = root_fields(schema);
    // Ends the session of the one who asks.
    fields.sort_by_key(|field| field.name == "logout");
    let mut checked = 0;
    for field in fields.iter().filter(|field| field.kind != "subscription") {
        for (role, connection) in &mut everybody {
            let document = operation(schema, field, role);
            let answer = connection.answer(&document, json!({})).await.expect("an answer");
            let what = format!("{} as {role:?}: {document}: {answer}", field.name);
            let code = error_of(&answer, &field.name);
            match refusal(schema, root(schema, field), &field.name, role) {
                Some(refusal) => {
                    assert_eq!(code.as_deref(), Some(refusal), "{what}");
                    assert_eq!(answer["data"][&field.name], Value::Null, "{what}");
                    assert!(answer["data"]["sibling"].is_string(), "the siblings stay: {what}");
                }
                None => assert!(!matches!(code.as_deref(), Some("FORBIDDEN" | "UNAUTHENTICATED")), "{what}"),
            }
            checked += 1;
        }
    }
    assert!(checked > 150, "only {checked} cases");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subscription_opens_for_whom_it_declares_and_for_nobody_else() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::join(&world, "ada").await;
    let everybody = everybody::tokens(&staff, &ada);
    let engine = Engine::over(SUPERGRAPH).expect("a supergraph").build().expect("an engine");
    let schema = engine.planner().api_schema();
    let subscriptions: Vec<_> = root_fields(schema).into_iter().filter(|field| field.kind == "subscription").collect();
    assert!(subscriptions.len() >= 5, "{}", subscriptions.len());
    let cases = subscriptions.iter().flat_map(|field| everybody.map(|(role, token)| (field, role, token)));
    // All at once: what is open and has no news says so only now and then.
    futures::future::join_all(cases.map(async |(field, role, token)| {
        assert_ne!(field.access, "anybody", "{}", field.name);
        let document = format!("subscription {{ {} }}", selected(schema, field, role));
        let Some(refusal) = refusal(schema, root(schema, field), &field.name, role) else {
            let sign = first_sign(&world, token, &document).await;
            let refused = sign.contains("\"FORBIDDEN\"") || sign.contains("\"UNAUTHENTICATED\"");
            return assert!(!refused, "{document} as {role:?}: {sign}");
        };
        let events = whole_stream(&world, token, &document).await;
        let refused = events.starts_with("event: next\n") && events.contains(&format!("\"{refusal}\""));
        assert!(refused && events.ends_with("event: complete\ndata:\n\n"), "{document} as {role:?}: {events}");
    }))
    .await;
}

/// What a stream says first: an event, or that it is open.
async fn first_sign(world: &World, token: &str, document: &str) -> String {
    let chunk = listen(world.config.http.address, token, document, &json!({})).await.chunk().await;
    String::from_utf8_lossy(&chunk.expect("the stream holds").expect("a sign")).into_owned()
}

/// The whole of a stream that ends at once.
async fn whole_stream(world: &World, token: &str, document: &str) -> String {
    let all = listen(world.config.http.address, token, document, &json!({})).await.text();
    let all = tokio::time::timeout(Duration::from_secs(60), all).await;
    all.unwrap_or_else(|_| panic!("{document} was opened")).expect("a whole body")
}

fn error_of(answer: &Value, field: &str) -> Option<String> {
    let errors = answer["errors"].as_array()?;
    let error = errors.iter().find(|error| error["path"][0] == field).or_else(|| errors.first())?;
    error["extensions"]["code"].as_str().map(str::to_owned)
}

fn operation(schema: &ApiSchema, field: &RootField, role: &str) -> String {
    format!("{} {{ {} sibling: __typename }}", field.kind, selected(schema, field, role))
}

/// The field with values of the right form for what it requires, so that nothing but the role can be in the way.
fn selected(schema: &ApiSchema, field: &RootField, role: &str) -> String {
    let definition = schema.field(root(schema, field), &field.name).expect("a field of the schema");
    let key = format!("{}-{role}", field.name);
    let call = Arguments { schema, about: &field.name, key: &key, ids: &Ids::new() }.call(definition);
    let composite = schema.named(definition.field_type.inner_type()).is_some_and(TypeDefinition::is_composite_type);
    format!("{call}{}", if composite { " { __typename }" } else { "" })
}

fn root<'a>(schema: &'a ApiSchema, field: &RootField) -> &'a str {
    let kinds = [OperationKind::Query, OperationKind::Mutation, OperationKind::Subscription];
    let kind = kinds.into_iter().find(|kind| kind.as_str() == field.kind);
    schema.root(kind.expect("a kind of operation")).expect("a root type")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_start_page_work_for_those_they_are_for() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", LARGE_SUM).await;
    let eve = Person::join(&world, "eve").await;
    let violation = violation(&staff).await;
    let engine = Engine::over(SUPERGRAPH).expect("a supergraph").build().expect("an engine");
    let examples = Value::from(vostro_schema::door::examples(&engine)).to_string();
    let examples = examples.replace("acc_yours", &ada.account).replace("acc_theirs", &eve.account);
    let examples: Value = serde_json::from_str(&examples.replace("vio_found", &violation)).expect("JSON");
    for example in examples.as_array().expect("a list") {
        let access = example["access"].as_str().unwrap_or_default();
        let token = match access {
            "anybody" => "",
            "logged in" => &ada.token,
            roles if roles.contains("OPERATOR") => &staff.operator,
            roles if roles.contains("COMPLIANCE_OFFICER") => &staff.officer,
            other => panic!("nobody is {other:?}"),
        };
        let mut connection = Connection::open(world.config.http.address).await.expect("the bank listens");
        if !token.is_empty() {
            connection.log_in_with(token);
        }
        let document = example["document"].as_str().expect("a document");
        let variables = example.get("variables").cloned().unwrap_or_else(|| json!({}));
        let answer = if document.starts_with("subscription") {
            let mut events = EventStream::open(world.config.http.address, token, document, &variables).await;
            events.next().await.expect("an event")
        } else {
            connection.answer(document, variables).await.expect("an answer")
        };
        assert_eq!(answer.get("errors"), None, "{}: {answer}", example["title"]);
        let refusals = answer["data"]
            .as_object()
            .expect("data")
            .values()
            .any(|field| field["userErrors"].as_array().is_some_and(|refusals| !refusals.is_empty()));
        assert!(!refusals, "{}: {answer}", example["title"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_found_by_its_id_alone_by_those_who_may_see_it() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let ada = Person::join(&world, "ada").await;
    let eve = Person::join(&world, "eve").await;
    let nobody = "acc_01890a5d-ac96-774b-bcce-b302099a8057";
    let document = "query($id: ID!, $ids: [ID!]!) {
        node(id: $id) { id ... on Account { number owner { displayName } } }
        nodes(ids: $ids) { __typename id ... on User { displayName } } }";
    let variables = json!({"id": ada.account, "ids": [ada.account, nobody, ada.user, "nonsense", eve.account]});
    let user = ada.user.strip_prefix("usr_").expect("the id of a user");
    let kinds = ["txn", "ntf", "stm", "vio", "evd"].map(|prefix| format!("{prefix}_{user}"));
    let other_kinds = json!({"id": format!("acc_{user}"), "ids": kinds});
    let answer = ada.connection().await.answer(document, other_kinds).await.expect("an answer");
    assert_eq!(answer["data"], json!({"node": null, "nodes": [null, null, null, null, null]}), "{answer}");
    let answer = ada.connection().await.answer(document, variables.clone()).await.expect("an answer");
    assert_eq!(answer["data"]["node"]["owner"]["displayName"], "ada", "{answer}");
    assert_eq!(
        answer["data"]["nodes"],
        json!([{"__typename": "Account", "id": ada.account}, null,
            {"__typename": "User", "id": ada.user, "displayName": "ada"}, null, null])
    );
    let answer = eve.connection().await.answer(document, variables).await.expect("an answer");
    assert_eq!(answer["data"]["node"], Value::Null, "{answer}");
    assert_eq!(answer["data"]["nodes"][2], Value::Null, "{answer}");
    assert_eq!(answer["data"]["nodes"][4]["id"], json!(eve.account), "{answer}");
    assert_eq!(answer.get("errors"), None, "somebody else's object and none are the same: {answer}");
}
