use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::app::{Bank, Part};
use crate::config::Config;
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub struct ServeOptions {
    /// Bring the database and the broker up to this release first, instead of refusing to start when they are not.
    #[arg(long)]
    pub migrate: bool,
    /// Run these subgraphs only, and answer gateways instead of clients: auth, account, transaction, notification,
    /// compliance, node, operations. A module brings its relay and consumers.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub modules: Vec<String>,
}

/// Serves until SIGTERM or SIGINT, then drains.
pub async fn run(config: Config, options: &ServeOptions) -> anyhow::Result<bool> {
    telemetry::start_logging(&config.log).map_err(anyhow::Error::msg)?;
    let traces = telemetry::start_tracing(&config.tracing).map_err(anyhow::Error::msg)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    if options.migrate {
        super::migrate::run(&config).await?;
        super::topology::apply(&config).await?;
    }
    let limit = config.http.drain() + Duration::from_secs(5);
    let bank = if options.modules.is_empty() {
        Bank::start(config).await?
    } else {
        let part = Part::of(options.modules.iter().map(String::as_str))?;
        info!(subgraphs = part.names().collect::<Vec<_>>().join(" "), "this process is a part of the bank");
        Bank::start_part(config, &part).await?
    };
    info!(address = %bank.address(), "the bank is open");
    tokio::select! {
        _ = terminate.recv() => info!("told to stop: draining"),
        _ = interrupt.recv() => info!("interrupted: draining"),
    }
    // A drain that hangs must not keep the process: what is not published waits in the outbox.
    let stopped = tokio::time::timeout(limit, bank.stop()).await.is_ok();
    if let Some(traces) = traces {
        traces.finish().await;
    }
    Ok(stopped)
}
