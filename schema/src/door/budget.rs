//! Who may spend how much: a bucket of points per caller, refilled all the time, and in it one for each of the caller's
//! clients.
//!
//! An operation is paid from both. The caller's bucket bounds what all their clients spend together, so that another name
//! is no other budget; the client's leaves something for the others when one of them spends all it can.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use uuid::Uuid;

use super::clients::Client;
use crate::stitch::{self, Charge, Shortage, Throttle};

/// The size of everybody's bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Points a caller can spend at once.
    pub maximum: u32,
    /// Points that come back per second.
    pub restore_per_second: u32,
}

/// Whose bucket it is.
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
    /// What each client of a caller may spend of it.
    share: Option<Budget>,
    buckets: Cache<Spender, Arc<Bucket>>,
}

impl Budgets {
    pub fn new(budget: Budget) -> Self {
        Self { budget, share: None, buckets: buckets(budget.refill()) }
    }

    /// Lets each client spend no more than its share of what its caller has.
    pub fn of_which_each_client(self, share: Option<Budget>) -> Self {
        let refill = share.map_or(Duration::ZERO, Budget::refill).max(self.budget.refill());
        Self { share, buckets: buckets(refill), ..self }
    }

    /// The bucket of this caller.
    pub fn of(&self, spender: Spender) -> Arc<dyn Charge> {
        self.bucket(spender)
    }

    /// What this caller may spend with this client.
    pub fn of_client(&self, spender: Spender, client: Client) -> Arc<dyn Charge> {
        let bucket = self.bucket(spender);
        match self.share {
            Some(budget) => Arc::new(Paying { bucket, share: Share { client, budget } }),
            None => bucket,
        }
    }

    fn bucket(&self, spender: Spender) -> Arc<Bucket> {
        self.buckets.get_with(spender, || Arc::new(Bucket::new(self.budget, Instant::now())))
    }
}

fn buckets(refill: Duration) -> Cache<Spender, Arc<Bucket>> {
    // By recency alone: an admission policy would turn new callers away, each request with a full bucket, as long
    // as the old ones are asked for more often.
    let cache = Cache::builder().max_capacity(REMEMBERED).eviction_policy(EvictionPolicy::lru());
    cache.time_to_idle(refill).build()
}

impl Budget {
    /// How long an empty bucket takes to be full.
    fn refill(self) -> Duration {
        Duration::from_secs(u64::from(self.maximum / self.restore_per_second.max(1)) + 1)
    }
}

/// One caller's points.
struct Bucket {
    budget: Budget,
    levels: Mutex<Levels>,
}

struct Levels {
    caller: Level,
    /// Of the clients the caller has used: no more than the bank knows.
    clients: Vec<(Client, Level)>,
}

/// In thousandths of a point, so that a refill of a millisecond is not lost.
#[derive(Clone, Copy)]
struct Level {
    millipoints: u64,
    at: Instant,
}

const MILLI: u64 = 1_000;

impl Level {
    fn full(budget: Budget, now: Instant) -> Self {
        Self { millipoints: u64::from(budget.maximum) * MILLI, at: now }
    }

    fn refill(&mut self, budget: Budget, now: Instant) {
        let passed = u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        // A point per second is a thousandth of a point per millisecond.
        let refill = passed.saturating_mul(u64::from(budget.restore_per_second));
        if refill > 0 {
            self.add(refill, budget);
            self.at = now;
        }
    }

    fn add(&mut self, millipoints: u64, budget: Budget) {
        self.millipoints = self.millipoints.saturating_add(millipoints).min(u64::from(budget.maximum) * MILLI);
    }
}

/// A bucket in use.
struct Pot<'a> {
    whose: stitch::Bucket,
    budget: Budget,
    level: &'a mut Level,
}

