use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use metrics::gauge;
use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// Whether a module's consumers may run: a row in the module's schema that every running instance looks at. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ConsumptionSwitch {
    paused: watch::Sender<bool>,
}

/// What the row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumption {
    pub paused: bool,
    pub changed_at: DateTime<Utc>,
}

impl Consumption {
    /// What the broker says is up to five seconds old, and an instance notices the switch within one. Only what it says
    /// later than this after the pause is about the time after the pause.
    const SETTLED: TimeDelta = TimeDelta::seconds(7);

    /// Whether no instance holds a delivery any more, going by what the broker says of the module's queues at `now`.
    pub fn is_drained(&self, now: DateTime<Utc>, unacknowledged: u64, consumers: u64) -> bool {
        self.paused && now >= self.changed_at + Self::SETTLED && unacknowledged == 0 && consumers == 0
    }
}

impl Default for ConsumptionSwitch {
    /// Consuming, for those whom nobody switches.
    fn default() -> Self {
        Self { paused: watch::Sender::new(false) }
    }
}

impl ConsumptionSwitch {
    const POLL: Duration = Duration::from_secs(1);

    /// Paused until [`Self::watch`] has read the row: an instance that starts must not take a message while its module is
    /// paused.
    pub fn paused_until_read() -> Self {
        Self { paused: watch::Sender::new(true) }
    }

    /// Follows the module's row until `stop` is cancelled. While the database is away the last answer holds.
    pub async fn watch(self, module: &'static str, pool: PgPool, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match Self::read(&pool).await {
                Ok(Consumption { paused, .. }) => {
                    if self.paused.send_replace(paused) != paused {
                        info!(module, paused, "consuming was switched");
                    }
                    gauge!("vostro_consumption_paused", "module" => module).set(f64::from(u8::from(paused)));
                }
                Err(error) => debug!(module, %error, "cannot see whether consuming is paused"),
            }
            tokio::select! {
                () = tokio::time::sleep(Self::POLL) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// Completes when consuming is paused.
    pub(crate) async fn paused(&self) {
        self.until(true).await;
    }

    /// Completes when consuming goes on.
    pub(crate) async fn resumed(&self) {
        self.until(false).await;
    }

    async fn until(&self, wanted: bool) {
        // The sender is this value itself, so that the channel cannot be closed while somebody waits.
        let _ = self.paused.subscribe().wait_for(|paused| *paused == wanted).await;
    }

    /// What the row says now.
    ///
    /// # Errors
    /// Database faults.
    pub async fn read(pool: &PgPool) -> sqlx::Result<Consumption> {
        sqlx::query_as!(Consumption, "select paused, changed_at from consumption").fetch_one(pool).await
    }

    /// Changes the row and says whether it was different before.
    ///
    /// # Errors
    /// Database faults.
    pub async fn set_in_tx(connection: &mut PgConnection, paused: bool, now: DateTime<Utc>) -> sqlx::Result<bool> {
        let changed =
            sqlx::query!("update consumption set paused = $1, changed_at = $2 where paused <> $1", paused, now)
                .execute(connection)
                .await?;
        Ok(changed.rows_affected() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drained_is_what_was_paused_long_enough_for_the_broker_to_have_noticed_and_holds_nothing() {
        let paused = Consumption { paused: true, changed_at: DateTime::UNIX_EPOCH };
        let later = DateTime::UNIX_EPOCH + TimeDelta::seconds(7);
        assert!(paused.is_drained(later, 0, 0));
        assert!(!paused.is_drained(later - TimeDelta::milliseconds(1), 0, 0), "the broker's counts may be older");
        assert!(!paused.is_drained(later, 1, 0));
        assert!(!paused.is_drained(later, 0, 1));
        assert!(!Consumption { paused: false, ..paused }.is_drained(later, 0, 0));
    }
}
