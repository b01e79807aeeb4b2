use std::time::Duration;

use vostro_kernel::SLOTS;

use crate::{EventReader, claim};

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
    /// Types of the events it publishes. Of one event two versions at most, while subscribers move from one to the other.
    pub publishes: &'static [&'static str],
    /// Those of them whose data stays behind when there is much of it ([`crate::claim`]). The module answers for it, and
    /// whoever takes such an event asks for it: the topology refuses manifests in which somebody does not.
    pub claimed: &'static [&'static str],
    pub subscribes: Vec<Subscription>,
    /// Types of the questions it asks others; see [`crate::rpc`].
    pub calls: &'static [&'static str],
    /// Types of the questions it answers.
    pub serves: &'static [&'static str],
    /// Modules whose events it cannot work without; they start first.
    pub depends_on: &'static [&'static str],
    /// How long its events may wait in the outbox for company. Nothing where somebody waits for what they lead to, some
    /// milliseconds where nobody does.
    pub publish_linger: Duration,
}

impl Manifest {
    /// The type of the question for data of its events that did not travel, if it answers it.
    pub fn claim(&self) -> Option<&'static str> {
        self.serves.iter().copied().find(|query| claim::is_claim(query))
    }

    /// The types of the questions by which it asks others for such data.
    pub fn claims(&self) -> Vec<&'static str> {
        self.calls.iter().copied().filter(|query| claim::is_claim(query)).collect()
    }
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

/// Into how many queues each subscription is divided that can be: one for a bank on one machine, more to share its work
/// among several instances, which consume a queue each. A key is always in the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions(u8);

impl Partitions {
    /// Undivided.
    pub const ONE: Self = Self(1);

    /// Powers of two up to the number of slots: only those divide the slots evenly.
    pub fn new(number: u8) -> Option<Self> {
        (number.is_power_of_two() && number <= SLOTS).then_some(Self(number))
    }

    pub const fn number(self) -> u8 {
        self.0
    }

    /// The lanes of the routing keys. As many as partitions: more would cost messages and give nothing.
    pub(crate) const fn lanes(self) -> i16 {
        self.0 as i16
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSelector {
    /// These event types, one version of an event at most; earlier ones of it are taken with it.
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

    /// Its queue, or what the names of its queues begin with when it is divided.
    pub fn queue(&self) -> String {
        format!("q.{}", self.group())
    }

    /// Into how many queues it is divided when the bank is. What takes every event is not: it keeps them in one sequence.
    pub fn partitions(&self, of_the_bank: Partitions) -> Partitions {
        match self.events {
            EventSelector::Types(_) => of_the_bank,
            EventSelector::All => Partitions::ONE,
        }
    }

    /// Its queues, that of partition 0 first: `q.<group>`, or `q.<group>.p00` and so on.
    pub fn queues(&self, of_the_bank: Partitions) -> Vec<String> {
        match self.partitions(of_the_bank) {
            Partitions::ONE => vec![self.queue()],
            Partitions(number) => (0..number).map(|nth| format!("{}.p{nth:02}", self.queue())).collect(),
        }
    }

    pub fn dead_letter_queue(&self) -> String {
        format!("dlq.{}", self.group())
    }

    /// How its events are read: in the versions it names, earlier ones upcast.
    pub fn reader(&self) -> EventReader {
        EventReader::selecting(self.events)
    }

    /// Whether an event of this type belongs on the subscription's queue. Earlier versions of what it names do, as long as
    /// anything may bring them: a producer of the release before, a republishing, a message that waited for years.
    pub fn takes(&self, event_type: &str) -> bool {
        self.reader().takes(event_type)
    }
}
