//! What has to exist at the broker, derived from the module manifests as plain data.
//!
//! - each module's events go to its own topic exchange `ev.<module>`, with the event type and a lane as routing key;
//! - each subscription is a quorum queue `q.<module>.<name>`, or several `q.<module>.<name>.p00` that share its lanes; a
//!   single active consumer keeps the order of each when several instances of the bank run;
//! - what a queue gives up on goes through `dlx` to `dlq.<module>.<name>`;
//! - each module that answers questions has the direct exchange `rpc.<module>` and the queue `q.<module>.rpc`; replies go
//!   through `rpc.reply` to queues that the callers' connections declare for themselves;
//! - what no queue takes goes to `ev.unrouted` and waits in `q.ev.unrouted`;
//! - each module has a user who may write to its exchange and read its queues, and nothing else.
//!
//! Everything that may change during a queue's life is policy; only its type and single-active-consumer are arguments. At
//! most one policy applies to an object, so each is complete in itself. Only what RabbitMQ 3.10 knows is used: an unknown
//! key makes an import there stop half-way, silently.

mod apply;
mod check;
mod definitions;
mod diff;
mod event_flow;
mod live;
#[cfg(test)]
mod samples;
mod users;
#[cfg(test)]
mod version_tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vostro_messaging::{Manifest, Partitions, Subscription};

use crate::rpc::{REPLIES, exchange_of, queue_of};

pub use apply::{apply, prune};
pub use diff::{Difference, diff};
pub use event_flow::event_flow;
pub use live::{LiveTopology, read_live};
pub use users::{OPERATOR, Permissions, User, role, user_name};

/// What is given to a queue when it is declared, or what a policy sets, by name.
pub type Arguments = BTreeMap<String, Value>;

/// Exchanges, queues, bindings, policies and users, each by name and in order, so that equal topologies look equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    pub exchanges: BTreeMap<String, Exchange>,
    pub queues: BTreeMap<String, Queue>,
    pub bindings: BTreeSet<Binding>,
    pub policies: BTreeMap<String, Policy>,
    /// By role: a module's name, `monitor` or `operator`. See [`user_name`] for what they are called at the broker.
    pub users: BTreeMap<String, User>,
}

/// A durable exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// `topic`, `direct` or `fanout`.
    pub kind: String,
}

/// A durable queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub arguments: Arguments,
}

/// An exchange handing messages on to a queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    pub exchange: String,
    pub queue: String,
    pub routing_key: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// A regular expression over the names of the objects.
    pub pattern: String,
    /// `queues` or `exchanges`.
    pub apply_to: String,
    pub definition: Arguments,
    pub priority: i64,
    /// The objects of this topology that it is meant for.
    pub targets: BTreeSet<String>,
}

/// The manifests contradict each other or the naming rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {module} module's manifest: {problem}")]
pub struct InvalidManifest {
    pub module: String,
    pub problem: String,
}

const UNROUTED: &str = "ev.unrouted";
/// Where events wait that no queue took.
pub const UNROUTED_QUEUE: &str = "q.ev.unrouted";
const DEAD_LETTERS: &str = "dlx";

/// A message that was delivered this often without being settled ends its consumer each time: it goes to the dead letters.
const DELIVERY_LIMIT: u32 = 8;
/// For queues that have nowhere to dead-letter to. 4.x would drop a message there after 20 deliveries.
const NEVER_GIVE_UP: u32 = 1_000_000;
/// An emergency brake, far above any backlog: a full queue refuses messages to its publishers, who then hold on to them.
const LONGEST_QUEUE: u32 = 2_000_000;
const LONGEST_DEAD_LETTERS: u32 = 500_000;
const LONGEST_UNROUTED: u32 = 100_000;
/// Longer than any caller waits, and no longer: a question nobody waits for must not be answered.
const QUESTIONS_KEPT_MILLISECONDS: u32 = 10_000;
const LONGEST_QUESTIONS: u32 = 5_000;
/// A question that ended its callee twice is dropped: its caller has stopped waiting.
const QUESTION_DELIVERY_LIMIT: u32 = 2;
const UNROUTED_KEPT_MILLISECONDS: u32 = 7 * 24 * 60 * 60 * 1000;

impl Topology {
    /// Derives the topology; modules of a bank that runs in several processes must all be given.
    ///
    /// # Errors
    /// [`InvalidManifest`] when a module publishes events of another, or more than two versions of one; when a
    /// subscription takes what nobody publishes, or more than one version of an event, or one whose history no chain of
    /// upcasters reaches; or when a name is malformed or used twice.
    pub fn of(manifests: &[Manifest]) -> Result<Self, InvalidManifest> {
        Self::divided(manifests, Partitions::ONE)
    }

