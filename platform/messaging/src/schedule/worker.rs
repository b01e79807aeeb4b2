use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::fault::Pace;
use crate::{Outbox, crash};

/// Moves a module's events into the outbox when they are due. Several instances may do it side by side: each takes rows
/// that no other is taking.
pub struct ScheduleWorker {
    module: &'static str,
    pool: PgPool,
    outbox: Outbox,
}

impl ScheduleWorker {
    /// An event is published this much late at most, when everything works.
    const POLL: Duration = Duration::from_secs(1);
    /// Events that share a transaction.
    const BATCH: i64 = 500;
    /// Counting reads the table; once in a while is enough.
    const SAMPLE: Duration = Duration::from_secs(15);

    pub fn new(module: &'static str, pool: PgPool, outbox: Outbox) -> Self {
        Self { module, pool, outbox }
    }

    /// Works until `stop` is cancelled. A move that is cut off is rolled back and done again later.
    pub async fn run(self, stop: CancellationToken) {
        let (mut sampled, mut pace): (Option<Instant>, _) = (None, Pace::of(Self::POLL));
        loop {
            let moved = tokio::select! {
                moved = self.publish_due() => moved,
                () = stop.cancelled() => return,
            };
            let pause = pace.after(moved.is_ok());
            if let Err(error) = moved {
                warn!(module = self.module, %error, "scheduled events wait for the database");
            } else if sampled.is_none_or(|at| at.elapsed() >= Self::SAMPLE) && self.sample().await.is_ok() {
                sampled = Some(Instant::now());
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Moves everything that is due, the longest due first, and says how much that was.
    ///
    /// # Errors
    /// Database faults; what was moved before stays moved.
    pub async fn publish_due(&self) -> sqlx::Result<u64> {
        let mut all = 0;
        loop {
            let mut transaction = crate::begin(&self.pool).await?;
            let moved = move_due_in_tx(&mut transaction, Self::BATCH).await?;
            if moved > 0 {
                crash::point(crash::DUE, self.module);
                transaction.commit().await?;
                self.outbox.committed();
                counter!("vostro_scheduled_events_published_total", "module" => self.module).increment(moved);
            }
            all += moved;
            if moved < Self::BATCH.unsigned_abs() {
                return Ok(all);
            }
        }
    }

    /// How many wait, and how late the latest of them is.
    async fn sample(&self) -> sqlx::Result<()> {
        let waiting = sqlx::query!(
            r#"select count(*) as "events!",
                      coalesce(greatest(extract(epoch from now() - min(due_at)), 0), 0)::float8 as "overdue!"
               from scheduled_event"#
        )
        .fetch_one(&self.pool)
        .await?;
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the depth is far below 2^52")]
        gauge!("vostro_scheduled_events", "module" => self.module).set(waiting.events as f64);
        gauge!("vostro_scheduled_events_overdue_seconds", "module" => self.module).set(waiting.overdue);
        Ok(())
    }
}

/// One statement: a row leaves the schedule and enters the outbox, or neither. Rows that somebody else is moving,
/// postponing or cancelling are left to them.
async fn move_due_in_tx(connection: &mut PgConnection, limit: i64) -> sqlx::Result<u64> {
    let moved = sqlx::query!(
        "with due as materialized (
           select purpose, subject from scheduled_event where due_at <= now()
           order by due_at limit $1 for update skip locked
         ), moved as (
           delete from scheduled_event s using due where s.purpose = due.purpose and s.subject = due.subject
           returning s.*
         )
         insert into outbox (event_id, event_type, slot, aggregate_id, occurred_at, event)
         select event_id, event_type, slot, aggregate_id, due_at, event from moved order by due_at",
        limit
    )
    .execute(connection)
    .await?;
    Ok(moved.rows_affected())
}
