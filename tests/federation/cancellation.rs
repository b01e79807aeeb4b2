//! The same as [`crate::failure::cancellation`] where who asks the database is another process than whom the client asked.

use serde_json::json;

use super::parts::Parts;
use crate::failure::cancellation::{BALANCE, BALANCES, CHANGES, Held, ask, patient_world};
use crate::support::{Person, Staff};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_does_not_wait_for_any_more_is_ended_in_the_database_of_another_process() {
    let mut world = patient_world(300_000).await;
    let patient = [("VOSTRO__FEDERATION__CALL_MS", "300000"), ("VOSTRO__GRAPHQL__TIMEOUT_MILLIS", "300000")];
    let parts = Parts::start_with(&world, &patient).await;
    world.config.http.address = parts.gateway;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;

    let held = Held::hold(&world, BALANCES).await;
    for (document, accept) in [(BALANCE, "application/json"), (CHANGES, "text/event-stream")] {
        let client = ask(parts.gateway, &ada, document, accept).await;
        held.keeps_waiting(1, BALANCES).await;
        drop(client);
        held.keeps_waiting(0, BALANCES).await;
    }
    // The client waits, and the gateway gives the call up.
    let (_hasty, address) = parts.another_gateway(&world, &[("VOSTRO__FEDERATION__CALL_MS", "15000")]).await;
    let mut connection = ada.at(address).connection().await;
    let asked = connection.answer(BALANCE, json!({"id": ada.account}));
    let (answer, ()) = tokio::join!(asked, held.keeps_waiting(1, BALANCES));
    let error = &answer.expect("an answer")["errors"][0]["extensions"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("TIMEOUT"), &json!(true)), "{error}");
    held.keeps_waiting(0, BALANCES).await;
    held.let_go().await;
    assert_eq!(ada.balance().await, "10.00", "the connections of the module are as good as before");
}
