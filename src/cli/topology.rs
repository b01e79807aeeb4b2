use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use vostro_rabbitmq::{AmqpBroker, ManagementClient, QueueDepth, Supervisor, Topology, topology};

use super::output;
use crate::config::Config;
use crate::{app, broker};

/// The virtual host in the generated definitions file.
const VHOST: &str = "vostro";

#[derive(Debug, Subcommand)]
pub enum TopologyCommand {
    /// Create and correct what the bank needs on the broker, its users included. Nothing with messages in it is deleted, and
    /// nothing is unbound that a release needs which still runs.
    Apply {
        /// Unbind what only earlier releases had. Not before the last instance of them has stopped.
        #[arg(long)]
        prune: bool,
    },
    /// Compare the broker with the manifests and name every difference. Exit status 1 when there is one.
    #[command(visible_alias = "diff")]
    Check {
        /// Print the differences as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the definitions file that is generated from the manifests.
    #[command(after_help = "Nobody can log in with the file as it is committed. For a broker that imports its \
        definitions when it boots:\n  vostro topology definitions --with-passwords --output definitions.json")]
    Definitions {
        /// Put in the hashes of the configured passwords. The file must then be kept like a password.
        #[arg(long)]
        with_passwords: bool,
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
        TopologyCommand::Definitions { with_passwords: false, output } => Some(definitions(output.as_deref())),
        TopologyCommand::Flow => {
            output::text(topology::event_flow(&app::manifests()).trim_end());
            Some(Ok(true))
        }
        TopologyCommand::Apply { .. } | TopologyCommand::Check { .. } | TopologyCommand::Definitions { .. } => None,
    }
}

pub async fn run(config: &Config, command: &TopologyCommand) -> anyhow::Result<bool> {
    match command {
        TopologyCommand::Apply { prune } => {
            apply(config).await?;
            if *prune {
                unbind_the_obsolete(config).await?;
            }
            output::text("The broker has what the bank needs.");
            Ok(true)
        }
        TopologyCommand::Check { json } => check(config, *json).await,
        TopologyCommand::Definitions { output, .. } => definitions_with_passwords(config, output.as_deref()),
        TopologyCommand::Flow => unreachable!("handled without configuration"),
    }
}

fn definitions(output: Option<&Path>) -> anyhow::Result<bool> {
    write(&Topology::of(&app::manifests())?.definitions(VHOST), output)
}

fn definitions_with_passwords(config: &Config, output: Option<&Path>) -> anyhow::Result<bool> {
    let topology = app::topology(config)?;
    let passwords = broker::passwords(&config.broker, &topology)?;
    let endpoint = broker::endpoint(&config.broker)?;
    write(&topology.definitions_with(endpoint.vhost(), &passwords), output)
}

fn write(definitions: &str, output: Option<&Path>) -> anyhow::Result<bool> {
    match output {
        Some(path) => std::fs::write(path, definitions).with_context(|| format!("writing {}", path.display()))?,
        None => output::text(definitions.trim_end()),
    }
    Ok(true)
}

/// Brings the broker's topology to what the manifests say.
pub async fn apply(config: &Config) -> anyhow::Result<()> {
    let (management, vhost) = broker::management(&config.broker)?;
    let topology = app::topology(config)?;
    let passwords = broker::passwords(&config.broker, &topology)?;
    if !management.vhost_exists(&vhost).await? {
        management.create_vhost(&vhost).await?;
    }
    refuse_to_strand(config, &topology, &management, &vhost).await?;
    let differences = topology::apply(&topology, &management, &vhost, &passwords).await?;
    match differences.iter().find(|difference| difference.is_harmful()) {
        None => Ok(()),
        Some(difference) => anyhow::bail!("the broker still differs: {difference}"),
    }
}

async fn unbind_the_obsolete(config: &Config) -> anyhow::Result<()> {
    let (management, vhost) = broker::management(&config.broker)?;
    for binding in topology::prune(&app::topology(config)?, &management, &vhost).await? {
        output::text(&format!("removed: {binding}"));
    }
    Ok(())
}

/// Nobody would consume what is in queues of another division. The management API's counts are seconds old, so the queues
/// themselves are asked, each in the name of its module.
async fn refuse_to_strand(
    config: &Config,
    topology: &Topology,
    management: &ManagementClient,
    vhost: &str,
) -> anyhow::Result<()> {
    let queues = management.queues(vhost).await?;
    for queue in queues.into_iter().map(|queue| queue.name).filter(|queue| topology.is_retired(queue)) {
        let module = queue.split('.').nth(1).unwrap_or_default();
        let connection = Supervisor::start(broker::endpoint_of(&config.broker, module)?, "vostro topology apply");
        let depth = AmqpBroker::new(connection.clone()).depth(&queue).await;
        connection.close().await;
        let QueueDepth { ready, consumers } = depth.with_context(|| format!("asking {queue} whether it is empty"))?;
        anyhow::ensure!(
            ready == 0 && consumers == 0,
            "{queue} holds {ready} messages and has {consumers} consumers, and would not be consumed any more: let the bank \
             run with its present messaging.partitions until its queues are empty, stop it, and apply again"
        );
    }
    Ok(())
}

async fn check(config: &Config, as_json: bool) -> anyhow::Result<bool> {
    let (management, vhost) = broker::management(&config.broker)?;
    let live = topology::read_live(&management, &vhost).await?;
    let differences = topology::diff(&app::topology(config)?, &live);
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
