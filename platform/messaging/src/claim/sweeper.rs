use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::store;

/// Deletes claims when no event has referred to them for a while.
///
/// Events are redeemed within seconds, and parked ones are tried again for days. What is still parked after more time
/// than this stays blocked. If the archive has taken the event, it has it whole, and `vostro outbox republish` keeps
/// its data anew; if it is the archive that has not, the data is in no other event. So the configuration refuses less
/// than the time for which parked keys are tried again and a week for an operator to act.
pub struct ClaimSweeper {
    module: &'static str,
    pool: PgPool,
    keep: Duration,
}

impl ClaimSweeper {
    const EVERY: Duration = Duration::from_secs(10 * 60);
    const BATCH: i64 = 100;

    pub fn new(module: &'static str, pool: PgPool, keep: Duration) -> Self {
        Self { module, pool, keep }
    }

    /// Sweeps until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.sweep().await {
                warn!(module = self.module, %error, "old claims are swept later");
            }
            tokio::select! {
                () = tokio::time::sleep(Self::EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Deletes what is old enough and says how much that was. Nothing while an event as old still waits to be published.
    ///
    /// # Errors
    /// Database faults; what was deleted before stays deleted.
    pub async fn sweep(&self) -> sqlx::Result<u64> {
        let mut all = 0;
        loop {
            let deleted = store::delete_older_than(&self.pool, self.keep, Self::BATCH).await?;
            all += deleted;
            if deleted < Self::BATCH.unsigned_abs() {
                return Ok(all);
            }
        }
    }
}
