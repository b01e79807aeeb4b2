//! What a bank shows by itself to somebody who looks around.

use hyper::StatusCode;
use serde_json::{Value, json};
use vostro::client::Connection;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_whose_configuration_does_not_ask_for_it_shows_nobody_its_schema() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let mut stranger = Connection::open(world.config.http.address).await.expect("the bank listens");
    for path in ["/graphiql", "/graphiql/modules.json", "/graphiql/page.js"] {
        assert_eq!(stranger.get(path).await.expect("an answer").0, StatusCode::NOT_FOUND, "{path}");
    }
    let mut refusal = async |document: &str| {
        let answer: Value = stranger.answer(document, json!({})).await.expect("an answer");
        assert_eq!(answer.get("data"), None, "{answer}");
        (answer["errors"][0]["extensions"]["code"].clone(), answer.to_string())
    };
    for document in [
        "{ __schema { queryType { name } } }",
        "{ ... on Query { about: __type(name: \"Account\") { name } } }",
        "mutation { __schema { types { name } } }",
    ] {
        assert_eq!(refusal(document).await.0, "INTROSPECTION_DISABLED", "{document}");
    }
    for document in ["{ acounts { nodes { id } } }", "{ __typename ... on Acount { id } }"] {
        let (code, told) = refusal(document).await;
        assert_eq!(code, "GRAPHQL_VALIDATION_FAILED", "{told}");
        assert!(!told.contains("Did you mean") && !told.to_lowercase().contains("account"), "{told}");
    }
    bank.stop().await;
}
