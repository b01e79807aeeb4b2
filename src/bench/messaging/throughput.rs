use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio_util::sync::CancellationToken;
use vostro_messaging::{
    Consumer, ConsumptionSwitch, Handler, Intake, Outbox, Partitions, Publisher, Relay, RetrySchedule,
};
use vostro_rabbitmq::{Supervisor, yardstick};

use super::effects::Effects;
use super::events::{Events, Layout, fill};
use super::ground::{BARE, Ground, METER, SINK, measured};
use super::stopwatch::Timed;
use crate::demo::bar;

/// How much in how much time.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub events: u64,
    pub messages: u64,
    pub took: Duration,
}

impl Rate {
    pub fn events_per_second(self) -> u64 {
        per_second(self.events, self.took)
    }

    pub fn messages_per_second(self) -> u64 {
        per_second(self.messages, self.took)
    }
}

/// Without an effect for so long, an event is lost.
const PATIENCE: Duration = Duration::from_secs(60);

fn per_second(count: u64, took: Duration) -> u64 {
    count * 1_000_000 / u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Messages that a publisher with no database behind it has confirmed, 256 at a time, into a queue nobody consumes.
pub async fn bare_publisher(ground: &Ground, messages: u64, bytes: usize) -> anyhow::Result<Rate> {
    let supervisor = Supervisor::start(ground.endpoint_of(METER)?, "vostro bench bare");
    let route = yardstick::Route { exchange: format!("ev.{METER}"), routing_key: format!("{BARE}.s00") };
    let progress = bar("A bare publisher", usize::try_from(messages)?);
    // The first messages make the queue's files.
    yardstick::publish(&supervisor, &route, bytes, messages / 10, |_| ()).await.map_err(anyhow::Error::msg)?;
    let started = Instant::now();
    let tell = |count| progress.inc(count);
    yardstick::publish(&supervisor, &route, bytes, messages, tell).await.map_err(anyhow::Error::msg)?;
    let took = started.elapsed();
    progress.finish();
    supervisor.close().await;
    ground.fresh_queues().await?;
    Ok(Rate { events: messages, messages, took })
}

/// Fills the outbox and has the relay empty it: reading, publishing, confirms, deleting.
pub async fn relay(ground: &Ground, events: u64, bytes: usize, layout: Layout) -> anyhow::Result<Rate> {
    let title = match layout {
        Layout::Company => "The relay, full frames",
        Layout::Alone => "The relay, an event a message",
    };
    let rate = publish_backlog(ground, events, bytes, layout, title).await?;
    ground.fresh_queues().await?;
    Ok(rate)
}

/// The same; what was published stays in the queue.
async fn publish_backlog(
    ground: &Ground,
    events: u64,
    bytes: usize,
    layout: Layout,
    title: &str,
) -> anyhow::Result<Rate> {
    let meter = ground.foundation(METER)?;
    let progress = bar(&format!("{title}: filling"), usize::try_from(events)?);
    let mut made = Events::new(bytes, layout);
    let publisher = Arc::new(Timed::new(ground.publisher()?, None));
    let relay = |publisher: Arc<dyn Publisher>| {
        Relay::new(METER, meter.pool.clone(), meter.outbox.clone(), publisher, Duration::ZERO, Partitions::ONE)
    };
    // It empties the outbox and ends, because it was told to stop.
    let stopped = CancellationToken::new();
    stopped.cancel();
    // A first event opens the connection and the channel.
    fill(&meter, &mut made, 1, |_| ()).await?;
    relay(publisher.clone()).run(stopped.clone()).await;
    fill(&meter, &mut made, events, |count| progress.inc(count)).await?;
    progress.finish();
    let sent = publisher.sent();
    let (messages, before) = (sent.messages(), sent.events());
    let started = Instant::now();
    let running = tokio::spawn(relay(publisher).run(stopped));
    let progress = bar(title, usize::try_from(events)?);
    while !running.is_finished() {
        progress.set_position(sent.events() - before);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.await?;
    let took = started.elapsed();
    progress.finish();
    let left = Outbox::status(&meter.pool).await?.rows;
    ensure!(left == 0, "the relay left {left} events in the outbox");
    meter.pool.close().await;
    Ok(Rate { events, messages: sent.messages() - messages, took })
}

/// How a subscription takes its events.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Events in a transaction at most.
    pub events: usize,
    pub layout: Layout,
}

/// What one consumer committed.
pub struct Consumed {
    pub batch: Batch,
    pub rate: Rate,
    /// Transactions it took.
    pub commits: u64,
}

/// Has the relay put events into the queue and one consumer take them out: deliveries, inbox rows, effects, commits,
/// acknowledgements.
pub async fn consumer(ground: &Ground, events: u64, bytes: usize, batch: Batch) -> anyhow::Result<Consumed> {
    let title = match batch.layout {
        Layout::Company => format!("Effects, batches of {}, full frames", batch.events),
        Layout::Alone => format!("Effects, batches of {}", batch.events),
    };
    // And the one that opened the connection.
    let expected = events + 1;
    let messages =
        publish_backlog(ground, events, bytes, batch.layout, &format!("{title}: publishing")).await?.messages;
    let effects = Effects::new(None);
    let consuming = Consuming::start(ground, batch.events, Duration::ZERO, effects.clone())?;
    let took = until_reached(&effects, expected, &title).await?;
    consuming.stop().await?;
    ground.fresh_queues().await?;
    Ok(Consumed { batch, rate: Rate { events: expected, messages, took }, commits: effects.commits() })
}

/// Waits until every event has had its effect, and says how long that took.
async fn until_reached(effects: &Effects, expected: u64, title: &str) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let progress = bar(title, usize::try_from(expected)?);
    let reached = effects.reach(expected);
    tokio::pin!(reached);
    let mut last = (0, Instant::now());
    while tokio::time::timeout(Duration::from_millis(50), &mut reached).await.is_err() {
        progress.set_position(effects.committed());
        if effects.committed() > last.0 {
            last = (effects.committed(), Instant::now());
        }
        ensure!(last.1.elapsed() < PATIENCE, "effects have stopped at {} of {expected}", last.0);
    }
    progress.finish();
    Ok(started.elapsed())
}

/// Consumes what is in the queue until every one of `expected` events has had its effect, and says how many there are in the
/// end: as many, unless one was made twice.
pub async fn effects_of(ground: &Ground, expected: u64, title: &str) -> anyhow::Result<u64> {
    let effects = Effects::new(None);
    let consuming = Consuming::start(ground, 500, Duration::ZERO, effects.clone())?;
    until_reached(&effects, expected, title).await?;
    consuming.stop().await?;
    Ok(effects.committed())
}

/// The consumer of the bank, on a connection of its own.
pub struct Consuming {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    broker: Supervisor,
    pool: sqlx::PgPool,
}

impl Consuming {
    pub fn start(ground: &Ground, batch: usize, linger: Duration, handler: impl Handler) -> anyhow::Result<Self> {
        let sink = ground.foundation(SINK)?;
        let broker = ground.consuming_broker()?;
        let supervisor = broker.supervisor().clone();
        let switch = ConsumptionSwitch::default();
        let intake = Intake::new(measured(batch, linger), &sink, RetrySchedule::default(), switch);
        let consumer = Consumer::new(intake, Arc::new(handler), Arc::new(broker));
        let stop = CancellationToken::new();
        let task = tokio::spawn(consumer.run(stop.clone()));
        Ok(Self { stop, task, broker: supervisor, pool: sink.pool })
    }

    /// Finishes the batch in progress.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await?;
        self.broker.close().await;
        self.pool.close().await;
        Ok(())
    }
}
