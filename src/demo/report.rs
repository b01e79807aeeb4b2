use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use vostro_events::compliance::ComplianceViolationDetectedV1;

use super::berka::Comparison;
use super::day::refusals_by_code;
use super::lanes::{Outcome, Played};
use super::proofs::Proofs;

/// What was played.
pub struct Scenario {
    pub title: String,
    pub customers: usize,
    pub accounts: usize,
    pub played: Vec<Played>,
    /// From the first payment to the end of the last.
    pub played_for: Duration,
    /// Unread notifications over all customers of the day.
    pub notifications: Option<u64>,
    /// How the ledger's balances compare with the file's, when a file was replayed.
    pub replay: Option<Comparison>,
}

/// The demo's result, for people ([`fmt::Display`]) and for scripts ([`Report::to_json`]).
pub struct Report {
    scenario: Scenario,
    proofs: Proofs,
    stopped_cleanly: bool,
    took: Duration,
}

/// Ten minutes: longer than any request may take.
const LONGEST_MICROS: u64 = 600_000_000;

struct Latency {
    p50: Duration,
    p95: Duration,
    p99: Duration,
}

impl Report {
    pub(super) fn new(scenario: Scenario, proofs: Proofs, stopped_cleanly: bool, took: Duration) -> Self {
        Self { scenario, proofs, stopped_cleanly, took }
    }

    /// Whether every proof holds, and the bank stopped as it should.
    pub fn succeeded(&self) -> bool {
        let replay_agrees = self.scenario.replay.as_ref().is_none_or(Comparison::agrees);
        self.proofs.hold() && self.stopped_cleanly && replay_agrees
    }

    fn completed(&self) -> usize {
        let completed = |payment: &&Played| matches!(payment.outcome, Outcome::Completed { replayed: false, .. });
        self.scenario.played.iter().filter(completed).count()
    }

    fn replayed(&self) -> usize {
        let replayed = |payment: &&Played| matches!(payment.outcome, Outcome::Completed { replayed: true, .. });
        self.scenario.played.iter().filter(replayed).count()
    }

    /// Payments of any outcome a second, over the time they were made in.
    fn rate(&self) -> u128 {
        self.scenario.played.len() as u128 * 1000 / self.scenario.played_for.as_millis().max(1)
    }

    /// How many findings the archive has heard of.
    fn findings(&self) -> i64 {
        let findings = self.proofs.events.iter().filter(|(name, _)| name == ComplianceViolationDetectedV1::TYPE);
        findings.map(|(_, count)| count).sum()
    }

    /// From the client's request to the completed answer.
    fn latency(&self) -> Latency {
        let mut histogram =
            Histogram::<u64>::new_with_max(LONGEST_MICROS, 3).expect("three significant digits are allowed");
        for payment in &self.scenario.played {
            if matches!(payment.outcome, Outcome::Completed { .. }) {
                histogram.saturating_record(u64::try_from(payment.waited.as_micros()).unwrap_or(u64::MAX));
            }
        }
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        Latency { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }

    /// Everything in the report, for a script.
    pub fn to_json(&self) -> Value {
        let latency = self.latency();
        let millis = |duration: Duration| duration.as_millis();
        json!({
            "succeeded": self.succeeded(),
            "scenario": self.scenario.title,
            "customers": self.scenario.customers,
            "accounts": self.scenario.accounts,
            "payments": {
                "asked": self.scenario.played.len(), "completed": self.completed(), "replayed": self.replayed(),
                "refused": refusals_by_code(&self.scenario.played),
            },
            "latencyMillis": {"p50": millis(latency.p50), "p95": millis(latency.p95), "p99": millis(latency.p99)},
            "notifications": self.scenario.notifications,
            "events": self.proofs.events.iter().cloned().collect::<BTreeMap<_, _>>(),
            "violations": self.findings(),
            "paymentsPerSecond": u64::try_from(self.rate()).unwrap_or(u64::MAX),
            "eventGaps": self.proofs.gaps,
            "balanced": self.proofs.balanced,
            "ledger": self.proofs.ledger,
            "audit": self.proofs.audit,
            "replay": self.scenario.replay.as_ref().map(Comparison::to_json),
            "stoppedCleanly": self.stopped_cleanly,
            "tookMillis": millis(self.took),
        })
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{}.{:01} ms", duration.as_millis(), duration.subsec_micros() % 1000 / 100)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = self.latency();
        let line = |f: &mut fmt::Formatter<'_>, name: &str, value: String| writeln!(f, "  {name:<32} {value:>14}");
        writeln!(f, "\n{}\n", self.scenario.title)?;
        line(f, "customers", self.scenario.customers.to_string())?;
        line(f, "accounts", self.scenario.accounts.to_string())?;
        line(f, "payments asked for", self.scenario.played.len().to_string())?;
        line(f, "  completed", self.completed().to_string())?;
        line(f, "  repeated and recognised", self.replayed().to_string())?;
        let refused = refusals_by_code(&self.scenario.played);
        line(f, "  refused", refused.values().sum::<usize>().to_string())?;
        for (code, count) in &refused {
            line(f, &format!("    {code}"), count.to_string())?;
        }
        line(f, "request to completion p50", milliseconds(latency.p50))?;
        line(f, "request to completion p95", milliseconds(latency.p95))?;
        line(f, "request to completion p99", milliseconds(latency.p99))?;
        line(f, "payments a second", self.rate().to_string())?;
        if let Some(notifications) = self.scenario.notifications {
            line(f, "unread notifications", notifications.to_string())?;
        }
        writeln!(f, "\nEvents through the broker, as the archive counted them\n")?;
        for (event_type, count) in &self.proofs.events {
            line(f, event_type, count.to_string())?;
        }
        if let Some(replay) = &self.scenario.replay {
            write!(f, "{replay}")?;
        }
        writeln!(f, "\nProofs\n")?;
        let verdict = |holds: bool| if holds { "holds" } else { "BROKEN" }.to_owned();
        line(f, "ledger (entries, balances)", verdict(self.proofs.ledger_holds()))?;
        line(f, "debits equal credits", verdict(self.proofs.balanced))?;
        line(f, "audit chain", verdict(self.proofs.audit_holds()))?;
        line(f, "no event missing", verdict(self.proofs.gaps == 0))?;
        line(f, "compliance findings", self.findings().to_string())?;
        line(f, "the bank stopped cleanly", if self.stopped_cleanly { "yes" } else { "NO" }.to_owned())?;
        if !self.proofs.ledger_holds() {
            writeln!(f, "\n  ledger: {}", self.proofs.ledger)?;
        }
        if !self.proofs.audit_holds() {
            writeln!(f, "\n  audit: {}", self.proofs.audit)?;
        }
        writeln!(f, "\nTook {:.1} s.", self.took.as_secs_f64())
    }
}
