use std::time::Duration;

use super::{Difference, LiveTopology, Topology, diff, read_live};
use crate::{ManagementClient, ManagementError};

/// Brings a virtual host to the topology and returns the differences that remain.
///
/// Creates what is missing, sets the policies, and unbinds our queues from our exchanges where the topology has no
/// binding (after the new ones exist, so that no event falls between). It deletes no queue and no message: a queue that
/// is there with other arguments remains as a difference for an operator.
///
/// # Errors
/// [`ManagementError`]
pub async fn apply(
    topology: &Topology,
    client: &ManagementClient,
    vhost: &str,
) -> Result<Vec<Difference>, ManagementError> {
    let definitions = topology.vhost_definitions();
    client.post(&format!("import the topology into {vhost}"), &["definitions", vhost], &definitions).await?;
    let live = read_live(client, vhost).await?;
    remove_bindings(topology, &live, client, vhost).await?;
    settled_differences(topology, client, vhost).await
}

async fn remove_bindings(
    topology: &Topology,
    live: &LiveTopology,
    client: &ManagementClient,
    vhost: &str,
) -> Result<(), ManagementError> {
    for (binding, key) in &live.bindings {
        let ours = topology.exchanges.contains_key(&binding.exchange) && topology.queues.contains_key(&binding.queue);
        if ours && !topology.bindings.contains(binding) {
            let what = format!("unbind the queue {} from {}", binding.queue, binding.exchange);
            let path = ["bindings", vhost, "e", &binding.exchange, "q", &binding.queue, key];
            client.delete(&what, &path).await?;
        }
    }
    Ok(())
}

/// A policy takes a moment to come into effect on objects that exist already.
async fn settled_differences(
    topology: &Topology,
    client: &ManagementClient,
    vhost: &str,
) -> Result<Vec<Difference>, ManagementError> {
    const TRIES: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(100);
    let mut differences = Vec::new();
    for _ in 0..TRIES {
        differences = diff(topology, &read_live(client, vhost).await?);
        if !differences.iter().any(Difference::is_harmful) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(differences)
}
