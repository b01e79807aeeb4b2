//! A payer finds out whether an account is whose they think it is, through the broker and two modules.

use serde_json::{Value, json};

use crate::support::{Person, World, eventually};

const CHECK: &str =
    "query($iban: String!, $name: String!) { payeeVerification(iban: $iban, name: $name) { result suggestion } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_payees_name_is_verified_before_paying() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let ada = Person::join(&world, "ada").await;
    let bob = Person::join(&world, "robert").await;
    let account = bob.connection().await.data("{ accounts { nodes { number } } }", json!({})).await.expect("an answer");
    let iban = account["accounts"]["nodes"][0]["number"].as_str().expect("a number").to_owned();
    let check = async |iban: &str, name: &str| -> Value {
        let variables = json!({"iban": iban, "name": name});
        ada.connection().await.answer(CHECK, variables).await.expect("an answer")
    };
    // Whoever verifies a name is not kept waiting for long; a slow machine may have no answer by then.
    let verdict = async |iban: &str, name: &str| -> Value {
        eventually("the other module answers in time", || async {
            let data = check(iban, name).await["data"].clone();
            (data["payeeVerification"]["result"] != "UNAVAILABLE").then_some(data)
        })
        .await
    };
    let verified = json!({"payeeVerification": {"result": "MATCH", "suggestion": null}});
    assert_eq!(verdict(&iban, "Mr. Robert").await, verified);
    let close = json!({"payeeVerification": {"result": "CLOSE_MATCH", "suggestion": "r***"}});
    assert_eq!(verdict(&iban, "Robbert").await, close);
    let other = json!({"payeeVerification": {"result": "NO_MATCH", "suggestion": null}});
    assert_eq!(verdict(&iban, "Eve Adams").await, other);
    let elsewhere = json!({"payeeVerification": {"result": "UNAVAILABLE", "suggestion": null}});
    assert_eq!(check("GB82 WEST 1234 5698 7654 32", "Robert").await["data"], elsewhere);
    let typo = check("GB83 WEST 1234 5698 7654 32", "Robert").await;
    assert_eq!(typo["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{typo}");
    bank.stop().await;
}
