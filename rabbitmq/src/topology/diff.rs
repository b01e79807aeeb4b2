use std::fmt;

use serde_json::{Value, json};

use super::{Binding, LiveTopology, Permissions, Policy, Topology};
use crate::rpc::REPLY_QUEUES;

/// One way in which the broker is not as it should be. Its text is for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    Missing {
        what: String,
    },
    Changed {
        what: String,
        expected: String,
        found: String,
    },
    /// Something that the topology does not know.
    Unexpected {
        what: String,
    },
}

impl Difference {
    /// Whether events would go astray. What is merely unexpected may belong to another release that is running beside
    /// this one, or to an operator who is looking into something.
    pub fn is_harmful(&self) -> bool {
        !matches!(self, Self::Unexpected { .. })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { what } => write!(formatter, "missing: {what}"),
            Self::Changed { what, expected, found } => {
                write!(formatter, "{what}: it is {found}, it should be {expected}")
            }
            Self::Unexpected { what } => write!(formatter, "unexpected: {what}"),
        }
    }
}

/// Names every difference between what should be there and what is; empty when the broker is as it should be.
pub fn diff(topology: &Topology, live: &LiveTopology) -> Vec<Difference> {
    let mut differences = Differences::default();
    differences.exchanges(topology, live);
    differences.queues(topology, live);
    differences.bindings(topology, live);
    for (name, policy) in &topology.policies {
        differences.policy(name, policy, live);
    }
    differences.users(topology, live);
    differences.0
}

#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn missing(&mut self, what: String) {
        self.0.push(Difference::Missing { what });
    }

    fn unexpected(&mut self, what: String) {
        self.0.push(Difference::Unexpected { what });
    }

    fn compare<T: PartialEq + fmt::Display>(&mut self, what: impl Into<String>, expected: T, found: T) {
        if expected != found {
            let (expected, found) = (expected.to_string(), found.to_string());
            self.0.push(Difference::Changed { what: what.into(), expected, found });
        }
    }

    fn exchanges(&mut self, topology: &Topology, live: &LiveTopology) {
        for (name, expected) in &topology.exchanges {
            let Some(found) = live.exchanges.get(name) else {
                self.missing(format!("the exchange {name}"));
                continue;
            };
            self.compare(format!("the type of the exchange {name}"), &expected.kind, &found.kind);
            self.compare(format!("the durability of the exchange {name}"), true, found.durable);
        }
    }

    fn queues(&mut self, topology: &Topology, live: &LiveTopology) {
        for (name, expected) in &topology.queues {
            let Some(found) = live.queues.get(name) else {
                self.missing(format!("the queue {name}"));
                continue;
            };
            self.compare(format!("the durability of the queue {name}"), true, found.durable);
            let (expected, found) = (json!(expected.arguments), json!(found.arguments));
            self.compare(format!("the arguments of the queue {name}"), expected, found);
        }
        for name in live.queues.keys().filter(|name| name.starts_with("q.") || name.starts_with("dlq.")) {
            if !topology.queues.contains_key(name) {
                self.unexpected(format!("the queue {name}"));
            }
        }
    }

    fn bindings(&mut self, topology: &Topology, live: &LiveTopology) {
        let bound = live.bindings();
        for binding in topology.bindings.iter().filter(|binding| !bound.contains(binding)) {
            self.missing(binding.to_string());
        }
        // Callers bind their reply queues themselves.
        let ours = |binding: &&Binding| topology.concerns(binding) && !binding.queue.starts_with(REPLY_QUEUES);
        for binding in bound.into_iter().filter(ours) {
            if topology.is_retired(&binding.queue) {
                self.compare(binding.to_string(), "none, as the queue is of another division", "there");
            } else if !topology.bindings.contains(binding) {
                self.unexpected(binding.to_string());
            }
        }
    }

    fn policy(&mut self, name: &str, expected: &Policy, live: &LiveTopology) {
        let Some(found) = live.policies.get(name) else {
            self.missing(format!("the policy {name}"));
            return;
        };
        self.compare(format!("the pattern of the policy {name}"), &expected.pattern, &found.pattern);
        self.compare(format!("what the policy {name} applies to"), &expected.apply_to, &found.apply_to);
        self.compare(format!("the priority of the policy {name}"), expected.priority, found.priority);
        let keys = expected.definition.keys().chain(found.definition.keys().filter(|key| {
            // Named once, even when both have it.
            !expected.definition.contains_key(*key)
        }));
        for key in keys {
            let value = |definition: &super::Arguments| definition.get(key).cloned().unwrap_or(Value::Null);
            let (expected, found) = (value(&expected.definition), value(&found.definition));
            self.compare(format!("{key} of the policy {name}"), expected, found);
        }
        for target in expected.targets.iter().filter(|target| live.exists(&expected.apply_to, target)) {
            let in_effect = live.policy_on(&expected.apply_to, target).unwrap_or("none");
            self.compare(format!("the policy in effect on {target}"), name, in_effect);
        }
    }
}

