use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Arguments, Binding};
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

/// Reads the topology of a virtual host.
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
    })
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
