use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, PgPool};
use tracing::info;
use uuid::Uuid;
use vostro_events::operator::OperatorStep;
use vostro_kernel::RequestContext;

use crate::maintenance::done_in_tx;
use crate::{Comparison, EventReader, Foundation, HandlerError, InboxMode, Incoming, Operation, Projection, crash};

/// Where every event of the bank is kept in the order of its arrival.
#[async_trait]
pub trait EventSource: Send + Sync {
    /// The position of the newest event; 0 when there is none.
    ///
    /// # Errors
    /// When the source cannot be read.
    async fn head(&self) -> Result<i64, SourceError>;

    /// At most `limit` events of these types after one position, up to another, in order.
    ///
    /// # Errors
    /// When the source cannot be read.
    async fn events(
        &self,
        types: &[&str],
        after: i64,
        until: i64,
        limit: i64,
    ) -> Result<Vec<(i64, Incoming)>, SourceError>;

    /// How many events are known to be missing among those of the modules that own these types.
    ///
    /// # Errors
    /// When the source cannot be read.
    async fn gaps(&self, types: &[&str]) -> Result<i64, SourceError>;
}

/// The event store cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the event store: {0}")]
pub struct SourceError(pub String);

/// How a projection is to be rebuilt.
#[derive(Debug, Clone, Copy)]
pub struct RebuildOptions {
    /// Compare and leave the live table as it is.
    pub compare_only: bool,
    /// How long events may take to the event store and to the live table before the rebuild takes them for lost.
    pub patience: Duration,
    /// Swap although the live table claims events that the event store has not, or the event store has gaps. What only the
    /// live table knows is given up.
    pub trust_event_store: bool,
}

/// Why a projection was not rebuilt; the live table is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("REBUILD_RUNNING: {0} is being rebuilt already")]
    Running(String),
    #[error(
        "REBUILD_EVENTS_MISSING: the event store has {gaps} gaps, and {ahead} rows of the live table have taken events it has \
         not, such as {examples:?}; see whether the archive is behind (vostro parked list --subscription \
         compliance.archive, vostro doctor), then try again"
    )]
    EventsMissing { gaps: i64, ahead: i64, examples: Vec<Uuid> },
    #[error("REBUILD_EVENT_UNUSABLE: the event at position {position} or after cannot be applied: {reason}")]
    Unusable { position: i64, reason: String },
    #[error("REBUILD_NOT_EQUAL: the live table did not become what was rebuilt; nothing was changed")]
    NotEqual,
    #[error("REBUILD_ENDED: the job has ended elsewhere; nothing was changed")]
    Ended,
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("REBUILD_DATABASE: {0}")]
    Database(#[from] sqlx::Error),
}

/// What a rebuild found and did.
#[derive(Debug, Clone)]
pub struct RebuildReport {
    /// Events that were read.
    pub events: u64,
    /// How the live table was.
    pub comparison: Comparison,
    /// Rows of the live table that were changed; `None` when it was only compared.
    pub changed: Option<u64>,
    /// How long writers of the live table had to wait.
    pub locked: Duration,
}

impl RebuildReport {
    /// What scripts and the job's row get.
    pub fn to_json(&self) -> Value {
        let Self { events, comparison, changed, locked } = self;
        json!({
            "events": events, "equal": comparison.is_equal(), "same": comparison.same,
            "different": comparison.different, "behind": comparison.behind, "ahead": comparison.ahead,
            "checksumLive": comparison.checksum_live, "checksumRebuilt": comparison.checksum_rebuilt,
            "examples": comparison.examples, "changed": changed, "lockedMillis": u64::try_from(locked.as_millis()).ok(),
        })
    }
}

/// Builds a projection again beside the live one, compares, and swaps the contents in one transaction.
pub struct Rebuild {
    module: &'static str,
    pool: PgPool,
    projection: Arc<dyn Projection>,
    source: Arc<dyn EventSource>,
    options: RebuildOptions,
    record: Option<JobRecord>,
}

/// The job that has it done, and how the audit log is told.
pub(crate) struct JobRecord {
    /// The module's.
    pub(crate) foundation: Foundation,
    pub(crate) context: RequestContext,
    pub(crate) operation: Operation,
    /// The number of the next event about the operation.
    pub(crate) first: i64,
    pub(crate) job: Uuid,
}

/// How far the table beside the live one has come.
#[derive(Debug, Clone, Copy, Default)]
struct Filled {
    position: i64,
    events: u64,
}

