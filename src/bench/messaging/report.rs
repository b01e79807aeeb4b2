use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::events::Layout;
use super::ground::Servers;
use super::latency::AtLoad;
use super::outage::Outage;
use super::throughput::{Consumed, Rate};
use crate::bench::figures::{micros, milliseconds, quantiles, summary, thousandths};
use crate::bench::goal::{self, Goal};
use crate::cli::output;

/// Everything that one run measured.
pub struct Report {
    pub servers: Servers,
    pub bytes: usize,
    pub bare: Rate,
    /// As the bank does it: many events a message.
    pub relay: Rate,
    /// An event a message.
    pub relay_alone: Rate,
    pub consumers: Vec<Consumed>,
    pub maximum: Rate,
    pub loads: Vec<AtLoad>,
    pub outage: Outage,
}

const GOAL_RATIO_PER_MILLE: u64 = 500;
const GOAL_EFFECTS_PER_SECOND: u64 = 8000;
const GOAL_LAG_MICROS: u64 = 50_000;

impl Report {
    fn ratio_per_mille(&self, rate: Rate) -> u64 {
        rate.events_per_second() * 1000 / self.bare.messages_per_second().max(1)
    }

    fn goals(&self) -> Vec<Goal> {
        let effects = self.consumers.iter().map(|it| it.rate.events_per_second()).max().unwrap_or_default();
        let half = self.loads.iter().find(|load| load.percent == 50);
        let lag = half.map_or(u64::MAX, |load| load.latencies.publish.value_at_quantile(0.99));
        let ratio = self.ratio_per_mille(self.relay);
        vec![
            Goal {
                name: "relay, events of the bare publisher's messages",
                aimed: "at least 0.500".to_owned(),
                measured: thousandths(ratio),
                is_reached: ratio >= GOAL_RATIO_PER_MILLE,
            },
            Goal {
                name: "effects per second in batches",
                aimed: "at least 8000".to_owned(),
                measured: effects.to_string(),
                is_reached: effects >= GOAL_EFFECTS_PER_SECOND,
            },
            Goal {
                name: "publish lag p99 at 50 %",
                aimed: "below 50 ms".to_owned(),
                measured: milliseconds(lag),
                is_reached: lag < GOAL_LAG_MICROS,
            },
        ]
    }

    /// Whether every goal is reached.
    pub fn reaches_goals(&self) -> bool {
        goal::are_reached(&self.goals())
    }

    pub fn to_json(&self) -> Value {
        let rate = |rate: Rate| {
            json!({
                "events": rate.events, "messages": rate.messages, "micros": micros(rate.took),
                "eventsPerSecond": rate.events_per_second(), "messagesPerSecond": rate.messages_per_second(),
            })
        };
        let relay = |of: Rate| {
            let mut value = rate(of);
            value["ratioPerMille"] = json!(self.ratio_per_mille(of));
            value
        };
        json!({
            "database": self.servers.database,
            "virtualHost": self.servers.virtual_host,
            "postgresql": self.servers.postgresql,
            "rabbitmq": self.servers.rabbitmq,
            "isDurable": self.servers.is_durable,
            "bytes": self.bytes,
            "barePublisher": rate(self.bare),
            "relay": relay(self.relay),
            "relayOneEventPerMessage": relay(self.relay_alone),
            "consumers": self.consumers.iter().map(|consumed| json!({
                "batch": consumed.batch.events,
                "fullFrames": consumed.batch.layout == Layout::Company,
                "effectsPerSecond": consumed.rate.events_per_second(),
                "messagesPerSecond": consumed.rate.messages_per_second(),
                "effects": consumed.rate.events,
                "commits": consumed.commits,
            })).collect::<Vec<_>>(),
            "maximumPerSecond": self.maximum.events_per_second(),
            "loads": self.loads.iter().map(|load| json!({
                "percent": load.percent,
                "wantedPerSecond": load.wanted_per_second,
                "committedPerSecond": load.rate.events_per_second(),
                "publishLagMicros": quantiles(&load.latencies.publish),
                "endToEndMicros": quantiles(&load.latencies.effect),
            })).collect::<Vec<_>>(),
            "outage": {
                "backlog": self.outage.backlog,
                "effects": self.outage.effects,
                "reconnectedAfterMicros": micros(self.outage.reconnected_after),
                "drainedAfterMicros": micros(self.outage.drained_after),
                "commandMicrosBefore": quantiles(&self.outage.before),
                "commandMicrosDuring": quantiles(&self.outage.during),
                "commandMicrosDraining": quantiles(&self.outage.draining),
            },
            "goals": goal::json(&self.goals()),
        })
    }

    pub fn to_text(&self) -> String {
        let durable = if self.servers.is_durable { "" } else { " WITHOUT DURABILITY: these figures are worth nothing" };
        format!(
            "PostgreSQL {}, RabbitMQ {}, events of {} bytes{durable}\n\n{}\n\n{}\n\n{}\n\n{}\n\n{}",
            self.servers.postgresql,
            self.servers.rabbitmq,
            self.bytes,
            self.publishing(),
            self.consuming(),
            self.latencies(),
            self.outage(),
            goal::table(&self.goals()),
        )
    }

    fn publishing(&self) -> String {
        let row = |name: &str, rate: Rate| {
            let ratio = thousandths(self.ratio_per_mille(rate));
            [name.to_owned(), rate.events_per_second().to_string(), rate.messages_per_second().to_string(), ratio]
        };
        let rows = [
            row("bare publisher, 256 unconfirmed", self.bare),
            row("relay, as many events a message as fit", self.relay),
            row("relay, an event a message", self.relay_alone),
        ];
        output::table(["publishing", "events/s", "messages/s", "of the bare publisher"], &rows)
    }

    fn consuming(&self) -> String {
        let row = |consumed: &Consumed| {
            let frames = match consumed.batch.layout {
                Layout::Alone => "an event a message",
                Layout::Company => "full frames",
            };
            let name = format!("batches of {}, {frames}", consumed.batch.events);
            let each = consumed.rate.events / consumed.commits.max(1);
            [name, consumed.rate.events_per_second().to_string(), each.to_string()]
        };
        let rows: Vec<_> = self.consumers.iter().map(row).collect();
        output::table(["consuming", "effects/s", "effects a commit"], &rows)
    }

    fn latencies(&self) -> String {
        let row = |load: &AtLoad| {
            let name = format!("{} % ({} events/s)", load.percent, load.rate.events_per_second());
            [name, summary(&load.latencies.publish), summary(&load.latencies.effect)]
        };
        let rows: Vec<_> = self.loads.iter().map(row).collect();
        let table = output::table(["p50 / p99 / max", "commit to confirm", "commit to effect"], &rows);
        format!("the whole way, as much as possible: {} events/s\n{table}", self.maximum.events_per_second())
    }

    fn outage(&self) -> String {
        let Outage { backlog, effects, reconnected_after, drained_after, before, during, draining } = &self.outage;
        let row = |name: &str, histogram: &Histogram<u64>| [name.to_owned(), summary(histogram)];
        let rows = [row("before", before), row("during the outage", during), row("while draining", draining)];
        let table = output::table(["commands, p50 / p99 / max", "due to commit"], &rows);
        format!(
            "{backlog} rows waited; connected again after {}, drained after {}; {effects} events had their effect\n{table}",
            milliseconds(micros(*reconnected_after)),
            milliseconds(micros(*drained_after)),
        )
    }
}
