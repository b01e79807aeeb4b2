use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::Rng as _;

/// When a parked key is tried again, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySchedule {
    /// The pause before the first, second, … attempt; the last repeats.
    pub pauses: Vec<Duration>,
    /// After this many attempts the key is quarantined.
    pub attempts: u32,
}

impl Default for RetrySchedule {
    /// 1 s, 10 s, 1 min, 10 min, 1 h, then every 6 h; twelve attempts, which is about a day and a half.
    fn default() -> Self {
        let pauses = [1, 10, 60, 600, 3_600, 21_600].map(Duration::from_secs).into();
        Self { pauses, attempts: 12 }
    }
}

impl RetrySchedule {
    /// When to try again after `attempts` attempts, ±20 %, so that what failed together does not come back together.
    pub(crate) fn next(&self, attempts: u32, now: DateTime<Utc>) -> DateTime<Utc> {
        now + self.pause(attempts).mul_f64(rand::rng().random_range(0.8..=1.2))
    }

    /// How long after it failed a key may be tried for the last time.
    pub fn span(&self) -> Duration {
        let listed = self.pauses.iter().take(usize::try_from(self.attempts).unwrap_or(usize::MAX));
        let listed = listed.fold(Duration::ZERO, |sum, pause| sum.saturating_add(*pause));
        let repeated = self.attempts.saturating_sub(u32::try_from(self.pauses.len()).unwrap_or(u32::MAX));
        let last = self.pauses.last().copied().unwrap_or_default();
        // A fifth more than the schedule says, each time.
        listed.saturating_add(last.saturating_mul(repeated)).saturating_mul(6) / 5
    }

    fn pause(&self, attempts: u32) -> Duration {
        let index = usize::try_from(attempts).unwrap_or(usize::MAX).min(self.pauses.len().saturating_sub(1));
        self.pauses.get(index).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_six_hours_and_stay_there() {
        let schedule = RetrySchedule::default();
        let pauses: Vec<u64> = (0..8).map(|attempts| schedule.pause(attempts).as_secs()).collect();
        assert_eq!(pauses, [1, 10, 60, 600, 3_600, 21_600, 21_600, 21_600]);
    }

    #[test]
    fn the_span_is_that_of_all_pauses_at_their_longest() {
        let schedule = RetrySchedule::default();
        let pauses: u64 = (0..12).map(|attempts| schedule.pause(attempts).as_secs()).sum();
        assert_eq!(schedule.span(), Duration::from_secs(pauses).mul_f64(1.2));
        let two = RetrySchedule { attempts: 2, ..schedule.clone() };
        assert_eq!(two.span(), Duration::from_millis(13_200));
        assert!(RetrySchedule { attempts: u32::MAX, ..schedule }.span() > Duration::from_secs(1 << 40));
    }

    #[test]
    fn the_next_attempt_is_within_a_fifth_of_its_pause() {
        let now = DateTime::UNIX_EPOCH;
        for _ in 0..1_000 {
            let millis = (RetrySchedule::default().next(1, now) - now).num_milliseconds();
            assert!((8_000..=12_000).contains(&millis), "{millis}");
        }
    }
}
