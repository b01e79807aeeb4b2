//! What a bank must not do, and how it says so. Each refusal has a code of its own and changes nothing.

use serde_json::{Value, json};
use vostro::client::{Connection, documents};

use crate::support::people::transfer_input;
use crate::support::{Person, Staff, World, eventually};

/// A bank with two customers, one of whom has 100.00.
struct Scene {
    world: World,
    _bank: vostro::app::Bank,
    staff: Staff,
    ada: Person,
    bob: Person,
}

impl Scene {
    async fn set() -> Self {
        let world = World::create().await;
        let bank = world.open_bank().await;
        let staff = Staff::hire(&world).await;
        let ada = Person::with_money(&world, &staff, "ada", "100.00").await;
        let bob = Person::with_money(&world, &staff, "bob", "5.00").await;
        Self { world, _bank: bank, staff, ada, bob }
    }

    /// The code a transfer of Ada's is refused with, at the door or by the ledger.
    async fn refusal(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut input = transfer_input(
            &uuid::Uuid::now_v7().to_string(),
            &self.ada.account,
            &self.bob.account,
            "1.00",
            "COMPLETED",
        );
        change(&mut input);
        refusal(&mut self.ada.connection().await, input).await
    }
}

async fn refusal(connection: &mut Connection, input: Value) -> String {
    let answer = connection.answer(documents::TRANSFER, json!({"input": input})).await.expect("an answer");
    let transfer = &answer["data"]["transferCreate"];
    let code = transfer["userErrors"][0]["code"]
        .as_str()
        .or(transfer["transaction"]["failureCode"].as_str())
        .or(answer["errors"][0]["extensions"]["code"].as_str());
    code.unwrap_or_else(|| panic!("not refused: {answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_transfer_is_refused_by_its_own_code_and_moves_nothing() {
    let scene = Scene::set().await;
    let amount = |text: &'static str| move |input: &mut Value| input["amount"]["amount"] = json!(text);
    assert_eq!(scene.refusal(amount("-1.00")).await, "TXN_INVALID_AMOUNT");
    assert_eq!(scene.refusal(amount("0.00")).await, "TXN_INVALID_AMOUNT");
    assert_eq!(scene.refusal(amount("NaN")).await, "BAD_USER_INPUT");
    assert_eq!(scene.refusal(amount("1e3")).await, "BAD_USER_INPUT");
    assert_eq!(scene.refusal(amount("1.001")).await, "TXN_AMOUNT_PRECISION");
    assert_eq!(scene.refusal(amount("99999999999999999999")).await, "TXN_INVALID_AMOUNT");
    assert_eq!(scene.refusal(|input| input["amount"]["currency"] = json!("ZZZ")).await, "BAD_USER_INPUT");
    assert_eq!(scene.refusal(|input| input["amount"]["currency"] = json!("USD")).await, "TXN_CURRENCY_MISMATCH");
    let own = scene.ada.account.clone();
    assert_eq!(scene.refusal(|input| input["destinationAccountId"] = json!(own)).await, "TXN_SELF_TRANSFER");
    let bobs = scene.bob.account.clone();
    let theft = |input: &mut Value| {
        input["destinationAccountId"] = input["sourceAccountId"].take();
        input["sourceAccountId"] = json!(bobs);
    };
    assert_eq!(scene.refusal(theft).await, "TXN_ACCOUNT_NOT_FOUND");
    let nowhere = "acc_00000000-0000-7000-8000-000000000000";
    assert_eq!(scene.refusal(|input| input["destinationAccountId"] = json!(nowhere)).await, "TXN_ACCOUNT_NOT_FOUND");
    assert_eq!(scene.refusal(|input| input["destinationAccountId"] = json!("rubbish")).await, "BAD_USER_INPUT");
    assert_eq!(scene.refusal(|input| input["idempotencyKey"] = json!("")).await, "BAD_USER_INPUT");
    assert_eq!(scene.refusal(amount("100.01")).await, "ACC_INSUFFICIENT_FUNDS");
    assert_eq!(scene.ada.balance().await, "100.00");
    assert_eq!(scene.bob.balance().await, "5.00");
    scene.world.proofs_hold().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_account_neither_pays_nor_receives_until_it_is_unfrozen() {
    let scene = Scene::set().await;
    let mut counter = scene.staff.operator_connection().await;
    let frozen = json!({"input": {"accountId": scene.ada.account, "reason": "court order"}});
    let data = counter.data(documents::FREEZE, frozen).await.expect("an answer");
    assert_eq!(data["accountFreeze"]["account"]["status"], "FROZEN");
    // The ledger refuses at once; the door of the transaction module a moment later.
    let code = scene.refusal(|_| ()).await;
    assert!(code.ends_with("_FROZEN"), "{code}");
    let input = transfer_input("to-frozen", &scene.bob.account, &scene.ada.account, "1.00", "COMPLETED");
    let code = refusal(&mut scene.bob.connection().await, input).await;
    assert!(code.ends_with("_FROZEN"), "{code}");

    let unfreeze = "mutation($input: AccountUnfreezeInput!) { accountUnfreeze(input: $input) { account { status } userErrors { code } } }";
    let data = counter
        .data(unfreeze, json!({"input": {"accountId": scene.ada.account, "reason": "order lifted"}}))
        .await
        .expect("an answer");
    assert_eq!(data["accountUnfreeze"]["account"]["status"], "ACTIVE", "{data}");
    eventually("ada can pay again", || async {
        let key = uuid::Uuid::now_v7().to_string();
        let transfer = scene.ada.transfer(&key, &scene.bob.account, "1.00").await;
        (transfer["transaction"]["status"] == "COMPLETED").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_is_closed_for_good_and_only_an_empty_one_can_be_closed() {
    let scene = Scene::set().await;
    let close = "mutation($input: AccountCloseInput!) { accountClose(input: $input) { account { status } userErrors { code } } }";
    let mut ada = scene.ada.connection().await;
    let input = json!({"input": {"accountId": scene.ada.account}});
    let data = ada.data(close, input.clone()).await.expect("an answer");
    assert_eq!(data["accountClose"]["userErrors"][0]["code"], "ACC_CLOSE_NON_ZERO");
    scene.ada.transfer("all-of-it", &scene.bob.account, "100.00").await;
    let data = ada.data(close, input).await.expect("an answer");
    assert_eq!(data["accountClose"]["account"]["status"], "CLOSED", "{data}");
    let back = transfer_input("back", &scene.bob.account, &scene.ada.account, "1.00", "COMPLETED");
    let code = refusal(&mut scene.bob.connection().await, back).await;
    assert!(code.ends_with("_CLOSED"), "{code}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_command_is_in_the_audit_log_with_who_and_why() {
    let scene = Scene::set().await;
    let own = scene.ada.account.clone();
    scene.refusal(|input| input["destinationAccountId"] = json!(own)).await;
    let officer = tokio::sync::Mutex::new(scene.staff.officer_connection().await);
    let document = "query($actor: ID!) { auditEvents(filter: {actorId: $actor, outcome: REFUSED}, first: 5) { nodes { command code outcome } } }";
    let refused = eventually("the refusal is archived", || async {
        let data = officer.lock().await.data(document, json!({"actor": scene.ada.user})).await.expect("an answer");
        data["auditEvents"]["nodes"].get(0).cloned()
    })
    .await;
    assert_eq!(refused, json!({"command": "transferCreate", "code": "TXN_SELF_TRANSFER", "outcome": "REFUSED"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_document_is_refused_with_a_code_and_no_internal_text() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let mut connection = Connection::open(world.config.http.address).await.expect("the bank listens");
    for (document, code) in [
        ("mutation {", "GRAPHQL_PARSE_FAILED"),
        ("{ nothingLikeThat }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ unreadCount }", "UNAUTHENTICATED"),
    ] {
        let answer = connection.answer(document, json!({})).await.expect("an answer");
        assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{answer}");
    }
}
