use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, Utc};
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::socket::{Socket, Update, read};
use crate::bench::cpu::{CpuCentiseconds, Processes};
use crate::bench::figures::histogram;
use crate::bench::setup::Town;
use crate::client::{Connection, documents};
use crate::config::Config;
use crate::demo::bar;

/// How long an event may take to reach everybody before the run is given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Connections that are opened at the same time.
const AT_ONCE: usize = 64;
/// Events before anything is measured.
const WARM_UP: u32 = 2;

/// A merchant's account with a till at every WebSocket, and what it took to tell all of them.
pub struct FanOut {
    pub subscribers: u32,
    pub events: u32,
    /// Updates that arrived, each at its subscriber exactly once and in order.
    pub delivered: u64,
    /// The length of an update.
    pub bytes: usize,
    /// Until everybody was connected and had its snapshot.
    pub connecting: Duration,
    /// Microseconds from the booking to each subscriber's having read it.
    pub latency: Histogram<u64>,
    /// From the booking to the first subscriber that had it, one an event.
    pub first: Histogram<u64>,
    /// Processor time of telling all events to all, without what the payments behind them take when nobody listens.
    pub cpu: CpuCentiseconds,
    /// The bank's largest resident memory, in MiB.
    pub memory: u64,
}

impl FanOut {
    /// Processor time of one event, in microseconds.
    pub fn cpu_per_event(&self, process: usize) -> u64 {
        self.cpu[process] * 10_000 / u64::from(self.events)
    }

    /// The time in which all processors of this machine together do the work of one event, in microseconds. The last
    /// subscriber cannot have it sooner, whatever waits for whom; what this process does as the subscribers is part of it.
    pub fn bound(&self) -> u64 {
        let processors =
            std::thread::available_parallelism().map_or(1, |count| u64::try_from(count.get()).unwrap_or(1));
        (0..self.cpu.len()).map(|process| self.cpu_per_event(process)).sum::<u64>() / processors
    }
}

/// What a subscriber read, and when.
struct Delivery {
    subscriber: usize,
    at: DateTime<Utc>,
    text: Utf8Bytes,
}

pub async fn fan_out(
    config: &Config,
    town: &Town,
    processes: &Processes,
    subscribers: u32,
    events: u32,
) -> anyhow::Result<FanOut> {
    let (token, accounts) = town.customers.first().context("a town has customers")?;
    let [watched, source, quiet, ..] = &accounts[..] else { bail!("the merchant needs three accounts") };
    let mut payer = Payer::open(config, token, source, &town.currency).await?;

    let connecting = Instant::now();
    let mut crowd = Crowd::gather(config, token, watched, subscribers).await?;
    let connecting = connecting.elapsed();

    // The same payments where nobody listens: what the rest of the bank takes for them is not the crowd's.
    let alone = processes.cpu()?;
    for _ in 0..events {
        payer.pay(quiet).await?;
    }
    let alone = since(&alone, processes)?;

    let (mut latency, mut first) = (histogram(), histogram());
    for _ in 0..WARM_UP {
        crowd.hear(payer.pay(watched)).await?;
    }
    let progress = bar("Events told to all subscribers", usize::try_from(events)?);
    let (mut delivered, before) = (0, processes.cpu()?);
    for _ in 0..events {
        let waited = crowd.hear(payer.pay(watched)).await?;
        first.saturating_record(waited.iter().copied().min().unwrap_or_default());
        waited.iter().for_each(|micros| latency.saturating_record(*micros));
        delivered += u64::try_from(waited.len())?;
        progress.inc(1);
    }
    let together = since(&before, processes)?;
    progress.finish();
    let cpu = std::array::from_fn(|index| together[index].saturating_sub(alone[index]));
    let (memory, bytes) = (processes.bank_memory_mib()?, crowd.bytes);
    crowd.listening.shutdown().await;
    Ok(FanOut { subscribers, events, delivered, bytes, connecting, latency, first, cpu, memory })
}

fn since(before: &CpuCentiseconds, processes: &Processes) -> anyhow::Result<CpuCentiseconds> {
    let now = processes.cpu()?;
    Ok(std::array::from_fn(|index| now[index].saturating_sub(before[index])))
}

/// Makes payments one after the other.
struct Payer {
    connection: Connection,
    source: String,
    currency: String,
}

impl Payer {
    async fn open(config: &Config, token: &str, source: &str, currency: &str) -> anyhow::Result<Self> {
        let mut connection = Connection::open(config.http.address).await?;
        connection.log_in_with(token);
        Ok(Self { connection, source: source.to_owned(), currency: currency.to_owned() })
    }

