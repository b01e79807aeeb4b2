//! `vostro gateway`, and what gateways need.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use vostro_schema::federation::{GatewayKey, addressed};
use vostro_schema::modules::SUPERGRAPH;

use super::output;
use crate::app::Part;
use crate::gateway::{Gateway, GatewayConfig};
use crate::telemetry;

#[derive(Debug, Subcommand)]
pub enum FederationCommand {
    /// Make a key pair: the secret half for the gateway, the public half for the processes it calls.
    #[command(after_help = "Example:\n  vostro federation key --name gateway\n\n\
        Put what it prints into the two configurations. To replace a key, add the new public half under another name\n\
        first, then move the gateway, then remove the old one.")]
    Key {
        /// The gateway's name.
        #[arg(long, default_value = "gateway", value_name = "NAME")]
        name: String,
    },
    /// Print the supergraph with the addresses of the subgraphs, for a gateway that is not ours.
    #[command(after_help = "Examples:\n  vostro --config gateway.toml federation supergraph > supergraph.graphql\n  \
        vostro federation supergraph --subgraph auth=http://10.0.0.5:21080 --subgraph account=http://10.0.0.5:21080 …")]
    Supergraph {
        /// A subgraph and the base address of the process that runs it, instead of federation.subgraphs.
        #[arg(long = "subgraph", value_name = "NAME=ADDRESS", value_parser = named)]
        subgraphs: Vec<(String, String)>,
    },
}

fn named(text: &str) -> Result<(String, String), String> {
    let (name, address) = text.split_once('=').ok_or("it looks like account=http://10.0.0.5:21080")?;
    Part::of([name]).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), address.to_owned()))
}

/// # Errors
/// When the configuration cannot be read.
pub fn run(command: &FederationCommand, file: Option<&Path>) -> anyhow::Result<bool> {
    match command {
        FederationCommand::Key { name } => {
            let mut seed = [0; 32];
            SystemRandom::new().fill(&mut seed).map_err(|_| anyhow::anyhow!("the system has no random numbers"))?;
            let secret = STANDARD.encode(seed);
            let public = GatewayKey::new(name, &secret)?.public();
            output::text(&format!(
                "# the gateway's\n[federation]\nname = \"{name}\"\nsigning_key = \"{secret}\"\n\n\
                 # of every process it calls\n[federation.gateways]\n{name} = \"{public}\""
            ));
        }
        FederationCommand::Supergraph { subgraphs } => {
            let addresses: BTreeMap<String, String> = if subgraphs.is_empty() {
                GatewayConfig::load(file)?.federation.subgraphs
            } else {
                subgraphs.iter().cloned().collect()
            };
            let missing: Vec<_> = Part::all_names().into_iter().filter(|name| !addresses.contains_key(*name)).collect();
            anyhow::ensure!(missing.is_empty(), "these subgraphs have no address: {}", missing.join(", "));
            output::text(addressed(SUPERGRAPH, |name| addresses.get(name).cloned()).trim_end());
        }
    }
    Ok(true)
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// When the gateway cannot start.
pub async fn serve(config: &GatewayConfig) -> anyhow::Result<bool> {
    telemetry::start_logging(&config.log).map_err(anyhow::Error::msg)?;
    let traces = telemetry::start_tracing(&config.tracing).map_err(anyhow::Error::msg)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let limit = config.http.drain() + Duration::from_secs(5);
    let gateway = Gateway::start(config).await?;
    info!(address = %gateway.address(), "the gateway is open");
    tokio::select! {
        _ = terminate.recv() => info!("told to stop: draining"),
        _ = interrupt.recv() => info!("interrupted: draining"),
    }
    let stopped = tokio::time::timeout(limit, gateway.stop()).await.is_ok();
    if let Some(traces) = traces {
        traces.finish().await;
    }
    Ok(stopped)
}
