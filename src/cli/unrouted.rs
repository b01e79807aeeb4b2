use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;
use vostro_events::operator::{OperatorAction, OperatorStep};
use vostro_kernel::{Ids as _, RequestContext, SystemIds};
use vostro_messaging::{Foundation, Incoming, NewEvent, Operation, decode};
use vostro_rabbitmq::topology::{OPERATOR, UNROUTED_QUEUE};
use vostro_rabbitmq::{AmqpBroker, Picker, Supervisor};
use vostro_schema::operations::BrokerView as _;

use super::operator::OperatorUnlessDryRun;
use super::output;
use crate::app;
use crate::broker::{self, BrokerEyes};
use crate::config::Config;

/// Messages one command deals with at most; they are all in memory.
const MOST: u64 = 10_000;

#[derive(Debug, Subcommand)]
pub enum UnroutedCommand {
    /// What waits in q.ev.unrouted because no queue took it, and removes nothing. Exit status 1 when there is any.
    List {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    Redrive(RedriveArgs),
}

/// Publish what waits in q.ev.unrouted once more, by way of the outboxes of the modules whose events they are, and remove
/// it there. Subscribers that have had an event drop it, so it is safe to do twice. First bring the topology up to date with
/// `vostro topology apply`: what still nobody takes comes back.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  vostro unrouted redrive --dry-run\n  vostro unrouted redrive --count 12 --reason 'a binding was missing' --operator ann@bank.example"
)]
pub struct RedriveArgs {
    /// Say what would be published, and publish and remove nothing.
    #[arg(long)]
    dry_run: bool,
    /// How many messages you mean, as --dry-run said: as many that can be read, the oldest first, and none that came later.
    #[arg(long, required_unless_present = "dry_run", value_parser = clap::value_parser!(u64).range(1..=MOST))]
    count: Option<u64>,
    #[command(flatten)]
    by: OperatorUnlessDryRun,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(config: &Config, command: &UnroutedCommand) -> anyhow::Result<bool> {
    match command {
        UnroutedCommand::List { json } => {
            let held = Held::take(config, MOST).await?;
            let is_empty = held.is_empty();
            held.release("waiting", *json).await?;
            Ok(is_empty)
        }
        UnroutedCommand::Redrive(arguments) => redrive(config, arguments).await,
    }
}

async fn redrive(config: &Config, arguments: &RedriveArgs) -> anyhow::Result<bool> {
    if arguments.dry_run {
        let held = Held::take(config, arguments.count.unwrap_or(MOST)).await?;
        held.release("would be published", arguments.json).await?;
        return Ok(true);
    }
    let context = arguments.by.sign_in(config).await?;
    let differences = BrokerEyes::open(config)?.topology_differences().await?;
    if let Some(harmful) = differences.iter().find(|difference| difference.is_harmful) {
        bail!("the topology differs, so that it would come back; run vostro topology apply first: {}", harmful.text);
    }
    let mut held = Held::take(config, arguments.count.unwrap_or(MOST)).await?;
    // All of them before the first is published: nothing is half done because of a module that is not ours.
    let modules = held.modules();
    let foundations = modules.iter().map(|module| app::foundation_for_commands(config, module));
    for (module, foundation) in foundations.collect::<anyhow::Result<Vec<_>>>()? {
        publish(module, &foundation, &context, held.events_of(module), arguments.by.reason()).await?;
        // Only now: a crash in between has them in the outbox and in the queue, and subscribers drop what comes twice.
        held.remove(module).await.with_context(|| {
            format!("the events of {module} are in its outbox, and some still in the queue: repeat the command")
        })?;
    }
    held.release("in the outbox and will be published", arguments.json).await?;
    Ok(true)
}

/// Writes a module's events to its outbox, with who wanted that and why, in one transaction.
async fn publish(
    module: &'static str,
    foundation: &Foundation,
    context: &RequestContext,
    events: Vec<NewEvent>,
    reason: &str,
) -> anyhow::Result<()> {
    let mut operation = Operation::new(SystemIds.next(), module, OperatorAction::Republish, "unroutedRedrive");
    operation.reason = Some(format!("from {UNROUTED_QUEUE}: {reason}"));
    operation.count = events.len();
    let mut transaction = foundation.begin().await?;
    operation.tell_in_tx(foundation, &mut transaction, context, OperatorStep::Done, 1).await?;
    foundation.outbox.append_in_tx(&mut transaction, events).await?;
    transaction.commit().await?;
    Ok(())
}

/// Messages that are ours as long as the connection lives.
struct Held {
    picker: Picker,
    messages: Vec<Stray>,
}

struct Stray {
    tag: u64,
    /// Its events, or why they cannot be read: then it stays where it is.
    events: Result<Vec<Incoming>, String>,
}

impl Stray {
    /// The module whose events they are, all of them: nobody else could have sent the message.
    fn module(&self) -> Option<&str> {
        Some(self.events.as_ref().ok()?.first()?.envelope.event_type.module())
    }
}

impl Held {
    /// Takes `count` messages that can be read, as far as there are so many, and those between them that cannot: at most
    /// [`MOST`] in all.
    async fn take(config: &Config, count: u64) -> anyhow::Result<Self> {
        let endpoint = broker::endpoint_of(&config.broker, OPERATOR)?;
        let broker = AmqpBroker::new(Supervisor::start(endpoint, "vostro unrouted"));
        let mut picker = broker.pick(UNROUTED_QUEUE).await?;
        let mut messages = Vec::new();
        let mut readable = 0;
        for _ in 0..MOST {
            if readable == count {
                break;
            }
            let Some(delivery) = picker.next().await? else { break };
            let events = decode(&delivery.message).map_err(|reason| reason.to_string());
            readable += u64::from(events.is_ok());
            messages.push(Stray { tag: delivery.tag, events });
        }
        Ok(Self { picker, messages })
    }

