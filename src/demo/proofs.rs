use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::process::Command;

use super::staff::Staff;
use crate::client::{Connection, documents};
use crate::config::Config;

/// What the bank can show after the day.
pub struct Proofs {
    /// The answer of `vostro ledger verify --json`.
    pub ledger: Value,
    /// The answer of `vostro audit verify --json`.
    pub audit: Value,
    /// Events by type, as the archive counted them after they came through the broker.
    pub events: Vec<(String, i64)>,
    pub gaps: usize,
    /// Whether debits equal credits in every currency.
    pub balanced: bool,
}

impl Proofs {
    pub fn ledger_holds(&self) -> bool {
        self.ledger["ok"] == json!(true)
    }

    pub fn audit_holds(&self) -> bool {
        self.audit["ok"] == json!(true)
    }

    pub fn hold(&self) -> bool {
        self.ledger_holds() && self.audit_holds() && self.gaps == 0 && self.balanced
    }
}

/// Waits until everything has come through, then has the proofs made.
pub async fn gather(config: &Config, config_file: Option<&Path>, staff: &Staff) -> anyhow::Result<Proofs> {
    let mut officer = Connection::open(config.http.address).await?;
    officer.log_in_with(&staff.officer(config).await?);
    wait_until_quiet(&mut officer).await?;
    let audit = officer.data(documents::AUDIT, json!({})).await?;
    let trial = officer.data(documents::TRIAL_BALANCE, json!({})).await?;
    let events = audit["eventCounts"].as_array().map_or_else(Vec::new, |counts| {
        let pair = |count: &Value| Some((count["type"].as_str()?.to_owned(), count["count"].as_i64()?));
        counts.iter().filter_map(pair).collect()
    });
    Ok(Proofs {
        ledger: command(config_file, ["ledger", "verify", "--json"]).await?,
        audit: command(config_file, ["audit", "verify", "--json"]).await?,
        events,
        gaps: length(&audit["eventGaps"]),
        balanced: trial["trialBalance"]
            .as_array()
            .is_some_and(|lines| lines.iter().all(|line| line["balanced"] == json!(true))),
    })
}

/// The archive hears of everything last; when its count stands still, everything has arrived.
async fn wait_until_quiet(officer: &mut Connection) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut before = Value::Null;
    let mut since = Instant::now();
    while Instant::now() < deadline {
        let counts = officer.data(documents::EVENT_COUNTS, json!({})).await?;
        if counts != before {
            (before, since) = (counts, Instant::now());
        } else if since.elapsed() >= Duration::from_secs(1) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("events still arrive two minutes after the last payment")
}

/// Runs a command of the bank the way an operator would.
async fn command<const N: usize>(config_file: Option<&Path>, words: [&str; N]) -> anyhow::Result<Value> {
    let mut command = Command::new(std::env::current_exe().context("finding the program itself")?);
    if let Some(file) = config_file {
        command.arg("--config").arg(file);
    }
    let output = command.args(words).output().await.with_context(|| format!("running {}", words.join(" ")))?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{} said: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)))
}

fn length(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}