impl Differences {
    /// Nothing when the users cannot be seen: whoever looks is no administrator then, as it should be.
    fn users(&mut self, topology: &Topology, live: &LiveTopology) {
        let Some(users) = &live.users else { return };
        for (role, expected) in &topology.users {
            let Some(found) = users.get(role) else {
                self.missing(format!("the user of {role}"));
                continue;
            };
            self.compare(format!("the tags of the user of {role}"), json!(expected.tags), json!(found.tags));
            let Some(found) = &found.permissions else {
                self.missing(format!("the rights of the user of {role}"));
                continue;
            };
            for (right, of) in RIGHTS {
                let what = format!("what the user of {role} may {right}");
                self.compare(what, of(&expected.permissions), of(found));
            }
        }
        for role in users.keys().filter(|role| !topology.users.contains_key(*role)) {
            self.unexpected(format!("the user of {role}"));
        }
        for name in &live.strangers {
            self.unexpected(format!("rights of the user {name}"));
        }
    }
}

type Right = (&'static str, fn(&Permissions) -> &str);

const RIGHTS: [Right; 3] = [
    ("configure", |rights| &rights.configure),
    ("write to", |rights| &rights.write),
    ("read from", |rights| &rights.read),
];

impl Topology {
    /// Whether a binding begins or ends at something of ours.
    fn concerns(&self, binding: &Binding) -> bool {
        self.exchanges.contains_key(&binding.exchange) || self.queues.contains_key(&binding.queue)
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exchange, queue, routing_key } = self;
        write!(formatter, "the binding of the queue {queue} to the exchange {exchange} with the key \"{routing_key}\"")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::Arguments;
    use super::super::live::{LiveExchange, LivePolicy, LiveQueue, LiveUser};
    use super::super::samples::manifests;
    use super::*;

    fn topology() -> Topology {
        Topology::of(&manifests()).expect("valid")
    }

    /// A broker that is exactly as it should be.
    fn perfect(topology: &Topology) -> LiveTopology {
        let policy_of = |apply_to: &str, name: &String| {
            let mut policies = topology.policies.iter();
            policies
                .find(|(_, policy)| policy.apply_to == apply_to && policy.targets.contains(name))
                .map(|(policy, _)| policy.clone())
        };
        LiveTopology {
            exchanges: topology
                .exchanges
                .iter()
                .map(|(name, exchange)| {
                    let policy = policy_of("exchanges", name);
                    (name.clone(), LiveExchange { kind: exchange.kind.clone(), durable: true, policy })
                })
                .collect(),
            queues: topology
                .queues
                .iter()
                .map(|(name, queue)| {
                    let policy = policy_of("queues", name);
                    (name.clone(), LiveQueue { durable: true, arguments: queue.arguments.clone(), policy })
                })
                .collect(),
            bindings: topology.bindings.iter().map(|binding| (binding.clone(), String::new())).collect(),
            policies: topology
                .policies
                .iter()
                .map(|(name, policy)| {
                    let Policy { pattern, apply_to, definition, priority, .. } = policy.clone();
                    (name.clone(), LivePolicy { pattern, apply_to, definition, priority })
                })
                .collect(),
            users: Some(
                topology
                    .users
                    .iter()
                    .map(|(role, user)| {
                        let permissions = Some(user.permissions.clone());
                        (role.clone(), LiveUser { tags: user.tags.clone(), permissions, password_hash: String::new() })
                    })
                    .collect(),
            ),
            strangers: BTreeSet::new(),
        }
    }

    fn told(change: impl FnOnce(&mut LiveTopology)) -> Vec<String> {
        let topology = topology();
        let mut live = perfect(&topology);
        change(&mut live);
        diff(&topology, &live).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_broker_as_it_should_be_has_no_differences() {
        assert_eq!(told(|_| {}), [""; 0]);
    }

    #[test]
    fn everything_missing_is_named() {
        let topology = topology();
        let differences = diff(&topology, &LiveTopology { users: Some(BTreeMap::new()), ..Default::default() });
        let Topology { exchanges, queues, bindings, policies, users } = &topology;
        let objects = exchanges.len() + queues.len() + bindings.len() + policies.len() + users.len();
        assert_eq!(differences.len(), objects);
        assert!(differences.iter().all(Difference::is_harmful));
    }

    #[test]
    fn each_difference_is_told_in_plain_words() {
        assert_eq!(
            told(|live| drop(live.queues.remove("q.compliance.audit"))),
            ["missing: the queue q.compliance.audit"]
        );
        assert_eq!(
            told(|live| live.exchanges.get_mut("ev.auth").expect("there").kind = "fanout".into()),
            ["the type of the exchange ev.auth: it is fanout, it should be topic"]
        );
        assert_eq!(
            told(|live| live.bindings.retain(|binding, _| binding.queue != "q.account.customers")),
            ["missing: the binding of the queue q.account.customers to the exchange ev.auth with the key \
              \"auth.user-registered.v1.#\""]
        );
        assert_eq!(
            told(|live| {
                let arguments = &mut live.queues.get_mut("dlq.account.customers").expect("there").arguments;
                arguments.insert("x-queue-type".into(), "classic".into());
            }),
            ["the arguments of the queue dlq.account.customers: it is {\"x-queue-type\":\"classic\"}, it should be \
              {\"x-queue-type\":\"quorum\"}"]
        );
    }

    #[test]
    fn a_queue_of_another_division_that_is_still_bound_is_harmful() {
        let undivided = topology();
        let divided = vostro_messaging::Partitions::new(2).expect("a power of two");
        let divided = Topology::divided(&manifests(), divided).expect("valid");
        let mut live = perfect(&divided);
        let queue = LiveQueue { durable: true, arguments: Arguments::new(), policy: None };
        live.queues.insert("q.account.customers".to_owned(), queue);
        assert!(!diff(&divided, &live).iter().any(Difference::is_harmful), "it may lie there empty");
        let left = undivided.bindings.iter().find(|binding| binding.queue == "q.account.customers").expect("bound");
        live.bindings.insert(left.clone(), String::new());
        let harmful: Vec<Difference> = diff(&divided, &live).into_iter().filter(Difference::is_harmful).collect();
        assert_eq!(harmful.len(), 1, "{harmful:?}");
        assert!(harmful[0].to_string().contains("of another division"), "{}", harmful[0]);
    }

    #[test]
    fn a_changed_or_shadowed_policy_is_told() {
        assert_eq!(
            told(|live| {
                let definition = &mut live.policies.get_mut("sub-account.customers").expect("there").definition;
                definition.insert("delivery-limit".into(), 3.into());
                definition.remove("overflow");
                definition.insert("expires".into(), 1.into());
            }),
            [
                "delivery-limit of the policy sub-account.customers: it is 3, it should be 8",
                "overflow of the policy sub-account.customers: it is null, it should be \"reject-publish\"",
                "expires of the policy sub-account.customers: it is 1, it should be null",
            ]
        );
        assert_eq!(
            told(|live| live.queues.get_mut("q.account.customers").expect("there").policy = Some("all".into())),
            ["the policy in effect on q.account.customers: it is all, it should be sub-account.customers"]
        );
        assert_eq!(
            told(|live| live.exchanges.get_mut("ev.auth").expect("there").policy = None),
            ["the policy in effect on ev.auth: it is none, it should be events"]
        );
    }

    fn of_account(live: &mut LiveTopology) -> &mut LiveUser {
        live.users.as_mut().and_then(|users| users.get_mut("account")).expect("there")
    }

    #[test]
    fn a_user_who_is_missing_or_may_do_more_or_less_is_told() {
        assert_eq!(
            told(|live| drop(live.users.as_mut().and_then(|users| users.remove("auth")))),
            ["missing: the user of auth"]
        );
        assert_eq!(told(|live| of_account(live).permissions = None), ["missing: the rights of the user of account"]);
        assert_eq!(
            told(|live| of_account(live).permissions.as_mut().expect("there").write = ".*".into()),
            [r"what the user of account may write to: it is .*, it should be ^ev\.account$"]
        );
        assert_eq!(
            told(|live| of_account(live).tags = ["administrator".to_owned()].into()),
            [r#"the tags of the user of account: it is ["administrator"], it should be []"#]
        );
    }

    #[test]
    fn who_may_not_see_users_finds_no_difference_in_them() {
        assert_eq!(told(|live| live.users = None), [""; 0]);
    }

    #[test]
    fn users_nobody_knows_are_told_and_harmless() {
        let topology = topology();
        let mut live = perfect(&topology);
        let left_over = of_account(&mut live).clone();
        live.users.as_mut().expect("seen").insert("card".into(), left_over);
        live.strangers.insert("guest".into());
        let differences = diff(&topology, &live);
        assert!(!differences.iter().any(Difference::is_harmful));
        assert_eq!(
            differences.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["unexpected: the user of card", "unexpected: rights of the user guest"]
        );
    }

    #[test]
    fn what_is_not_ours_is_told_and_harmless() {
        let topology = topology();
        let mut live = perfect(&topology);
        let queue = LiveQueue { durable: true, arguments: Default::default(), policy: None };
        for name in ["q.account.old", "somebody-elses"] {
            live.queues.insert(name.to_owned(), queue.clone());
        }
        let binding = |exchange: &str, queue: &str| Binding {
            exchange: exchange.to_owned(),
            queue: queue.to_owned(),
            routing_key: "#".to_owned(),
        };
        live.bindings.insert(binding("ev.auth", "somebody-elses"), String::new());
        live.bindings.insert(binding("amq.topic", "somebody-elses"), String::new());
        let differences = diff(&topology, &live);
        assert!(!differences.iter().any(Difference::is_harmful));
        assert_eq!(
            differences.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "unexpected: the queue q.account.old",
                "unexpected: the binding of the queue somebody-elses to the exchange ev.auth with the key \"#\"",
            ]
        );
    }
}
