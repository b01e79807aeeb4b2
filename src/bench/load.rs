use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use hdrhistogram::Histogram;
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::BenchOptions;
use super::cpu::{CpuCentiseconds, Processes};
use super::scrape;
use super::setup::Town;
use crate::client::{Connection, documents};
use crate::config::Config;

/// How fast clients make transfers.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Each client makes the next when the one before is done.
    Closed,
    /// This many a second over all clients, at fixed times; latencies count from the time a transfer was due, so that a
    /// slow answer cannot hide the ones queued behind it.
    PerSecond(u64),
}

/// What was measured in one part.
pub struct Measured {
    /// Microseconds from the request to the answer that the transfer is accepted.
    pub acceptance: Histogram<u64>,
    /// Microseconds from the request to the answer that the money has moved.
    pub completion: Histogram<u64>,
    accepted: u64,
    completed: u64,
    took: Duration,
    cpu: CpuCentiseconds,
}

/// Ten minutes: longer than any request may take.
const LONGEST_MICROS: u64 = 600_000_000;
const WARM_UP: Duration = Duration::from_secs(3);
/// One transfer in this many asks only for acceptance; the others wait for completion.
const ACCEPTANCE_SAMPLE: u64 = 8;

impl Measured {
    pub fn accepted_per_second(&self) -> u64 {
        per_second(self.accepted, self.took)
    }

    pub fn completed_per_second(&self) -> u64 {
        per_second(self.completed, self.took)
    }

    /// CPU seconds for a thousand completed transfers.
    pub fn cpu_per_thousand(&self, process: usize) -> String {
        let milliseconds = self.cpu[process] * 10 * 1000 / self.completed.max(1);
        format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
    }

    pub fn to_json(&self) -> Value {
        let quantiles = |histogram: &Histogram<u64>| {
            json!({
                "p50": histogram.value_at_quantile(0.5), "p95": histogram.value_at_quantile(0.95),
                "p99": histogram.value_at_quantile(0.99), "max": histogram.max(),
            })
        };
        json!({
            "acceptedPerSecond": self.accepted_per_second(),
            "completedPerSecond": self.completed_per_second(),
            "acceptanceMicros": quantiles(&self.acceptance),
            "completionMicros": quantiles(&self.completion),
            "cpuSecondsPerThousand": {
                "bank": self.cpu_per_thousand(0), "postgresql": self.cpu_per_thousand(1),
                "rabbitmq": self.cpu_per_thousand(2), "loadGenerator": self.cpu_per_thousand(3),
            },
        })
    }
}

fn per_second(count: u64, took: Duration) -> u64 {
    count * 1000 / u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1)
}

struct Client {
    connection: Connection,
    town: Arc<Town>,
    customer: usize,
    hot: bool,
    sent: u64,
    acceptance: Histogram<u64>,
    completion: Histogram<u64>,
}

/// Runs one part and measures it from outside: rates from the bank's own counters, latencies from the clients.
pub async fn run(
    config: &Config,
    town: &Town,
    options: &BenchOptions,
    pace: Pace,
    processes: &Processes,
) -> anyhow::Result<Measured> {
    let town = Arc::new(Town {
        customers: town.customers.clone(),
        accounts: town.accounts.clone(),
        currency: town.currency.clone(),
    });
    let begin = Instant::now() + WARM_UP;
    let end = begin + Duration::from_secs(options.seconds);
    let mut clients = tokio::task::JoinSet::new();
    for index in 0..options.clients {
        let customer = usize::try_from(index)? % town.customers.len();
        let mut connection = Connection::open(config.http.address).await?;
        connection.log_in_with(&town.customers[customer].0);
        let client = Client {
            connection,
            town: Arc::clone(&town),
            customer,
            hot: options.hot_account,
            sent: u64::from(index),
            acceptance: Histogram::new_with_max(LONGEST_MICROS, 3)?,
            completion: Histogram::new_with_max(LONGEST_MICROS, 3)?,
        };
        clients.spawn(client.work(pace, index, options.clients, begin, end));
    }
    let mut observer = Connection::open(config.http.address).await?;
    sleep_until(begin).await;
    let (accepted, completed) = counters(&mut observer).await?;
    let (cpu, started) = (processes.cpu()?, Instant::now());
    sleep_until(end).await;
    let (accepted_after, completed_after) = counters(&mut observer).await?;
    let (cpu_after, took) = (processes.cpu()?, started.elapsed());
    let mut measured = Measured {
        acceptance: Histogram::new_with_max(LONGEST_MICROS, 3)?,
        completion: Histogram::new_with_max(LONGEST_MICROS, 3)?,
        accepted: accepted_after - accepted,
        completed: completed_after - completed,
        took,
        cpu: std::array::from_fn(|index| cpu_after[index].saturating_sub(cpu[index])),
    };
    while let Some(client) = clients.join_next().await {
        let (acceptance, completion) = client??;
        measured.acceptance.add(acceptance)?;
        measured.completion.add(completion)?;
    }
    Ok(measured)
}

