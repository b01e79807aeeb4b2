//! Live news over `graphql-transport-ws`.

use serde_json::{Value, json};

use crate::support::people::connect;
use crate::support::{Person, Socket, Staff, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_is_told_now_and_after_every_change_without_gaps() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    let mut socket = Socket::open(&world, &ada.token).await;
    let query = "subscription($id: ID!) { balanceChanged(accountId: $id) { sequence balance { posted { amount } } } }";
    socket.subscribe("1", query, json!({"id": ada.account})).await;
    let told = |data: Value| {
        let change = &data["balanceChanged"];
        (change["sequence"].as_i64(), change["balance"]["posted"]["amount"].as_str().map(str::to_owned))
    };
    assert_eq!(told(socket.next("1").await), (Some(1), Some("10.00".into())));
    for number in 0..3 {
        ada.transfer(&format!("payment-{number}"), &bob.account, "1.00").await;
    }
    assert_eq!(told(socket.next("1").await), (Some(2), Some("9.00".into())));
    assert_eq!(told(socket.next("1").await), (Some(3), Some("8.00".into())));
    assert_eq!(told(socket.next("1").await), (Some(4), Some("7.00".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_followed_to_its_end() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    let mut socket = Socket::open(&world, &bob.token).await;
    let query =
        "subscription($id: ID!) { transactionUpdated(accountId: $id) { transaction { status amount { amount } } } }";
    socket.subscribe("t", query, json!({"id": bob.account})).await;
    let notified = "subscription { notificationReceived { topic } }";
    let mut inbox = Socket::open(&world, &bob.token).await;
    inbox.subscribe("n", notified, json!({})).await;
    ada.transfer("gift", &bob.account, "2.00").await;
    loop {
        let update = socket.next("t").await["transactionUpdated"]["transaction"].clone();
        if update["status"] == "COMPLETED" && update["amount"]["amount"] == "2.00" {
            break;
        }
    }
    while inbox.next("n").await["notificationReceived"]["topic"] != "PAYMENT_RECEIVED" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_at_another_instance_than_the_one_that_books_hears_of_it_too() {
    let world = World::create().await;
    let first = world.spawn_bank(&[]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    let (second, address) = world.spawn_another().await;
    let balance = "subscription($id: ID!) { balanceChanged(accountId: $id) { sequence } }";
    let updates =
        "subscription($id: ID!) { transactionUpdated(accountId: $id) { transaction { status amount { amount } } } }";
    let notified = "subscription { notificationReceived { topic } }";
    let mut sockets = Vec::new();
    for address in [world.config.http.address, address] {
        let (mut of_ada, mut of_bob) =
            (Socket::open_at(address, &ada.token).await, Socket::open_at(address, &bob.token).await);
        of_ada.subscribe("b", balance, json!({"id": ada.account})).await;
        assert_eq!(of_ada.next("b").await["balanceChanged"]["sequence"], 1);
        of_bob.subscribe("t", updates, json!({"id": bob.account})).await;
        sockets.push((of_ada, of_bob));
    }
    // At one instance only: what it yields counts as delivered at all.
    let mut inbox = Socket::open_at(address, &bob.token).await;
    inbox.subscribe("n", notified, json!({})).await;

    ada.transfer("gift", &bob.account, "2.00").await;
    for (of_ada, of_bob) in &mut sockets {
        assert_eq!(of_ada.next("b").await["balanceChanged"]["sequence"], 2);
        loop {
            let update = of_bob.next("t").await["transactionUpdated"]["transaction"].clone();
            if update["status"] == "COMPLETED" && update["amount"]["amount"] == "2.00" {
                break;
            }
        }
    }
    while inbox.next("n").await["notificationReceived"]["topic"] != "PAYMENT_RECEIVED" {}
    assert!(second.terminate().await.success());
    assert!(first.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_hears_at_each_instance_what_staff_decides_about_the_account_at_any() {
    let world = World::create().await;
    let first = world.spawn_bank(&[]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::join(&world, "ada").await;
    let (second, elsewhere) = world.spawn_another().await;
    let addresses = [world.config.http.address, elsewhere];
    let updates = "subscription($id: ID!) { accountUpdated(accountId: $id) {
        sequence kind account { status owner { displayName } } } }";
    let mut sockets = Vec::new();
    for address in addresses {
        let mut socket = Socket::open_at(address, &ada.token).await;
        socket.subscribe("a", updates, json!({"id": ada.account})).await;
        assert_eq!(socket.next("a").await["accountUpdated"]["kind"], "SNAPSHOT");
        sockets.push(socket);
    }
    for (number, (command, status)) in [("Freeze", "FROZEN"), ("Unfreeze", "ACTIVE")].into_iter().enumerate() {
        let decide = format!(
            "mutation($id: ID!) {{
                account{command}(input: {{accountId: $id, reason: \"why\"}}) {{ userErrors {{ code }} }} }}"
        );
        let mut counter = connect(addresses[number], &staff.operator).await;
        let decided = counter.data(&decide, json!({"id": ada.account})).await.expect("an answer");
        assert_eq!(decided[format!("account{command}")]["userErrors"], json!([]), "{decided}");
        for socket in &mut sockets {
            let told = socket.next("a").await["accountUpdated"].clone();
            let account = json!({"status": status, "owner": {"displayName": "ada"}});
            assert_eq!(told, json!({"sequence": 2 + number, "kind": "CHANGE", "account": account}));
        }
    }
    assert!(second.terminate().await.success());
    assert!(first.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_reconnects_at_another_instance_goes_on_behind_its_cursor() {
    let world = World::create().await;
    let first = world.spawn_bank(&[]).await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    let (second, elsewhere) = world.spawn_another().await;
    let balance = "subscription($id: ID!, $after: String) {
        balanceChanged(accountId: $id, after: $after) { sequence kind cursor } }";
    let updates = "subscription($id: ID!, $after: String) {
        transactionUpdated(accountId: $id, after: $after) { sequence kind cursor transaction { id } } }";
    let here = world.config.http.address;
    let (mut after_balance, mut after_update) = (Value::Null, Value::Null);
    let (mut balances, mut outcomes) = (Vec::new(), Vec::new());
    for round in 1..=4 {
        let address = if round % 2 == 0 { elsewhere } else { here };
        let mut socket = Socket::open_at(address, &ada.token).await;
        socket.subscribe("b", balance, json!({"id": ada.account, "after": after_balance})).await;
        while balances.len() < round {
            let update = socket.next("b").await["balanceChanged"].clone();
            assert_eq!(update["kind"], if balances.is_empty() { "SNAPSHOT" } else { "CHANGE" });
            balances.push(update["sequence"].as_u64().expect("a number"));
            after_balance = update["cursor"].clone();
        }
        let mut socket = Socket::open_at(address, &ada.token).await;
        socket.subscribe("t", updates, json!({"id": ada.account, "after": after_update})).await;
        while outcomes.len() < round {
            let update = socket.next("t").await["transactionUpdated"].clone();
            if update["sequence"] == 2 {
                outcomes.push(update["transaction"]["id"].as_str().expect("an id").to_owned());
            }
            after_update = update["cursor"].clone();
        }
        drop(socket);
        // Nobody listens while this happens.
        ada.transfer(&format!("round-{round}"), &bob.account, "1.00").await;
    }
    assert_eq!(balances, [1, 2, 3, 4], "each once, in order");
    outcomes.sort_unstable();
    outcomes.dedup();
    assert_eq!(outcomes.len(), 4, "each once");
    assert!(second.terminate().await.success());
    assert!(first.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_listen_to_somebody_elses_account() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let eve = Person::join(&world, "eve").await;
    for field in ["balanceChanged", "accountUpdated"] {
        let mut socket = Socket::open(&world, &eve.token).await;
        let query = format!("subscription($id: ID!) {{ {field}(accountId: $id) {{ sequence }} }}");
        socket.subscribe("1", &query, json!({"id": ada.account})).await;
        let answer = socket.receive().await;
        let refused =
            answer["type"] == "error" || answer["type"] == "complete" || answer["payload"]["errors"].is_array();
        assert!(refused, "{answer}");
        assert!(!answer.to_string().contains("\"sequence\":1"), "{answer}");
    }
}
