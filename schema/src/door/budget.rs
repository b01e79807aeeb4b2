//! Who may spend how much: a bucket of points per caller, refilled all the time.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
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

/// Whose bucket it is. The client program is no part of it: another one would be another bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spender {
    User(Uuid),
    /// Somebody who is not logged in, by [`network`].
    Network(IpAddr),
}

impl Spender {
    /// The user, or else the network of the address; `None` for a request whose sender cannot be told from others.
    pub fn of(user: Option<Uuid>, address: Option<IpAddr>) -> Option<Self> {
        user.map(Self::User).or_else(|| address.map(network).map(Self::Network))
    }
}

/// What one subscriber of a provider has to itself: an IPv4 address, or the first 64 bits of an IPv6 address, whose
/// other half everybody picks as they like.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
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
        // By recency alone: an admission policy would turn new callers away, each request with a full bucket, as long
        // as the old ones are asked for more often.
        let cache = Cache::builder().max_capacity(REMEMBERED).eviction_policy(EvictionPolicy::lru());
        let buckets = cache.time_to_idle(refill).build();
        Self { budget, buckets }
    }

    /// The bucket of this caller.
    pub fn of(&self, spender: Spender) -> Arc<dyn Charge> {
        self.buckets.get_with(spender, || Arc::new(Bucket::new(self.budget, Instant::now())))
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
        let spender = |n| Spender::User(Uuid::from_u128(n));
        budgets.of(spender(1)).charge(100).expect("a full bucket");
        assert!(budgets.of(spender(1)).charge(50).is_err(), "the same bucket");
        assert!(budgets.of(spender(2)).charge(50).is_ok(), "another bucket");
    }

    #[test]
    fn who_is_not_logged_in_spends_with_everybody_of_the_same_network() {
        let of = |address: &str| Spender::of(None, Some(address.parse().expect("an address")));
        assert_eq!(of("2001:db8::1"), of("2001:db8:0:0:ffff::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
        let user = Uuid::from_u128(1);
        assert_eq!(Spender::of(Some(user), "192.0.2.7".parse().ok()), Some(Spender::User(user)));
        assert_eq!(Spender::of(None, None), None);
    }
}
