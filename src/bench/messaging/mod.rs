//! `vostro bench messaging`: what relay, broker and consumer can do on this machine, on servers that keep what they confirm.
//!
//! Everything runs through the bank's own code: the migration, the topology, [`vostro_messaging::Outbox`],
//! [`vostro_messaging::Relay`], [`vostro_messaging::Consumer`] and the AMQP client; only the two modules are made up.

mod effects;
mod events;
mod gate;
mod ground;
mod latency;
mod outage;
mod report;
mod stopwatch;
mod throughput;

use events::Layout;
use ground::Ground;
use report::Report;
use throughput::Batch;

use crate::cli::output;
use crate::config::Config;

/// How to measure messaging.
#[derive(Debug, Clone, clap::Args)]
pub struct MessagingBenchOptions {
    /// Events in the outbox, messages of the bare publisher, effects of the consumers (a tenth of it one by one).
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(100..=2_000_000))]
    pub events: u64,
    /// Bytes of data of each event.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(16..=32_000))]
    pub bytes: u32,
    /// Seconds at each load, after one of warming up, and of each part of the outage. One stall of the disk is a
    /// hundredth of ten seconds; a percentile of so few tells of the stall and nothing else.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Rows that wait in the outbox when the broker comes back.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..=2_000_000))]
    pub backlog: u64,
    /// Exit with status 1 when a goal is missed, not only when an event is lost or doubled.
    #[arg(long)]
    pub require_goals: bool,
    /// Print the figures as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Measures messaging on a database and a virtual host of its own, and removes both, also when it is interrupted.
///
/// # Errors
/// When a server cannot be reached, or an event has not had its effect exactly once.
pub async fn messaging(config: &Config, options: &MessagingBenchOptions) -> anyhow::Result<bool> {
    let ground = Ground::prepare(config).await?;
    let (database, virtual_host) = ground.names();
    eprintln!("in the database {database} and the virtual host {virtual_host}, which are removed in the end");
    let measured = tokio::select! {
        measured = measure(&ground, options) => measured,
        interrupted = tokio::signal::ctrl_c() => match interrupted {
            Ok(()) => Err(anyhow::anyhow!("interrupted")),
            Err(error) => Err(error.into()),
        },
    };
    let cleared = ground.clear_away().await;
    let report = measured?;
    cleared?;
    if options.json {
        output::json(&report.to_json());
    } else {
        output::text(&report.to_text());
    }
    Ok(!options.require_goals || report.reaches_goals())
}

async fn measure(ground: &Ground, options: &MessagingBenchOptions) -> anyhow::Result<Report> {
    let MessagingBenchOptions { events, seconds, backlog, .. } = *options;
    let bytes = usize::try_from(options.bytes)?;
    let servers = ground.servers().await?;
    let bare = throughput::bare_publisher(ground, events, bytes).await?;
    let relay = throughput::relay(ground, events, bytes, Layout::Company).await?;
    let relay_alone = throughput::relay(ground, events, bytes, Layout::Alone).await?;
    let mut consumers = Vec::new();
    for (batch, layout, events) in [
        (1, Layout::Alone, events / 10),
        (50, Layout::Alone, events),
        (500, Layout::Alone, events),
        (500, Layout::Company, events),
    ] {
        consumers.push(throughput::consumer(ground, events, bytes, Batch { events: batch, layout }).await?);
    }
    let maximum = latency::maximum(ground, seconds, bytes).await?;
    let mut loads = Vec::new();
    for percent in [20, 50, 80] {
        loads.push(latency::at_load(ground, percent, maximum.events_per_second(), seconds, bytes).await?);
    }
    let outage = outage::outage(ground, backlog, seconds, bytes).await?;
    Ok(Report { servers, bytes, bare, relay, relay_alone, consumers, maximum, loads, outage })
}
