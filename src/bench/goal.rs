//! Figures that were aimed at, and whether a run has reached them.

use serde_json::{Value, json};

use super::figures::milliseconds;
use crate::cli::output;

/// A figure that was aimed at.
pub struct Goal {
    pub name: &'static str,
    /// In words, such as "below 50 ms".
    pub aimed: String,
    pub measured: String,
    pub is_reached: bool,
}

impl Goal {
    /// A time that must not be exceeded, in microseconds.
    pub fn at_most(name: &'static str, aimed: u64, measured: u64) -> Self {
        Self {
            name,
            aimed: format!("at most {}", milliseconds(aimed)),
            measured: milliseconds(measured),
            is_reached: measured <= aimed,
        }
    }
}

/// Whether every goal is reached.
pub fn are_reached(goals: &[Goal]) -> bool {
    goals.iter().all(|goal| goal.is_reached)
}

/// The goals with their verdicts.
pub fn table(goals: &[Goal]) -> String {
    let row = |goal: &Goal| {
        let verdict = if goal.is_reached { "reached" } else { "MISSED" };
        [goal.name.to_owned(), goal.aimed.clone(), goal.measured.clone(), verdict.to_owned()]
    };
    let rows: Vec<_> = goals.iter().map(row).collect();
    output::table(["goal", "aimed at", "measured", ""], &rows)
}

pub fn json(goals: &[Goal]) -> Value {
    let goal = |goal: &Goal| {
        json!({
            "name": goal.name, "aimed": goal.aimed, "measured": goal.measured, "isReached": goal.is_reached,
        })
    };
    goals.iter().map(goal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_at_its_bound_and_missed_behind_it() {
        let [at, behind] = [2_000, 2_001].map(|measured| Goal::at_most("planning", 2_000, measured));
        assert!(are_reached(&[Goal::at_most("planning", 2_000, 2_000)]));
        assert_eq!(json(&[Goal::at_most("planning", 2_000, 2_001)])[0]["isReached"], json!(false));
        assert!(table(&[behind]).ends_with("MISSED"));
        assert!(table(&[at]).ends_with("reached"));
    }
}
