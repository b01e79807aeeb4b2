//! `vostro bench`: what the running bank can do on this machine, measured from outside, and what its messaging and its
//! GraphQL door can do, each beside a yardstick or a goal.

mod cpu;
mod figures;
mod goal;
mod graphql;
mod load;
mod messaging;
mod pgbench;
mod scrape;
mod setup;

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use crate::cli::{output, prove_ledger};
use crate::client::Connection;
use crate::config::Config;
use crate::demo::BankProcess;
use load::{Measured, Pace};

pub use graphql::{GraphqlBenchOptions, graphql};
pub use messaging::{MessagingBenchOptions, messaging};

/// How to measure transfers.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchOptions {
    /// Clients that each wait for their transfer before making the next.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub clients: u32,
    /// Seconds measured in each part, after three seconds of warming up.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=600))]
    pub seconds: u64,
    /// Accounts the money moves between.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(16..=20_000))]
    pub accounts: u32,
    /// Every transfer credits the same account.
    #[arg(long)]
    pub hot_account: bool,
    /// Leave pgbench out; figures then have nothing to be compared with.
    #[arg(long)]
    pub no_pgbench: bool,
    /// Print the figures as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Measures transfers: as many as the bank can take, then at half of that rate.
///
/// # Errors
/// When the bank cannot be reached or started, or answers with anything but accepted transfers.
pub async fn transfers(config: &Config, file: Option<&Path>, options: &BenchOptions) -> anyhow::Result<bool> {
    let own_bank = match Connection::open(config.http.address).await {
        Ok(_) => None,
        Err(_) => {
            eprintln!("no bank is running at {}; starting one for the benchmark", config.http.address);
            Some(BankProcess::start(config, file, &[]).await?)
        }
    };
    let yardstick = if options.no_pgbench { None } else { Some(pgbench::run(config).await?) };
    let town = setup::settle(config, options.accounts).await?;
    let processes = cpu::Processes::find(config).await?;
    eprintln!("as many as possible, {} clients, {} s", options.clients, options.seconds);
    let most = load::run(config, &town, options, Pace::Closed, &processes).await?;
    eprintln!("at half of that rate, {} s", options.seconds);
    let half = load::run(config, &town, options, Pace::PerSecond(most.completed_per_second() / 2), &processes).await?;
    let memory = processes.bank_memory_mib()?;
    let ledger = prove_ledger(config).await?;
    if let Some(bank) = own_bank
        && !bank.stop(config.http.drain() + Duration::from_secs(10)).await?
    {
        bail!("the bank did not stop cleanly");
    }
    let report = Report { yardstick, most, half, memory, ledger };
    if options.json {
        output::json(&report.to_json());
    } else {
        output::text(&report.to_text(options));
    }
    Ok(report.ledger["ok"] == json!(true))
}

struct Report {
    /// pgbench transactions per second, in the same run.
    yardstick: Option<u64>,
    most: Measured,
    half: Measured,
    /// Resident memory of the bank at the end, in MiB.
    memory: u64,
    ledger: Value,
}

impl Report {
    fn ratio_per_mille(&self) -> Option<u64> {
        self.yardstick.filter(|tps| *tps > 0).map(|tps| self.most.completed_per_second() * 1000 / tps)
    }

    fn to_json(&self) -> Value {
        json!({
            "pgbenchTps": self.yardstick,
            "ratioPerMille": self.ratio_per_mille(),
            "most": self.most.to_json(),
            "half": self.half.to_json(),
            "bankMemoryMiB": self.memory,
            "ledger": self.ledger,
        })
    }

    fn to_text(&self, options: &BenchOptions) -> String {
        let row = |name: &str, most: String, half: String| [name.to_owned(), most, half];
        let milliseconds = |micros: u64| format!("{}.{:01} ms", micros / 1000, micros % 1000 / 100);
        let mut rows = vec![
            row(
                "accepted per second",
                self.most.accepted_per_second().to_string(),
                self.half.accepted_per_second().to_string(),
            ),
            row(
                "completed per second",
                self.most.completed_per_second().to_string(),
                self.half.completed_per_second().to_string(),
            ),
        ];
        for (name, quantile) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)] {
            rows.push(row(
                &format!("acceptance {name}"),
                milliseconds(self.most.acceptance.value_at_quantile(quantile)),
                milliseconds(self.half.acceptance.value_at_quantile(quantile)),
            ));
        }
        for (name, quantile) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)] {
            rows.push(row(
                &format!("completion {name}"),
                milliseconds(self.most.completion.value_at_quantile(quantile)),
                milliseconds(self.half.completion.value_at_quantile(quantile)),
            ));
        }
        for (index, name) in ["bank", "PostgreSQL", "RabbitMQ", "load generator"].into_iter().enumerate() {
            rows.push(row(
                &format!("CPU s per 1,000: {name}"),
                self.most.cpu_per_thousand(index),
                self.half.cpu_per_thousand(index),
            ));
        }
        let table = output::table(["transfers", "as many as possible", "half of that rate"], &rows);
        let beside = match (self.yardstick, self.ratio_per_mille()) {
            (Some(tps), Some(ratio)) => {
                format!(
                    "pgbench in the same run: {tps} tps; completed transfers are {}.{:03} of it",
                    ratio / 1000,
                    ratio % 1000
                )
            }
            _ => "pgbench was left out".to_owned(),
        };
        let hot = if options.hot_account { ", every one to the same account" } else { "" };
        format!(
            "{} accounts, {} clients{hot}\n\n{table}\n\n{beside}\nmemory of the bank: {} MiB\nledger proof: {}",
            options.accounts,
            options.clients,
            self.memory,
            if self.ledger["ok"] == json!(true) { "holds" } else { "BROKEN" },
        )
    }
}
