//! What a caller's connections and subscriptions come to, all of them together.
//!
//! Events are not paid from the bucket of operations: most of them are other people's doing, and whoever is paid often must
//! not lose the means to pay. Each caller has a meter of the same size beside it. While more is on it than it holds, its
//! streams pause; what happens meanwhile waits where it waits for a client that reads slowly, or is there behind the cursor.
//!
//! The number of WebSocket connections and event streams is bounded, because each takes memory while it does nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::budget::{Budget, Spender};
use crate::stitch::Meter;

/// A point, in the unit that comes back within a millisecond at a point per second.
const MILLI: u64 = 1_000;

/// How many callers are remembered before it is looked which of them have gone.
const FEW: usize = 1_024;

/// Everybody who listens.
pub struct Listeners {
    budget: Option<Budget>,
    connections: usize,
    known: Mutex<Known>,
}

struct Known {
    listeners: HashMap<Spender, Arc<Listener>>,
    /// At how many those are forgotten who have gone; so that it is looked rarely, however many stay.
    sweep_at: usize,
}

impl Listeners {
    /// Events come to no more than this budget, and a caller has at most so many connections; 0 for as many as they like.
    pub fn new(budget: Option<Budget>, connections: usize) -> Self {
        Self { budget, connections, known: Mutex::new(Known { listeners: HashMap::new(), sweep_at: FEW }) }
    }

    /// The meter of this caller, the same for all streams that it has at the same time; `None` where nothing is limited.
    pub fn meter(&self, spender: Spender) -> Option<Arc<dyn Meter>> {
        self.budget?;
        Some(self.of_at(spender, Instant::now()))
    }

    /// Lets a caller have one more connection.
    ///
    /// # Errors
    /// When it has as many as it may.
    pub fn connect(&self, spender: Spender) -> Result<Connected, TooMany> {
        let listener = self.of_at(spender, Instant::now());
        let most = if self.connections == 0 { usize::MAX } else { self.connections };
        let one_more = |open: usize| (open < most).then_some(open + 1);
        match listener.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Connected(listener)),
            Err(_) => Err(TooMany(most)),
        }
    }

    fn of_at(&self, spender: Spender, now: Instant) -> Arc<Listener> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.listeners.len() >= known.sweep_at {
            known.listeners.retain(|_, listener| Arc::strong_count(listener) > 1 || listener.owes(now));
            known.sweep_at = (2 * known.listeners.len()).max(FEW);
        }
        Arc::clone(known.listeners.entry(spender).or_insert_with(|| Arc::new(Listener::new(self.budget, now))))
    }
}

/// The caller has so many connections already, and may not have more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany(pub usize);

