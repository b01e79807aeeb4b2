use std::time::Duration;

/// What a module is to the others: what it tells, what it listens to, whom it needs.
///
/// The broker's topology, the permissions, the event-flow map and the architecture tests are all derived from the
/// manifests; nothing about messaging is declared anywhere else.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The module's name: its folder, its database schema, its exchange `ev.<module>`.
    pub module: &'static str,
    pub version: &'static str,
    /// One sentence for people.
    pub purpose: &'static str,
    /// Types of the events it publishes.
    pub publishes: &'static [&'static str],
    pub subscribes: Vec<Subscription>,
    /// Types of the questions it asks others; see [`crate::rpc`].
    pub calls: &'static [&'static str],
    /// Types of the questions it answers.
    pub serves: &'static [&'static str],
    /// Modules whose events it cannot work without; they start first.
    pub depends_on: &'static [&'static str],
    /// How long its events may wait in the outbox for company. A few milliseconds where somebody waits for what they
    /// lead to, more where nobody does.
    pub publish_linger: Duration,
}

/// One queue of a module and how it is consumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub module: &'static str,
    /// What the module uses it for, such as `postings`.
    pub name: &'static str,
    pub events: EventSelector,
    /// How many events one transaction handles at most.
    pub batch: usize,
    /// How long a batch that is not full waits for more. A few milliseconds save most of the cost of a
    /// commit; more where nobody waits for the result.
    pub linger: Duration,
    pub inbox: InboxMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSelector {
    /// These event types.
    Types(&'static [&'static str]),
    /// Every event of every module, including types this release does not know.
    All,
}

/// How a subscription recognises an event it has already handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboxMode {
    /// By an inbox row per event, written by the consumer.
    Rows,
    /// By the handler's own state (a stored sequence, a unique key); no inbox row is written.
    Handler,
}

impl Subscription {
    /// `<module>.<name>`: names the subscription in metrics, inbox rows and dead letters.
    pub fn group(&self) -> String {
        format!("{}.{}", self.module, self.name)
    }

    pub fn queue(&self) -> String {
        format!("q.{}", self.group())
    }

    pub fn dead_letter_queue(&self) -> String {
        format!("dlq.{}", self.group())
    }

    /// Whether an event of this type belongs on the subscription's queue.
    pub fn takes(&self, event_type: &str) -> bool {
        match self.events {
            EventSelector::Types(types) => types.contains(&event_type),
            EventSelector::All => true,
        }
    }
}
