use std::time::Duration;

use serde::Deserialize;

/// How the module is set up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many groups of commands are committed at the same time (1 to 16). One is best while the processor is the
    /// limit; more help when the disk is.
    pub group_workers: usize,
    /// How many commands share a commit at most (1 to 1000).
    pub group_size: usize,
    /// How long a group is waited for while there is traffic, in milliseconds (0 to 50). A lone command never waits.
    pub group_linger_ms: u64,
    /// How long a caller who waits for the outcome is kept waiting, in milliseconds (1 to 60000).
    pub wait_ms: u64,
    /// After how many seconds (1 to 3600) a transaction without an outcome is overdue: reported, and the ledger asked. It
    /// never fails because of that.
    pub decision_timeout_s: u32,
    /// How many seconds (1 to 300) lie between two looks for overdue transactions.
    pub decision_check_s: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            group_workers: 1,
            group_size: 200,
            group_linger_ms: 3,
            wait_ms: 5_000,
            decision_timeout_s: 60,
            decision_check_s: 10,
        }
    }
}

impl Config {
    /// Whether the configuration makes sense.
    ///
    /// # Errors
    /// What is wrong, naming the key.
    pub fn validate(&self) -> Result<(), String> {
        within("group_workers", self.group_workers, 1, 16)?;
        within("group_size", self.group_size, 1, 1_000)?;
        within("group_linger_ms", self.group_linger_ms, 0, 50)?;
        within("wait_ms", self.wait_ms, 1, 60_000)?;
        within("decision_timeout_s", self.decision_timeout_s, 1, 3_600)?;
        within("decision_check_s", self.decision_check_s, 1, 300)
    }

    pub(crate) fn group_linger(&self) -> Duration {
        Duration::from_millis(self.group_linger_ms)
    }

    pub(crate) fn decision_timeout(&self) -> Duration {
        Duration::from_secs(self.decision_timeout_s.into())
    }

    pub(crate) fn decision_check(&self) -> Duration {
        Duration::from_secs(self.decision_check_s.into())
    }

    pub(crate) fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }
}

fn within<N: PartialOrd + std::fmt::Display>(key: &str, value: N, least: N, most: N) -> Result<(), String> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(format!("transaction.{key} must be between {least} and {most}, not {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> Result<Config, String> {
        let config: Config = serde_json::from_value(json).map_err(|error| error.to_string())?;
        config.validate().map(|()| config)
    }

    #[test]
    fn nothing_needs_to_be_configured() {
        assert_eq!(read(serde_json::json!({})), Ok(Config::default()));
    }

    #[test]
    fn an_unknown_key_and_a_value_out_of_range_are_refused_by_name() {
        let broken = [
            (serde_json::json!({"grup_size": 1}), "grup_size"),
            (serde_json::json!({"group_size": 0}), "group_size"),
            (serde_json::json!({"group_linger_ms": 51}), "group_linger_ms"),
            (serde_json::json!({"group_workers": 17}), "group_workers"),
            (serde_json::json!({"wait_ms": 60_001}), "wait_ms"),
            (serde_json::json!({"decision_timeout_s": 0}), "decision_timeout_s"),
            (serde_json::json!({"decision_check_s": 301}), "decision_check_s"),
        ];
        for (json, key) in broken {
            let error = read(json).expect_err(key);
            assert!(error.contains(key), "{key}: {error}");
        }
    }
}
