//! A client that stops reading. What waits for it at the bank is bounded, nobody else waits for it, and when it reads on it
//! learns that it has missed something and how things are.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::support::people::text;
use crate::support::{Person, Socket, Staff, World, eventually};

use super::load::{Load, nothing_is_lost_or_doubled};

/// Streams of the client, over one connection.
const STREAMS: usize = 10;
/// What fits into the system's buffers, the connection's queue and 256 changes of each stream is less than half of it.
const PAYMENTS: usize = 600;

/// Each update is as large as a document can make it, so that few of them fill what the system holds for a connection.
fn wide() -> String {
    let aliases: String = (0..28).map(|number| format!("a{number}{}: sequence ", "_".repeat(430))).collect();
    format!(
        "subscription($id: ID!) {{ balanceChanged(accountId: $id) {{
            sequence kind balance {{ posted {{ amount }} }} {aliases} }} }}"
    )
}

/// What a stream has told once.
#[derive(Debug)]
struct Heard {
    sequence: u64,
    kind: String,
    balance: String,
}

impl Heard {
    fn of(data: &Value) -> Self {
        let update = &data["balanceChanged"];
        let sequence = update["sequence"].as_u64().expect("a number");
        Self { sequence, kind: text(&update["kind"]), balance: text(&update["balance"]["posted"]["amount"]) }
    }
}

/// By the streams' ids.
#[derive(Default)]
struct Streams(HashMap<String, Vec<Heard>>);

impl Streams {
    async fn read_one(&mut self, socket: &mut Socket) {
        let message = socket.receive().await;
        assert_eq!(message["type"], "next", "{message}");
        self.0.entry(text(&message["id"])).or_default().push(Heard::of(&message["payload"]["data"]));
    }
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
    let mut streams = Streams::default();
    for _ in 0..STREAMS {
        streams.read_one(&mut slow).await;
    }
    let mut quick = Socket::open_at(address, &ada.token).await;
    let document =
        "subscription($id: ID!) { balanceChanged(accountId: $id) { sequence kind balance { posted { amount } } } }";
    quick.subscribe("q", document, json!({"id": ada.account})).await;

    // Nobody reads the slow one's socket from here on.
    let load = Load::start(address, &ada, &bob);
    let mut told = Vec::new();
    while told.len() <= PAYMENTS {
        told.push(Heard::of(&quick.next("q").await));
    }
    let accepted = load.finish().await;
    eventually("every accepted payment has ended", || async {
        let open = world.count("select count(*) from transaction.transaction where status = 'INITIATED'").await;
        (open == 0).then_some(())
    })
    .await;
    let account = ada.account.trim_start_matches("acc_");
    let last = world.count(&format!("select max(sequence) from account.entry where account_id = '{account}'")).await;
    let last = u64::try_from(last).expect("a number");
    while told.last().is_none_or(|update| update.sequence < last) {
        told.push(Heard::of(&quick.next("q").await));
    }
    let known: Vec<_> = told.iter().map(|update| update.sequence).collect();
    assert_eq!(known, (1..=last).collect::<Vec<_>>(), "who reads misses nothing");

    while streams.0.values().any(|heard| heard.last().is_none_or(|update| update.sequence < last)) {
        streams.read_one(&mut slow).await;
    }
    let balance = ada.balance().await;
    for heard in streams.0.values() {
        for pair in heard.windows(2) {
            let [before, next] = pair else { continue };
            let is_marked = next.kind == "LAGGED";
            let follows = next.sequence == before.sequence + 1 || (is_marked && next.sequence > before.sequence);
            assert!(follows, "{next:?} is told after {before:?}");
        }
        assert!(heard.iter().any(|update| update.kind == "LAGGED"), "it is told that it has missed something");
        assert_eq!(heard.last().map(|update| &update.balance), Some(&balance), "in the end it knows how things are");
        assert!(heard.len() * 2 < told.len(), "{} of {} updates waited for it", heard.len(), told.len());
    }
    nothing_is_lost_or_doubled(&world, &accepted).await;
    assert!(bank.terminate().await.success());
}
