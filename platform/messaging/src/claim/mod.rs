//! Claim check: data that is too large to travel stays with its module, and the event carries its digest.
//!
//! - The publisher's side is within [`crate::Outbox`]: data of the events that the manifest names, beyond
//!   [`crate::Outbox::claiming`], is written to the module's own
//!   `claim` table, in the transaction of the event. The event travels with `null` for data and a
//!   [`DataRef`](vostro_events::DataRef).
//! - [`ClaimDesk`] answers questions for it ([`crate::rpc`]); whose questions follows from the manifests. No module reads
//!   another's tables.
//! - [`Redeeming`] stands before a handler and puts the data where the event wants it, before the transaction begins. The
//!   handler never sees that it did not travel, and the archive keeps it whole.
//! - [`ClaimSweeper`] deletes what nobody will ask for any more.

mod desk;
mod redeeming;
mod store;
mod sweeper;

use aws_lc_rs::digest::{SHA256, digest};

pub use desk::ClaimDesk;
pub use redeeming::Redeeming;
pub(crate) use store::keep_in_tx;
pub use sweeper::ClaimSweeper;

/// Data of an event is never larger, in bytes: a subscriber has it in memory as a whole.
pub const CLAIMED_BYTES: usize = 16 * 1024 * 1024;

/// Whether questions of this type are for claims: `<module>.claim.v1`.
pub(crate) fn is_claim(query: &str) -> bool {
    query.ends_with(".claim.v1")
}

pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, data).as_ref());
    bytes
}
