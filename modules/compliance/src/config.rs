use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::Deserialize;
use vostro_kernel::{Currency, Money};

use crate::domain::{LargeTransfer, RapidTransfers, Rules};

/// How compliance is set up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long an event may be missing between its neighbours before that is reported, in seconds. Events overtake each
    /// other for moments when they are delivered again.
    pub gap_grace_seconds: u32,
    /// How often gaps and the length of the chain are looked at for the metrics, in seconds.
    pub watch_seconds: u32,
    /// The live rules.
    pub rules: RulesConfig,
}

/// Parameters of the live rules.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RulesConfig {
    /// Counts up with every change of a parameter; every violation names it.
    pub version: i32,
    pub large_transfer: LargeTransferConfig,
    pub rapid_transfers: RapidTransfersConfig,
}

/// `LARGE_TRANSFER`: one payment of a large amount.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LargeTransferConfig {
    /// From which amount on, as a decimal per currency, such as `EUR = "10000"`. Other currencies are not looked at;
    /// an empty table switches the rule off.
    pub thresholds: BTreeMap<Currency, String>,
}

/// `RAPID_TRANSFERS`: many payments, or much money in several, from one account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RapidTransfersConfig {
    /// The time payments count together, in minutes, 1 to 60: it is remembered by the minute.
    pub window_minutes: u16,
    /// From how many payments on, at least 2.
    pub payments: u32,
    /// From which sum of several payments on, as a decimal per currency. Other currencies are only counted.
    pub sums: BTreeMap<Currency, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { gap_grace_seconds: 30, watch_seconds: 5, rules: RulesConfig::default() }
    }
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            version: 1,
            large_transfer: LargeTransferConfig::default(),
            rapid_transfers: RapidTransfersConfig::default(),
        }
    }
}

impl Default for LargeTransferConfig {
    fn default() -> Self {
        let thresholds = [
            ("EUR", "10000"),
            ("USD", "10000"),
            ("GBP", "10000"),
            ("CHF", "10000"),
            ("CZK", "250000"),
            ("JPY", "1500000"),
        ];
        Self { thresholds: amounts(&thresholds) }
    }
}

impl Default for RapidTransfersConfig {
    fn default() -> Self {
        let sums = [
            ("EUR", "20000"),
            ("USD", "20000"),
            ("GBP", "20000"),
            ("CHF", "20000"),
            ("CZK", "500000"),
            ("JPY", "3000000"),
        ];
        Self { window_minutes: 10, payments: 20, sums: amounts(&sums) }
    }
}

fn amounts(texts: &[(&str, &str)]) -> BTreeMap<Currency, String> {
    texts.iter().filter_map(|(currency, text)| Some((currency.parse().ok()?, (*text).to_owned()))).collect()
}

impl Config {
    /// Whether the configuration makes sense.
    ///
    /// # Errors
    /// What is wrong with it, for an operator.
    pub fn validate(&self) -> Result<(), String> {
        self.rules().map(|_| ())
    }

    pub(crate) fn gap_grace(&self) -> TimeDelta {
        TimeDelta::seconds(self.gap_grace_seconds.into())
    }

    /// The rules with parsed parameters.
    pub(crate) fn rules(&self) -> Result<Rules, String> {
        within("gap_grace_seconds", self.gap_grace_seconds.into(), 1, 24 * 3600)?;
        within("watch_seconds", self.watch_seconds.into(), 1, 3600)?;
        let RulesConfig { version, large_transfer, rapid_transfers } = &self.rules;
        within("rules.version", (*version).into(), 1, i32::MAX.into())?;
        within("rules.rapid_transfers.window_minutes", rapid_transfers.window_minutes.into(), 1, 60)?;
        within("rules.rapid_transfers.payments", rapid_transfers.payments.into(), 2, 1_000_000)?;
        Ok(Rules {
            version: *version,
            large_transfer: LargeTransfer {
                thresholds: minor_units("rules.large_transfer.thresholds", &large_transfer.thresholds)?,
            },
            rapid_transfers: RapidTransfers {
                window_minutes: rapid_transfers.window_minutes.into(),
                payments: rapid_transfers.payments.into(),
                sums: minor_units("rules.rapid_transfers.sums", &rapid_transfers.sums)?,
            },
        })
    }
}

fn minor_units(name: &str, amounts: &BTreeMap<Currency, String>) -> Result<BTreeMap<Currency, i64>, String> {
    let parse = |(currency, text): (&Currency, &String)| {
        let amount = Money::parse(text, *currency).map_err(|error| format!("compliance.{name}.{currency}: {error}"))?;
        if amount.is_positive() {
            Ok((*currency, amount.minor))
        } else {
            Err(format!("compliance.{name}.{currency} must be above zero"))
        }
    };
    amounts.iter().map(parse).collect()
}

fn within(name: &str, value: i64, least: i64, most: i64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("compliance.{name} must be between {least} and {most}, not {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_complete() {
        let rules = Config::default().rules().expect("valid");
        assert_eq!(rules.large_transfer.thresholds.len(), 6);
        assert_eq!(rules.rapid_transfers.sums.len(), 6);
        let yen = "JPY".parse().expect("known");
        assert_eq!(rules.large_transfer.thresholds[&yen], 1_500_000, "no decimals in JPY");
    }

    #[test]
    fn amounts_are_decimals_of_their_currency_and_above_zero() {
        for text in ["0", "-1", "1.001", "ten", ""] {
            let thresholds = amounts(&[("EUR", text)]);
            let rules = RulesConfig { large_transfer: LargeTransferConfig { thresholds }, ..RulesConfig::default() };
            let reason = Config { rules, ..Config::default() }.validate().expect_err(text);
            assert!(reason.contains("large_transfer.thresholds.EUR"), "{reason}");
        }
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        let rapid = |window_minutes, payments| Config {
            rules: RulesConfig {
                rapid_transfers: RapidTransfersConfig { window_minutes, payments, ..RapidTransfersConfig::default() },
                ..RulesConfig::default()
            },
            ..Config::default()
        };
        for config in [
            Config { gap_grace_seconds: 0, ..Config::default() },
            Config { watch_seconds: 0, ..Config::default() },
            Config { rules: RulesConfig { version: 0, ..RulesConfig::default() }, ..Config::default() },
            rapid(0, 20),
            rapid(61, 20),
            rapid(10, 1),
        ] {
            assert!(config.validate().is_err(), "{config:?}");
        }
        assert_eq!(rapid(60, 2).validate(), Ok(()));
    }

    #[test]
    fn unknown_keys_and_currencies_are_refused() {
        for text in [r#"{"gap_grace": 30}"#, r#"{"rules": {"large_transfer": {"thresholds": {"ZZZ": "1"}}}}"#] {
            assert!(serde_json::from_str::<Config>(text).is_err(), "{text}");
        }
        let text = r#"{"rules": {"version": 2, "large_transfer": {"thresholds": {"EUR": "500.50"}}}}"#;
        let rules = serde_json::from_str::<Config>(text).expect("known keys").rules().expect("valid");
        assert_eq!(rules.large_transfer.thresholds.into_values().collect::<Vec<_>>(), [50_050]);
    }
}
