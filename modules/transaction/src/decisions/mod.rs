//! What becomes of a transaction whose outcome does not come.
//!
//! Time decides nothing about money: a transaction never fails because it is late, as the ledger may book it the next
//! moment. A late one is noted, reported, and asked about. Only what the ledger says ends it; what the ledger has not seen
//! is sent to it once more, which it takes for what it is if it does have it.

mod inquiry;
mod repair;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::{counter, gauge};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::domain::Status;
use crate::facade::Shared;
use crate::store::overdue;

/// Finds transactions without an outcome and gets them one. Several instances may do it side by side.
pub struct DecisionWatch {
    shared: Arc<Shared>,
    reach: Reach,
}

/// How much a turn reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Transactions looked through by one statement.
    pub page: i64,
    /// Pages in a turn that no turn has read before: what a long history costs after an upgrade is spread over many turns.
    /// Pages that are read again are not counted, or a minute with more transactions than these would hold the watch there
    /// for ever.
    pub pages: usize,
}

impl Default for Reach {
    fn default() -> Self {
        Self { page: 5_000, pages: 40 }
    }
}

impl DecisionWatch {
    /// While this many are overdue and *fresh* no more are looked for. Something is wrong in general then, and what is late
    /// because of it ends by itself when that is mended.
    const ENOUGH: i64 = 1_000;
    /// Until the ledger has been asked so often about a transaction it is fresh. One account that is stuck for hours must
    /// not use up what all others are found with, so what is old news does not count.
    const FRESH: i32 = 4;
    /// An id is older than its row, by as long as the command waited for its commit. What is younger than this is
    /// looked at again.
    const LATE_COMMIT: Duration = Duration::from_secs(60);

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        // Shown from the start: the first one ever is to be seen as an increase.
        for status in [Status::Completed, Status::Failed] {
            counter!("vostro_transactions_repaired_total", "status" => status.as_str()).increment(0);
        }
        Self { shared, reach: Reach::default() }
    }

    /// The same watch with turns of another size.
    #[must_use]
    pub fn with_reach(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// Takes a turn now and then until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                turn = self.turn() => if let Err(error) = turn {
                    debug!(%error, "overdue transactions wait for the database");
                },
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(self.shared.config.decision_check()) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Forgets what has ended, finds what is late, asks about what is due, and reports.
    ///
    /// # Errors
    /// Database faults; the next turn goes on where this one stopped. A ledger that does not answer is none.
    pub async fn turn(&self) -> sqlx::Result<()> {
        let pool = &self.shared.foundation.pool;
        let ended = overdue::forget_ended(pool).await?;
        if ended > 0 {
            info!(transactions = ended, "overdue transactions have ended");
        }
        let found = self.find().await?;
        if found > 0 {
            warn!(transactions = found, "the ledger has not decided these in time");
        }
        self.inquire().await?;
        self.report().await
    }

    /// Looks through what has become old enough since the last turn.
    async fn find(&self) -> sqlx::Result<i64> {
        let foundation = &self.shared.foundation;
        let Reach { page, pages } = self.reach;
        let now = foundation.clock.now();
        let through = first_id_at(now - self.shared.config.decision_timeout());
        let mut fresh = overdue::count_fresh(&foundation.pool, Self::FRESH).await?;
        let mut transaction = foundation.begin().await?;
        let Some(seen_through) = overdue::take_watch_in_tx(&mut transaction).await? else { return Ok(0) };
        // A clock that was set back makes ids that are older than what was looked through; they are looked at as it goes on.
        let mut cursor = before(seen_through.min(through), Self::LATE_COMMIT);
        let (mut found, mut new_pages) = (0, 0);
        while fresh < Self::ENOUGH && new_pages < pages {
            let looked = overdue::look_in_tx(&mut transaction, cursor, through, page, now).await?;
            found += looked.found;
            fresh += looked.found;
            if looked.transactions < page {
                cursor = through;
                break;
            }
            cursor = looked.last.unwrap_or(through);
            new_pages += usize::from(cursor > seen_through);
        }
        overdue::advance_watch_in_tx(&mut transaction, cursor).await?;
        transaction.commit().await?;
        Ok(found)
    }

    async fn report(&self) -> sqlx::Result<()> {
        let foundation = &self.shared.foundation;
        let overdue = overdue::standing(&foundation.pool).await?;
        let now = foundation.clock.now();
        let age = overdue.oldest.map_or(0.0, |oldest| (now - oldest).as_seconds_f64());
        let behind = behind(overdue.seen_through, now - self.shared.config.decision_timeout());
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the count is far below 2^52")]
        gauge!("vostro_transactions_overdue").set(overdue.transactions as f64);
        gauge!("vostro_transactions_overdue_oldest_seconds").set(age);
        gauge!("vostro_transactions_decision_watch_behind_seconds").set(behind.as_secs_f64());
        Ok(())
    }
}

/// The lowest UUIDv7 of an instant: every id made before it is smaller.
pub(crate) fn first_id_at(instant: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(instant.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

/// Every transaction with a lower id has ended or is known to be overdue.
pub(crate) async fn looked_through(pool: &PgPool) -> sqlx::Result<Uuid> {
    Ok(before(overdue::seen_through(pool).await?, DecisionWatch::LATE_COMMIT))
}

/// The lowest id of the instant so long before the one an id was made at.
fn before(id: Uuid, by: Duration) -> Uuid {
    let millis = (id.as_u128() >> 80).saturating_sub(by.as_millis());
    Uuid::from_u128(millis << 80)
}

/// How long before the instant it should have come to the watch is.
fn behind(seen_through: Uuid, due: DateTime<Utc>) -> Duration {
    let seen = u64::try_from(seen_through.as_u128() >> 80).unwrap_or(u64::MAX);
    let due = u64::try_from(due.timestamp_millis()).unwrap_or(0);
    Duration::from_millis(due.saturating_sub(seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_older_than_the_first_of_a_later_instant() {
        let made_at = |id: Uuid| DateTime::from_timestamp_millis(i64::try_from(id.as_u128() >> 80).expect("a time"));
        let id = Uuid::now_v7();
        let instant = made_at(id).expect("an instant");
        assert!(first_id_at(instant) < id);
        assert!(id < first_id_at(instant + chrono::TimeDelta::milliseconds(1)));
        assert_eq!(before(id, Duration::from_secs(60)), first_id_at(instant - chrono::TimeDelta::seconds(60)));
        assert_eq!(before(Uuid::nil(), Duration::from_secs(60)), Uuid::nil());
        assert_eq!(first_id_at(DateTime::<Utc>::MIN_UTC), Uuid::nil());
    }
    #[test]
    fn the_watch_is_behind_by_the_time_it_has_not_looked_through() {
        let due = Utc::now();
        let seen = |seconds| first_id_at(due + chrono::TimeDelta::seconds(seconds));
        assert_eq!(behind(seen(-90), due), Duration::from_secs(90));
        assert_eq!(behind(seen(0), due), Duration::ZERO);
        assert_eq!(behind(seen(5), due), Duration::ZERO);
    }
}
