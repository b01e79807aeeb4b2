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
use metrics::gauge;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::facade::Shared;
use crate::store::overdue;

/// Finds transactions without an outcome and gets them one. Several instances may do it side by side.
pub struct DecisionWatch {
    shared: Arc<Shared>,
}

impl DecisionWatch {
    /// Transactions looked through by one statement.
    const PAGE: i64 = 5_000;
    /// Pages in a turn: what a long history costs after an upgrade is spread over many turns.
    const PAGES: usize = 40;
    /// While this many are overdue no more are looked for. Something is wrong in general then, and what is late because of
    /// it ends by itself when that is mended.
    const ENOUGH: i64 = 1_000;
    /// An id is older than its row, by as long as the command waited for its commit. What is younger than this is
    /// looked at again.
    const LATE_COMMIT: Duration = Duration::from_secs(60);

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
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
        let now = foundation.clock.now();
        let through = first_id_at(now - self.shared.config.decision_timeout());
        let mut overdue = overdue::count(&foundation.pool).await?.transactions;
        let mut transaction = foundation.pool.begin().await?;
        let Some(seen_through) = overdue::take_watch_in_tx(&mut transaction).await? else { return Ok(0) };
        let mut cursor = before(seen_through, Self::LATE_COMMIT);
        let mut found = 0;
        for _ in 0..Self::PAGES {
            if overdue >= Self::ENOUGH {
                break;
            }
            let looked = overdue::look_in_tx(&mut transaction, cursor, through, Self::PAGE, now).await?;
            found += looked.found;
            overdue += looked.found;
            cursor = looked.last.unwrap_or(cursor);
            if looked.transactions < Self::PAGE {
                break;
            }
        }
        overdue::advance_watch_in_tx(&mut transaction, cursor).await?;
        transaction.commit().await?;
        Ok(found)
    }

    async fn report(&self) -> sqlx::Result<()> {
        let foundation = &self.shared.foundation;
        let overdue = overdue::count(&foundation.pool).await?;
        let age = overdue.oldest.map_or(0.0, |oldest| (foundation.clock.now() - oldest).as_seconds_f64());
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the count is far below 2^52")]
        gauge!("vostro_transactions_overdue").set(overdue.transactions as f64);
        gauge!("vostro_transactions_overdue_oldest_seconds").set(age);
        Ok(())
    }
}

/// The lowest UUIDv7 of an instant: every id made before it is smaller.
fn first_id_at(instant: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(instant.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

/// The lowest id of the instant so long before the one an id was made at.
fn before(id: Uuid, by: Duration) -> Uuid {
    let millis = (id.as_u128() >> 80).saturating_sub(by.as_millis());
    Uuid::from_u128(millis << 80)
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
}
