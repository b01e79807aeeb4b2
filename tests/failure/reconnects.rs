//! A storm of reconnects: many subscribers at two instances of the bank are cut off again and again while money moves
//! and staff decides about an account, and the broker's connections break too, so that events come twice and out of order
//! behind the scenes. In front of the streams of the bank's own people all of them come again, backwards and then in
//! order. No news of one instance reaches those who listen at the other.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use vostro_testkit::Proxy;

use crate::journeys::upload::Form;
use crate::support::people::connect;
use crate::support::{BankProcess, Person, Socket, Staff, World, eventually};

use super::messages::{capture_everything, channel, repeat_in_reverse_and_in_order};

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
const ACCOUNT: Kind = Kind {
    document: "subscription($id: ID!, $after: String) {
        accountUpdated(accountId: $id, after: $after) { account { id } sequence kind cursor } }",
    field: "accountUpdated",
    aggregate: "/account/id",
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
const FINDINGS: Kind = Kind {
    document: "subscription($after: String) {
        violationDetected(after: $after) { violation { id subjectId } sequence kind cursor } }",
    field: "violationDetected",
    aggregate: "/violation/id",
};
const CASES: Kind = Kind {
    document: "subscription($after: String) {
        violationUpdated(after: $after) { violation { id } evidence { fileName } sequence kind cursor } }",
    field: "violationUpdated",
    aggregate: "/violation/id",
};
/// The state of everything is one aggregate.
const OPERATIONS: Kind = Kind {
    document: "subscription($after: String) {
        operationsChanged(after: $after) { modules { module isPaused outboxWaiting outboxOldestAt keysWaiting
            keysQuarantined } sequence kind cursor } }",
    field: "operationsChanged",
    aggregate: "/modules/0/module",
};

/// Somebody who listens, and connects anew behind the last cursor whenever the connection is gone.
struct Subscriber {
    kind: Kind,
    token: String,
    /// What it is about, where that is to be named.
    subject: String,
    /// By turns at one instance and at the other.
    places: [SocketAddr; 2],
    begun: Arc<AtomicUsize>,
}

