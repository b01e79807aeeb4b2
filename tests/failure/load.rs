use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use vostro::client::{Connection, documents};

use crate::support::people::transfer_input;
use crate::support::{Person, World, eventually};

/// Clients that keep making transfers between two people, also while the bank is down, and remember what they were
/// promised: every transfer whose acceptance reached a client.
pub struct Load {
    stop: Arc<AtomicBool>,
    accepted: Arc<Mutex<BTreeMap<String, String>>>,
    clients: JoinSet<()>,
}

impl Load {
    const CLIENTS: usize = 8;

    pub fn start(address: SocketAddr, ada: &Person, bob: &Person) -> Self {
        Self::start_on(&[address], ada, bob)
    }

    /// At several instances of the bank: a client goes to the next one when it gets no answer.
    pub fn start_on(addresses: &[SocketAddr], ada: &Person, bob: &Person) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(Mutex::new(BTreeMap::new()));
        let mut clients = JoinSet::new();
        for client in 0..Self::CLIENTS {
            let (from, to) = if client % 2 == 0 { (ada, bob) } else { (bob, ada) };
            let client = Client {
                addresses: addresses.into(),
                token: from.token.clone(),
                from: from.account.clone(),
                to: to.account.clone(),
                name: client,
                stop: Arc::clone(&stop),
                accepted: Arc::clone(&accepted),
            };
            clients.spawn(client.work());
        }
        Self { stop, accepted, clients }
    }

    pub fn accepted(&self) -> usize {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until this many more transfers are accepted than at the time of the call.
    pub async fn progresses_by(&self, more: usize) {
        let goal = self.accepted() + more;
        eventually("more transfers are accepted", || async { (self.accepted() >= goal).then_some(()) }).await;
    }

    /// Stops the clients and returns key and id of every accepted transfer.
    pub async fn finish(mut self) -> BTreeMap<String, String> {
        self.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        std::mem::take(&mut *self.accepted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Client {
    addresses: Arc<[SocketAddr]>,
    token: String,
    from: String,
    to: String,
    name: usize,
    stop: Arc<AtomicBool>,
    accepted: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Client {
    const PATIENCE: Duration = Duration::from_secs(10);

    /// A client that got no answer asks again under the same key, as a good client does.
    async fn work(self) {
        let mut number = 0;
        let mut addresses = self.addresses.iter().cycle().skip(self.name);
        while !self.stop.load(Ordering::Relaxed) {
            let Some(address) = addresses.next() else { return };
            let Ok(mut connection) = Connection::open(*address).await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            connection.log_in_with(&self.token);
            while !self.stop.load(Ordering::Relaxed) {
                let key = format!("load-{}-{number}", self.name);
                let input = transfer_input(&key, &self.from, &self.to, "0.01", "NONE");
                let answer = connection.answer(documents::TRANSFER, json!({"input": input}));
                // An instance that is stopped keeps the connection and never answers.
                let Ok(Ok(answer)) = tokio::time::timeout(Self::PATIENCE, answer).await else { break };
                let Some(id) = answer["data"]["transferCreate"]["transaction"]["id"].as_str() else {
                    // A fault such as "the database is away": the same key again, on a fresh connection.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    break;
                };
                self.accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(key, id.to_owned());
                number += 1;
            }
        }
    }
}

/// The oracle: whatever was accepted has moved its money exactly once, everybody who subscribes has heard of it once,
/// and every proof holds.
pub async fn nothing_is_lost_or_doubled(world: &World, accepted: &BTreeMap<String, String>) {
    eventually("every accepted transfer has ended", || async {
        let open = world.count("select count(*) from transaction.transaction where status = 'INITIATED'").await;
        (open == 0).then_some(())
    })
    .await;
    world.proofs_hold().await;
    let pool = world.pool().await;
    let ids: Vec<uuid::Uuid> =
        accepted.values().map(|id| id.trim_start_matches("txn_").parse().expect("a transaction id")).collect();
    let posted: i64 = sqlx::query_scalar(
        "select count(*) from unnest($1::uuid[]) id where (select count(*) from account.entry e where e.transaction_id = id) = 2",
    )
    .bind(&ids)
    .fetch_one(&pool)
    .await
    .expect("counted");
    pool.close().await;
    assert_eq!(
        usize::try_from(posted).expect("a count"),
        ids.len(),
        "accepted transfers that are not booked exactly once"
    );
    let transfers = world.count("select count(*) from transaction.transaction").await;
    eventually("compliance has both ends of every transfer exactly once", || async {
        let initiated =
            world.count("select count(*) from compliance.event e join compliance.event_type t on t.code = e.type where t.name = 'transaction.initiated.v1'").await;
        let ended = world
            .count("select count(*) from compliance.event e join compliance.event_type t on t.code = e.type where t.name in ('transaction.completed.v1', 'transaction.failed.v1')")
            .await;
        (initiated == transfers && ended == transfers).then_some(())
    })
    .await;
    world.leaves_nothing_behind().await;
}
