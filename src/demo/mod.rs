//! `vostro demo`: a bank's day, played through the public GraphQL API by a client that knows nothing else.
//!
//! The demo starts the bank as a process of its own, plays a scenario (a generated day, or the Berka data set), has every
//! proof made and prints what a person wants to know. It fails when a proof fails.

mod bank_process;
mod berka;
mod customers;
mod day;
mod lanes;
mod progress;
mod proofs;
mod report;
mod staff;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::config::Config;

pub use bank_process::BankProcess;
pub use customers::{Person, register};
pub use lanes::{Lane, Lanes, Outcome, Payment, Played};
pub use progress::bar;
pub use report::Report;
pub use staff::{log_in, password};

/// What to play.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoOptions {
    /// Replay the Berka data set from this folder instead of a generated day.
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// The same seed gives the same business outcome.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Customers of the generated day.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(2..=2000))]
    pub customers: u32,
    /// Card-like payments of each customer on the generated day.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub payments: u32,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Plays the day and returns its report.
///
/// # Errors
/// When the bank cannot be started or reached; a failed proof is not an error but a report that says so.
pub async fn play(
    config: &Config,
    config_file: Option<&std::path::Path>,
    options: &DemoOptions,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let staff = staff::hire(config).await?;
    let (bank, scenario) = match &options.data {
        Some(folder) => {
            let bank = BankProcess::start(config, config_file, &berka::ENVIRONMENT).await?;
            (bank, berka::play(config, &staff, folder).await?)
        }
        None => {
            let bank = BankProcess::start(config, config_file, &[]).await?;
            (bank, day::play(config, &staff, options).await?)
        }
    };
    let proofs = proofs::gather(config, config_file, &staff).await?;
    let stopped_cleanly = bank.stop(config.http.drain() + Duration::from_secs(10)).await?;
    Ok(Report::new(scenario, proofs, stopped_cleanly, started.elapsed()))
}
