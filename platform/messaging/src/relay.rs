use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use metrics::{counter, gauge, histogram};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::dead_letter;
use crate::fault::jitter;
use crate::{Frame, Outbox, PublishError, Publisher, crash, frames};

/// Publishes what a module has committed, until the broker has confirmed it.
///
/// One relay per module keeps the order of every aggregate. Rows are read in windows; a window is published as frames,
/// and up to [`Self::WINDOWS`] of them wait for their confirms at a time. A confirmed window is deleted with one
/// statement. After a failure everything from the first failed frame on is published again: duplicates are the price
/// of losing nothing, and every inbox expects them.
pub struct Relay {
    module: &'static str,
    pool: PgPool,
    outbox: Outbox,
    publisher: Arc<dyn Publisher>,
    linger: Duration,
}

/// A window whose confirms are awaited: its frames' rows and what became of each frame.
struct Published {
    frames: Vec<Vec<i64>>,
    results: Vec<Result<(), PublishError>>,
    sent: Instant,
}

type InFlight = FuturesOrdered<BoxFuture<'static, Published>>;

/// Something kept the relay from publishing; the rows are still there.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the outbox cannot be read or cleared: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Relay {
    /// Windows that may wait for confirms at the same time.
    const WINDOWS: usize = 1;
    /// Rows in a window.
    const ROWS: i64 = 1000;
    /// A transaction that took its row ids long ago and commits only now has rows far below the others. They are looked
    /// for with every sweep; the rest of the time the search starts this far below the newest id, to stay clear of the
    /// dead index entries of deleted rows.
    const LATECOMERS: i64 = 2_000;
    const SWEEP: Duration = Duration::from_secs(1);
    const POLL: Duration = Duration::from_millis(250);
    const SAMPLE: Duration = Duration::from_secs(2);

    /// `linger` is how long events may wait for company, see [`crate::Manifest::publish_linger`].
    pub fn new(
        module: &'static str,
        pool: PgPool,
        outbox: Outbox,
        publisher: Arc<dyn Publisher>,
        linger: Duration,
    ) -> Self {
        Self { module, pool, outbox, publisher, linger }
    }

    /// Publishes until `stop` is cancelled, then until the outbox is empty or cannot be emptied.
    pub async fn run(self, stop: CancellationToken) {
        let sampling = self.sample_until(stop.clone());
        let publishing = async {
            let mut pause = Duration::from_millis(100);
            loop {
                let started = Instant::now();
                match self.publish_until(&stop).await {
                    Ok(()) => return,
                    Err(error) if stop.is_cancelled() => {
                        warn!(module = self.module, %error, "stopped with events left in the outbox");
                        return;
                    }
                    Err(error) => {
                        gauge!("vostro_relay_blocked", "module" => self.module).set(1.0);
                        warn!(module = self.module, %error, "publishing is interrupted and will be tried again");
                    }
                }
                if started.elapsed() > Duration::from_secs(10) {
                    pause = Duration::from_millis(100);
                }
                tokio::time::sleep(jitter(pause)).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        };
        tokio::join!(sampling, publishing);
    }

    async fn publish_until(&self, stop: &CancellationToken) -> Result<(), RelayError> {
        let mut in_flight = InFlight::new();
        let mut in_flight_rows: Vec<i64> = Vec::new();
        let mut newest = 0;
        let mut swept: Option<Instant> = None;
        loop {
            let mut caught_up = false;
            while in_flight.len() < Self::WINDOWS && !caught_up {
                let sweep = swept.is_none_or(|at| at.elapsed() >= Self::SWEEP);
                let floor = if sweep { 0 } else { newest - Self::LATECOMERS };
                let rows = Outbox::waiting(&self.pool, floor, &in_flight_rows, Self::ROWS).await?;
                if sweep {
                    swept = Some(Instant::now());
                }
                caught_up = rows.is_empty();
                if let Some(last) = rows.last() {
                    newest = newest.max(last.id);
                    in_flight_rows.extend(rows.iter().map(|row| row.id));
                    crash::point(crash::COMMITTED, self.module);
                    in_flight.push_back(self.send(frames(self.module, rows)).await?);
                }
            }
            if in_flight.is_empty() {
                gauge!("vostro_relay_blocked", "module" => self.module).set(0.0);
                if stop.is_cancelled() {
                    info!(module = self.module, "the outbox is empty");
                    return Ok(());
                }
                tokio::select! {
                    () = self.outbox.woken() => {}
                    () = tokio::time::sleep(Self::POLL) => {}
                    () = stop.cancelled() => {}
                }
                if !self.linger.is_zero() {
                    tokio::time::sleep(self.linger).await;
                }
                continue;
            }
            tokio::select! {
                Some(published) = in_flight.next() => {
                    let window: Vec<i64> = published.frames.iter().flatten().copied().collect();
                    self.settle(published).await?;
                    in_flight_rows.retain(|row| !window.contains(row));
                }
                () = self.outbox.woken(), if in_flight.len() < Self::WINDOWS => {}
            }
        }
    }

    async fn send(&self, frames: Vec<Frame>) -> Result<BoxFuture<'static, Published>, PublishError> {
        let rows: Vec<Vec<i64>> = frames.iter().map(|frame| frame.rows.clone()).collect();
        let now = Utc::now();
        for frame in &frames {
            let lag = (now - frame.occurred_at).to_std().unwrap_or_default();
            histogram!("vostro_publish_lag_seconds", "module" => self.module).record(lag);
            let events = u64::try_from(frame.events.len()).unwrap_or(u64::MAX);
            counter!("vostro_published_total", "module" => self.module, "type" => frame.event_type.clone())
                .increment(events);
        }
        let sent = Instant::now();
        let confirms = self.publisher.send(frames).await?;
        Ok(Box::pin(async move { Published { frames: rows, results: confirms.await, sent } }))
    }

    /// Deletes the rows of every frame before the first failure.
    async fn settle(&self, published: Published) -> Result<(), RelayError> {
        crash::point(crash::CONFIRMED, self.module);
        histogram!("vostro_publish_confirm_seconds", "module" => self.module).record(published.sent.elapsed());
        let confirmed = published.results.iter().take_while(|result| result.is_ok()).count();
        let rows = published.frames.iter().take(confirmed).flatten().copied().collect::<Vec<_>>();
        if !rows.is_empty() {
            Outbox::delete(&self.pool, &rows).await?;
        }
        match published.results.into_iter().nth(confirmed) {
            Some(Err(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Depth and age of the outbox and the number of dead letters as metrics, so that an operator sees a stuck relay
    /// before customers do.
    async fn sample_until(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Ok(status) = Outbox::status(&self.pool).await {
                let age = status.oldest.map_or(0.0, |oldest| (Utc::now() - oldest).as_seconds_f64());
                #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the depth is far below 2^52")]
                gauge!("vostro_outbox_rows", "module" => self.module).set(status.rows as f64);
                gauge!("vostro_outbox_oldest_age_seconds", "module" => self.module).set(age);
            }
            if let Ok(letters) = dead_letter::count(&self.pool).await {
                #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the number is far below 2^52")]
                gauge!("vostro_dead_letters", "module" => self.module).set(letters as f64);
            }
            tokio::select! {
                () = tokio::time::sleep(Self::SAMPLE) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
