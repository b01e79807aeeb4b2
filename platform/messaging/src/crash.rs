//! Places where a test can end the process, to prove that ending there loses and doubles nothing.
//!
//! `VOSTRO_CRASH_AT=consumer.committed:3` aborts the process (no unwinding, no destructors: like a power cut) the third
//! time that place is passed. Only in builds with debug assertions; a release build has no such places.
//!
//! A [`Place`] can be made nowhere but here, and each that is made is in [`ALL`]: tests that go through the list leave
//! none out, also none that is added later.

/// A place in the code, with what it is passed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    name: &'static str,
    scope: Scope,
}

/// What a place is passed for, by which a test can aim: `VOSTRO_CRASH_AT=consumer.committed@account.postings:3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A module, such as `account`.
    Module,
    /// A subscription, such as `account.postings`.
    Subscription,
    /// A subscription whose events get inbox rows: [`crate::InboxMode::Rows`].
    InboxRows,
    /// A kind of heavy job, such as `account.statements`.
    Job,
    /// A projection, such as `transaction.account_view`.
    Projection,
}

impl Place {
    /// Such as `consumer.committed`.
    pub fn name(self) -> &'static str {
        self.name
    }

    pub fn scope(self) -> Scope {
        self.scope
    }
}

macro_rules! places {
    ($($(#[$doc:meta])+ $constant:ident = $name:literal for $scope:ident;)+) => {
        $($(#[$doc])+ pub const $constant: Place = Place { name: $name, scope: Scope::$scope };)+

        /// Every place there is.
        pub const ALL: &[Place] = &[$($constant),+];
    };
}

places! {
    /// After a state change was written, before its events are.
    WRITTEN = "outbox.before-append" for Module;
    /// After a business transaction was committed, before anything of it was published.
    COMMITTED = "relay.before-publish" for Module;
    /// Before a message is written to the broker: those of its window before it are on their way, the rest is not.
    SENDING = "relay.sending" for Module;
    /// After the broker confirmed, before the outbox rows are deleted.
    CONFIRMED = "relay.confirmed" for Module;
    /// After confirmed rows were deleted, before anything else is done.
    DELETED = "relay.deleted" for Module;
    /// After a delivery was read, before its transaction begins.
    DELIVERED = "consumer.delivered" for Subscription;
    /// After the inbox rows were written, before the effects are.
    CLAIMED = "consumer.claimed" for InboxRows;
    /// After the effects were written, before they are committed.
    HANDLED = "consumer.handled" for Subscription;
    /// After the effects were committed, before the delivery is acknowledged and the relay woken.
    APPLIED = "consumer.committed" for Subscription;
    /// After the delivery was acknowledged, before the broker can be known to have heard it.
    ACKNOWLEDGED = "consumer.acknowledged" for Subscription;
    /// After events were parked, or put behind a parked key, before their delivery is acknowledged.
    PARKED = "parking.parked" for Subscription;
    /// After the effects of a parked event were written, before they are committed with its release.
    RETRIED = "parking.retried" for Subscription;
    /// After a parked event was handled and taken out.
    RELEASED = "parking.released" for Subscription;
    /// After an operator's decision about parked messages was carried out, before it is committed with its record.
    DECIDED = "parking.decided" for Module;
    /// After a dead letter was quarantined, before it is acknowledged.
    DRAINED = "parking.drained" for Subscription;
    /// After scheduled events were moved into the outbox, before that is committed.
    DUE = "schedule.due" for Module;
    /// After a part of a heavy job was written, before that is committed.
    PART_WRITTEN = "job.part-written" for Job;
    /// After a part of a heavy job was committed, before anybody is told.
    PART_COMMITTED = "job.part-committed" for Job;
    /// After a page of events from the archive was put into the outbox once more, before that is committed.
    REPUBLISHING = "republish.appended" for Module;
    /// After a page of events was applied beside a live projection.
    REBUILDING = "rebuild.applied" for Projection;
    /// After everything was applied beside a live projection, before it is compared and swapped.
    REBUILT = "rebuild.filled" for Projection;
    /// After the contents of a live projection were swapped, before that is committed.
    ADOPTED = "rebuild.adopted" for Projection;
}

/// Ends the process here if a test asked for it. `scope` names what the place is passed for, see [`Scope`].
#[cfg(debug_assertions)]
pub fn point(place: Place, scope: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static PLAN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let plan = PLAN.get_or_init(|| {
        let text = std::env::var("VOSTRO_CRASH_AT").ok()?;
        let (place, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some((place.to_owned(), count.parse().ok()?))
    });
    let Some((wanted, count)) = plan else { return };
    let here = match wanted.split_once('@') {
        Some((name, wanted_scope)) => name == place.name && wanted_scope == scope,
        None => wanted == place.name,
    };
    if here && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub fn point(_place: Place, _scope: &str) {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_places_share_a_name() {
        let names: HashSet<_> = ALL.iter().map(|place| place.name()).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
