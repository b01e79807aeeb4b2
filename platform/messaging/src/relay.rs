use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use futures::FutureExt as _;
use metrics::{counter, gauge, histogram};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::fault::jitter;
use crate::read_ids::ReadIds;
use crate::trace::Publishing;
use crate::{Frame, Outbox, OutboxRow, Partitions, PublishError, Publisher, PublishingHold, crash, frames};

/// Publishes what a module has committed, until the broker has confirmed it.
///
/// One relay per module keeps the order of every aggregate. Rows are read in windows; a window is published as frames
/// whose confirms are awaited together. Reading writes nothing, so it waits for no disk; confirmed rows are deleted a
/// moment later, many windows at once. After a failure everything from the first failed frame on is published again:
/// duplicates are the price of losing nothing, and every inbox expects them.
#[derive(Clone)]
pub struct Relay {
    module: &'static str,
    pool: PgPool,
    outbox: Outbox,
    publisher: Arc<dyn Publisher>,
    linger: Duration,
    lanes: i16,
    hold: PublishingHold,
    /// Rows with smaller ids are deleted, except such that were committed late and are published at once.
    cleared: Arc<AtomicI64>,
}

/// Something kept the relay from publishing; the rows are still there.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the outbox cannot be read or cleared: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("the broker lacks what events travel through, and some would reach nobody")]
    Held,
}

impl Relay {
    /// Rows in a window.
    const ROWS: i64 = 1000;
    /// How often everything is looked at again, in case a row was overlooked; the ids that were passed over are followed
    /// all the time.
    const SWEEP: Duration = Duration::from_secs(10);
    const POLL: Duration = Duration::from_millis(250);
    /// How long confirmed rows may stay. Deleting waits for the disk, so it is done for many windows at once and beside the
    /// publishing; a relay that crashes publishes what it has not deleted once more.
    const TIDY: Duration = Duration::from_millis(100);
    const SAMPLE: Duration = Duration::from_secs(2);

    /// `linger` is how long events may wait for company, see [`crate::Manifest::publish_linger`]; `partitions` is into how
    /// many queues subscriptions are divided.
    pub fn new(
        module: &'static str,
        pool: PgPool,
        outbox: Outbox,
        publisher: Arc<dyn Publisher>,
        linger: Duration,
        partitions: Partitions,
    ) -> Self {
        let hold = PublishingHold::default();
        Self { module, pool, outbox, publisher, linger, lanes: partitions.lanes(), hold, cleared: Arc::default() }
    }

    /// Publishes nothing while this hold is set.
    #[must_use]
    pub fn under(self, hold: PublishingHold) -> Self {
        Self { hold, ..self }
    }