impl Subscriber {
    /// Listens until `enough` of what was seen; with how often it had to connect.
    async fn listen(self, enough: impl Fn(&Seen, &Value) -> bool) -> (Seen, usize) {
        let (mut seen, mut after, mut connections) = (Seen::new(), Value::Null, 0);
        loop {
            let place = self.places[connections % 2];
            connections += 1;
            let Ok(mut socket) = Socket::try_open_at(place, &self.token).await else { continue };
            let mut variables = json!({"after": after});
            if self.kind.document.contains("$id") {
                variables["id"] = json!(self.subject);
            }
            if socket.try_subscribe("s", self.kind.document, variables).await.is_err() {
                continue;
            }
            while let Ok(data) = socket.try_next("s").await {
                let update = &data[self.kind.field];
                // Of states only the latest is told.
                let tells_states = [OPERATIONS.field, ACCOUNT.field].contains(&self.kind.field);
                let passed_over = update["kind"] == "LAGGED" && !tells_states;
                assert!(!passed_over, "nobody is that slow: {update}");
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

/// Two instances of the bank behind it.
struct Storm {
    world: World,
    banks: [BankProcess; 2],
    /// Where they are without it.
    addresses: [SocketAddr; 2],
    network: Network,
    staff: Staff,
    ada: Person,
    payees: Vec<Person>,
    begun: Arc<AtomicUsize>,
}

impl Storm {
    async fn over(world: World, funds: &str) -> Self {
        let broker = Proxy::to(world.broker_address()).await;
        let through = world.broker_url_through(broker.address());
        let first = world.spawn_bank(&[("VOSTRO__BROKER__URL", &through)]).await;
        let (second, elsewhere) = world.spawn_another().await;
        let addresses = [world.config.http.address, elsewhere];
        let network = Network { doors: [Proxy::to(addresses[0]).await, Proxy::to(elsewhere).await], broker };
        let staff = Staff::hire(&world).await;
        let ada = Person::with_money(&world, &staff, "ada", funds).await;
        let mut payees = Vec::new();
        for name in ["bob", "cleo", "dora"] {
            payees.push(Person::with_money(&world, &staff, name, "1.00").await);
        }
        Self { world, banks: [first, second], addresses, network, staff, ada, payees, begun: Arc::default() }
    }

    fn subscriber(&self, kind: Kind, token: &str, subject: &str, turn: usize) -> Subscriber {
        let [first, second] = [0, 1].map(|number| self.network.doors[number].address());
        let places = if turn.is_multiple_of(2) { [first, second] } else { [second, first] };
        Subscriber {
            kind,
            token: token.to_owned(),
            subject: subject.to_owned(),
            places,
            begun: Arc::clone(&self.begun),
        }
    }

    async fn everybody_has_begun(&self, everybody: usize) {
        eventually("everybody has begun", || async { (self.begun.load(Ordering::Relaxed) == everybody).then_some(()) })
            .await;
    }

    /// Another overdraft limit for Ada, arranged at one of the instances.
    async fn arrange(&self, number: usize) {
        let mut counter = connect(self.addresses[number % 2], &self.staff.operator).await;
        let document =
            "mutation($input: OverdraftArrangeInput!) { overdraftArrange(input: $input) { account { version } } }";
        let limit = json!({"amount": format!("{}.00", number + 1), "currency": "EUR"});
        let input = json!({"input": {"accountId": self.ada.account, "limit": limit}});
        let arranged = counter.data(document, input).await.expect("an answer");
        assert_eq!(arranged["overdraftArrange"]["account"]["version"], json!(number + 2), "{arranged}");
    }

    /// One payment, after which connections are cut.
    async fn pay(&self, number: usize, amount: &str) {
        let payer = self.ada.at(self.addresses[number % 2]);
        let paid = payer.transfer(&format!("storm-{number}"), &self.payees[number % PAYEES].account, amount).await;
        assert_eq!(paid["transaction"]["status"], "COMPLETED", "{paid}");
        self.network.doors[number % 2].cut();
        if number.is_multiple_of(3) {
            self.network.doors[(number + 1) % 2].cut();
        }
        if number % 10 == 5 {
            self.network.broker.cut();
        }
    }

    async fn calms_down(self) {
        for bank in self.banks {
            assert!(bank.terminate().await.success());
        }
        self.world.proofs_hold().await;
        self.world.leaves_nothing_behind().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cut_off_again_and_again_sees_each_change_once_and_in_order() {
    let storm = Storm::over(World::create().await, "1000.00").await;
    let subscriber = |kind, person: &Person, turn| storm.subscriber(kind, &person.token, &person.account, turn);
    // Ada's first entry is her deposit.
    let last_entry = 1 + u64::try_from(PAYMENTS).expect("few");
    let balances: Vec<JoinHandle<_>> = (0..10)
        .map(|turn| {
            let listening = subscriber(BALANCE, &storm.ada, turn);
            tokio::spawn(listening.listen(move |seen, _| seen.last().is_some_and(|(_, at, _)| *at == last_entry)))
        })
        .collect();
    let last_version = 1 + u64::try_from(PAYMENTS).expect("few");
    let accounts: Vec<JoinHandle<_>> = (0..6)
        .map(|turn| {
            let listening = subscriber(ACCOUNT, &storm.ada, turn);
            tokio::spawn(listening.listen(move |seen, _| seen.last().is_some_and(|(_, at, _)| *at == last_version)))
        })
        .collect();
    let transactions: Vec<JoinHandle<_>> = (0..10)
        .map(|turn| {
            let listening = subscriber(TRANSACTIONS, &storm.ada, turn);
            let ended = |seen: &Seen| seen.iter().filter(|(_, sequence, news)| *news && *sequence == 2).count();
            tokio::spawn(listening.listen(move |seen, _| ended(seen) == PAYMENTS))
        })
        .collect();
    let arrivals: Vec<JoinHandle<_>> = storm
        .payees
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
    let everybody = balances.len() + accounts.len() + transactions.len() + arrivals.len();
    storm.everybody_has_begun(everybody).await;
    for number in 0..PAYMENTS {
        storm.arrange(number).await;
        storm.pay(number, "1.00").await;
    }

    let mut connections = 0;
    for subscriber in balances {
        let (seen, often) = finished(subscriber).await;
        let sequences: Vec<_> = seen.iter().map(|(_, sequence, _)| *sequence).collect();
        assert_eq!(sequences, (1..=last_entry).collect::<Vec<_>>(), "each once, in order");
        connections += often;
    }
    for subscriber in accounts {
        let (seen, often) = finished(subscriber).await;
        each_once_and_in_order(&seen);
        let marked = seen.windows(2).all(|pair| pair[1].2 == (pair[1].1 == pair[0].1 + 1));
        assert!(marked, "what was passed over is said: {seen:?}");
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
        assert!(seen.is_sorted_by_key(|(_, sequence, _)| sequence), "all of a person in one order: {seen:?}");
        connections += often;
    }
    assert!(connections > everybody * 5, "everybody was cut off often: {connections} connections");
    storm.calms_down().await;
}

/// Keeps a note with a violation, at an instance.
async fn attach(storm: &Storm, place: usize, violation: &str, name: &str) {
    let form = Form::attaching_to(violation).part("0", Some(name), format!("the note {name}"));
    let answer = form.send_to(storm.addresses[place], &storm.staff.officer).await;
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["data"]["complianceEvidenceAttach"]["replayed"], false, "{answer}");
}

/// Stops a module's consumers, or lets them go on.
async fn switch(storm: &Storm, module: &str, pauses: bool) {
    let mutation = if pauses { "consumptionPause" } else { "consumptionResume" };
    let document =
        format!("mutation {{ {mutation}(input: {{module: \"{module}\", reason: \"a storm\"}}) {{ changed }} }}");
    let answer = storm.staff.operator_connection().await.data(&document, json!({})).await.expect("an answer");
    assert_eq!(answer[mutation]["changed"], true, "{answer}");
}

async fn latest_violation_of(storm: &Storm, account: &str) -> Option<String> {
    let mut officer = storm.staff.officer_connection().await;
    let latest = "{ violations(first: 20) { nodes { id subjectId } } }";
    let latest = officer.data(latest, json!({})).await.expect("an answer");
    let nodes = latest["violations"]["nodes"].as_array().expect("a list");
    let of_account = nodes.iter().find(|violation| violation["subjectId"] == account)?;
    of_account["id"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn officers_and_operators_who_are_cut_off_see_each_finding_document_and_state_once_and_in_order() {
    let world = World::create().await;
    let (_connection, channel) = channel(&world).await;
    capture_everything(&channel).await;
    // Each payment is large enough to be looked into, as is her deposit.
    let storm = Storm::over(world, "500000.00").await;
    let ada = storm.ada.account.clone();
    let first = eventually("her deposit is found", || latest_violation_of(&storm, &ada)).await;
    let zoe = Person::join(&storm.world, "zoe").await;
    let findings: Vec<JoinHandle<_>> = (0..4)
        .map(|turn| {
            let (listening, last) = (storm.subscriber(FINDINGS, &storm.staff.officer, "", turn), zoe.account.clone());
            tokio::spawn(listening.listen(move |_, update| update["violation"]["subjectId"] == last))
        })
        .collect();
    let cases: Vec<JoinHandle<_>> = (0..8)
        .map(|turn| {
            let listening = storm.subscriber(CASES, &storm.staff.officer, "", turn);
            tokio::spawn(listening.listen(|_, update| update["evidence"]["fileName"] == "the-end.txt"))
        })
        .collect();
    let states: Vec<_> = (0..4).map(|_| Arc::new(Mutex::new(Vec::new()))).collect();
    let operations: Vec<JoinHandle<_>> = (0..4)
        .map(|turn| {
            let listening = storm.subscriber(OPERATIONS, &storm.staff.operator, "", turn);
            let states = Arc::clone(&states[turn]);
            tokio::spawn(listening.listen(move |_, update| {
                states.lock().expect("nobody panicked with it").push(update["modules"].clone());
                let modules = update["modules"].as_array().expect("a list");
                modules.iter().any(|module| module["module"] == "auth" && module["isPaused"] == true)
            }))
        })
        .collect();
    let everybody = findings.len() + cases.len() + operations.len();
    storm.everybody_has_begun(everybody).await;

    let mut repeated = 0;
    for number in 0..PAYMENTS {
        if number % 10 == 1 {
            switch(&storm, "notification", true).await;
        }
        storm.pay(number, "10000.00").await;
        attach(&storm, number % 2, &first, &format!("{number}.txt")).await;
        if number % 10 == 4 {
            switch(&storm, "notification", false).await;
        }
        if number % 10 == 7 {
            repeated += repeat_in_reverse_and_in_order(&storm.world, &channel).await;
        }
    }
    assert!(repeated > PAYMENTS, "only {repeated} messages came again");
    let large = "select count(*) from compliance.violation where rule_id = 'LARGE_TRANSFER'";
    let expected = i64::try_from(1 + PAYMENTS).expect("few");
    eventually("every payment is found", || async { (storm.world.count(large).await == expected).then_some(()) }).await;
    storm.staff.deposit(&zoe.account, "20000.00", "the-last").await;
    let last = eventually("the last is found", || latest_violation_of(&storm, &zoe.account)).await;
    attach(&storm, 1, &last, "the-end.txt").await;
    switch(&storm, "auth", true).await;

    let count = async |table: &str| {
        usize::try_from(storm.world.count(&format!("select count(*) from compliance.{table}")).await).expect("few")
    };
    let (violations, documents) = (count("violation").await, count("evidence").await);
    assert_eq!(documents, 1 + PAYMENTS, "each document is kept once");
    let mut connections = 0;
    for subscriber in findings {
        let (seen, often) = finished(subscriber).await;
        each_once_and_in_order(&seen);
        assert_eq!(seen.len(), violations, "each finding is told");
        connections += often;
    }
    for subscriber in cases {
        let (seen, often) = finished(subscriber).await;
        each_once_and_in_order(&seen);
        assert_eq!(seen.len(), violations + documents, "each finding and each document is told");
        connections += often;
    }
    for (subscriber, states) in operations.into_iter().zip(states) {
        let (seen, often) = finished(subscriber).await;
        each_once_and_in_order(&seen);
        let states = states.lock().expect("nobody panicked with it");
        assert!(states.windows(2).all(|pair| pair[0] != pair[1]), "no state is told twice: {states:?}");
        connections += often;
    }
    assert!(connections > everybody * 5, "everybody was cut off often: {connections} connections");
    switch(&storm, "auth", false).await;
    storm.calms_down().await;
}

async fn finished(subscriber: JoinHandle<(Seen, usize)>) -> (Seen, usize) {
    let within = std::time::Duration::from_secs(120);
    let ended = tokio::time::timeout(within, subscriber).await;
    ended.expect("everything has come within two minutes").expect("the subscriber did not panic")
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
