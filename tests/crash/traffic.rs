use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use vostro::client::{Connection, documents};

use crate::support::people::{PASSWORD, transfer_input};
use crate::support::{Person, Staff, eventually};

const MARK_READ: &str = "mutation MarkRead($input: NotificationMarkReadInput!) {
  notificationMarkRead(input: $input) { notification { id } userErrors { code message } } }";

/// What people were told, and may hold the bank to.
#[derive(Debug, Default)]
pub struct Promises {
    /// The transaction of each idempotency key under which a payment was accepted.
    pub accepted: BTreeMap<String, String>,
    /// Keys under which a payment was refused for good.
    pub refused: BTreeSet<String>,
    /// Notifications that were marked as read.
    pub read: BTreeSet<String>,
    /// People who were told that they are registered.
    pub registered: BTreeSet<String>,
}

/// People who use the bank, also while it is down: they pay each other, try to pay more than they have, pay in, read what
/// they are told, log in, and more of them come. Whoever gets no answer asks again under the same key.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    promises: Arc<Mutex<Promises>>,
    people: JoinSet<()>,
}

impl Traffic {
    pub fn start(address: SocketAddr, staff: &Staff, people: &[Person], seed: u64) -> Self {
        let (stop, promises) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let accounts: Arc<[String]> = people.iter().map(|person| person.account.clone()).collect();
        let mut users = JoinSet::new();
        for (number, person) in (0_u64..).zip(people) {
            let user = User {
                address,
                token: person.token.clone(),
                teller: staff.operator.clone(),
                account: person.account.clone(),
                accounts: Arc::clone(&accounts),
                number,
                rng: StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(number)),
                stop: Arc::clone(&stop),
                promises: Arc::clone(&promises),
                connection: None,
            };
            users.spawn(user.live());
        }
        Self { stop, promises, people: users }
    }

    fn accepted(&self) -> usize {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner).accepted.len()
    }

    /// Waits until this many more payments are accepted than at the time of the call.
    pub async fn progresses_by(&self, more: usize) {
        let goal = self.accepted() + more;
        eventually("more payments are accepted", || async { (self.accepted() >= goal).then_some(()) }).await;
    }

    /// Lets everybody come to an end and returns what they were told.
    pub async fn finish(mut self) -> Promises {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.people.join_next().await {
            ended.expect("everybody was answered in the end");
        }
        std::mem::take(&mut *self.promises.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Asks for a transfer of 6.66 until it is accepted, and returns its transaction.
pub async fn pay_poison(from: &Person, to: &Person, key: &str) -> String {
    let input = transfer_input(key, &from.account, &to.account, "6.66", "NONE");
    eventually("the poison is accepted", || async {
        let mut connection = from.try_connection().await?;
        let answer = connection.answer(documents::TRANSFER, json!({"input": input})).await.ok()?;
        answer["data"]["transferCreate"]["transaction"]["id"].as_str().map(str::to_owned)
    })
    .await
}

struct User {
    address: SocketAddr,
    token: String,
    teller: String,
    account: String,
    accounts: Arc<[String]>,
    number: u64,
    rng: StdRng,
    stop: Arc<AtomicBool>,
    promises: Arc<Mutex<Promises>>,
    connection: Option<(String, Connection)>,
}

impl User {
    /// For one question, restarts of the bank included.
    const PATIENCE: Duration = Duration::from_secs(180);
    /// For one answer.
    const ANSWER: Duration = Duration::from_secs(10);

    async fn live(mut self) {
        let mut number = 0_u64;
        while !self.stop.load(Ordering::Relaxed) {
            number += 1;
            let key = format!("crash-{}-{number}", self.number);
            match self.rng.random_range(0..100) {
                0..60 => self.pay(&key).await,
                60..68 => self.pay_too_much(&key).await,
                68..72 => self.pay_oneself(&key).await,
                72..80 => self.pay_in(&key).await,
                80..92 => self.read_news().await,
                92..97 => self.log_in_again(&key).await,
                _ => self.bring_a_friend(&key).await,
            }
            // People think; a machine on which several banks are tested has to breathe.
            let thought = Duration::from_millis(self.rng.random_range(5..40));
            tokio::time::sleep(thought).await;
        }
    }

    async fn pay(&mut self, key: &str) {
        let amount = format!("0.{:02}", self.rng.random_range(1..100));
        let to = self.accounts.choose(&mut self.rng).expect("somebody").clone();
        self.transfer(key, &to, &amount).await;
        if self.rng.random_bool(0.1) {
            // As a client does that has forgotten whether it was answered.
            self.transfer(key, &to, &amount).await;
        }
    }

    async fn pay_too_much(&mut self, key: &str) {
        let to = self.accounts.choose(&mut self.rng).expect("somebody").clone();
        self.transfer(key, &to, "90000.00").await;
    }

    async fn pay_oneself(&mut self, key: &str) {
        let to = self.account.clone();
        self.transfer(key, &to, "1.00").await;
    }

    async fn transfer(&mut self, key: &str, to: &str, amount: &str) {
        let input = transfer_input(key, &self.account, to, amount, "NONE");
        let token = self.token.clone();
        let answer = self.ask(&token, documents::TRANSFER, "transferCreate", json!({"input": input})).await;
        self.note_payment(key, &answer);
    }

    async fn pay_in(&mut self, key: &str) {
        let input = json!({"input": {
            "idempotencyKey": key, "accountId": self.account, "amount": {"amount": "2.00", "currency": "EUR"}, "waitFor": "NONE",
        }});
        let teller = self.teller.clone();
        let answer = self.ask(&teller, documents::DEPOSIT, "depositRecord", input).await;
        self.note_payment(key, &answer);
    }

    fn note_payment(&self, key: &str, answer: &Value) {
        let mut promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
        match answer["transaction"]["id"].as_str() {
            Some(id) => {
                let before = promises.accepted.insert(key.to_owned(), id.to_owned());
                assert!(before.is_none_or(|before| before == id), "{key} stands for two payments");
            }
            None => {
                assert!(!promises.accepted.contains_key(key), "{key} was accepted and is now refused: {answer}");
                promises.refused.insert(key.to_owned());
            }
        }
    }

    async fn read_news(&mut self) {
        let token = self.token.clone();
        let answer = self.ask(&token, documents::MY_NOTIFICATIONS, "notifications", json!({})).await;
        let nodes = answer["nodes"].as_array().cloned().unwrap_or_default();
        let Some(id) = nodes.choose(&mut self.rng).and_then(|news| news["id"].as_str()) else { return };
        let input = json!({"input": {"notificationId": id}});
        let answer = self.ask(&token, MARK_READ, "notificationMarkRead", input).await;
        if answer["notification"]["id"] == id {
            self.promises.lock().unwrap_or_else(PoisonError::into_inner).read.insert(id.to_owned());
        }
    }

    async fn log_in_again(&mut self, key: &str) {
        // Somebody unknown now and then: a refusal is an event too.
        let known = self.rng.random_bool(0.8);
        let name = if known { format!("person-{}", self.number) } else { key.to_owned() };
        let input = json!({"email": format!("{name}@example.org"), "password": PASSWORD});
        let answer = self.ask("", documents::LOGIN, "login", json!({"input": input})).await;
        assert_eq!(answer["tokens"]["accessToken"].is_string(), known, "{name} logs in: {answer}");
    }

    async fn bring_a_friend(&mut self, key: &str) {
        let email = format!("{key}@example.org");
        let input = json!({"input": {
            "email": email, "password": PASSWORD, "displayName": key, "locale": "en", "idempotencyKey": key,
        }});
        let answer = self.ask("", documents::REGISTER, "userRegister", input).await;
        let id = answer["user"]["id"].as_str().unwrap_or_else(|| panic!("{email} cannot register: {answer}"));
        self.promises.lock().unwrap_or_else(PoisonError::into_inner).registered.insert(id.to_owned());
        self.ask("", documents::LOGIN, "login", json!({"input": {"email": email, "password": PASSWORD}})).await;
    }

    /// Asks until there is an answer, and returns its `field`. Faults are no answers: the same is asked again.
    async fn ask(&mut self, token: &str, document: &str, field: &str, variables: Value) -> Value {
        let deadline = Instant::now() + Self::PATIENCE;
        loop {
            let said = tokio::time::timeout(Self::ANSWER, self.try_ask(token, document, variables.clone())).await;
            match said {
                Ok(Some(answer)) if !answer["data"][field].is_null() => return answer["data"][field].clone(),
                said => {
                    assert!(Instant::now() < deadline, "nobody answers {field}: {said:?}");
                    self.connection = None;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    async fn try_ask(&mut self, token: &str, document: &str, variables: Value) -> Option<Value> {
        if self.connection.as_ref().is_none_or(|(of, _)| of != token) {
            let mut connection = Connection::open(self.address).await.ok()?;
            if !token.is_empty() {
                connection.log_in_with(token);
            }
            self.connection = Some((token.to_owned(), connection));
        }
        let (_, connection) = self.connection.as_mut()?;
        connection.answer(document, variables).await.ok()
    }
}
