//! Who may spend how much: a bucket of points per caller, refilled all the time.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use uuid::Uuid;

use crate::stitch::{Charge, Throttle};

/// The size of everybody's bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Points a caller can spend at once.
    pub maximum: u32,
    /// Points that come back per second.
    pub restore_per_second: u32,
}

/// Whose bucket it is. The client's own name for itself is no part of it unless the bank knows the client: otherwise
/// another name would be another bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spender {
    pub user: Option<Uuid>,
    /// For somebody who is not logged in.
    pub address: Option<IpAddr>,
    /// A client with registered documents.
    pub client: Option<Arc<str>>,
}

/// Callers whose buckets are remembered. Whoever is forgotten has been away long enough for a full one.
const REMEMBERED: u64 = 100_000;

/// Everybody's buckets.
pub struct Budgets {
    budget: Budget,
    buckets: Cache<Spender, Arc<Bucket>>,
}

impl Budgets {
    pub fn new(budget: Budget) -> Self {
        let refill = Duration::from_secs(u64::from(budget.maximum / budget.restore_per_second.max(1)) + 1);
        let buckets = Cache::builder().max_capacity(REMEMBERED).time_to_idle(refill).build();
        Self { budget, buckets }
    }

    /// The bucket of this caller. A request whose sender cannot be told from others is not held against them all.
    pub fn of(&self, spender: Spender) -> Option<Arc<dyn Charge>> {
        if spender.user.is_none() && spender.address.is_none() {
            return None;
        }
        let bucket = self.buckets.get_with(spender, || Arc::new(Bucket::new(self.budget, Instant::now())));
        Some(bucket)
    }
}

/// One caller's points.
struct Bucket {
    budget: Budget,
    level: Mutex<Level>,
}

/// In thousandths of a point, so that a refill of a millisecond is not lost.
struct Level {
    millipoints: u64,
    at: Instant,
}

const MILLI: u64 = 1_000;

impl Bucket {
    fn new(budget: Budget, now: Instant) -> Self {
        let level = Level { millipoints: u64::from(budget.maximum) * MILLI, at: now };
        Self { budget, level: Mutex::new(level) }
    }

    fn refilled(&self, now: Instant) -> std::sync::MutexGuard<'_, Level> {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = u64::try_from(now.saturating_duration_since(level.at).as_millis()).unwrap_or(u64::MAX);
        // A point per second is a thousandth of a point per millisecond.
        let refill = passed.saturating_mul(u64::from(self.budget.restore_per_second));
        if refill > 0 {
            level.millipoints = level.millipoints.saturating_add(refill).min(u64::from(self.budget.maximum) * MILLI);
            level.at = now;
        }
        level
    }

    fn charge_at(&self, points: u32, now: Instant) -> Result<(), Duration> {
        let mut level = self.refilled(now);
        let wanted = u64::from(points) * MILLI;
        if let Some(rest) = level.millipoints.checked_sub(wanted) {
            level.millipoints = rest;
            return Ok(());
        }
        let missing = wanted - level.millipoints;
        Err(Duration::from_millis(missing.div_ceil(u64::from(self.budget.restore_per_second.max(1)))))
    }

    fn settle_at(&self, refund: u32, now: Instant) -> Throttle {
        let mut level = self.refilled(now);
        let full = u64::from(self.budget.maximum) * MILLI;
        level.millipoints = level.millipoints.saturating_add(u64::from(refund) * MILLI).min(full);
        Throttle {
            maximum_available: self.budget.maximum,
            currently_available: u32::try_from(level.millipoints / MILLI).unwrap_or(u32::MAX),
            restore_rate: self.budget.restore_per_second,
        }
    }
}

impl Charge for Bucket {
    fn charge(&self, points: u32) -> Result<(), Duration> {
        self.charge_at(points, Instant::now())
    }

    fn settle(&self, refund: u32) -> Throttle {
        self.settle_at(refund, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Budget = Budget { maximum: 100, restore_per_second: 10 };

    #[test]
    fn points_run_out_and_come_back() {
        let start = Instant::now();
        let bucket = Bucket::new(SMALL, start);
        assert_eq!(bucket.charge_at(100, start), Ok(()));
        assert_eq!(bucket.charge_at(5, start), Err(Duration::from_millis(500)));
        let later = start + Duration::from_millis(500);
        assert_eq!(bucket.charge_at(5, later), Ok(()));
        assert_eq!(bucket.settle_at(3, later).currently_available, 3);
        let much_later = later + Duration::from_secs(3_600);
        assert_eq!(bucket.settle_at(0, much_later).currently_available, 100, "no more than the bucket holds");
    }

    #[test]
    fn everybody_spends_their_own_points() {
        let budgets = Budgets::new(SMALL);
        let spender = |n| Spender { user: Some(Uuid::from_u128(n)), address: None, client: None };
        let ada = budgets.of(spender(1)).expect("a bucket");
        ada.charge(100).expect("a full bucket");
        assert!(budgets.of(spender(1)).expect("the same bucket").charge(50).is_err());
        assert!(budgets.of(spender(2)).expect("another bucket").charge(50).is_ok());
        assert!(budgets.of(Spender { user: None, address: None, client: None }).is_none());
    }
}