    /// The same with subscriptions divided into several queues each.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn divided(manifests: &[Manifest], partitions: Partitions) -> Result<Self, InvalidManifest> {
        check::check(manifests)?;
        let mut topology = Self::default();
        topology.add_unrouted();
        topology.exchange(DEAD_LETTERS, "direct");
        let modules: BTreeSet<String> = manifests.iter().map(|manifest| events_of(manifest.module)).collect();
        for exchange in &modules {
            topology.exchange(exchange, "topic");
        }
        topology.add_alternate_exchange(&modules);
        for subscription in manifests.iter().flat_map(|manifest| &manifest.subscribes) {
            topology.add_subscription(subscription, partitions, &modules);
        }
        topology.add_dead_letter_policy();
        topology.add_questions(manifests);
        topology.add_users(manifests);
        Ok(topology)
    }

    fn add_users(&mut self, manifests: &[Manifest]) {
        let modules = manifests.iter().map(|manifest| (manifest.module.to_owned(), users::of_module(manifest)));
        let staff = [(users::MONITOR.to_owned(), users::monitor()), (users::OPERATOR.to_owned(), users::operator())];
        self.users = modules.chain(staff).collect();
    }

    fn add_unrouted(&mut self) {
        self.exchange(UNROUTED, "fanout");
        self.queue(UNROUTED_QUEUE, false);
        self.bind(UNROUTED, UNROUTED_QUEUE, "");
        let definition = json!({
            "delivery-limit": NEVER_GIVE_UP,
            "max-length": LONGEST_UNROUTED,
            "message-ttl": UNROUTED_KEPT_MILLISECONDS,
            "overflow": "drop-head",
        });
        self.policy("unrouted", &exactly(UNROUTED_QUEUE), "queues", definition, [UNROUTED_QUEUE.to_owned()].into());
    }

    fn add_alternate_exchange(&mut self, modules: &BTreeSet<String>) {
        if !modules.is_empty() {
            let names = modules.iter().map(|name| escaped(name)).collect::<Vec<_>>().join("|");
            let definition = json!({ "alternate-exchange": UNROUTED });
            self.policy("events", &format!("^({names})$"), "exchanges", definition, modules.clone());
        }
    }

    fn add_subscription(&mut self, subscription: &Subscription, partitions: Partitions, modules: &BTreeSet<String>) {
        let (group, dead) = (subscription.group(), subscription.dead_letter_queue());
        let (queues, name) = (subscription.queues(partitions), subscription.queue());
        let is_divided = queues.len() > 1;
        for (partition, queue) in queues.iter().enumerate() {
            self.queue(queue, true);
            // There are as many lanes as partitions.
            let lane = if is_divided { format!("s{partition:02}") } else { "#".to_owned() };
            // Earlier versions too: while instances of the release before publish, or consume from this queue, unbinding
            // them would lose events; and what is republished may be years old.
            match subscription.reader().types() {
                Some(types) => {
                    for event_type in types {
                        self.bind(&events_of(owner(event_type)), queue, &format!("{event_type}.{lane}"));
                    }
                }
                None => modules.iter().for_each(|exchange| self.bind(exchange, queue, "#")),
            }
        }
        self.queue(&dead, false);
        self.bind(DEAD_LETTERS, &dead, &group);
        let definition = json!({
            "dead-letter-exchange": DEAD_LETTERS,
            "dead-letter-routing-key": group,
            // Holds only together with reject-publish.
            "dead-letter-strategy": "at-least-once",
            "delivery-limit": DELIVERY_LIMIT,
            "max-length": LONGEST_QUEUE,
            "overflow": "reject-publish",
        });
        let pattern = if is_divided { format!(r"^{}\.p[0-9]+$", escaped(&name)) } else { exactly(&name) };
        self.policy(&format!("sub-{group}"), &pattern, "queues", definition, queues.into_iter().collect());
    }

    fn add_questions(&mut self, manifests: &[Manifest]) {
        let serving: Vec<&Manifest> = manifests.iter().filter(|manifest| !manifest.serves.is_empty()).collect();
        if !serving.is_empty() {
            self.exchange(REPLIES, "direct");
        }
        for Manifest { module, serves, .. } in serving {
            let (exchange, queue) = (exchange_of(module), queue_of(module));
            // No alternate exchange: a question nobody takes is returned, so that its caller knows at once.
            self.exchange(&exchange, "direct");
            self.queue(&queue, false);
            serves.iter().for_each(|query| self.bind(&exchange, &queue, query));
            let definition = json!({
                "delivery-limit": QUESTION_DELIVERY_LIMIT,
                "max-length": LONGEST_QUESTIONS,
                "message-ttl": QUESTIONS_KEPT_MILLISECONDS,
                "overflow": "reject-publish",
            });
            self.policy(&format!("rpc-{module}"), &exactly(&queue), "queues", definition, [queue.clone()].into());
        }
    }

    fn add_dead_letter_policy(&mut self) {
        let targets = self.queues.keys().filter(|name| name.starts_with("dlq.")).cloned().collect();
        let definition = json!({
            "delivery-limit": NEVER_GIVE_UP,
            "max-length": LONGEST_DEAD_LETTERS,
            "overflow": "reject-publish",
        });
        self.policy("dead-letters", r"^dlq\.", "queues", definition, targets);
    }

    fn exchange(&mut self, name: &str, kind: &str) {
        self.exchanges.insert(name.to_owned(), Exchange { kind: kind.to_owned() });
    }

    fn queue(&mut self, name: &str, single_active_consumer: bool) {
        let mut arguments = Arguments::from_iter([("x-queue-type".to_owned(), "quorum".into())]);
        if single_active_consumer {
            arguments.insert("x-single-active-consumer".to_owned(), true.into());
        }
        self.queues.insert(name.to_owned(), Queue { arguments });
    }

    fn bind(&mut self, exchange: &str, queue: &str, routing_key: &str) {
        self.bindings.insert(Binding {
            exchange: exchange.to_owned(),
            queue: queue.to_owned(),
            routing_key: routing_key.to_owned(),
        });
    }

    fn policy(&mut self, name: &str, pattern: &str, apply_to: &str, definition: Value, targets: BTreeSet<String>) {
        let Value::Object(definition) = definition else { unreachable!("policies are written as objects above") };
        let definition = definition.into_iter().collect();
        let (pattern, apply_to) = (pattern.to_owned(), apply_to.to_owned());
        self.policies.insert(name.to_owned(), Policy { pattern, apply_to, definition, priority: 0, targets });
    }
}

