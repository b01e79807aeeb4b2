use serde_json::{Value, json};
use vostro::client::{Connection, documents};

use super::parts::Parts;
use crate::support::{Person, Staff, World, eventually};

/// No process runs all modules here: what happens goes over HTTP and the broker alone.
#[tokio::test(flavor = "multi_thread")]
async fn customers_of_a_bank_in_parts_notice_only_what_is_away() {
    let world = World::create().await;
    let mut parts = Parts::start(&world).await;
    // People of the tests knock at the address of the whole bank.
    let mut proxied = world;
    proxied.config.http.address = parts.gateway;
    let staff = Staff::hire(&proxied).await;
    let ada = Person::with_money(&proxied, &staff, "ada", "50.00").await;
    let bob = Person::join(&proxied, "bob").await;
    let transfer = ada.transfer("through-the-gateway", &bob.account, "12.00").await;
    assert_eq!(transfer["transaction"]["status"], "COMPLETED", "{transfer}");
    assert_eq!((ada.balance().await, bob.balance().await), ("38.00".to_owned(), "12.00".to_owned()));

    let query = "query($id: ID!) { me { displayName } account(id: $id) { number owner { displayName } }
        node(id: $id) { id ... on Account { status } } unreadCount notifications(first: 1) { nodes { id } } }";
    let mut connection = ada.connection().await;
    let answer = connection.answer(query, json!({"id": ada.account})).await.expect("an answer");
    assert_eq!(answer.get("errors"), None, "{answer}");
    assert_eq!(answer["data"]["account"]["owner"]["displayName"], "ada");
    assert_eq!(answer["data"]["node"]["status"], "ACTIVE");

    parts.kill("notification");
    let answer = connection.answer(query, json!({"id": ada.account})).await.expect("an answer");
    assert_eq!(answer["data"]["me"]["displayName"], "ada", "{answer}");
    assert_eq!(answer["data"]["account"]["owner"]["displayName"], "ada", "{answer}");
    assert_eq!((&answer["data"]["unreadCount"], &answer["data"]["notifications"]), (&Value::Null, &Value::Null));
    let errors = answer["errors"].as_array().expect("errors");
    let mut paths: Vec<_> = errors.iter().map(|error| error["path"].to_string()).collect();
    paths.sort();
    assert_eq!(paths, [r#"["notifications"]"#, r#"["unreadCount"]"#], "{answer}");
    for error in errors {
        let told = &error["extensions"];
        assert_eq!((&told["code"], &told["module"]), (&json!("MODULE_UNAVAILABLE"), &json!("notification")), "{error}");
    }
    let lost = ada
        .connection()
        .await
        .answer(
            documents::TRANSFER,
            json!({"input": crate::support::people::transfer_input(
        "lost", &ada.account, &bob.account, "1.00", "NONE")}),
        )
        .await
        .expect("an answer");
    assert_eq!(lost["errors"][0]["extensions"]["code"], "MODULE_UNAVAILABLE", "{lost}");
    assert_eq!(lost["data"], json!({"transferCreate": null}));

    // Who has logged out is nobody soon, at every door.
    connection.data("mutation { logout { loggedOut } }", json!({})).await.expect("an answer");
    eventually("the session has ended at the gateway", || async {
        let mut connection = ada.connection().await;
        let answer = connection.answer("{ me { id } }", json!({})).await.ok()?;
        (answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED").then_some(())
    })
    .await;

    // The processes behind have no door for clients, with a token or without.
    let behind = parts.subgraphs["auth"].trim_start_matches("http://").parse().expect("an address");
    let mut connection = Connection::open(behind).await.expect("it listens");
    connection.log_in_with(&staff.admin);
    assert!(connection.answer("{ me { id } }", json!({})).await.is_err(), "there is no /graphql");
    let (status, _) = connection.get("/.well-known/jwks.json").await.expect("an answer");
    assert!(status.is_success());
}
