use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use vostro_messaging::{Foundation, NewEvent, Partitions, Relay};

use super::effects::Effects;
use super::events::{Events, Layout};
use super::ground::{Ground, METER};
use super::stopwatch::{Latencies, Stopwatch, Timed};
use super::throughput::{Consuming, Rate};
use crate::demo::bar;

/// What was measured at one load.
pub struct AtLoad {
    /// Of the maximum.
    pub percent: u64,
    /// As it was asked for and kept up.
    pub wanted_per_second: u64,
    pub rate: Rate,
    pub latencies: Latencies,
}

/// Not counted at the beginning of each part.
const WARM_UP: Duration = Duration::from_secs(1);
/// Each of the producers commits this often: two hundred commits a second together, as the bank's groups of commands.
const TICK: Duration = Duration::from_millis(10);
const PRODUCERS: u64 = 2;
/// As the ledger's subscription has it.
const BATCH: usize = 500;
const LINGER: Duration = Duration::from_millis(4);
/// So many events may be on their way while the maximum is measured.
const UNDER_WAY: u64 = 4000;

/// Events a second that go all the way (commit, relay, queue, consumer, commit) when as many as possible are committed.
pub async fn maximum(ground: &Ground, seconds: u64, bytes: usize) -> anyhow::Result<Rate> {
    let pipeline = Pipeline::start(ground, None)?;
    let mut events = Events::new(bytes, Layout::Company);
    let progress = bar("Commit to effect, the maximum", usize::try_from(seconds)?);
    let begin = Instant::now() + WARM_UP;
    let end = begin + Duration::from_secs(seconds);
    let mut before = 0;
    let mut measuring = false;
    while Instant::now() < end {
        if !measuring && Instant::now() >= begin {
            (measuring, before) = (true, pipeline.effects.committed());
        }
        progress.set_position(Instant::now().saturating_duration_since(begin).as_secs());
        commit(&pipeline.meter, events.take(250)).await?;
        // As many as can be taken, and no backlog that would only be waited for.
        let enough = events.made().saturating_sub(UNDER_WAY);
        if tokio::time::timeout(Duration::from_secs(60), pipeline.effects.reach(enough)).await.is_err() {
            anyhow::bail!("effects have stopped at {} of {enough}", pipeline.effects.committed());
        }
    }
    let (effects, took) = (pipeline.effects.committed() - before, begin.elapsed());
    pipeline.finish(events.made()).await?;
    progress.finish();
    ground.fresh_queues().await?;
    Ok(Rate { events: effects, messages: 0, took })
}

/// Latencies while events are committed at a fixed rate.
pub async fn at_load(
    ground: &Ground,
    percent: u64,
    maximum: u64,
    seconds: u64,
    bytes: usize,
) -> anyhow::Result<AtLoad> {
    let wanted_per_second = (maximum * percent / 100).max(1);
    let duration = WARM_UP + Duration::from_secs(seconds);
    // A quarter more than there can be.
    let stopwatch = Stopwatch::new(wanted_per_second * (duration.as_secs() + 1) * 5 / 4 + 1000);
    let pipeline = Pipeline::start(ground, Some(Arc::clone(&stopwatch)))?;
    let progress = bar(&format!("Commit to effect at {percent} %"), usize::try_from(duration.as_secs())?);
    let events = Arc::new(tokio::sync::Mutex::new(Events::new(bytes, Layout::Company)));
    let mut producers = JoinSet::new();
    let started = Instant::now();
    let committed = Arc::new(AtomicU64::new(0));
    for producer in 0..PRODUCERS {
        let (meter, events, stopwatch) = (pipeline.meter.clone(), Arc::clone(&events), Arc::clone(&stopwatch));
        let committed = Arc::clone(&committed);
        let mut due = started + TICK * u32::try_from(producer)? / u32::try_from(PRODUCERS)?;
        producers.spawn(async move {
            let mut owed = 0;
            while due < started + duration {
                sleep_until(due).await;
                due += TICK;
                // In thousandths, so that no rate is rounded away.
                owed += wanted_per_second * u64::try_from(TICK.as_millis()).unwrap_or(1) / PRODUCERS;
                let count = owed / 1000;
                owed %= 1000;
                if count > 0 {
                    let (batch, numbers) = {
                        let mut events = events.lock().await;
                        let first = events.made();
                        (events.take(count), first..first + count)
                    };
                    commit(&meter, batch).await?;
                    stopwatch.committed(numbers);
                    committed.fetch_add(count, Ordering::Relaxed);
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(produced) = producers.join_next().await {
        produced??;
    }
    let took = started.elapsed();
    let made = events.lock().await.made();
    pipeline.finish(made).await?;
    progress.finish();
    ground.fresh_queues().await?;
    let rate = Rate { events: committed.load(Ordering::Relaxed), messages: 0, took };
    Ok(AtLoad { percent, wanted_per_second, rate, latencies: stopwatch.latencies(WARM_UP) })
}

async fn commit(meter: &Foundation, events: Vec<NewEvent>) -> sqlx::Result<()> {
    let mut transaction = vostro_messaging::begin(&meter.pool).await?;
    meter.outbox.append_in_tx(&mut transaction, events).await?;
    transaction.commit().await?;
    meter.outbox.committed();
    Ok(())
}

/// Relay and consumer, both running.
struct Pipeline {
    meter: Foundation,
    effects: Effects,
    consuming: Consuming,
    relaying: tokio::task::JoinHandle<()>,
    stop: CancellationToken,
}

impl Pipeline {
    fn start(ground: &Ground, stopwatch: Option<Arc<Stopwatch>>) -> anyhow::Result<Self> {
        let meter = ground.foundation(METER)?;
        let effects = Effects::new(stopwatch.clone());
        let consuming = Consuming::start(ground, BATCH, LINGER, effects.clone())?;
        let publisher = Arc::new(Timed::new(ground.publisher()?, stopwatch));
        let relay =
            Relay::new(METER, meter.pool.clone(), meter.outbox.clone(), publisher, Duration::ZERO, Partitions::ONE);
        let stop = CancellationToken::new();
        let relaying = tokio::spawn(relay.run(stop.clone()));
        Ok(Self { meter, effects, consuming, relaying, stop })
    }

    /// Waits for every effect, then ends both.
    async fn finish(self, made: u64) -> anyhow::Result<()> {
        let all = tokio::time::timeout(Duration::from_secs(120), self.effects.reach(made)).await;
        anyhow::ensure!(all.is_ok(), "only {} of {made} events had their effect", self.effects.committed());
        self.stop.cancel();
        self.relaying.await?;
        self.consuming.stop().await?;
        self.meter.pool.close().await;
        Ok(())
    }
}