impl Topology {
    /// Whether a queue is one of a subscription's that is now divided into another number of queues. An event that still
    /// comes there is handled by nobody, or twice.
    pub fn is_retired(&self, queue: &str) -> bool {
        !self.queues.contains_key(queue)
            && queue.starts_with("q.")
            && self.queues.keys().any(|known| undivided(known) == undivided(queue))
    }
}

/// The name of a subscription's queue without its partition.
fn undivided(queue: &str) -> &str {
    match queue.rsplit_once(".p") {
        Some((name, partition)) if partition.len() == 2 && partition.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => queue,
    }
}

fn events_of(module: &str) -> String {
    format!("ev.{module}")
}

/// The module that publishes an event type: its first word.
fn owner(event_type: &str) -> &str {
    event_type.split('.').next().unwrap_or_default()
}

fn escaped(name: &str) -> String {
    name.replace('.', r"\.")
}

fn exactly(name: &str) -> String {
    format!("^{}$", escaped(name))
}

#[cfg(test)]
mod tests {
    use super::samples::{manifests, with_questions};
    use super::*;

    fn topology() -> Topology {
        Topology::of(&manifests()).expect("valid")
    }

    fn bindings_of(topology: &Topology, queue: &str) -> Vec<(String, String)> {
        let of_queue = topology.bindings.iter().filter(|binding| binding.queue == queue);
        of_queue.map(|binding| (binding.exchange.clone(), binding.routing_key.clone())).collect()
    }

    #[test]
    fn questions_go_to_the_callees_queue_and_nowhere_else() {
        let topology = Topology::of(&with_questions()).expect("valid");
        assert_eq!(
            bindings_of(&topology, "q.account.rpc"),
            [pair("rpc.account", "account.double.v1"), pair("rpc.account", "account.half.v1")]
        );
        assert_eq!(topology.exchanges["rpc.reply"].kind, "direct");
        let policy = &topology.policies["rpc-account"];
        assert_eq!(policy.definition["message-ttl"], 10_000);
        assert_eq!(policy.targets, ["q.account.rpc".to_owned()].into());
        assert!(
            !topology.policies["events"].targets.contains("rpc.account"),
            "they are returned when nobody takes them"
        );
        let shared = !topology.queues["q.account.rpc"].arguments.contains_key("x-single-active-consumer");
        assert!(shared, "every instance answers");
    }

