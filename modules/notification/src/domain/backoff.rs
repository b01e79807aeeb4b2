use std::time::Duration;

use uuid::Uuid;

/// When an e-mail that could not be sent is tried again, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The pause after the first failure; it doubles with each further one.
    pub first: Duration,
    pub longest: Duration,
    /// Including the first try.
    pub attempts: u32,
}

impl Backoff {
    /// The pause after attempt number `attempt` (from 1) has failed; `None` when it was the last.
    ///
    /// Between half of the nominal pause and all of it. Where in between follows from the notification's id, whose bits
    /// are random enough to keep e-mails that failed together from coming back together.
    pub fn after(&self, attempt: u32, notification: Uuid) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(31);
        let nominal = self.first.saturating_mul(1 << doublings).min(self.longest);
        let micros = u64::try_from(nominal.as_micros()).unwrap_or(u64::MAX);
        let random = notification.as_u64_pair().1.rotate_left(attempt % 64);
        Some(Duration::from_micros(micros - random % (micros / 2 + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(10), longest: Duration::from_secs(60), attempts: 6 };

    #[test]
    fn pauses_double_up_to_the_longest_and_then_end() {
        let id = Uuid::now_v7();
        for (attempt, nominal) in [(1, 10), (2, 20), (3, 40), (4, 60), (5, 60)] {
            let pause = BACKOFF.after(attempt, id).expect("another attempt");
            let nominal = Duration::from_secs(nominal);
            assert!(pause >= nominal / 2 && pause <= nominal, "attempt {attempt}: {pause:?}");
        }
        assert_eq!(BACKOFF.after(6, id), None);
        assert_eq!(BACKOFF.after(u32::MAX, id), None);
    }

    #[test]
    fn mails_that_failed_together_come_back_apart() {
        let pauses = (0..50).map(|_| BACKOFF.after(3, Uuid::now_v7())).collect::<std::collections::HashSet<_>>();
        assert!(pauses.len() > 40);
    }
}
