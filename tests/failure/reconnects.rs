//! A storm of reconnects: many subscribers at two instances of the bank are cut off again and again while money moves,
//! and the broker's connections break too, so that events come twice and out of order behind the scenes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use vostro_testkit::Proxy;

use crate::support::{Person, Socket, Staff, World, eventually};

const PAYMENTS: usize = 30;
const PAYEES: usize = 3;

/// What a subscriber has seen: which aggregate, its sequence, and whether it was news.
type Seen = Vec<(String, u64, bool)>;

/// How one kind of subscription is read.
#[derive(Clone, Copy)]
struct Kind {
    document: &'static str,
    field: &'static str,
    /// Where the aggregate's id is in an update.
    aggregate: &'static str,
}

const BALANCE: Kind = Kind {
    document: "subscription($id: ID!, $after: String) {
        balanceChanged(accountId: $id, after: $after) { accountId sequence kind cursor } }",
    field: "balanceChanged",
    aggregate: "/accountId",
};
const TRANSACTIONS: Kind = Kind {
    document: "subscription($id: ID!, $after: String) {
        transactionUpdated(accountId: $id, after: $after) { transaction { id } sequence kind cursor } }",
    field: "transactionUpdated",
    aggregate: "/transaction/id",
};
const ARRIVALS: Kind = Kind {
    document: "subscription($after: String) {
        notificationArrived(after: $after) { notification { id topic } sequence kind cursor } }",
    field: "notificationArrived",
    aggregate: "/notification/id",
};

/// Somebody who listens, and connects anew behind the last cursor whenever the connection is gone.
struct Subscriber {
    kind: Kind,
    person: Person,
    /// By turns at one instance and at the other.
    places: [std::net::SocketAddr; 2],
    begun: Arc<AtomicUsize>,
}

impl Subscriber {
    /// Listens until `enough` of what was seen; with how often it had to connect.
    async fn listen(self, enough: impl Fn(&Seen, &Value) -> bool) -> (Seen, usize) {
        let (mut seen, mut after, mut connections) = (Seen::new(), Value::Null, 0);
        loop {
            let place = self.places[connections % 2];
            connections += 1;
            let Ok(mut socket) = Socket::try_open_at(place, &self.person.token).await else { continue };
            let variables = match self.kind.field {
                "notificationArrived" => json!({"after": after}),
                _ => json!({"id": self.person.account, "after": after}),
            };
            if socket.try_subscribe("s", self.kind.document, variables).await.is_err() {
                continue;
            }
            while let Ok(data) = socket.try_next("s").await {
                let update = &data[self.kind.field];
                assert_ne!(update["kind"], "LAGGED", "nobody is that slow: {update}");
                let aggregate = update.pointer(self.kind.aggregate).and_then(Value::as_str).expect("an id").to_owned();
                let sequence = update["sequence"].as_u64().expect("a number");
                if seen.is_empty() {
                    self.begun.fetch_add(1, Ordering::Relaxed);
                }
                seen.push((aggregate, sequence, update["kind"] == "CHANGE"));
                after = update["cursor"].clone();
                if enough(&seen, update) {
                    return (seen, connections);
                }
            }
        }
    }
}

/// The connections of everybody and of the broker.
struct Network {
    doors: [Proxy; 2],
    broker: Proxy,
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cut_off_again_and_again_sees_each_change_once_and_in_order() {
    let world = World::create().await;
    let broker = Proxy::to(world.broker_address()).await;
    let through = world.broker_url_through(broker.address());
    let first = world.spawn_bank(&[("VOSTRO__BROKER__URL", &through)]).await;
    let (second, elsewhere) = world.spawn_another().await;
    let network = Network { doors: [Proxy::to(world.config.http.address).await, Proxy::to(elsewhere).await], broker };
    let places = [network.doors[0].address(), network.doors[1].address()];
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "1000.00").await;
    let mut payees = Vec::new();
    for name in ["bob", "cleo", "dora"] {
        payees.push(Person::with_money(&world, &staff, name, "1.00").await);
    }

