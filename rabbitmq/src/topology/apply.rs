use std::time::Duration;

use serde_json::json;

use super::{Binding, Difference, LiveTopology, Topology, diff, read_live};
use crate::passwords::{NO_PASSWORD, hash, is_hash_of};
use crate::{ManagementClient, ManagementError, Passwords};

/// Brings a virtual host to the topology and returns the differences that remain.
///
/// Creates what is missing and sets the policies. It takes nothing from a release that runs beside this one: bindings that
/// the topology does not have remain ([`prune`] removes them), except those of queues of another division, which nobody may
/// consume any more. It deletes no queue and no message: a queue that is there with other arguments remains as a difference
/// for an operator, and one of a subscription that is now divided otherwise remains without bindings.
///
/// Users get these passwords; one whose password is not given keeps what it has, and cannot log in when it is new.
///
/// # Errors
/// [`ManagementError`], also when the user of the management API is no administrator.
pub async fn apply(
    topology: &Topology,
    client: &ManagementClient,
    vhost: &str,
    passwords: &Passwords,
) -> Result<Vec<Difference>, ManagementError> {
    let definitions = topology.vhost_definitions();
    client.post(&format!("import the topology into {vhost}"), &["definitions", vhost], &definitions).await?;
    let live = read_live(client, vhost).await?;
    correct_users(topology, &live, client, vhost, passwords).await?;
    unbind(&live, client, vhost, |binding| {
        topology.is_retired(&binding.queue) && topology.exchanges.contains_key(&binding.exchange)
    })
    .await?;
    settled_differences(topology, client, vhost).await
}

/// Creates the users that are missing and corrects those that differ; the others are left alone, so that a second run
/// changes nothing.
async fn correct_users(
    topology: &Topology,
    live: &LiveTopology,
    client: &ManagementClient,
    vhost: &str,
    passwords: &Passwords,
) -> Result<(), ManagementError> {
    let what = format!("correct the users of {vhost}");
    let Some(found) = &live.users else {
        let reason = "only an administrator may see them".to_owned();
        return Err(ManagementError::Refused { what, reason, status: 403 });
    };
    let known = |role: &str| found.get(role).map_or(NO_PASSWORD, |user| user.password_hash.as_str());
    let is_right = |role: &str| {
        let as_it_should_be = topology.users.get(role).zip(found.get(role)).is_some_and(|(user, found)| {
            user.tags == found.tags && found.permissions.as_ref() == Some(&user.permissions)
        });
        as_it_should_be && passwords.of(role).is_none_or(|password| is_hash_of(known(role), password))
    };
    if topology.users.keys().all(|role| is_right(role)) {
        return Ok(());
    }
    let hashed = |role: &str| match passwords.of(role) {
        Some(password) if !is_hash_of(known(role), password) => hash(password),
        _ => known(role).to_owned(),
    };
    let definitions = json!(topology.users(vhost, hashed, |role| !is_right(role)));
    client.post(&what, &["definitions"], &definitions).await
}

/// Unbinds our queues from our exchanges where the topology has no binding, and returns what it has unbound. For when no
/// instance of an earlier release runs any more: it needs what this takes away.
///
/// # Errors
/// [`ManagementError`]; what was unbound before stays unbound.
pub async fn prune(
    topology: &Topology,
    client: &ManagementClient,
    vhost: &str,
) -> Result<Vec<Binding>, ManagementError> {
    let live = read_live(client, vhost).await?;
    unbind(&live, client, vhost, |binding| {
        let ours = topology.queues.contains_key(&binding.queue) && topology.exchanges.contains_key(&binding.exchange);
        ours && !topology.bindings.contains(binding)
    })
    .await
}

async fn unbind(
    live: &LiveTopology,
    client: &ManagementClient,
    vhost: &str,
    is_obsolete: impl Fn(&Binding) -> bool,
) -> Result<Vec<Binding>, ManagementError> {
    let mut unbound = Vec::new();
    for (binding, key) in live.bindings.iter().filter(|(binding, _)| is_obsolete(binding)) {
        let what = format!("unbind the queue {} from {}", binding.queue, binding.exchange);
        let path = ["bindings", vhost, "e", &binding.exchange, "q", &binding.queue, key];
        client.delete(&what, &path).await?;
        unbound.push(binding.clone());
    }
    Ok(unbound)
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