    /// Publishes until `stop` is cancelled, then until the outbox is empty or cannot be emptied.
    pub async fn run(self, stop: CancellationToken) {
        let sampling = self.sample_until(stop.clone());
        let publishing = async {
            let mut pause = Duration::from_millis(100);
            let mut read = ReadIds::default();
            loop {
                let started = Instant::now();
                read.start_again();
                match self.publish_until(&stop, &mut read).await {
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
                if !self.hold.lifted(&stop).await {
                    warn!(module = self.module, "stopped with events left in the outbox");
                    return;
                }
            }
        };
        tokio::join!(sampling, publishing);
    }

    /// Whatever ends it, what the broker has confirmed is deleted.
    async fn publish_until(&self, stop: &CancellationToken, read: &mut ReadIds) -> Result<(), RelayError> {
        let mut confirmed = Vec::new();
        let ended = self.publish_windows(stop, read, &mut confirmed).await;
        let deleted = self.delete(&confirmed).await;
        ended?;
        Ok(deleted?)
    }

    /// Reads and publishes windows; `confirmed` are the rows that the broker has confirmed and that are still there. They
    /// are deleted while a later window is on its way.
    async fn publish_windows(
        &self,
        stop: &CancellationToken,
        read: &mut ReadIds,
        confirmed: &mut Vec<i64>,
    ) -> Result<(), RelayError> {
        let mut tidied = Instant::now();
        let mut swept = Instant::now();
        self.cleared.store(0, Ordering::Relaxed);
        loop {
            if self.hold.is_set() {
                return Err(RelayError::Held);
            }
            let rows = if swept.elapsed() < Self::SWEEP {
                Outbox::waiting(&self.pool, read.newest(), &read.gaps(), Self::ROWS).await?
            } else {
                swept = Instant::now();
                self.delete(&std::mem::take(confirmed)).await?;
                Outbox::waiting(&self.pool, 0, &[], Self::ROWS).await?
            };
            read.note(rows.iter().map(|row| row.id));
            gauge!("vostro_relay_blocked", "module" => self.module).set(0.0);
            let (empty, full) = (rows.is_empty(), i64::try_from(rows.len()) == Ok(Self::ROWS));
            if empty && stop.is_cancelled() {
                info!(module = self.module, "the outbox is empty");
                return Ok(());
            }
            let mut gone = Vec::new();
            if tidied.elapsed() >= Self::TIDY {
                tidied = Instant::now();
                gone = std::mem::take(confirmed);
            }
            let (published, deleted) = tokio::join!(self.publish(rows, confirmed), self.delete(&gone));
            published?;
            deleted?;
            let left = confirmed.iter().min().copied();
            self.cleared.store(left.unwrap_or(read.newest() + 1), Ordering::Relaxed);
            if !full {
                self.wait_for_more(if confirmed.is_empty() { Self::POLL } else { Self::TIDY }, stop).await;
            }
        }
    }

    /// Until something is committed, and then a little longer so that what comes with it is published together.
    async fn wait_for_more(&self, at_most: Duration, stop: &CancellationToken) {
        if self.outbox.woken().now_or_never().is_some() {
            return;
        }
        tokio::select! {
            () = self.outbox.woken() => tokio::time::sleep(self.linger).await,
            () = tokio::time::sleep(at_most) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Publishes a window and adds the rows that the broker has then confirmed, up to the first it has not.
    async fn publish(&self, rows: Vec<OutboxRow>, confirmed: &mut Vec<i64>) -> Result<(), RelayError> {
        if rows.is_empty() {
            return Ok(());
        }
        crash::point(crash::COMMITTED, self.module);
        let frames = frames(self.module, self.lanes, rows);
        self.observe(&frames);
        let windows: Vec<Vec<i64>> = frames.iter().map(|frame| frame.rows.clone()).collect();
        let mut steps = Publishing::begin(&frames);
        let sent = Instant::now();
        let results = self.publisher.send(frames).await?.await;
        crash::point(crash::CONFIRMED, self.module);
        histogram!("vostro_publish_confirm_seconds", "module" => self.module).record(sent.elapsed());
        results.iter().enumerate().for_each(|(nth, result)| steps.end(nth, result));
        for (result, rows) in results.into_iter().zip(windows) {
            result?;
            confirmed.extend(rows);
        }
        Ok(())
    }

    async fn delete(&self, confirmed: &[i64]) -> sqlx::Result<()> {
        Outbox::delete(&self.pool, confirmed).await?;
        if !confirmed.is_empty() {
            crash::point(crash::DELETED, self.module);
        }
        Ok(())
    }

    fn observe(&self, frames: &[Frame]) {
        let now = Utc::now();
        for frame in frames {
            let lag = (now - frame.occurred_at).to_std().unwrap_or_default();
            histogram!("vostro_publish_lag_seconds", "module" => self.module).record(lag);
            let events = u64::try_from(frame.events.len()).unwrap_or(u64::MAX);
            counter!("vostro_published_total", "module" => self.module, "type" => frame.event_type.clone())
                .increment(events);
            counter!("vostro_published_messages_total", "module" => self.module).increment(1);
        }
    }

    /// Depth and age of the outbox as metrics, so that an operator sees a stuck relay before customers do.
    async fn sample_until(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Ok(status) = Outbox::status_from(&self.pool, self.cleared.load(Ordering::Relaxed)).await {
                let age = status.oldest.map_or(0.0, |oldest| (Utc::now() - oldest).as_seconds_f64());
                #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the depth is far below 2^52")]
                gauge!("vostro_outbox_rows", "module" => self.module).set(status.rows as f64);
                gauge!("vostro_outbox_oldest_age_seconds", "module" => self.module).set(age);
            }
            tokio::select! {
                () = tokio::time::sleep(Self::SAMPLE) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
