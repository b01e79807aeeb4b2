use std::collections::HashMap;
use std::fmt;

use serde_json::{Value, json};

use super::files::{Booking, SkippedLine};

/// How many hellers a balance may differ from the file's: the file rounds its amounts.
const TOLERANCE_MINOR: u64 = 100;
/// Account-days that must agree, in thousandths.
const REQUIRED_PER_MILLE: usize = 999;
/// How many of the worst account-days the report lists.
const WORST: usize = 5;

/// The ledger's day-close balances beside the file's.
pub struct Comparison {
    pub account_days: usize,
    pub agreeing: usize,
    worst: Vec<AccountDay>,
    skipped: Vec<SkippedLine>,
    /// Bookings the bank did not complete, with the reason. There should be none.
    pub not_completed: Vec<(u64, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct AccountDay {
    account: u64,
    day: String,
    ledger_minor: i64,
    file_minor: i64,
}

impl AccountDay {
    fn difference(&self) -> u64 {
        self.ledger_minor.abs_diff(self.file_minor)
    }
}

impl Comparison {
    /// `closes` holds the ledger's balance at the end of each account-day, in hellers.
    ///
    /// The file's own close of a day is not known, because the order inside a day is not the true one: it is the balance
    /// of whichever booking was last. So the ledger agrees when one booking of the day has its balance.
    pub fn new(
        bookings: &[Booking],
        closes: &HashMap<(u64, String), i64>,
        skipped: Vec<SkippedLine>,
        not_completed: Vec<(u64, String)>,
    ) -> Self {
        let mut nearest: HashMap<(u64, String), AccountDay> = HashMap::new();
        for booking in bookings {
            let key = (booking.account, booking.day.clone());
            let candidate = AccountDay {
                account: booking.account,
                day: booking.day.clone(),
                ledger_minor: closes.get(&key).copied().unwrap_or(0),
                file_minor: booking.balance_minor,
            };
            let known = nearest.entry(key).or_insert_with(|| candidate.clone());
            if candidate.difference() < known.difference() {
                *known = candidate;
            }
        }
        let account_days = nearest.len();
        let agreeing = nearest.values().filter(|day| day.difference() <= TOLERANCE_MINOR).count();
        let mut worst = nearest.into_values().filter(|day| day.difference() > TOLERANCE_MINOR).collect::<Vec<_>>();
        worst.sort_by_key(|day| (std::cmp::Reverse(day.difference()), day.account, day.day.clone()));
        worst.truncate(WORST);
        Self { account_days, agreeing, worst, skipped, not_completed }
    }

    pub fn agrees(&self) -> bool {
        self.not_completed.is_empty() && self.agreeing * 1000 >= self.account_days * REQUIRED_PER_MILLE
    }

    pub fn to_json(&self) -> Value {
        json!({
            "agrees": self.agrees(),
            "accountDays": self.account_days,
            "agreeing": self.agreeing,
            "worst": self.worst.iter().map(|day| json!({
                "account": day.account, "day": day.day, "ledgerMinor": day.ledger_minor, "fileMinor": day.file_minor,
            })).collect::<Vec<_>>(),
            "skippedLines": self.skipped.iter().map(|skipped| json!({
                "file": skipped.file, "line": skipped.line, "reason": skipped.reason,
            })).collect::<Vec<_>>(),
            "notCompleted": self.not_completed,
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nDay-close balances beside the file's\n")?;
        for skipped in &self.skipped {
            writeln!(f, "  skipped {} line {}: {}", skipped.file, skipped.line, skipped.reason)?;
        }
        let per_mille = self.agreeing * 100_000 / self.account_days.max(1);
        writeln!(
            f,
            "  {} of {} account-days agree within 1.00 CZK ({}.{:03} %), required 99.9 %",
            self.agreeing,
            self.account_days,
            per_mille / 1000,
            per_mille % 1000
        )?;
        for (booking, reason) in &self.not_completed {
            writeln!(f, "  booking {booking} was not completed: {reason}")?;
        }
        if !self.worst.is_empty() {
            writeln!(f, "\n  {:>8} {:>8} {:>16} {:>16}", "account", "day", "ledger (hellers)", "file (hellers)")?;
        }
        for day in &self.worst {
            writeln!(f, "  {:>8} {:>8} {:>16} {:>16}", day.account, day.day, day.ledger_minor, day.file_minor)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::Kind;
    use super::*;

    fn booking(id: u64, day: &str, balance_minor: i64) -> Booking {
        Booking { id, account: 7, day: day.to_owned(), kind: Kind::CashIn, amount_minor: 1, balance_minor }
    }

    #[test]
    fn a_day_agrees_when_one_of_its_bookings_has_the_ledgers_balance() {
        let bookings = [booking(1, "930101", 5_000), booking(2, "930101", 9_000), booking(3, "930102", 100)];
        let closes = HashMap::from([((7, "930101".to_owned()), 5_099), ((7, "930102".to_owned()), 201)]);
        let comparison = Comparison::new(&bookings, &closes, Vec::new(), Vec::new());
        assert_eq!((comparison.account_days, comparison.agreeing), (2, 1));
        assert!(!comparison.agrees());
        assert_eq!(comparison.worst[0].day, "930102");
    }

    #[test]
    fn a_booking_that_was_not_completed_is_a_disagreement() {
        let closes = HashMap::from([((7, "930101".to_owned()), 100)]);
        let refused = vec![(1, "ACC_FROZEN".to_owned())];
        assert!(!Comparison::new(&[booking(1, "930101", 100)], &closes, Vec::new(), refused).agrees());
        assert!(Comparison::new(&[booking(1, "930101", 100)], &closes, Vec::new(), Vec::new()).agrees());
    }
}
