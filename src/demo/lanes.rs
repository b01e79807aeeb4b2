//! Payments in lanes: what is in one lane happens one after the other, lanes happen at the same time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::client::{ClientError, Connection};

/// One money mutation.
#[derive(Debug, Clone)]
pub struct Payment {
    pub document: &'static str,
    /// The mutation's field, such as `transferCreate`.
    pub field: &'static str,
    pub input: Value,
    /// An account that was just opened is known to the transaction module a moment later than to its owner. Whether to ask
    /// again, under the same key, while the bank says that there is no such account.
    pub until_known: bool,
}

/// How long an account may take to become known.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// The payments one party makes, in order, with the party's access token.
#[derive(Debug, Clone)]
pub struct Lane {
    pub token: String,
    pub payments: Vec<Payment>,
}

/// How a payment ended, as its client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Completed {
        transaction: String,
        replayed: bool,
    },
    /// Accepted, then refused by the ledger.
    Failed {
        code: String,
    },
    /// Refused at the door of the module.
    Refused {
        code: String,
    },
}

/// A payment's outcome and how long its client waited for it.
#[derive(Debug, Clone)]
pub struct Played {
    pub outcome: Outcome,
    pub waited: Duration,
}

impl Played {
    pub const fn completed(&self) -> bool {
        matches!(self.outcome, Outcome::Completed { .. })
    }
}

/// Connections to the bank that play lanes at the same time. They are kept from one call to the next.
pub struct Lanes {
    address: SocketAddr,
    idle: Vec<Connection>,
}

impl Lanes {
    const CONNECTIONS: usize = 32;

    pub fn to(address: SocketAddr) -> Self {
        Self { address, idle: Vec::new() }
    }

    /// Plays every lane and returns the outcomes in the order of the lanes and their payments.
    ///
    /// # Errors
    /// When the bank cannot be reached, or answers what the API does not promise.
    pub async fn play(&mut self, lanes: Vec<Lane>, progress: &ProgressBar) -> anyhow::Result<Vec<Vec<Played>>> {
        let count = lanes.len();
        let work = Arc::new(Work { lanes, next: AtomicUsize::new(0), played: Mutex::new(vec![Vec::new(); count]) });
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..Self::CONNECTIONS.min(count) {
            let connection = match self.idle.pop() {
                Some(connection) => connection,
                None => Connection::open(self.address).await?,
            };
            workers.spawn(play_until_done(connection, Arc::clone(&work), progress.clone()));
        }
        while let Some(worker) = workers.join_next().await {
            self.idle.push(worker??);
        }
        let played = std::mem::take(&mut *work.played.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(played)
    }
}

/// What the connections share while they play.
struct Work {
    lanes: Vec<Lane>,
    next: AtomicUsize,
    played: Mutex<Vec<Vec<Played>>>,
}

async fn play_until_done(
    mut connection: Connection,
    work: Arc<Work>,
    progress: ProgressBar,
) -> anyhow::Result<Connection> {
    loop {
        let index = work.next.fetch_add(1, Ordering::Relaxed);
        let Some(lane) = work.lanes.get(index) else { return Ok(connection) };
        connection.log_in_with(&lane.token);
        let mut outcomes = Vec::with_capacity(lane.payments.len());
        for payment in &lane.payments {
            outcomes.push(pay(&mut connection, payment).await?);
            progress.inc(1);
        }
        work.played.lock().unwrap_or_else(PoisonError::into_inner)[index] = outcomes;
    }
}

/// Makes one payment and waits until it is completed or refused.
async fn pay(connection: &mut Connection, payment: &Payment) -> anyhow::Result<Played> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let first_asked = Instant::now();
    let (answer, waited) = loop {
        let started = Instant::now();
        let mut data = connection.data(payment.document, json!({"input": payment.input})).await?;
        let (answer, waited) = (data[payment.field].take(), started.elapsed());
        let Some(error) = answer["userErrors"].get(0) else { break (answer, waited) };
        let code = text(&error["code"]);
        if !payment.until_known || code != "TXN_ACCOUNT_NOT_FOUND" || first_asked.elapsed() > KNOWN_WITHIN {
            return Ok(Played { outcome: Outcome::Refused { code }, waited });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let transaction = &answer["transaction"];
    let outcome = match transaction["status"].as_str() {
        Some("COMPLETED") => Outcome::Completed {
            transaction: text(&transaction["id"]),
            replayed: answer["replayed"].as_bool().unwrap_or(false),
        },
        Some("FAILED") => Outcome::Failed { code: text(&transaction["failureCode"]) },
        _ => return Err(ClientError::Errors(answer).into()),
    };
    Ok(Played { outcome, waited })
}
