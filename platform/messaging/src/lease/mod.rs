//! Who does what when several instances of the bank run side by side.
//!
//! A module's relay runs on one instance, and each of its queues is consumed by one. Which one is a row in the module's
//! schema ([`LeaseKeeper`] takes, renews and hands over), valid until a moment by the database's clock. An instance that
//! was paused, or cut off, may go on with what it has lost without knowing; so every transaction that consuming begins
//! holds the row of its lease and is refused when the epoch is another ([`Fence`]). Whoever takes a lease waits for the
//! transactions that hold it: what they did is seen, and after it nothing of them comes.
//!
//! The relay cannot be fenced, as a broker knows no epochs. Two that overlap, for the moment in which one finds out that
//! it is not the one, publish twice, and every inbox expects that.

mod bell;
mod consuming;
mod fence;
mod held;
mod keeper;
mod look;
mod relaying;
mod share;
mod status;
mod store;

use std::fmt;
use std::time::Duration;

pub use consuming::consume_whenever_held;
pub use fence::Fence;
pub use held::Lease;
pub use keeper::LeaseKeeper;
pub use relaying::relay_whenever_held;
pub use status::{LeaseStatus, leases};

pub(crate) use fence::{LeaseLost, is_lost};

/// What at most one instance does at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Publishing what the module has committed.
    Relay,
    /// Consuming a queue, by its name.
    Queue(String),
}

impl fmt::Display for What {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relay => formatter.write_str("relay"),
            Self::Queue(queue) => formatter.write_str(queue),
        }
    }
}

/// How long leases last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimes {
    /// How long after its last renewal a lease may be taken by another instance.
    pub expire: Duration,
    /// How often it is renewed.
    pub renew: Duration,
}

impl LeaseTimes {
    /// Renewed three times before it would expire.
    pub const fn expiring_after(expire: Duration) -> Self {
        Self { expire, renew: Duration::from_millis(expire.as_millis() as u64 / 3) }
    }
}

impl Default for LeaseTimes {
    /// Ten seconds.
    fn default() -> Self {
        Self::expiring_after(Duration::from_secs(10))
    }
}
