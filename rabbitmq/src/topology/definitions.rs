use serde::Serialize;
use serde_json::Value;

use super::{Arguments, Permissions, Topology, user_name};
use crate::Passwords;
use crate::passwords::{ALGORITHM, NO_PASSWORD, hash};

/// A definitions file, or the part of one that is posted to a virtual host. The order of the fields is the order in the
/// file, and within each list it is that of the topology.
#[derive(Serialize)]
struct Definitions<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<User<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vhosts: Vec<Vhost<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<Granted<'a>>,
    exchanges: Vec<Exchange<'a>>,
    queues: Vec<Queue<'a>>,
    bindings: Vec<Binding<'a>>,
    policies: Vec<Policy<'a>>,
}

/// What is posted to create users and to change them.
#[derive(Serialize)]
pub(super) struct Users<'a> {
    users: Vec<User<'a>>,
    permissions: Vec<Granted<'a>>,
}

#[derive(Serialize)]
pub(super) struct User<'a> {
    name: String,
    password_hash: String,
    hashing_algorithm: &'static str,
    tags: Vec<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Granted<'a> {
    user: String,
    vhost: &'a str,
    configure: &'a str,
    write: &'a str,
    read: &'a str,
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
    /// and the dashboard's import take. Its users cannot log in, as it holds no passwords. Equal topologies give equal
    /// bytes.
    pub fn definitions(&self, vhost: &str) -> String {
        self.definitions_with(vhost, &Passwords::default())
    }

    /// The same with salted hashes of the passwords, for a broker that imports it when it boots. To be kept like a
    /// password.
    pub fn definitions_with(&self, vhost: &str, passwords: &Passwords) -> String {
        let hashes = |role: &str| passwords.of(role).map_or_else(|| NO_PASSWORD.to_owned(), hash);
        let Users { users, permissions } = self.users(vhost, hashes, |_| true);
        let vhosts = vec![Vhost { name: vhost }];
        let definitions = Definitions { users, vhosts, permissions, ..self.objects(Some(vhost)) };
        let mut text = serde_json::to_string_pretty(&definitions).expect("names and values are always JSON");
        text.push('\n');
        text
    }

    /// The users whose roles are chosen, each with the hash of a password, and what they may do.
    pub(super) fn users<'a>(
        &'a self,
        vhost: &'a str,
        hash: impl Fn(&str) -> String,
        chosen: impl Fn(&str) -> bool,
    ) -> Users<'a> {
        let chosen = || self.users.iter().filter(|(role, _)| chosen(role));
        let users = chosen().map(|(role, user)| User {
            name: user_name(vhost, role),
            password_hash: hash(role),
            hashing_algorithm: ALGORITHM,
            tags: user.tags.iter().map(String::as_str).collect(),
        });
        let permissions = chosen().map(|(role, user)| {
            let Permissions { configure, write, read } = &user.permissions;
            Granted { user: user_name(vhost, role), vhost, configure, write, read }
        });
        Users { users: users.collect(), permissions: permissions.collect() }
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
            users: Vec::new(),
            vhosts: Vec::new(),
            permissions: Vec::new(),
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
    use crate::passwords::is_hash_of;

    #[test]
    fn definitions_are_the_same_whatever_the_order_of_the_manifests() {
        let mut manifests = manifests();
        let definitions = Topology::of(&manifests).expect("valid").definitions("vostro");
        manifests.reverse();
        assert_eq!(Topology::of(&manifests).expect("valid").definitions("vostro"), definitions);
        assert!(definitions.ends_with("}\n"));
    }

    #[test]
    fn definitions_name_the_virtual_host_everywhere() {
        let definitions = parsed(&Topology::of(&manifests()).expect("valid").definitions("vostro"));
        assert_eq!(definitions["vhosts"], json!([{ "name": "vostro" }]));
        for kind in ["permissions", "exchanges", "queues", "bindings", "policies"] {
            let objects = definitions[kind].as_array().expect("a list");
            assert!(!objects.is_empty() && objects.iter().all(|object| object["vhost"] == "vostro"), "{kind}");
        }
    }

    #[test]
    fn users_have_rights_and_nobody_can_log_in_until_passwords_are_given() {
        let topology = Topology::of(&manifests()).expect("valid");
        let user = |text: &str| parsed(text)["users"][0].clone();
        assert_eq!(
            user(&topology.definitions("vostro")),
            json!({
                "name": "vostro.account", "password_hash": "", "tags": [],
                "hashing_algorithm": "rabbit_password_hashing_sha256",
            })
        );
        assert_eq!(
            parsed(&topology.definitions("vostro"))["permissions"][0],
            json!({
                "user": "vostro.account", "vhost": "vostro",
                "configure": "^$", "write": r"^ev\.account$", "read": r"^(q|dlq)\.account\..+$",
            })
        );
        let passwords = [("account".to_owned(), "geheim".to_owned())].into_iter().collect();
        let text = topology.definitions_with("vostro", &passwords);
        assert!(!text.contains("geheim"));
        assert!(is_hash_of(user(&text)["password_hash"].as_str().expect("a text"), "geheim"));
    }

    fn parsed(definitions: &str) -> Value {
        serde_json::from_str(definitions).expect("JSON")
    }

    #[test]
    fn what_is_posted_to_a_virtual_host_names_none() {
        assert!(!Topology::of(&manifests()).expect("valid").vhost_definitions().to_string().contains("vhost"));
    }
}