    let begun = Arc::new(AtomicUsize::new(0));
    let subscriber = |kind: Kind, person: &Person, turn: usize| {
        let places = if turn.is_multiple_of(2) { places } else { [places[1], places[0]] };
        Subscriber { kind, person: person.at(places[0]), places, begun: Arc::clone(&begun) }
    };
    // Ada's first entry is her deposit.
    let last_entry = 1 + u64::try_from(PAYMENTS).expect("few");
    let balances: Vec<JoinHandle<_>> = (0..10)
        .map(|turn| {
            let listening = subscriber(BALANCE, &ada, turn);
            tokio::spawn(listening.listen(move |seen, _| seen.last().is_some_and(|(_, at, _)| *at == last_entry)))
        })
        .collect();
    let transactions: Vec<JoinHandle<_>> = (0..10)
        .map(|turn| {
            let listening = subscriber(TRANSACTIONS, &ada, turn);
            let ended = |seen: &Seen| seen.iter().filter(|(_, sequence, news)| *news && *sequence == 2).count();
            tokio::spawn(listening.listen(move |seen, _| ended(seen) == PAYMENTS))
        })
        .collect();
    let arrivals: Vec<JoinHandle<_>> = payees
        .iter()
        .enumerate()
        .map(|(turn, payee)| {
            let received = AtomicUsize::new(0);
            tokio::spawn(subscriber(ARRIVALS, payee, turn).listen(move |_, update| {
                let of_payment = update["notification"]["topic"] == "PAYMENT_RECEIVED";
                // One more for the deposit.
                received.fetch_add(usize::from(of_payment), Ordering::Relaxed) + usize::from(of_payment)
                    == 1 + PAYMENTS / PAYEES
            }))
        })
        .collect();
    let everybody = balances.len() + transactions.len() + arrivals.len();
    eventually("everybody has begun", || async { (begun.load(Ordering::Relaxed) == everybody).then_some(()) }).await;

    for number in 0..PAYMENTS {
        let payer = if number.is_multiple_of(2) { ada.at(world.config.http.address) } else { ada.at(elsewhere) };
        let paid = payer.transfer(&format!("storm-{number}"), &payees[number % PAYEES].account, "1.00").await;
        assert_eq!(paid["transaction"]["status"], "COMPLETED", "{paid}");
        network.doors[number % 2].cut();
        if number.is_multiple_of(3) {
            network.doors[(number + 1) % 2].cut();
        }
        if number % 10 == 5 {
            network.broker.cut();
        }
    }

    let mut connections = 0;
    for subscriber in balances {
        let (seen, often) = finished(subscriber).await;
        let sequences: Vec<_> = seen.iter().map(|(_, sequence, _)| *sequence).collect();
        assert_eq!(sequences, (1..=last_entry).collect::<Vec<_>>(), "each once, in order");
        connections += often;
    }
    for subscriber in transactions {
        let (seen, often) = finished(subscriber).await;
        each_once_and_in_order(&seen);
        connections += often;
    }
    for subscriber in arrivals {
        let (seen, often) = finished(subscriber).await;
        each_once_and_in_order(&seen);
        connections += often;
    }
    assert!(connections > everybody * 5, "everybody was cut off often: {connections} connections");
    assert!(second.terminate().await.success());
    assert!(first.terminate().await.success());
    world.proofs_hold().await;
    world.leaves_nothing_behind().await;
}

async fn finished(subscriber: JoinHandle<(Seen, usize)>) -> (Seen, usize) {
    let within = std::time::Duration::from_secs(60);
    let ended = tokio::time::timeout(within, subscriber).await;
    ended.expect("everything has come within a minute").expect("the subscriber did not panic")
}

fn each_once_and_in_order(seen: &Seen) {
    let once: HashSet<_> = seen.iter().map(|(aggregate, sequence, _)| (aggregate, sequence)).collect();
    assert_eq!(once.len(), seen.len(), "nothing twice: {seen:?}");
    let mut last: HashMap<&str, u64> = HashMap::new();
    for (aggregate, sequence, _) in seen {
        let before = last.insert(aggregate, *sequence);
        assert!(before.is_none_or(|before| before < *sequence), "each in its order: {seen:?}");
    }
}
