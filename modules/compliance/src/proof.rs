//! The proof that nothing that was stored has been changed, removed or added since.

use std::fmt;
use std::sync::Arc;

use serde_json::json;
use sqlx::PgPool;

use crate::domain::{Break, BreakReason, ChainCheck, Hash};
use crate::store::events::{self, StoredRow};
use crate::store::head::{self, StoredHead};
use crate::store::names::{self, Names};

/// What recomputing the chain from its beginning has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditProof {
    /// How many events were found in order, from the first on.
    pub checked: i64,
    /// The first thing that is wrong; `None` when nothing is.
    pub broken: Option<Break>,
    /// Where the head says that the chain ends; 0 when it is empty or the head is gone.
    pub head_position: i64,
    /// The hash of the last event that was found in order. Whoever notes it down can later tell whether history up to
    /// `checked` was rewritten as a whole.
    pub head_hash: Hash,
}

impl AuditProof {
    /// Whether the chain holds.
    pub fn ok(&self) -> bool {
        self.broken.is_none()
    }

    /// The hash in hexadecimal.
    pub fn head_hash_hex(&self) -> String {
        hex(&self.head_hash)
    }

    /// For machines.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "ok": self.ok(),
            "checked": self.checked,
            "firstBrokenPosition": self.broken.map(|broken| broken.position),
            "reason": self.broken.map(|broken| broken.reason.as_str()),
            "headPosition": self.head_position,
            "headHash": self.head_hash_hex(),
        })
    }
}

impl fmt::Display for AuditProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.broken {
            None => write!(f, "The audit chain holds: {} events, last hash {}", self.checked, self.head_hash_hex()),
            Some(broken) => {
                write!(f, "The audit chain is BROKEN at {broken}; {} events before it are in order", self.checked)
            }
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Rows read at a time.
const PAGE: i64 = 5000;

/// Recomputes the chain from its beginning to where its head is now, and tells `progress` how many of how many events it
/// has looked at.
///
/// Events may be stored meanwhile: rows below the head do not change, so they are read in short statements and not in one
/// long snapshot, which would keep the database from clearing up behind everybody else. While one page is hashed the next
/// one is read.
pub async fn verify(pool: &PgPool, mut progress: impl FnMut(u64, u64)) -> sqlx::Result<AuditProof> {
    let Some(head) = head::read(pool).await? else {
        let broken = Some(Break { position: 0, reason: BreakReason::HeadMissing });
        return Ok(AuditProof { checked: 0, broken, head_position: 0, head_hash: ChainCheck::default().hash });
    };
    // After the head: then every row up to it has its names in here.
    let names = Arc::new(names::load(&mut *pool.acquire().await?).await?);
    let total = u64::try_from(head.position).unwrap_or(0);
    let mut check = ChainCheck::default();
    // Below every position there can be: a row put before the first one is found too.
    let mut rows = events::page(pool, i64::MIN, PAGE).await?;
    let mut broken = None;
    while broken.is_none() && rows.first().is_some_and(|row| row.position <= head.position) {
        let after = rows.last().map_or(i64::MAX, |row| row.position);
        let (head_position, names) = (head.position, Arc::clone(&names));
        let hashing = tokio::task::spawn_blocking(move || follow(check, &rows, &names, head_position));
        let (followed, following) = tokio::join!(hashing, events::page(pool, after, PAGE));
        let followed = followed.map_err(|_| sqlx::Error::WorkerCrashed)?;
        (check, broken) = followed;
        rows = following?;
        progress(u64::try_from(check.checked).unwrap_or(0), total);
    }
    let broken = match broken {
        Some(broken) => Some(broken),
        None => end(pool, &check, &head).await?,
    };
    Ok(AuditProof { checked: check.checked, broken, head_position: head.position, head_hash: check.hash })
}

/// Takes rows up to the head's position; what comes after it was stored meanwhile, or does not belong there.
fn follow(mut check: ChainCheck, rows: &[StoredRow], names: &Names, head_position: i64) -> (ChainCheck, Option<Break>) {
    for row in rows.iter().take_while(|row| row.position <= head_position) {
        if let Err(broken) = check.next(row.position, row.record(names).as_ref(), &row.hash) {
            return (check, Some(broken));
        }
    }
    (check, None)
}

/// Compares where the rows end with where the head says they do.
async fn end(pool: &PgPool, check: &ChainCheck, head: &StoredHead) -> sqlx::Result<Option<Break>> {
    if let Err(broken) = check.arrive(head.position, &head.hash) {
        return Ok(Some(broken));
    }
    let extra = |head: &StoredHead| Break { position: head.position + 1, reason: BreakReason::ExtraRow };
    // The newest row and the head as of one moment: they always move together.
    Ok(match head::read(pool).await? {
        None => Some(Break { position: head.position, reason: BreakReason::HeadMissing }),
        Some(now) if now.last_row > now.position => Some(extra(&now)),
        Some(now) if now.position < head.position => Some(extra(&now)),
        Some(_) => None,
    })
}
