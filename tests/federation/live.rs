//! What is told as it happens: the same by a gateway as by a bank in one process, of every module that tells anything.

use std::net::SocketAddr;
use std::sync::OnceLock;

use serde_json::{Value, json};
use vostro::client::documents;

use super::alike::comparable;
use super::parts::Parts;
use crate::support::{EventStream, Person, Staff, World};

/// A subscription, and how to know the update the test is about.
struct Told<'a> {
    field: &'static str,
    /// Both `$id` and `$after` are given; what differs between two subscribers is not selected, but for the cursor.
    document: &'static str,
    token: &'a str,
    id: &'a str,
    is_it: &'a dyn Fn(&Value) -> bool,
}

impl Told<'_> {
    async fn listen(&self, door: SocketAddr, after: &Value) -> EventStream {
        let mut variables = json!({"after": after});
        if self.document.contains("$id") {
            variables["id"] = json!(self.id);
        }
        EventStream::open(door, self.token, self.document, &variables).await
    }

    async fn next(&self, events: &mut EventStream) -> Value {
        let mut event = events.next().await.expect("an update");
        assert_eq!(event.get("errors"), None, "{}: {event}", self.field);
        event["data"][self.field].take()
    }

    /// The cursor of the first update.
    async fn cursor(&self, door: SocketAddr) -> Value {
        self.next(&mut self.listen(door, &Value::Null).await).await["cursor"].take()
    }

    /// The update the test is about.
    async fn find(&self, events: &mut EventStream) -> Value {
        loop {
            let mut update = self.next(events).await;
            if (self.is_it)(&update) {
                update["cursor"].take();
                return update;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_module_tells_what_happens_through_a_gateway_as_it_does_in_one_process() {
    let world = World::create().await;
    let (_bank, parts) = tokio::join!(world.spawn_bank(&[]), Parts::start(&world));
    let doors = [world.config.http.address, parts.gateway];
    let staff = Staff::hire(&world).await;
    // So large a sum is a violation, and so there is something to begin with everywhere.
    let ada = Person::with_money(&world, &staff, "ada", "50000.00").await;
    world.leaves_nothing_behind().await;

    let paid = OnceLock::<Value>::new();
    let is_paid = |id: &Value| paid.get() == Some(id);
    let told = |field, document, token, id, is_it| Told { field, document, token, id, is_it };
    let account = ada.account.as_str();
    let balance = |update: &Value| is_paid(&update["transactionId"]);
    let ended =
        |update: &Value| is_paid(&update["transaction"]["id"]) && update["transaction"]["status"] == "COMPLETED";
    // The number of the latest notification before.
    let latest = OnceLock::<u64>::new();
    let received = |update: &Value| {
        let is_new = update["sequence"].as_u64() > latest.get().copied();
        is_new && update["notification"]["topic"] == "PAYMENT_RECEIVED"
    };
    let found = |update: &Value| {
        update["violation"]["transactionIds"].as_array().is_some_and(|transactions| transactions.iter().any(is_paid))
    };
    let paused = |update: &Value| {
        let mut modules = update["modules"].as_array().expect("modules").iter();
        modules.any(|module| module["module"] == "notification" && module["isPaused"] == true)
    };
    let payment = [
        told(
            "balanceChanged",
            "subscription($id: ID!, $after: String) { balanceChanged(accountId: $id, after: $after) { accountId sequence
            balance { posted { amount currency } available { amount } } transactionId occurredAt cursor } }",
            &ada.token,
            account,
            &balance,
        ),
        told(
            "transactionUpdated",
            "subscription($id: ID!, $after: String) { transactionUpdated(accountId: $id, after: $after) { sequence occurredAt
            transaction { id status amount { amount } destination { number owner { displayName } } } cursor } }",
            &ada.token,
            account,
            &ended,
        ),
        told(
            "notificationArrived",
            "subscription($after: String) { notificationArrived(after: $after) { sequence
            notification { id topic title sourceEventId } cursor } }",
            &ada.token,
            account,
            &received,
        ),
        told(
            "violationUpdated",
            "subscription($after: String) { violationUpdated(after: $after) { sequence
            violation { id ruleId severity transactionIds } cursor } }",
            &staff.officer,
            account,
            &found,
        ),
    ];
    let operating = told(
        "operationsChanged",
        "subscription($after: String) { operationsChanged(after: $after) { modules { module isPaused } cursor } }",
        &staff.admin,
        account,
        &paused,
    );

    let mut streams = Vec::new();
    for told in &payment {
        // Behind one cursor, so that neither misses what happens before it listens.
        let after = told.cursor(doors[0]).await;
        streams.push([told.listen(doors[0], &after).await, told.listen(doors[1], &after).await]);
    }
    // Listing them counts as having got them, so nothing would have begun with one before.
    let listed = "{ notifications(first: 1) { nodes { sequence } } }";
    let listed = ada.connection().await.data(listed, json!({})).await.expect("an answer");
    latest.set(listed["notifications"]["nodes"][0]["sequence"].as_u64().expect("a number")).expect("listed once");
    let input = json!({"input": {"idempotencyKey": "again", "accountId": account, "waitFor": "COMPLETED",
        "amount": {"amount": "50000.00", "currency": "EUR"}}});
    let mut counter = staff.operator_connection().await;
    let deposit = counter.data(documents::DEPOSIT, input).await.expect("an answer");
    paid.set(deposit["depositRecord"]["transaction"]["id"].clone()).expect("paid once");
    for (told, [here, there]) in payment.iter().zip(&mut streams) {
        let (here, there) = tokio::join!(told.find(here), told.find(there));
        assert_eq!(there, here, "{}", told.field);
    }

    let after = operating.cursor(doors[0]).await;
    let [mut here, mut there] = [operating.listen(doors[0], &after).await, operating.listen(doors[1], &after).await];
    let mut admin = staff.admin_connection().await;
    let pause =
        "mutation($input: ConsumptionPauseInput!) { consumptionPause(input: $input) { changed userErrors { code } } }";
    let input = json!({"input": {"module": "notification", "reason": "to see it told"}});
    let answer = admin.data(pause, input).await.expect("an answer");
    assert_eq!(answer["consumptionPause"]["changed"], true, "{answer}");
    let (here, there) = tokio::join!(operating.find(&mut here), operating.find(&mut there));
    assert_eq!(there, here, "operationsChanged");

    for told in payment.iter().chain([&operating]) {
        let mut refusals = Vec::new();
        for door in doors {
            let nobody = Told { token: "", field: told.field, document: told.document, id: told.id, is_it: told.is_it };
            let refused = nobody.listen(door, &Value::Null).await.next().await.expect("an answer");
            assert_eq!(refused["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{refused}");
            refusals.push(comparable(refused));
        }
        assert_eq!(refusals[0], refusals[1], "{}", told.field);
    }
}
