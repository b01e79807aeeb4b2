//! Places where a test can end the process, to prove that ending there loses and doubles nothing.
//!
//! `VOSTRO_CRASH_AT=consumer.committed:3` aborts the process (no unwinding, no destructors: like a power cut) the third
//! time that point is passed. Only in builds with debug assertions; a release build has no such places.

/// After a business transaction was committed, before anything of it was published.
pub const COMMITTED: &str = "relay.before-publish";
/// After the broker confirmed, before the outbox rows are deleted.
pub const CONFIRMED: &str = "relay.confirmed";
/// After a delivery was read, before its transaction begins.
pub const DELIVERED: &str = "consumer.delivered";
/// After the effects were written, before they are committed.
pub const HANDLED: &str = "consumer.handled";
/// After the effects were committed, before the delivery is acknowledged.
pub const APPLIED: &str = "consumer.committed";
/// After events were parked, or put behind a parked key, before their delivery is acknowledged.
pub const PARKED: &str = "parking.parked";
/// After the effects of a parked event were written, before they are committed with its release.
pub const RETRIED: &str = "parking.retried";
/// After a parked event was handled and taken out.
pub const RELEASED: &str = "parking.released";
/// After scheduled events were moved into the outbox, before that is committed.
pub const DUE: &str = "schedule.due";
/// After a part of a heavy job was written, before that is committed.
pub const PART_WRITTEN: &str = "job.part-written";
/// After a part of a heavy job was committed, before anybody is told.
pub const PART_COMMITTED: &str = "job.part-committed";
/// After a page of events was applied beside a live projection.
pub const REBUILDING: &str = "rebuild.applied";
/// After everything was applied beside a live projection, before it is compared and swapped.
pub const REBUILT: &str = "rebuild.filled";
/// After the contents of a live projection were swapped, before that is committed.
pub const ADOPTED: &str = "rebuild.adopted";

/// Ends the process here if a test asked for it. `scope` is the module or subscription, so that a test can aim:
/// `VOSTRO_CRASH_AT=consumer.committed@account.postings:3`.
#[cfg(debug_assertions)]
pub fn point(name: &str, scope: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static PLAN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let plan = PLAN.get_or_init(|| {
        let text = std::env::var("VOSTRO_CRASH_AT").ok()?;
        let (place, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some((place.to_owned(), count.parse().ok()?))
    });
    let Some((place, count)) = plan else { return };
    let here = match place.split_once('@') {
        Some((wanted, wanted_scope)) => wanted == name && wanted_scope == scope,
        None => place == name,
    };
    if here && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub fn point(_name: &str, _scope: &str) {}