impl Rebuild {
    /// Events applied per transaction: a long transaction would keep the outboxes from being vacuumed.
    const PAGE: i64 = 1_000;
    /// Positions of the event store that are looked through at once: some seconds on a slow disk.
    const SPAN: i64 = 500_000;
    /// Writers wait no longer than this at a time for the event store to catch up.
    const LONGEST_WAIT_LOCKED: Duration = Duration::from_secs(2);
    const PAUSE: Duration = Duration::from_millis(100);

    pub const fn new(
        module: &'static str,
        pool: PgPool,
        projection: Arc<dyn Projection>,
        source: Arc<dyn EventSource>,
        options: RebuildOptions,
    ) -> Self {
        Self { module, pool, projection, source, options, record: None }
    }

    /// Tells the audit log of the swap and ends the job, in the swap's transaction: what is on record as done is done, and
    /// the other way round.
    #[must_use]
    pub(crate) fn recorded(self, record: JobRecord) -> Self {
        Self { record: Some(record), ..self }
    }

    /// `<module>.<projection>`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.module, self.projection.name())
    }

    /// Does it. `progress` is told the position that is reached and the one to reach.
    ///
    /// # Errors
    /// [`RebuildError`]; the live table is as it was. What a rebuild that was cut off left beside it does not matter to the
    /// next one.
    pub async fn run(&self, progress: &(dyn Fn(i64, i64) + Sync)) -> Result<RebuildReport, RebuildError> {
        // A connection of its own: the claim goes with it, whatever happens.
        let mut connection = self.pool.acquire().await?.detach();
        self.claim(&mut connection).await?;
        let report = self.run_claimed(&mut connection, progress).await;
        // The server notices a closed connection when it gets to it, and until then the next rebuild would be told that this
        // one is running. Where the claim cannot be released the connection is gone, and the claim with it.
        self.unclaim(&mut connection).await.ok();
        report
    }

    async fn run_claimed(
        &self,
        connection: &mut PgConnection,
        progress: &(dyn Fn(i64, i64) + Sync),
    ) -> Result<RebuildReport, RebuildError> {
        self.projection.clear_in_tx(connection).await?;
        let mut filled = Filled::default();
        self.fill(connection, &mut filled, progress).await?;
        crash::point(crash::REBUILT, &self.name());
        let report = if self.options.compare_only {
            self.compare(connection, &mut filled, progress).await?
        } else {
            self.swap(connection, filled, progress).await?
        };
        self.projection.clear_in_tx(connection).await?;
        Ok(report)
    }

    async fn claim(&self, connection: &mut PgConnection) -> Result<(), RebuildError> {
        let name = self.name();
        let free = sqlx::query_scalar!(r#"select pg_try_advisory_lock(hashtextextended($1, 0)) as "free!""#, name)
            .fetch_one(connection)
            .await?;
        if free { Ok(()) } else { Err(RebuildError::Running(name)) }
    }

    /// Whether there was a claim to release.
    async fn unclaim(&self, connection: &mut PgConnection) -> sqlx::Result<bool> {
        sqlx::query_scalar!(r#"select pg_advisory_unlock(hashtextextended($1, 0)) as "released!""#, self.name())
            .fetch_one(connection)
            .await
    }

    /// Applies what the event store has by now, page by page. A page is of a span of positions: where the wanted types are
    /// rare, one question would otherwise have the event store read itself whole, for longer than a statement may take.
    async fn fill(
        &self,
        connection: &mut PgConnection,
        filled: &mut Filled,
        progress: &(dyn Fn(i64, i64) + Sync),
    ) -> Result<(), RebuildError> {
        let reader = EventReader::of(self.projection.events());
        let types = reader.types().unwrap_or_default();
        let head = self.source.head().await?;
        while filled.position < head {
            let until = head.min(filled.position.saturating_add(Self::SPAN));
            let events = self.source.events(&types, filled.position, until, Self::PAGE).await?;
            let is_last = i64::try_from(events.len()).is_ok_and(|count| count < Self::PAGE);
            let reached = events.last().filter(|_| !is_last).map_or(until, |(position, _)| *position);
            let events: Vec<Incoming> = events.into_iter().map(|(_, event)| event).collect();
            filled.events += u64::try_from(events.len()).unwrap_or_default();
            let refused = |error| match error {
                HandlerError::Database(error) => RebuildError::Database(error),
                refused => RebuildError::Unusable { position: filled.position + 1, reason: refused.to_string() },
            };
            // The event store has each version of an event as it was told.
            let events = reader.read(&events).map_err(refused)?.into_owned();
            let mut transaction = connection.begin().await?;
            let wanted = self.without_given_up(&mut transaction, events).await?;
            self.projection.apply_in_tx(&mut transaction, &wanted).await.map_err(refused)?;
            transaction.commit().await?;
            crash::point(crash::REBUILDING, &self.name());
            filled.position = reached;
            progress(reached, head);
        }
        Ok(())
    }

    /// Leaves out what operators gave up: it must never take effect. Where the inbox has a row for every event that was
    /// handled, those cannot be told apart.
    async fn without_given_up(
        &self,
        connection: &mut PgConnection,
        events: Vec<Incoming>,
    ) -> sqlx::Result<Vec<Incoming>> {
        let subscription = self.projection.subscription();
        if subscription.inbox != InboxMode::Handler || events.is_empty() {
            return Ok(events);
        }
        let ids: Vec<Uuid> = events.iter().map(|event| event.envelope.id).collect();
        let given_up: HashSet<Uuid> = sqlx::query_scalar!(
            "select event_id from inbox where subscription = $1 and event_id = any($2)",
            subscription.group(),
            &ids
        )
        .fetch_all(connection)
        .await?
        .into_iter()
        .collect();
        Ok(events.into_iter().filter(|event| !given_up.contains(&event.envelope.id)).collect())
    }

    /// Compares until everything has arrived on both sides, or patience is at its end.
    async fn compare(
        &self,
        connection: &mut PgConnection,
        filled: &mut Filled,
        progress: &(dyn Fn(i64, i64) + Sync),
    ) -> Result<RebuildReport, RebuildError> {
        let deadline = Instant::now() + self.options.patience;
        loop {
            self.fill(connection, filled, progress).await?;
            let comparison = self.projection.compare_in_tx(connection).await?;
            if (comparison.ahead, comparison.behind) == (0, 0) || Instant::now() >= deadline {
                let events = filled.events;
                return Ok(RebuildReport { events, comparison, changed: None, locked: Duration::ZERO });
            }
            tokio::time::sleep(Self::PAUSE).await;
        }
    }

    /// Swaps when the rebuilt table has taken every event that the live one has. Only while writers are kept away does
    /// that stay so; where the event store needs longer to catch up, they are let go on in between.
    async fn swap(
        &self,
        connection: &mut PgConnection,
        mut filled: Filled,
        progress: &(dyn Fn(i64, i64) + Sync),
    ) -> Result<RebuildReport, RebuildError> {
        let deadline = Instant::now() + self.options.patience;
        loop {
            // What is left to apply behind the lock is as little as possible.
            self.fill(connection, &mut filled, progress).await?;
            let mut transaction = connection.begin().await?;
            self.projection.lock_in_tx(&mut transaction).await?;
            let locked = Instant::now();
            let mut attempt = filled;
            let missing = loop {
                self.fill(&mut transaction, &mut attempt, progress).await?;
                let comparison = self.projection.compare_in_tx(&mut transaction).await?;
                let gaps = self.source.gaps(self.projection.events()).await?;
                let complete = (gaps, comparison.ahead) == (0, 0);
                let out_of_patience = Instant::now() >= deadline;
                if complete || (out_of_patience && self.options.trust_event_store) {
                    let changed = self.projection.adopt_in_tx(&mut transaction).await?;
                    if !self.projection.compare_in_tx(&mut transaction).await?.is_equal() {
                        return Err(RebuildError::NotEqual);
                    }
                    let (events, locked) = (attempt.events, locked.elapsed());
                    let report = RebuildReport { events, comparison, changed: Some(changed), locked };
                    self.record_in_tx(&mut transaction, &report).await?;
                    crash::point(crash::ADOPTED, &self.name());
                    transaction.commit().await?;
                    info!(projection = self.name(), changed, ?locked, "the projection was swapped");
                    return Ok(report);
                }
                if out_of_patience || locked.elapsed() >= Self::LONGEST_WAIT_LOCKED {
                    break RebuildError::EventsMissing { gaps, ahead: comparison.ahead, examples: comparison.examples };
                }
                tokio::time::sleep(Self::PAUSE).await;
            };
            transaction.rollback().await?;
            if Instant::now() >= deadline {
                return Err(missing);
            }
            tokio::time::sleep(Self::LONGEST_WAIT_LOCKED).await;
        }
    }

    async fn record_in_tx(&self, connection: &mut PgConnection, report: &RebuildReport) -> Result<(), RebuildError> {
        let Some(JobRecord { foundation, context, operation, first, job }) = &self.record else { return Ok(()) };
        let events = i64::try_from(report.events).unwrap_or(i64::MAX);
        if !done_in_tx(&mut *connection, *job, events, Some(&report.to_json())).await? {
            return Err(RebuildError::Ended);
        }
        operation.clone().tell_in_tx(foundation, connection, context, OperatorStep::Done, *first).await?;
        Ok(())
    }
}
