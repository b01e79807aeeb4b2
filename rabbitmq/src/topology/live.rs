use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Arguments, Binding, Permissions, role};
use crate::management::TOTALS;
use crate::{ManagementClient, ManagementError};

/// What exists in a virtual host, as far as a [`super::Topology`] has an opinion on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveTopology {
    pub exchanges: BTreeMap<String, LiveExchange>,
    pub queues: BTreeMap<String, LiveQueue>,
    /// Bindings of queues, with the key that the management API has for each; the default exchange's are left out.
    pub bindings: BTreeMap<Binding, String>,
    pub policies: BTreeMap<String, LivePolicy>,
    /// The users of this virtual host's bank by role; `None` when whoever asked may not see users.
    pub users: Option<BTreeMap<String, LiveUser>>,
    /// Others who are no administrators and have rights in the virtual host, by name.
    pub strangers: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveExchange {
    pub kind: String,
    pub durable: bool,
    /// The policy in effect; there is at most one.
    pub policy: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveQueue {
    pub durable: bool,
    pub arguments: Arguments,
    /// The policy in effect; there is at most one.
    pub policy: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivePolicy {
    pub pattern: String,
    pub apply_to: String,
    pub definition: Arguments,
    pub priority: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveUser {
    pub tags: BTreeSet<String>,
    /// `None` when they have none in the virtual host.
    pub permissions: Option<Permissions>,
    pub(crate) password_hash: String,
}

/// Reads the topology of a virtual host, and its users when the management API lets us see them.
///
/// # Errors
/// [`ManagementError`], also when there is no such virtual host.
pub async fn read_live(client: &ManagementClient, vhost: &str) -> Result<LiveTopology, ManagementError> {
    #[derive(Deserialize)]
    struct Exchange {
        name: String,
        #[serde(rename = "type")]
        kind: String,
        durable: bool,
        policy: Option<String>,
    }
    #[derive(Deserialize)]
    struct Queue {
        name: String,
        durable: bool,
        arguments: Arguments,
        policy: Option<String>,
    }
    #[derive(Deserialize)]
    struct Bound {
        source: String,
        destination: String,
        destination_type: String,
        routing_key: String,
        properties_key: String,
    }
    #[derive(Deserialize)]
    struct Policy {
        name: String,
        pattern: String,
        #[serde(rename = "apply-to")]
        apply_to: String,
        definition: Arguments,
        priority: i64,
    }
    let what = |kind: &str| format!("list the {kind} of {vhost}");
    let exchanges: Vec<Exchange> = client.get(&what("exchanges"), &["exchanges", vhost], "").await?;
    let queues: Vec<Queue> = client.get(&what("queues"), &["queues", vhost], TOTALS).await?;
    let bindings: Vec<Bound> = client.get(&what("bindings"), &["bindings", vhost], "").await?;
    let policies: Vec<Policy> = client.get(&what("policies"), &["policies", vhost], "").await?;
    let (users, strangers) = read_users(client, vhost).await?.unzip();
    let in_effect = |policy: Option<String>| policy.filter(|name| !name.is_empty());
    Ok(LiveTopology {
        exchanges: exchanges
            .into_iter()
            .map(|exchange| {
                let policy = in_effect(exchange.policy);
                (exchange.name, LiveExchange { kind: exchange.kind, durable: exchange.durable, policy })
            })
            .collect(),
        queues: queues
            .into_iter()
            .map(|queue| {
                let policy = in_effect(queue.policy);
                (queue.name, LiveQueue { durable: queue.durable, arguments: queue.arguments, policy })
            })
            .collect(),
        bindings: bindings
            .into_iter()
            .filter(|bound| bound.destination_type == "queue" && !bound.source.is_empty())
            .map(|bound| {
                let binding =
                    Binding { exchange: bound.source, queue: bound.destination, routing_key: bound.routing_key };
                (binding, bound.properties_key)
            })
            .collect(),
        policies: policies
            .into_iter()
            .map(|policy| {
                let Policy { name, pattern, apply_to, definition, priority } = policy;
                (name, LivePolicy { pattern, apply_to, definition, priority })
            })
            .collect(),
        users,
        strangers: strangers.unwrap_or_default(),
    })
}

type Users = (BTreeMap<String, LiveUser>, BTreeSet<String>);

/// The bank's users by role, and the strangers' names; `None` when only an administrator could say.
async fn read_users(client: &ManagementClient, vhost: &str) -> Result<Option<Users>, ManagementError> {
    #[derive(Deserialize)]
    struct User {
        name: String,
        #[serde(default)]
        password_hash: String,
        tags: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Granted {
        user: String,
        configure: String,
        write: String,
        read: String,
    }
    let users: Vec<User> = match client.get("list the users", &["users"], "").await {
        Ok(users) => users,
        // The broker says so to somebody it knows when they are no administrator: everything else was answered.
        Err(ManagementError::Unauthorized { .. } | ManagementError::Refused { status: 403, .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let what = format!("list the rights in {vhost}");
    let granted: Vec<Granted> = client.get(&what, &["vhosts", vhost, "permissions"], "").await?;
    let mut rights: BTreeMap<String, Permissions> = granted
        .into_iter()
        .map(|Granted { user, configure, write, read }| (user, Permissions { configure, write, read }))
        .collect();
    let mut ours = BTreeMap::new();
    let mut strangers = BTreeSet::new();
    for User { name, password_hash, tags } in users {
        let permissions = rights.remove(&name);
        if let Some(role) = role(vhost, &name) {
            let tags = tags.into_iter().collect();
            ours.insert(role.to_owned(), LiveUser { tags, permissions, password_hash });
        } else if permissions.is_some() && !tags.iter().any(|tag| tag == "administrator") {
            strangers.insert(name);
        }
    }
    Ok(Some((ours, strangers)))
}

impl LiveTopology {
    /// The policy in effect on an exchange or a queue.
    pub(super) fn policy_on(&self, apply_to: &str, name: &str) -> Option<&str> {
        match apply_to {
            "exchanges" => self.exchanges.get(name)?.policy.as_deref(),
            _ => self.queues.get(name)?.policy.as_deref(),
        }
    }

    pub(super) fn exists(&self, apply_to: &str, name: &str) -> bool {
        match apply_to {
            "exchanges" => self.exchanges.contains_key(name),
            _ => self.queues.contains_key(name),
        }
    }

    pub(super) fn bindings(&self) -> BTreeSet<&Binding> {
        self.bindings.keys().collect()
    }
}
