use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use sqlx::PgConnection;
use tokio::sync::watch;
use uuid::Uuid;
use vostro_messaging::{AfterCommit, Handler, HandlerError, Incoming};

use super::events::number_of;
use super::stopwatch::Stopwatch;

/// A small effect: a row an event, in one statement a batch. Told after the commit.
#[derive(Clone)]
pub struct Effects {
    committed: watch::Sender<u64>,
    commits: Arc<AtomicU64>,
    stopwatch: Option<Arc<Stopwatch>>,
}

impl Effects {
    pub fn new(stopwatch: Option<Arc<Stopwatch>>) -> Self {
        Self { committed: watch::Sender::new(0), commits: Arc::default(), stopwatch }
    }

    /// Waits until this many effects are committed.
    pub async fn reach(&self, count: u64) {
        // The sender is ours, so it is never closed.
        let _ = self.committed.subscribe().wait_for(|committed| *committed >= count).await;
    }

    pub fn committed(&self) -> u64 {
        *self.committed.borrow()
    }

    /// How many transactions it took.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Handler for Effects {
    async fn handle_in_tx(
        &self,
        connection: &mut PgConnection,
        batch: &[Incoming],
    ) -> Result<AfterCommit, HandlerError> {
        let ids: Vec<Uuid> = batch.iter().map(|event| event.envelope.id).collect();
        let amounts: Vec<i64> = batch.iter().map(|event| event.envelope.sequence).collect();
        // Not checked when this is compiled: the table is in the benchmark's own database only.
        sqlx::query("insert into effect (event_id, amount) select * from unnest($1::uuid[], $2::bigint[])")
            .bind(&ids)
            .bind(&amounts)
            .execute(connection)
            .await?;
        let Self { committed, commits, stopwatch } = self.clone();
        Ok(Some(Box::new(move || {
            if let Some(stopwatch) = stopwatch {
                stopwatch.effected(ids.iter().map(|id| number_of(*id)));
            }
            commits.fetch_add(1, Ordering::Relaxed);
            let count = u64::try_from(ids.len()).unwrap_or(u64::MAX);
            committed.send_modify(|committed| *committed += count);
        })))
    }
}
