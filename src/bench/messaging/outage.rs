use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use chrono::Utc;
use hdrhistogram::Histogram;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_messaging::{Foundation, Partitions, Publisher as _, Relay};
use vostro_rabbitmq::{AmqpPublisher, Supervisor};

use super::events::{Events, Layout, fill};
use super::gate::Gate;
use super::ground::{Ground, METER};
use super::stopwatch::Timed;
use super::throughput::effects_of;
use crate::bench::figures::histogram;
use crate::demo::bar;

/// What a broker outage did.
pub struct Outage {
    /// Rows that were in the outbox when the broker came back.
    pub backlog: u64,
    /// What everything that was made before, during and after it led to: one effect an event.
    pub effects: u64,
    /// From then until the relay was connected again.
    pub reconnected_after: Duration,
    /// From then until all of them were published, confirmed and deleted.
    pub drained_after: Duration,
    /// Latencies of commands in microseconds, from the time each was due to its commit.
    pub before: Histogram<u64>,
    pub during: Histogram<u64>,
    pub draining: Histogram<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Before,
    During,
    Filling,
    Draining,
    Over,
}

/// Commands are made at this rate, each with a row, an event and a commit of its own.
const COMMANDS_PER_SECOND: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(600);

/// Cuts the relay off from the broker, lets the outbox grow to `backlog`, and connects it again, while commands go on.
pub async fn outage(ground: &Ground, backlog: u64, seconds: u64, bytes: usize) -> anyhow::Result<Outage> {
    let endpoint = ground.endpoint_of(METER)?;
    let gate = Gate::to(endpoint.address()).await?;
    let supervisor = Supervisor::start(endpoint.through(gate.address), "vostro bench outage");
    let publisher = Arc::new(Timed::new(AmqpPublisher::new(supervisor.clone(), METER), None));
    let meter = ground.foundation(METER)?;
    let relay =
        Relay::new(METER, meter.pool.clone(), meter.outbox.clone(), publisher.clone(), Duration::ZERO, Partitions::ONE);
    let stop = CancellationToken::new();
    let relaying = tokio::spawn(relay.run(stop.clone()));
    let events = Arc::new(tokio::sync::Mutex::new(Events::new(bytes, Layout::Company)));
    let (phase, in_phase) = watch::channel(Phase::Before);
    let commanding = tokio::spawn(command(meter.clone(), Arc::clone(&events), in_phase));
    let part = Duration::from_secs(seconds);

    let progress = bar("A broker outage", usize::try_from(backlog)?);
    until("the relay is connected", || publisher.is_reachable()).await?;
    sleep(part).await;
    gate.close();
    until("the connection is broken", || !publisher.is_reachable()).await?;
    phase.send_replace(Phase::During);
    sleep(part).await;
    phase.send_replace(Phase::Filling);
    // Events of its own: the commands go on making theirs meanwhile.
    fill(&meter, &mut Events::new(bytes, Layout::Company), backlog, |count| progress.inc(count)).await?;
    progress.finish();
    let (newest, rows) = waiting(&meter.pool).await?;
    phase.send_replace(Phase::Draining);
    let healed = Instant::now();
    gate.open();
    let progress = bar("The outbox is drained", usize::try_from(rows)?);
    until("the relay is connected again", || publisher.is_reachable()).await?;
    let reconnected_after = healed.elapsed();
    loop {
        let left = left_of(&meter.pool, newest).await?;
        progress.set_position(rows.saturating_sub(left));
        if left == 0 {
            break;
        }
        ensure!(healed.elapsed() < PATIENCE, "{left} rows are still in the outbox after {PATIENCE:?}");
        sleep(Duration::from_millis(100)).await;
    }
    let drained_after = healed.elapsed();
    progress.finish();
    phase.send_replace(Phase::Over);
    let [before, during, draining] = commanding.await??;
    stop.cancel();
    relaying.await?;
    let made = backlog + events.lock().await.made();
    let effects = effects_of(ground, made, "Effects of what was made in the outage").await?;
    ensure!(effects == made, "{made} events were made, and had {effects} effects");
    supervisor.close().await;
    meter.pool.close().await;
    ground.fresh_queues().await?;
    Ok(Outage { backlog: rows, effects, reconnected_after, drained_after, before, during, draining })
}

async fn until(what: &str, condition: impl Fn() -> bool) -> anyhow::Result<()> {
    let patient_until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        ensure!(Instant::now() < patient_until, "waited a minute in vain until {what}");
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// The newest row of the outbox and how many there are.
async fn waiting(pool: &PgPool) -> anyhow::Result<(i64, u64)> {
    let row = sqlx::query!(r#"select coalesce(max(id), 0) as "newest!", count(*) as "rows!" from outbox"#);
    let row = row.fetch_one(pool).await?;
    Ok((row.newest, u64::try_from(row.rows)?))
}

async fn left_of(pool: &PgPool, newest: i64) -> anyhow::Result<u64> {
    let rows = sqlx::query_scalar!(r#"select count(*) as "rows!" from outbox where id <= $1"#, newest);
    Ok(u64::try_from(rows.fetch_one(pool).await?)?)
}

/// Makes commands at fixed times until the phase is over, and keeps the latencies of each phase apart.
async fn command(
    meter: Foundation,
    events: Arc<tokio::sync::Mutex<Events>>,
    phase: watch::Receiver<Phase>,
) -> anyhow::Result<[Histogram<u64>; 3]> {
    let [mut before, mut during, mut draining] = [histogram(), histogram(), histogram()];
    let mut due = Instant::now();
    loop {
        due += Duration::from_secs(1) / COMMANDS_PER_SECOND;
        sleep_until(due).await;
        let at = *phase.borrow();
        if at == Phase::Over {
            return Ok([before, during, draining]);
        }
        let event = events.lock().await.take(1);
        let mut transaction = vostro_messaging::begin(&meter.pool).await?;
        // Not checked when this is compiled: the table is in the benchmark's own database only.
        sqlx::query("insert into command (id, amount, made_at) values ($1, 1, $2)")
            .bind(Uuid::now_v7())
            .bind(Utc::now())
            .execute(&mut *transaction)
            .await?;
        meter.outbox.append_in_tx(&mut transaction, event).await?;
        transaction.commit().await?;
        meter.outbox.committed();
        let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        match at {
            Phase::Before => before.saturating_record(micros),
            Phase::During => during.saturating_record(micros),
            Phase::Draining => draining.saturating_record(micros),
            Phase::Filling | Phase::Over => {}
        }
    }
}
