use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use secrecy::ExposeSecret as _;
use serde_json::json;
use vostro_rabbitmq::topology;
use vostro_rabbitmq::{Endpoint, ManagementClient, Topology};

use super::output;
use crate::app;
use crate::config::Config;

/// The virtual host in the generated definitions file.
const VHOST: &str = "vostro";

#[derive(Debug, Subcommand)]
pub enum TopologyCommand {
    /// Create and correct what the bank needs on the broker. Nothing with messages in it is deleted.
    Apply,
    /// Compare the broker with the manifests and name every difference. Exit status 1 when there is one.
    Check {
        /// Print the differences as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the definitions file that is generated from the manifests.
    Definitions {
        /// Write it to this file instead.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the map of events between modules (Mermaid).
    Flow,
}

/// The commands that only look at the manifests.
pub fn run_without_configuration(command: &TopologyCommand) -> Option<anyhow::Result<bool>> {
    match command {
        TopologyCommand::Definitions { output } => {
            let topology = match Topology::of(&app::manifests()) {
                Ok(topology) => topology,
                Err(error) => return Some(Err(error.into())),
            };
            let definitions = topology.definitions(VHOST);
            Some(match output {
                Some(path) => std::fs::write(path, definitions)
                    .with_context(|| format!("writing {}", path.display()))
                    .map(|()| true),
                None => {
                    output::text(definitions.trim_end());
                    Ok(true)
                }
            })
        }
        TopologyCommand::Flow => {
            output::text(topology::event_flow(&app::manifests()).trim_end());
            Some(Ok(true))
        }
        TopologyCommand::Apply | TopologyCommand::Check { .. } => None,
    }
}

pub async fn run(config: &Config, command: &TopologyCommand) -> anyhow::Result<bool> {
    match command {
        TopologyCommand::Apply => {
            apply(config).await?;
            output::text("The broker has what the bank needs.");
            Ok(true)
        }
        TopologyCommand::Check { json } => check(config, *json).await,
        TopologyCommand::Definitions { .. } | TopologyCommand::Flow => unreachable!("handled without configuration"),
    }
}

/// Brings the broker's topology to what the manifests say.
pub async fn apply(config: &Config) -> anyhow::Result<()> {
    let (management, vhost) = broker(config)?;
    if !management.vhost_exists(&vhost).await? {
        management.create_vhost(&vhost).await?;
    }
    let differences = topology::apply(&Topology::of(&app::manifests())?, &management, &vhost).await?;
    match differences.iter().find(|difference| difference.is_harmful()) {
        None => Ok(()),
        Some(difference) => anyhow::bail!("the broker still differs: {difference}"),
    }
}

async fn check(config: &Config, as_json: bool) -> anyhow::Result<bool> {
    let (management, vhost) = broker(config)?;
    let live = topology::read_live(&management, &vhost).await?;
    let differences = topology::diff(&Topology::of(&app::manifests())?, &live);
    let words: Vec<String> = differences.iter().map(ToString::to_string).collect();
    if as_json {
        output::json(&json!({"ok": words.is_empty(), "differences": words}));
    } else if words.is_empty() {
        output::text("The broker's topology is as the manifests say.");
    } else {
        output::text(&words.join("\n"));
    }
    Ok(words.is_empty())
}

fn broker(config: &Config) -> anyhow::Result<(ManagementClient, String)> {
    let endpoint = Endpoint::parse(config.broker.url.expose_secret())?;
    let management = ManagementClient::new(config.broker.management_url.expose_secret())?;
    Ok((management, endpoint.vhost().to_owned()))
}
