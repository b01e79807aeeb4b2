//! `vostro bench graphql`: what the GraphQL door can do on this machine.
//!
//! Refusals, reads and subscriptions are measured through the public door of a running bank, as its clients see them. What
//! the engine adds to the modules is measured in this process, with the bank's own modules on the bank's own database:
//! outside of it, the noise of a socket is larger than what is looked for.

mod bare;
mod files;
mod hostile;
mod inside;
mod planning;
mod reads;
mod report;
mod socket;
mod stitching;
mod subscribers;
mod witness;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::cpu::Processes;
use super::setup::{self, Town};
use crate::cli::output;
use crate::client::{Connection, documents};
use crate::config::Config;
use crate::demo::BankProcess;
use inside::Inside;
use report::Report;

/// How to measure the GraphQL door.
#[derive(Debug, Clone, clap::Args)]
pub struct GraphqlBenchOptions {
    /// WebSocket connections that subscribe to one account. Each is an open file here and one in the bank: see `ulimit -n`.
    /// All are one caller's: a bank that runs already has to allow them (`graphql.connections_per_caller`, `graphql.budget_points`).
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=25_000))]
    pub subscribers: u32,
    /// Payments that all of them are told.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub events: u32,
    /// Executions of each query, documents planned, and refusals of each hostile document.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub rounds: u32,
    /// Reads of the read mix.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    pub reads: u32,
    /// Exit with status 1 when a goal is missed, not only when an update is lost or doubled.
    #[arg(long)]
    pub require_goals: bool,
    /// Print the figures as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Ten thousand tills of one merchant are one caller, who may not have so many and not be told so much unless the bank says so.
const ONE_LARGE_CALLER: [(&str, &str); 3] = [
    ("VOSTRO__GRAPHQL__CONNECTIONS_PER_CALLER", "0"),
    ("VOSTRO__GRAPHQL__BUDGET_POINTS", "1000000000"),
    ("VOSTRO__GRAPHQL__BUDGET_PER_SECOND", "1000000000"),
];

/// Accounts of the town: ten for each customer, so that each has ten deposits to look at.
const ACCOUNTS: u32 = 80;

/// Measures the door, at a bank that runs or at one of its own.
///
/// # Errors
/// When the bank cannot be reached or started, answers with anything but what was asked for, lets something hostile in, or
/// has not told each subscriber each update exactly once and in order.
pub async fn graphql(config: &Config, file: Option<&Path>, options: &GraphqlBenchOptions) -> anyhow::Result<bool> {
    let own_bank = match Connection::open(config.http.address).await {
        Ok(_) => None,
        Err(_) => {
            eprintln!("no bank is running at {}; starting one for the benchmark", config.http.address);
            Some(BankProcess::start(config, file, &ONE_LARGE_CALLER).await?)
        }
    };
    let processes = Processes::find(config).await?;
    files::suffice(processes.bank(), options.subscribers)?;
    let town = setup::settle(config, ACCOUNTS).await?;
    let report = measure(config, &town, &processes, options).await?;
    if let Some(bank) = own_bank
        && !bank.stop(config.http.drain() + Duration::from_secs(10)).await?
    {
        bail!("the bank did not stop cleanly");
    }
    if options.json {
        output::json(&report.to_json());
    } else {
        output::text(&report.to_text(options));
    }
    Ok(!options.require_goals || report.reaches_goals())
}

async fn measure(
    config: &Config,
    town: &Town,
    processes: &Processes,
    options: &GraphqlBenchOptions,
) -> anyhow::Result<Report> {
    let (token, accounts) = town.customers.first().context("a town has customers")?;
    move_money(config, token, accounts, &town.currency).await?;
    let inside = Inside::open(config, token).await?;
    let overhead = stitching::overhead(&inside, options.rounds).await?;
    let single = stitching::single(&inside, &accounts[0], options.rounds).await?;
    let cold = planning::cold_plans(options.rounds)?;
    let refused = hostile::refusals(config, options.rounds).await?;
    let reads = reads::reads(config, town, options.reads).await?;
    let fan_out = subscribers::fan_out(config, town, processes, options.subscribers, options.events).await?;
    let connections = files::pairs()?.min(options.subscribers);
    let bare = bare::bare(connections, options.events, fan_out.bytes).await?;
    Ok(Report { overhead, single, cold, refused, reads, fan_out, bare })
}

/// Payments between the customer's own accounts: both sides of each can be seen.
async fn move_money(config: &Config, token: &str, accounts: &[String], currency: &str) -> anyhow::Result<()> {
    let mut connection = Connection::open(config.http.address).await?;
    connection.log_in_with(token);
    for (source, destination) in accounts.iter().zip(accounts.iter().cycle().skip(1)) {
        let input = json!({
            "idempotencyKey": uuid::Uuid::now_v7().simple().to_string(),
            "sourceAccountId": source, "destinationAccountId": destination,
            "amount": {"amount": "1.00", "currency": currency}, "waitFor": "COMPLETED",
        });
        let data = connection.data(documents::TRANSFER, json!({"input": input})).await?;
        if data["transferCreate"]["transaction"]["status"] != "COMPLETED" {
            bail!("a payment was not made: {data}");
        }
    }
    Ok(())
}
