use serde::Serialize;
use serde_json::Value;

use super::{Arguments, Topology};

/// A definitions file, or the part of one that is posted to a virtual host. The order of the fields is the order in the
/// file, and within each list it is that of the topology.
#[derive(Serialize)]
struct Definitions<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vhosts: Vec<Vhost<'a>>,
    exchanges: Vec<Exchange<'a>>,
    queues: Vec<Queue<'a>>,
    bindings: Vec<Binding<'a>>,
    policies: Vec<Policy<'a>>,
}

#[derive(Serialize)]
struct Vhost<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Exchange<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Arguments,
}

#[derive(Serialize)]
struct Queue<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost: Option<&'a str>,
    durable: bool,
    auto_delete: bool,
    arguments: &'a Arguments,
}

#[derive(Serialize)]
struct Binding<'a> {
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost: Option<&'a str>,
    destination: &'a str,
    destination_type: &'a str,
    routing_key: &'a str,
    arguments: Arguments,
}

#[derive(Serialize)]
struct Policy<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost: Option<&'a str>,
    pattern: &'a str,
    #[serde(rename = "apply-to")]
    apply_to: &'a str,
    priority: i64,
    definition: &'a Arguments,
}

impl Topology {
    /// The definitions file of a broker with this topology in one virtual host: what `rabbitmqctl import_definitions`
    /// and the dashboard's import take. It holds no users and no passwords. Equal topologies give equal bytes.
    pub fn definitions(&self, vhost: &str) -> String {
        let definitions = Definitions { vhosts: vec![Vhost { name: vhost }], ..self.objects(Some(vhost)) };
        let mut text = serde_json::to_string_pretty(&definitions).expect("names and values are always JSON");
        text.push('\n');
        text
    }

    /// What is posted to the definitions of one virtual host.
    pub(super) fn vhost_definitions(&self) -> Value {
        serde_json::to_value(self.objects(None)).expect("names and values are always JSON")
    }

    fn objects<'a>(&'a self, vhost: Option<&'a str>) -> Definitions<'a> {
        let exchanges = self.exchanges.iter().map(|(name, exchange)| Exchange {
            name,
            vhost,
            kind: &exchange.kind,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Arguments::new(),
        });
        let queues = self.queues.iter().map(|(name, queue)| Queue {
            name,
            vhost,
            durable: true,
            auto_delete: false,
            arguments: &queue.arguments,
        });
        let bindings = self.bindings.iter().map(|binding| Binding {
            source: &binding.exchange,
            vhost,
            destination: &binding.queue,
            destination_type: "queue",
            routing_key: &binding.routing_key,
            arguments: Arguments::new(),
        });
        let policies = self.policies.iter().map(|(name, policy)| Policy {
            name,
            vhost,
            pattern: &policy.pattern,
            apply_to: &policy.apply_to,
            priority: policy.priority,
            definition: &policy.definition,
        });
        Definitions {
            vhosts: Vec::new(),
            exchanges: exchanges.collect(),
            queues: queues.collect(),
            bindings: bindings.collect(),
            policies: policies.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::samples::manifests;
    use super::*;

    #[test]
    fn definitions_are_the_same_whatever_the_order_of_the_manifests() {
        let mut manifests = manifests();
        let definitions = Topology::of(&manifests).expect("valid").definitions("vostro");
        manifests.reverse();
        assert_eq!(Topology::of(&manifests).expect("valid").definitions("vostro"), definitions);
        assert!(definitions.ends_with("}\n"));
    }

    #[test]
    fn definitions_name_the_virtual_host_and_hold_no_users() {
        let text = Topology::of(&manifests()).expect("valid").definitions("vostro");
        let definitions: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(definitions["vhosts"], json!([{ "name": "vostro" }]));
        for kind in ["exchanges", "queues", "bindings", "policies"] {
            let objects = definitions[kind].as_array().expect("a list");
            assert!(!objects.is_empty() && objects.iter().all(|object| object["vhost"] == "vostro"), "{kind}");
        }
        assert!(definitions.get("users").is_none() && definitions.get("permissions").is_none());
    }

    #[test]
    fn what_is_posted_to_a_virtual_host_names_none() {
        assert!(!Topology::of(&manifests()).expect("valid").vhost_definitions().to_string().contains("vhost"));
    }
}
