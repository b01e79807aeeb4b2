//! A client that stops reading. What waits for it at the bank is bounded, nobody else waits for it, and when it reads on it
//! learns that it has missed something and how things are.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::support::{Person, Socket, Staff, World};

use super::load::{Load, nothing_is_lost_or_doubled};

/// Streams of the client, over one connection.
const STREAMS: usize = 10;
/// What fits into the system's buffers, the connection's queue and 256 changes of each stream is less than half of it.
const PAYMENTS: usize = 800;

/// Each update is as large as a document can make it, so that few of them fill what the system holds for a connection.
fn wide() -> String {
    let aliases: String = (0..28).map(|number| format!("a{number}{}: sequence ", "_".repeat(430))).collect();
    format!(
        "subscription($id: ID!) {{ balanceChanged(accountId: $id) {{
            sequence kind balance {{ posted {{ amount }} }} {aliases} }} }}"
    )
}

/// Sequence and kind of what a stream has told.
type Heard = Vec<(u64, String)>;

fn heard(update: &Value) -> (u64, String) {
    let kind = update["kind"].as_str().expect("a kind");
    (update["sequence"].as_u64().expect("a number"), kind.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_gets_the_state_with_a_mark_when_it_reads_on() {
    let world = World::create().await;
    let bank = world.spawn_bank(&[]).await;
    let address = world.config.http.address;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "1000.00").await;
    let bob = Person::with_money(&world, &staff, "bob", "1000.00").await;
    let mut slow = Socket::open_narrow_at(address, &ada.token).await;
    for stream in 0..STREAMS {
        slow.subscribe(&stream.to_string(), &wide(), json!({"id": ada.account})).await;
    }
    let mut quick = Socket::open_at(address, &ada.token).await;
    let document = "subscription($id: ID!) { balanceChanged(accountId: $id) { sequence kind } }";
    quick.subscribe("q", document, json!({"id": ada.account})).await;

    // Nobody reads the slow one's socket from here on.
    let load = Load::start(address, &ada, &bob);
    let mut told = Heard::new();
    while told.len() <= PAYMENTS {
        told.push(heard(&quick.next("q").await["balanceChanged"]));
    }
    nothing_is_lost_or_doubled(&world, &load.finish().await).await;
    let account = ada.account.trim_start_matches("acc_");
    let last = world.count(&format!("select max(sequence) from account.entry where account_id = '{account}'")).await;
    let last = u64::try_from(last).expect("a number");
    while told.last().is_none_or(|(sequence, _)| *sequence < last) {
        told.push(heard(&quick.next("q").await["balanceChanged"]));
    }
    let known: Vec<_> = told.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(known, (1..=last).collect::<Vec<_>>(), "who reads misses nothing");

    let mut streams: HashMap<String, Heard> = HashMap::new();
    while streams.len() < STREAMS || streams.values().any(|heard| heard.last().is_none_or(|(at, _)| *at < last)) {
        let message = slow.receive().await;
        assert_eq!(message["type"], "next", "{message}");
        let stream = message["id"].as_str().expect("an id").to_owned();
        let update = &message["payload"]["data"]["balanceChanged"];
        streams.entry(stream).or_default().push(heard(update));
    }
    for heard in streams.values() {
        for pair in heard.windows(2) {
            let [(before, _), (next, kind)] = pair else { continue };
            let follows = if kind == "LAGGED" { next > before } else { *next == before + 1 };
            assert!(follows, "{next} is told after {before} as {kind}");
        }
        assert!(heard.iter().any(|(_, kind)| kind == "LAGGED"), "it is told that it has missed something");
        assert!(heard.len() * 2 < told.len(), "{} of {} updates waited for it", heard.len(), told.len());
    }
    assert!(bank.terminate().await.success());
}
