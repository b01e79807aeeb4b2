use std::time::{Duration, Instant};

/// Keeps callers from waiting for somebody who does not answer.
///
/// *Closed*, every question goes through. After a number of failures in a row it *opens*: questions fail at once. After a
/// pause it is *half open*: one question may try; its success closes the breaker, its failure opens it again for twice as
/// long. Pure: the present comes in as an argument.
#[derive(Debug, Clone)]
pub struct Breaker {
    state: State,
    /// The next pause.
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        /// In a row.
        failures: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        /// When the one that tries has to be given up, should it never come back.
        until: Instant,
    },
}

/// What a breaker is doing, for people and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    HalfOpen,
    Open,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { failures: 0 }, pause: Self::PAUSE }
    }
}

impl Breaker {
    /// As many failures in a row open it. One may be bad luck.
    pub const FAILURES: u32 = 5;
    /// The first pause.
    pub const PAUSE: Duration = Duration::from_secs(1);
    /// No pause is longer: a callee that is back is found within this time.
    pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);

    /// Whether a question may go out now. When it may, [`Self::succeeded`] or [`Self::failed`] has to be told.
    pub fn admits(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } | State::HalfOpen { until } if now < until => false,
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen { until: now + self.pause };
                true
            }
        }
    }

    /// The callee answered, be it with a refusal.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The callee did not answer, or could not.
    pub fn failed(&mut self, now: Instant) {
        match &mut self.state {
            State::Closed { failures } if *failures + 1 < Self::FAILURES => *failures += 1,
            State::Closed { .. } => self.open(now),
            State::HalfOpen { .. } => {
                self.pause = (self.pause * 2).min(Self::LONGEST_PAUSE);
                self.open(now);
            }
            // One that went out before it opened: nothing new.
            State::Open { .. } => {}
        }
    }

    fn open(&mut self, now: Instant) {
        self.state = State::Open { until: now + self.pause };
    }

    pub const fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
            State::Open { .. } => BreakerState::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..Breaker::FAILURES {
            assert!(breaker.admits(now));
            breaker.failed(now);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_not_before() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 1..Breaker::FAILURES {
                breaker.failed(now);
            }
            assert!(breaker.admits(now));
            breaker.succeeded();
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(!opened(now).admits(now));
    }

    #[test]
    fn after_the_pause_one_may_try_and_the_others_still_may_not() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.admits(now + Breaker::PAUSE / 2));
        let later = now + Breaker::PAUSE;
        assert!(breaker.admits(later));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(!breaker.admits(later));
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(breaker.admits(later));
    }

    #[test]
    fn each_try_that_fails_doubles_the_pause_up_to_the_longest() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let mut waited = Duration::ZERO;
            while !breaker.admits(now + waited) {
                waited += Duration::from_millis(500);
            }
            pauses.push(waited.as_secs());
            now += waited;
            breaker.failed(now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert!(breaker.admits(now + Breaker::LONGEST_PAUSE));
        breaker.succeeded();
        for _ in 0..Breaker::FAILURES {
            breaker.failed(now);
        }
        assert!(breaker.admits(now + Breaker::PAUSE), "a success begins anew");
    }

    #[test]
    fn one_that_tries_and_never_comes_back_does_not_keep_it_open_for_ever() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(breaker.admits(now + Breaker::PAUSE));
        assert!(breaker.admits(now + Breaker::PAUSE * 2));
    }

    #[test]
    fn what_went_out_before_it_opened_does_not_prolong_the_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.failed(now + Breaker::PAUSE / 2);
        assert!(breaker.admits(now + Breaker::PAUSE));
    }
}