async fn counters(observer: &mut Connection) -> anyhow::Result<(u64, u64)> {
    let accepted = scrape::counter(observer, "vostro_transactions_total", "outcome=\"accepted\"").await?;
    let completed = scrape::counter(observer, "vostro_transactions_ended_total", "status=\"COMPLETED\"").await?;
    Ok((accepted, completed))
}

impl Client {
    async fn work(
        mut self,
        pace: Pace,
        index: u32,
        clients: u32,
        begin: Instant,
        end: Instant,
    ) -> anyhow::Result<(Histogram<u64>, Histogram<u64>)> {
        let interval = match pace {
            Pace::Closed => None,
            Pace::PerSecond(rate) => Some(Duration::from_secs(u64::from(clients)) / u32::try_from(rate.max(1))?),
        };
        let mut due = Instant::now() + interval.unwrap_or_default() * index / clients;
        loop {
            match interval {
                Some(interval) => {
                    sleep_until(due).await;
                    self.transfer(due, begin).await?;
                    due += interval;
                }
                None => self.transfer(Instant::now(), begin).await?,
            }
            if Instant::now() >= end {
                return Ok((self.acceptance, self.completion));
            }
        }
    }

    async fn transfer(&mut self, due: Instant, begin: Instant) -> anyhow::Result<()> {
        self.sent += 1;
        let wait = !self.sent.is_multiple_of(ACCEPTANCE_SAMPLE);
        let input = self.input(wait);
        let answer = self.connection.answer(documents::TRANSFER, json!({"input": input})).await?;
        let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        let status = answer["data"]["transferCreate"]["transaction"]["status"].as_str().unwrap_or_default();
        match (wait, status) {
            (true, "COMPLETED") if due >= begin => self.completion.saturating_record(micros),
            (false, "INITIATED" | "COMPLETED") if due >= begin => self.acceptance.saturating_record(micros),
            (true, "COMPLETED") | (false, "INITIATED" | "COMPLETED") => {}
            // Completion took longer than the bank lets a client wait: it belongs in the figures all the same.
            (true, "INITIATED") => self.completion.saturating_record(micros),
            _ => bail!("a transfer was not accepted: {answer}"),
        }
        Ok(())
    }

    fn input(&self, wait: bool) -> Value {
        let mut random = rand::rng();
        let own = &self.town.customers[self.customer].1;
        let hot = &self.town.accounts[0];
        let source = loop {
            let source = &own[random.random_range(0..own.len())];
            if !self.hot || source != hot {
                break source;
            }
        };
        let destination = loop {
            let all = &self.town.accounts;
            let destination = if self.hot { hot } else { &all[random.random_range(0..all.len())] };
            if destination != source {
                break destination;
            }
        };
        json!({
            "idempotencyKey": uuid::Uuid::now_v7().simple().to_string(),
            "sourceAccountId": source, "destinationAccountId": destination,
            "amount": {"amount": format!("{}.{:02}", random.random_range(1..10), random.random_range(0..100)),
                "currency": self.town.currency},
            "reference": "benchmark", "waitFor": if wait { "COMPLETED" } else { "NONE" },
        })
    }
}