    const fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn events(&self) -> impl Iterator<Item = &Incoming> {
        self.messages.iter().filter_map(|stray| stray.events.as_ref().ok()).flatten()
    }

    /// Whose events there are.
    fn modules(&self) -> BTreeSet<String> {
        self.messages.iter().filter_map(Stray::module).map(str::to_owned).collect()
    }

    /// In the order of the queue.
    fn events_of(&self, module: &str) -> Vec<NewEvent> {
        let ours = self.events().filter(|event| event.envelope.event_type.module() == module);
        ours.map(|Incoming { envelope, data }| NewEvent::again(envelope.clone(), data)).collect()
    }

    /// Removes the messages of a module from the queue.
    async fn remove(&mut self, module: &str) -> anyhow::Result<()> {
        for stray in self.messages.iter().filter(|stray| stray.module() == Some(module)) {
            self.picker.ack(stray.tag).await?;
        }
        Ok(())
    }

    /// Says what there is, and has it back in its place before the command ends, for whoever looks next.
    async fn release(self, what: &str, as_json: bool) -> anyhow::Result<()> {
        self.report(what, as_json);
        Ok(self.picker.release().await?)
    }

    fn report(&self, what: &str, as_json: bool) {
        let mut types = BTreeMap::<String, usize>::new();
        for event in self.events() {
            *types.entry(event.envelope.event_type.to_string()).or_default() += 1;
        }
        let unreadable: Vec<&str> =
            self.messages.iter().filter_map(|stray| stray.events.as_ref().err()).map(String::as_str).collect();
        let (messages, events) = (self.messages.len() - unreadable.len(), types.values().sum::<usize>());
        if as_json {
            let values = json!({"messages": messages, "events": events, "types": types, "unreadable": unreadable});
            output::json(&values);
            return;
        }
        if self.is_empty() {
            output::text("Nothing is unrouted.");
            return;
        }
        let rows: Vec<[String; 2]> = types.iter().map(|(name, count)| [name.clone(), count.to_string()]).collect();
        output::text(&output::table(["event", "count"], &rows));
        output::text(&format!("{events} events in {messages} messages: {what}."));
        for reason in unreadable {
            output::text(&format!("One that cannot be read stays there: {reason}"));
        }
    }
}
