use serde_json::{Value, json};

use super::GraphqlBenchOptions;
use super::bare::Bare;
use super::hostile::Refused;
use super::planning::ColdPlans;
use super::reads::{HitRatio, Reads};
use super::stitching::{Overhead, Single};
use super::subscribers::FanOut;
use crate::bench::figures::{micros, milliseconds, quantiles, summary, thousandths};
use crate::bench::goal::{self, Goal};
use crate::cli::output;

/// Everything that one run measured.
pub struct Report {
    pub overhead: Overhead,
    pub single: Single,
    pub cold: ColdPlans,
    pub refused: Vec<Refused>,
    pub reads: Reads,
    pub fan_out: FanOut,
    pub bare: Bare,
}

const GOAL_OVERHEAD_P50: u64 = 300;
const GOAL_OVERHEAD_P99: u64 = 1_000;
/// As slow as plain async-graphql, and a twentieth for noise: both wait for the same database most of the time.
const GOAL_SINGLE_PER_MILLE: u64 = 1_050;
const GOAL_COLD: u64 = 2_000;
const GOAL_HOSTILE: u64 = 2_000;
const GOAL_FAN_OUT: u64 = 50_000;
const GOAL_HITS_PER_MILLE: u64 = 850;

/// Whose processor time is told, in the order of [`crate::bench::cpu::CpuCentiseconds`].
const PROCESSES: [&str; 4] = ["bank", "PostgreSQL", "RabbitMQ", "subscribers"];

impl Report {
    fn goals(&self) -> Vec<Goal> {
        let worst = self.refused.iter().map(|refused| refused.door.value_at_quantile(0.99)).max().unwrap_or(u64::MAX);
        let overhead = &self.overhead.overhead;
        let single = self.single.ratio_per_mille();
        let mut goals = vec![
            Goal::at_most("stitching three modules p50", GOAL_OVERHEAD_P50, overhead.value_at_quantile(0.5)),
            Goal::at_most("stitching three modules p99", GOAL_OVERHEAD_P99, overhead.value_at_quantile(0.99)),
            Goal {
                name: "a query of one module, of plain async-graphql",
                aimed: format!("at most {}", thousandths(GOAL_SINGLE_PER_MILLE)),
                measured: thousandths(single),
                is_reached: single <= GOAL_SINGLE_PER_MILLE,
            },
            Goal::at_most("planning what is new p99", GOAL_COLD, self.cold.took.value_at_quantile(0.99)),
            Goal::at_most("refusing the worst class p99", GOAL_HOSTILE, worst),
            Goal::at_most("telling all subscribers p99", GOAL_FAN_OUT, self.fan_out.latency.value_at_quantile(0.99)),
        ];
        if let Some(entities) = self.reads.entities {
            goals.push(Goal {
                name: "entities found in the cache",
                aimed: format!("at least {}", thousandths(GOAL_HITS_PER_MILLE)),
                measured: thousandths(entities.per_mille()),
                is_reached: entities.per_mille() >= GOAL_HITS_PER_MILLE,
            });
        }
        goals
    }

    /// Whether every goal is reached.
    pub fn reaches_goals(&self) -> bool {
        goal::are_reached(&self.goals())
    }

