use serde::{Deserialize, Serialize};

/// What an account paid out lately, by the minute, and for which windows that was reported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Velocity {
    /// In the order of their minutes.
    buckets: Vec<Bucket>,
    /// Numbers of the windows that were reported.
    #[serde(default)]
    reported: Vec<i64>,
}

/// Written as `[minute, payments, sum]`: this is read and written with every payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(i64, i64, i64)", into = "(i64, i64, i64)")]
struct Bucket {
    minute: i64,
    payments: i64,
    /// In minor units of the account's currency.
    sum_minor: i64,
}

impl From<(i64, i64, i64)> for Bucket {
    fn from((minute, payments, sum_minor): (i64, i64, i64)) -> Self {
        Self { minute, payments, sum_minor }
    }
}

impl From<Bucket> for (i64, i64, i64) {
    fn from(bucket: Bucket) -> Self {
        (bucket.minute, bucket.payments, bucket.sum_minor)
    }
}

/// The payments of `length` consecutive minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// The last of the minutes.
    pub until: i64,
    pub payments: i64,
    pub sum_minor: i64,
}

impl Velocity {
    /// Adds a payment of the given minute (since 1970). What is older than `keep` minutes before the newest is forgotten,
    /// the payment itself if it comes that late.
    pub fn record(&mut self, minute: i64, amount_minor: i64, keep: i64) {
        match self.buckets.binary_search_by_key(&minute, |bucket| bucket.minute) {
            Ok(index) => {
                let bucket = &mut self.buckets[index];
                bucket.payments += 1;
                bucket.sum_minor = bucket.sum_minor.saturating_add(amount_minor);
            }
            Err(index) => self.buckets.insert(index, Bucket { minute, payments: 1, sum_minor: amount_minor }),
        }
        let newest = self.buckets.last().map_or(minute, |bucket| bucket.minute);
        self.buckets.retain(|bucket| bucket.minute > newest - keep);
    }

    /// The totals of every window of `length` minutes that contains `minute` and ends with a minute in which something
    /// was paid. A payment that arrives late changes windows that end after it.
    pub fn totals(&self, minute: i64, length: i64) -> impl Iterator<Item = Total> {
        self.buckets.iter().filter(move |last| last.minute >= minute && last.minute < minute + length).map(
            move |last| {
                let window = self
                    .buckets
                    .iter()
                    .filter(|bucket| bucket.minute > last.minute - length && bucket.minute <= last.minute);
                window.fold(Total { until: last.minute, payments: 0, sum_minor: 0 }, |total, bucket| Total {
                    payments: total.payments + bucket.payments,
                    sum_minor: total.sum_minor.saturating_add(bucket.sum_minor),
                    ..total
                })
            },
        )
    }

    /// Remembers that a window was reported; whether it was not before.
    pub fn report(&mut self, window: i64, keep: usize) -> bool {
        if self.reported.contains(&window) {
            return false;
        }
        self.reported.push(window);
        self.reported.sort_unstable();
        let surplus = self.reported.len().saturating_sub(keep);
        self.reported.drain(..surplus);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(velocity: &Velocity, minute: i64, length: i64) -> Vec<(i64, i64, i64)> {
        velocity.totals(minute, length).map(|total| (total.until, total.payments, total.sum_minor)).collect()
    }

    #[test]
    fn a_window_holds_its_minutes_and_no_more() {
        let mut velocity = Velocity::default();
        for (minute, amount) in [(100, 1), (101, 10), (101, 10), (110, 100)] {
            velocity.record(minute, amount, 60);
        }
        assert_eq!(totals(&velocity, 110, 10), [(110, 3, 120)]);
        assert_eq!(totals(&velocity, 110, 11), [(110, 4, 121)]);
        assert_eq!(totals(&velocity, 110, 1), [(110, 1, 100)]);
    }

    #[test]
    fn a_late_payment_changes_the_windows_that_end_after_it() {
        let mut velocity = Velocity::default();
        for minute in [105, 100, 120] {
            velocity.record(minute, 1, 60);
        }
        assert_eq!(totals(&velocity, 100, 10), [(100, 1, 1), (105, 2, 2)]);
    }

    #[test]
    fn what_is_too_old_is_forgotten() {
        let mut velocity = Velocity::default();
        velocity.record(100, 1, 20);
        velocity.record(120, 1, 20);
        assert_eq!(totals(&velocity, 100, 60), [(120, 1, 1)]);
        velocity.record(50, 1, 20);
        assert_eq!(totals(&velocity, 50, 100), [(120, 1, 1)]);
    }

    #[test]
    fn a_window_is_reported_once() {
        let mut velocity = Velocity::default();
        assert!(velocity.report(7, 2));
        assert!(!velocity.report(7, 2));
        assert!(velocity.report(8, 2) && velocity.report(9, 2));
        assert!(velocity.report(7, 2), "forgotten by now");
    }

    #[test]
    fn the_state_is_written_compactly_and_read_back() {
        let mut velocity = Velocity::default();
        velocity.record(100, 250, 20);
        velocity.report(10, 2);
        let text = serde_json::to_string(&velocity).expect("plain data");
        assert_eq!(text, r#"{"buckets":[[100,1,250]],"reported":[10]}"#);
        assert_eq!(serde_json::from_str::<Velocity>(&text).expect("the same"), velocity);
    }
}