    fn pair(left: &str, right: &str) -> (String, String) {
        (left.to_owned(), right.to_owned())
    }

    #[test]
    fn a_subscription_is_bound_to_the_owners_of_its_event_types() {
        let topology = topology();
        assert_eq!(bindings_of(&topology, "q.account.customers"), [pair("ev.auth", "auth.user-registered.v1.#")]);
        assert_eq!(
            bindings_of(&topology, "q.compliance.audit"),
            [pair("ev.account", "#"), pair("ev.auth", "#"), pair("ev.compliance", "#")]
        );
        assert_eq!(bindings_of(&topology, "dlq.account.customers"), [pair("dlx", "account.customers")]);
    }

    fn divided(number: u8) -> Topology {
        Topology::divided(&manifests(), Partitions::new(number).expect("a power of two")).expect("valid")
    }

    #[test]
    fn a_divided_subscription_has_a_queue_for_each_lane_and_what_takes_everything_has_one() {
        let topology = divided(4);
        for partition in 0..4 {
            let bound = bindings_of(&topology, &format!("q.account.customers.p{partition:02}"));
            assert_eq!(bound, [pair("ev.auth", &format!("auth.user-registered.v1.s{partition:02}"))]);
        }
        assert!(!topology.queues.contains_key("q.account.customers"));
        assert_eq!(bindings_of(&topology, "q.compliance.audit").len(), 3);
        assert_eq!(bindings_of(&topology, "dlq.account.customers").len(), 1);
        assert_eq!(topology.policies["sub-account.customers"].pattern, r"^q\.account\.customers\.p[0-9]+$");
        assert_eq!(divided(1), self::topology());
    }

    #[test]
    fn a_queue_of_another_division_is_retired_and_no_other() {
        let (one, four) = (topology(), divided(4));
        assert!(four.is_retired("q.account.customers"));
        assert!(one.is_retired("q.account.customers.p03"));
        assert!(divided(2).is_retired("q.account.customers.p03"));
        assert!(!four.is_retired("q.account.customers.p03"));
        assert!(!four.is_retired("q.account.old") && !four.is_retired("dlq.account.customers"));
    }

    #[test]
    fn every_queue_is_a_quorum_queue_with_exactly_one_policy() {
        let (one, four) = (topology(), divided(4));
        for (topology, (name, queue)) in
            [&one, &four].into_iter().flat_map(|topology| topology.queues.iter().map(move |queue| (topology, queue)))
        {
            assert_eq!(queue.arguments["x-queue-type"], "quorum");
            assert_eq!(queue.arguments.contains_key("x-single-active-consumer"), {
                name.starts_with("q.") && name != UNROUTED_QUEUE
            });
            let policies = topology.policies.values().filter(|policy| policy.targets.contains(name));
            assert_eq!(policies.count(), 1, "{name}");
        }
    }

    #[test]
    fn delivery_limits_are_positive_everywhere() {
        for (name, policy) in topology().policies.iter().filter(|(_, policy)| policy.apply_to == "queues") {
            assert!(policy.definition["delivery-limit"].as_u64().is_some_and(|limit| limit > 0), "{name}");
        }
    }

    #[test]
    fn a_subscriptions_policy_is_complete_in_itself() {
        let policy = &topology().policies["sub-account.customers"];
        assert_eq!(policy.pattern, r"^q\.account\.customers$");
        assert_eq!(policy.definition["dead-letter-exchange"], "dlx");
        assert_eq!(policy.definition["dead-letter-routing-key"], "account.customers");
        assert_eq!(policy.definition["dead-letter-strategy"], "at-least-once");
        assert_eq!(policy.definition["overflow"], "reject-publish");
    }

    #[test]
    fn only_keys_of_rabbitmq_3_10_are_used() {
        const KNOWN: [&str; 8] = [
            "alternate-exchange",
            "dead-letter-exchange",
            "dead-letter-routing-key",
            "dead-letter-strategy",
            "delivery-limit",
            "max-length",
            "message-ttl",
            "overflow",
        ];
        for policy in topology().policies.values() {
            assert!(policy.definition.keys().all(|key| KNOWN.contains(&key.as_str())));
            assert!(["queues", "exchanges"].contains(&policy.apply_to.as_str()));
        }
    }
}