    pub fn to_json(&self) -> Value {
        let ratio =
            |ratio: HitRatio| json!({"hits": ratio.hits, "misses": ratio.misses, "perMille": ratio.per_mille()});
        let FanOut { subscribers, events, delivered, bytes, connecting, latency, first, memory, .. } = &self.fan_out;
        let cpu = PROCESSES.into_iter().enumerate().map(|(index, name)| (name, self.fan_out.cpu_per_event(index)));
        json!({
            "stitching": {
                "modules": self.overhead.modules,
                "stitchedMicros": quantiles(&self.overhead.stitched),
                "directMicros": quantiles(&self.overhead.direct),
                "overheadMicros": quantiles(&self.overhead.overhead),
            },
            "singleModule": {
                "engineMicros": quantiles(&self.single.engine),
                "plainMicros": quantiles(&self.single.plain),
                "ratioPerMille": self.single.ratio_per_mille(),
            },
            "coldPlan": {"documents": self.cold.documents, "micros": quantiles(&self.cold.took)},
            "hostile": self.refused.iter().map(|refused| json!({
                "class": refused.class, "bytes": refused.bytes,
                "engineMicros": quantiles(&refused.engine), "doorMicros": quantiles(&refused.door),
            })).collect::<Vec<_>>(),
            "reads": {
                "micros": quantiles(&self.reads.took),
                "perSecond": self.reads.per_second(),
                "plans": ratio(self.reads.plans),
                "entities": self.reads.entities.map(ratio),
            },
            "fanOut": {
                "subscribers": subscribers, "events": events, "delivered": delivered,
                "connectingMicros": micros(*connecting),
                "micros": quantiles(latency),
                "firstMicros": quantiles(first),
                "bytes": bytes,
                "bare": {"connections": self.bare.connections, "micros": quantiles(&self.bare.latency)},
                "cpuMicrosPerEvent": cpu.collect::<std::collections::BTreeMap<_, _>>(),
                "bankMemoryMiB": memory,
            },
            "goals": goal::json(&self.goals()),
        })
    }

    pub fn to_text(&self, options: &GraphqlBenchOptions) -> String {
        format!(
            "{} of each query, {} refusals of each class, {} subscribers\n\n{}\n\n{}\n\n{}\n\n{}\n\n{}",
            options.rounds,
            options.rounds,
            self.fan_out.subscribers,
            self.executing(),
            self.refusing(),
            self.reading(),
            self.telling(),
            goal::table(&self.goals()),
        )
    }

    fn executing(&self) -> String {
        let row = |name: &str, histogram| [name.to_owned(), summary(histogram)];
        let rows = [
            row("three modules, through the engine", &self.overhead.stitched),
            row("three modules, asked directly", &self.overhead.direct),
            row("of it the engine, while no module is asked", &self.overhead.overhead),
            row("one module, through the engine", &self.single.engine),
            row("one module, plain async-graphql", &self.single.plain),
            row(&format!("planning, {} documents made new", self.cold.documents), &self.cold.took),
        ];
        output::table(["in this process", "p50 / p99 / max"], &rows)
    }

    fn refusing(&self) -> String {
        let row = |refused: &Refused| {
            [refused.class.to_owned(), refused.bytes.to_string(), summary(&refused.engine), summary(&refused.door)]
        };
        let rows: Vec<_> = self.refused.iter().map(row).collect();
        output::table(["refusing, p50 / p99 / max", "bytes", "the engine alone", "through the door"], &rows)
    }

    fn reading(&self) -> String {
        let share = |ratio: HitRatio| format!("{} of {}", thousandths(ratio.per_mille()), ratio.hits + ratio.misses);
        let rows = [
            ["a read, p50 / p99 / max".to_owned(), summary(&self.reads.took)],
            ["reads a second".to_owned(), self.reads.per_second().to_string()],
            ["plans known already".to_owned(), share(self.reads.plans)],
            ["entities in the cache".to_owned(), self.reads.entities.map_or("there is no cache".to_owned(), share)],
        ];
        output::table(["the read mix, through the door", ""], &rows)
    }

    fn telling(&self) -> String {
        let FanOut { subscribers, events, delivered, bytes, connecting, latency, first, memory, .. } = &self.fan_out;
        let rows = [
            ["to the first subscriber".to_owned(), summary(first)],
            ["to each subscriber".to_owned(), summary(latency)],
            [
                format!("{bytes} bytes to each of {} bare connections", self.bare.connections),
                summary(&self.bare.latency),
            ],
        ];
        let table = output::table(["from the booking, p50 / p99 / max", ""], &rows);
        let cpu = PROCESSES.iter().enumerate();
        let cpu = cpu.map(|(index, name)| format!("{name} {}", milliseconds(self.fan_out.cpu_per_event(index))));
        format!(
            "{subscribers} subscribers, connected after {}; {events} events, {delivered} updates in order; memory of the bank: {memory} MiB\n\
             {table}\nCPU an event: {}; nobody can be faster here than {}",
            milliseconds(micros(*connecting)),
            cpu.collect::<Vec<_>>().join(", "),
            milliseconds(self.fan_out.bound()),
        )
    }
}