impl Pot<'_> {
    /// How long until so much is in it.
    fn wait(&self, millipoints: u64) -> Duration {
        let missing = millipoints.saturating_sub(self.level.millipoints);
        Duration::from_millis(missing.div_ceil(u64::from(self.budget.restore_per_second.max(1))))
    }

    fn throttle(&self) -> Throttle {
        Throttle {
            bucket: self.whose,
            maximum_available: self.budget.maximum,
            currently_available: u32::try_from(self.level.millipoints / MILLI).unwrap_or(u32::MAX),
            restore_rate: self.budget.restore_per_second,
        }
    }
}

/// What an operation is paid from.
struct Pots<'a> {
    caller: Pot<'a>,
    client: Option<Pot<'a>>,
}

impl<'a> Pots<'a> {
    fn each(&mut self) -> impl Iterator<Item = &mut Pot<'a>> {
        std::iter::once(&mut self.caller).chain(&mut self.client)
    }

    /// The one that limits.
    fn least(&self) -> &Pot<'a> {
        let client = self.client.as_ref();
        client.filter(|client| client.level.millipoints < self.caller.level.millipoints).unwrap_or(&self.caller)
    }
}

impl Levels {
    /// Those of the caller and of the client, as they are now.
    fn refilled(&mut self, budget: Budget, share: Option<Share>, now: Instant) -> Pots<'_> {
        let level = &mut self.caller;
        level.refill(budget, now);
        let caller = Pot { whose: stitch::Bucket::Caller, budget, level };
        let client = share.map(|Share { client, budget }| {
            let known = self.clients.iter().position(|(known, _)| *known == client);
            let place = known.unwrap_or_else(|| {
                self.clients.push((client, Level::full(budget, now)));
                self.clients.len() - 1
            });
            let (_, level) = &mut self.clients[place];
            level.refill(budget, now);
            Pot { whose: stitch::Bucket::Client, budget, level }
        });
        Pots { caller, client }
    }
}

/// The part of a caller's points a client may spend.
#[derive(Clone, Copy)]
struct Share {
    client: Client,
    budget: Budget,
}

impl Bucket {
    fn new(budget: Budget, now: Instant) -> Self {
        let levels = Levels { caller: Level::full(budget, now), clients: Vec::new() };
        Self { budget, levels: Mutex::new(levels) }
    }

    fn charge_at(&self, share: Option<Share>, points: u32, now: Instant) -> Result<(), Shortage> {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pots = levels.refilled(self.budget, share, now);
        let wanted = u64::from(points) * MILLI;
        // Until there is enough in both.
        let wait = pots.each().map(|pot| pot.wait(wanted)).max().unwrap_or_default();
        if !wait.is_zero() {
            return Err(Shortage { bucket: pots.least().whose, wait });
        }
        pots.each().for_each(|pot| pot.level.millipoints -= wanted);
        Ok(())
    }

    fn settle_at(&self, share: Option<Share>, refund: u32, now: Instant) -> Throttle {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pots = levels.refilled(self.budget, share, now);
        pots.each().for_each(|pot| pot.level.add(u64::from(refund) * MILLI, pot.budget));
        pots.least().throttle()
    }
}

impl Charge for Bucket {
    fn charge(&self, points: u32) -> Result<(), Shortage> {
        self.charge_at(None, points, Instant::now())
    }

    fn settle(&self, refund: u32) -> Throttle {
        self.settle_at(None, refund, Instant::now())
    }
}

/// A caller who pays with a client.
struct Paying {
    bucket: Arc<Bucket>,
    share: Share,
}

impl Charge for Paying {
    fn charge(&self, points: u32) -> Result<(), Shortage> {
        self.bucket.charge_at(Some(self.share), points, Instant::now())
    }