/// A connection of a caller, for as long as it lasts.
pub struct Connected(Arc<Listener>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One caller.
struct Listener {
    budget: Option<Budget>,
    owed: Mutex<Owed>,
    connections: AtomicUsize,
}

struct Owed {
    millipoints: u64,
    at: Instant,
}

impl Listener {
    fn new(budget: Option<Budget>, now: Instant) -> Self {
        Self { budget, owed: Mutex::new(Owed { millipoints: 0, at: now }), connections: AtomicUsize::new(0) }
    }

    fn note_at(&self, points: u32, now: Instant) -> Duration {
        let Some(budget) = self.budget else { return Duration::ZERO };
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.wear_off(budget, now);
        owed.millipoints = owed.millipoints.saturating_add(u64::from(points) * MILLI);
        let over = owed.millipoints.saturating_sub(u64::from(budget.maximum) * MILLI);
        Duration::from_millis(over.div_ceil(u64::from(budget.restore_per_second.max(1))))
    }

    /// Whether forgetting it would forgive it something.
    fn owes(&self, now: Instant) -> bool {
        let Some(budget) = self.budget else { return false };
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.wear_off(budget, now);
        owed.millipoints > 0
    }
}

impl Owed {
    fn wear_off(&mut self, budget: Budget, now: Instant) {
        let passed = u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        // Not for less than a millisecond, or a busy meter would never come down.
        if passed > 0 {
            let restored = passed.saturating_mul(u64::from(budget.restore_per_second));
            self.millipoints = self.millipoints.saturating_sub(restored);
            self.at = now;
        }
    }
}

impl Meter for Listener {
    fn note(&self, points: u32) -> Duration {
        self.note_at(points, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const SMALL: Budget = Budget { maximum: 100, restore_per_second: 10 };

    fn spender(n: u128) -> Spender {
        Spender::User(Uuid::from_u128(n))
    }

    #[test]
    fn events_are_free_up_to_what_the_meter_holds_and_then_as_fast_as_points_come_back() {
        let start = Instant::now();
        let meter = Listener::new(Some(SMALL), start);
        assert_eq!(meter.note_at(100, start), Duration::ZERO);
        assert_eq!(meter.note_at(5, start), Duration::from_millis(500));
        let later = start + Duration::from_millis(500);
        assert_eq!(meter.note_at(0, later), Duration::ZERO);
        assert_eq!(meter.note_at(10, later), Duration::from_secs(1));
        let much_later = later + Duration::from_secs(3_600);
        assert_eq!(meter.note_at(100, much_later), Duration::ZERO, "no more is owed than was told");
    }

    #[test]
    fn a_meter_that_is_noted_all_the_time_comes_down_all_the_same() {
        let start = Instant::now();
        let meter = Listener::new(Some(SMALL), start);
        meter.note_at(100, start);
        for micros in 1..=10_000 {
            meter.note_at(0, start + Duration::from_micros(100 * micros));
        }
        assert_eq!(meter.note_at(10, start + Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn all_streams_of_a_caller_are_on_one_meter_and_nobody_elses() {
        let (listeners, now) = (Listeners::new(Some(SMALL), 2), Instant::now());
        let one = listeners.of_at(spender(1), now);
        assert!(Arc::ptr_eq(&one, &listeners.of_at(spender(1), now)));
        assert!(!Arc::ptr_eq(&one, &listeners.of_at(spender(2), now)));
    }

    #[test]
    fn who_has_gone_and_owes_nothing_is_forgotten_and_nobody_else() {
        let (listeners, now) = (Listeners::new(Some(SMALL), 2), Instant::now());
        let listening = listeners.of_at(spender(1), now);
        listeners.of_at(spender(2), now).note_at(50, now);
        for n in 3..=1_024 {
            listeners.of_at(spender(n), now);
        }
        listeners.of_at(spender(9_999), now);
        let known = listeners.known.lock().expect("not poisoned");
        assert_eq!(known.listeners.len(), 3);
        assert!(known.listeners.get(&spender(1)).is_some_and(|listener| Arc::ptr_eq(listener, &listening)));
        assert!(known.listeners.contains_key(&spender(2)), "coming back is no way to a fresh meter");
    }

    #[test]
    fn a_caller_has_so_many_connections_and_one_more_when_one_has_ended() {
        let listeners = Listeners::new(None, 2);
        let first = listeners.connect(spender(1)).expect("the first");
        let _second = listeners.connect(spender(1)).expect("the second");
        assert_eq!(listeners.connect(spender(1)).err(), Some(TooMany(2)));
        assert!(listeners.connect(spender(2)).is_ok(), "nobody else is kept from anything");
        drop(first);
        assert!(listeners.connect(spender(1)).is_ok());
    }

    #[test]
    fn where_nothing_is_limited_there_is_no_meter_and_any_number_of_connections() {
        let listeners = Listeners::new(None, 0);
        assert!(listeners.meter(spender(1)).is_none());
        let connected: Vec<_> = (0..1_000).map_while(|_| listeners.connect(spender(1)).ok()).collect();
        assert_eq!(connected.len(), 1_000);
    }
}