    async fn pay(&mut self, destination: &str) -> anyhow::Result<()> {
        let input = json!({
            "idempotencyKey": uuid::Uuid::now_v7().simple().to_string(),
            "sourceAccountId": self.source, "destinationAccountId": destination,
            "amount": {"amount": "1.00", "currency": self.currency}, "reference": "benchmark", "waitFor": "COMPLETED",
        });
        let data = self.connection.data(documents::TRANSFER, json!({"input": input})).await?;
        // A payment that takes longer than the bank lets a client wait is still under way: it will be told.
        let status = data["transferCreate"]["transaction"]["status"].as_str();
        ensure!(matches!(status, Some("COMPLETED" | "INITIATED")), "a payment was not accepted: {data}");
        Ok(())
    }
}

/// Everybody who listens.
struct Crowd {
    /// The number of the last entry each was told.
    known: Vec<i64>,
    /// The length of the last update.
    bytes: usize,
    deliveries: mpsc::UnboundedReceiver<Delivery>,
    listening: JoinSet<anyhow::Result<()>>,
}

impl Crowd {
    async fn gather(config: &Config, token: &str, account: &str, subscribers: u32) -> anyhow::Result<Self> {
        let count = usize::try_from(subscribers)?;
        let (address, turns) = (config.http.address, Arc::new(Semaphore::new(AT_ONCE)));
        let (deliver, deliveries) = mpsc::unbounded_channel();
        let (ready, mut joined) = mpsc::unbounded_channel();
        let mut listening = JoinSet::new();
        for subscriber in 0..count {
            let (token, account, turns) = (token.to_owned(), account.to_owned(), Arc::clone(&turns));
            let (deliver, ready) = (deliver.clone(), ready.clone());
            listening.spawn(async move {
                let turn = turns.acquire_owned().await?;
                let subscribing = Socket::subscribe(address, &token, &account).await;
                let (mut socket, snapshot) = subscribing.with_context(|| format!("subscriber {subscriber}"))?;
                drop(turn);
                ready.send((subscriber, snapshot))?;
                loop {
                    let text = socket.receive().await.with_context(|| format!("subscriber {subscriber}"))?;
                    // Looked at when all have it: reading it now would take the processor from those who wait.
                    deliver.send(Delivery { subscriber, at: Utc::now(), text })?;
                }
            });
        }
        let progress = bar("Subscribers connect", count);
        let mut known = vec![0; count];
        for _ in 0..count {
            let (subscriber, snapshot): (usize, Update) = tokio::select! {
                Some(joined) = joined.recv() => joined,
                Some(gone) = listening.join_next() => return Err(left(gone)),
            };
            known[subscriber] = snapshot.sequence;
            progress.inc(1);
        }
        progress.finish();
        Ok(Self { known, bytes: 0, deliveries, listening })
    }

    /// Has something happen, and waits until everybody was told. Returns how long each waited, in microseconds.
    ///
    /// # Errors
    /// When somebody is not told, is told anything else than what comes next, or has gone.
    async fn hear(&mut self, event: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Vec<u64>> {
        let mut heard = Vec::with_capacity(self.known.len());
        let everybody = async {
            while heard.len() < self.known.len() {
                let wanted = self.known.len() - heard.len();
                tokio::select! {
                    _ = self.deliveries.recv_many(&mut heard, wanted) => {}
                    Some(gone) = self.listening.join_next() => return Err(left(gone)),
                }
            }
            Ok(())
        };
        match tokio::time::timeout(PATIENCE, futures::future::try_join(event, everybody)).await {
            Ok(done) => done.map(|_| ())?,
            Err(_) => bail!("{} of {} subscribers were told after {PATIENCE:?}", heard.len(), self.known.len()),
        }
        heard.iter().map(|delivery| self.check(delivery)).collect()
    }

    fn check(&mut self, delivery: &Delivery) -> anyhow::Result<u64> {
        let (subscriber, update) = (delivery.subscriber, read(&delivery.text)?);
        let known = &mut self.known[subscriber];
        let next = *known + 1;
        ensure!(
            update.sequence == next && update.kind == "CHANGE",
            "subscriber {subscriber} was told {update:?} where entry {next} comes next"
        );
        *known = next;
        self.bytes = delivery.text.len();
        let waited = (delivery.at - update.occurred_at).num_microseconds().unwrap_or(i64::MAX);
        Ok(u64::try_from(waited).unwrap_or_default())
    }
}

/// A subscriber that should have stayed.
fn left(gone: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match gone {
        Ok(Err(error)) => error,
        Ok(Ok(())) => anyhow::anyhow!("a subscriber has gone"),
        Err(error) => error.into(),
    }
}