    fn settle(&self, refund: u32) -> Throttle {
        self.bucket.settle_at(Some(self.share), refund, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::clients::KnownClients;

    const SMALL: Budget = Budget { maximum: 100, restore_per_second: 10 };

    const HALF: Budget = Budget { maximum: 60, restore_per_second: 5 };

    fn share(client: Client) -> Option<Share> {
        Some(Share { client, budget: HALF })
    }

    /// Two clients the bank knows.
    fn clients() -> [Client; 2] {
        let mut known = KnownClients::default();
        [known.add("app"), known.add("web")]
    }

    const fn short(bucket: stitch::Bucket, millis: u64) -> Result<(), Shortage> {
        Err(Shortage { bucket, wait: Duration::from_millis(millis) })
    }

    #[test]
    fn points_run_out_and_come_back() {
        let start = Instant::now();
        let bucket = Bucket::new(SMALL, start);
        assert_eq!(bucket.charge_at(None, 100, start), Ok(()));
        assert_eq!(bucket.charge_at(None, 5, start), short(stitch::Bucket::Caller, 500));
        let later = start + Duration::from_millis(500);
        assert_eq!(bucket.charge_at(None, 5, later), Ok(()));
        assert_eq!(bucket.settle_at(None, 3, later).currently_available, 3);
        let much_later = later + Duration::from_secs(3_600);
        assert_eq!(bucket.settle_at(None, 0, much_later).currently_available, 100, "no more than the bucket holds");
    }

    #[test]
    fn a_client_that_has_spent_its_share_leaves_the_rest_to_the_others() {
        let now = Instant::now();
        let bucket = Bucket::new(SMALL, now);
        let [app, web] = clients();
        assert_eq!(bucket.charge_at(share(app), 60, now), Ok(()));
        assert_eq!(bucket.charge_at(share(app), 10, now), short(stitch::Bucket::Client, 2_000));
        assert_eq!(bucket.charge_at(share(web), 40, now), Ok(()));
        assert_eq!(
            bucket.charge_at(share(web), 10, now),
            short(stitch::Bucket::Caller, 1_000),
            "within the caller's own"
        );
        let later = now + Duration::from_secs(1);
        assert_eq!(bucket.charge_at(share(web), 10, later), Ok(()));
    }

    #[test]
    fn what_is_refused_by_one_bucket_is_taken_from_neither() {
        let now = Instant::now();
        let bucket = Bucket::new(SMALL, now);
        let [app, web] = clients();
        assert!(bucket.charge_at(share(app), 61, now).is_err());
        assert!(bucket.charge_at(share(web), 101, now).is_err());
        assert_eq!(bucket.settle_at(None, 0, now).currently_available, 100);
        assert_eq!(bucket.settle_at(share(app), 0, now).currently_available, 60);
    }

    #[test]
    fn who_asks_is_told_the_bucket_with_the_least_in_it() {
        let now = Instant::now();
        let bucket = Bucket::new(SMALL, now);
        let [app, web] = clients();
        let told = |client| {
            let throttle = bucket.settle_at(share(client), 0, now);
            (throttle.bucket, throttle.maximum_available, throttle.currently_available, throttle.restore_rate)
        };
        assert_eq!(told(app), (stitch::Bucket::Client, 60, 60, 5));
        bucket.charge_at(share(app), 50, now).expect("a full bucket");
        assert_eq!(told(app), (stitch::Bucket::Client, 60, 10, 5));
        assert_eq!(told(web), (stitch::Bucket::Caller, 100, 50, 10));
        bucket.settle_at(share(app), 30, now);
        assert_eq!(told(app), (stitch::Bucket::Client, 60, 40, 5), "what was not needed is paid back to both");
        assert_eq!(told(web), (stitch::Bucket::Client, 60, 60, 5));
    }

    #[test]
    fn a_bucket_knows_no_more_clients_than_the_bank() {
        let now = Instant::now();
        let bucket = Bucket::new(SMALL, now);
        let [app, web] = clients();
        for client in [app, web, Client::UNNAMED, app, Client::UNNAMED] {
            bucket.settle_at(share(client), 0, now);
        }
        assert_eq!(bucket.levels.lock().expect("not poisoned").clients.len(), 3);
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
