use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;
use vostro_events::operator::OperatorStep;

use super::{EventArchive, MaintenanceError, MaintenanceJob, Republication, Work, store};
use crate::fault::Pace;
use crate::parking::tell_refused_in_tx;
use crate::rebuild::JobRecord;
use crate::{Foundation, NewEvent, Outbox, Projection, Rebuild, RebuildError, RebuildOptions, SourceError, crash};

/// Works on a module's maintenance jobs. Several instances may do it side by side.
pub struct MaintenanceWorker {
    module: &'static str,
    foundation: Foundation,
    archive: Arc<dyn EventArchive>,
    projections: Vec<Arc<dyn Projection>>,
    ordered: Arc<Notify>,
}

/// Why a worker lets go of a job that has not ended.
enum Halt {
    /// It has been told that it cannot be done: code and text.
    Impossible(String),
    /// It may work in a while.
    Later(String),
    /// Another works on it.
    Elsewhere,
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Halt {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<SourceError> for Halt {
    fn from(error: SourceError) -> Self {
        Self::Later(error.to_string())
    }
}

impl MaintenanceWorker {
    /// A worker that says nothing for so long is taken for gone.
    pub const LEASE: Duration = Duration::from_secs(3);
    /// Work that another process was given is found this late at most.
    const POLL: Duration = Duration::from_secs(2);
    /// How often a rebuild says how far it is.
    const TICK: Duration = Duration::from_millis(500);
    /// No more is put into an outbox of more events than this: it must stay far from where commands are turned away.
    const CROWDED: i64 = 5_000;
    const UNTIL_LESS_CROWDED: Duration = Duration::from_millis(100);
    /// After this many attempts without getting on it is given up.
    const ATTEMPTS: i32 = 20;
    const LONGEST_PAUSE: Duration = Duration::from_secs(60);

    pub(super) const fn new(
        module: &'static str,
        foundation: Foundation,
        archive: Arc<dyn EventArchive>,
        projections: Vec<Arc<dyn Projection>>,
        ordered: Arc<Notify>,
    ) -> Self {
        Self { module, foundation, archive, projections, ordered }
    }

    /// Works until `stop` is cancelled. What is cut off then is gone on with by whoever comes next.
    pub async fn run(self, stop: CancellationToken) {
        let mut pace = Pace::of(Self::POLL);
        loop {
            let taken = store::take(self.pool(), None, Self::LEASE).await;
            let pause = pace.after(taken.is_ok());
            match taken {
                Ok(Some(job)) => {
                    tokio::select! {
                        () = self.work(&job) => continue,
                        () = stop.cancelled() => {
                            // Nobody has to wait for the lease. If the database is gone, everybody waits anyway.
                            let _ = store::keep(self.pool(), job.id, Duration::ZERO).await;
                            return;
                        }
                    }
                }
                Ok(None) => {}
                Err(error) => warn!(module = self.module, %error, "maintenance waits for the database"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.ordered.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Works on this job alone, whenever nobody else does, until it has ended; `told` hears how far it is. `is_mine`: it was
    /// ordered with a lease for the caller.
    ///
    /// # Errors
    /// Database faults; the job goes on elsewhere.
    pub async fn follow(
        &self,
        job: MaintenanceJob,
        is_mine: bool,
        told: &(dyn Fn(&MaintenanceJob) + Sync),
    ) -> sqlx::Result<MaintenanceJob> {
        let id = job.id;
        let watching = async {
            loop {
                let job = store::find(self.pool(), id).await?.ok_or(sqlx::Error::RowNotFound)?;
                told(&job);
                if job.state.has_ended() {
                    return Ok(job);
                }
                tokio::time::sleep(Self::UNTIL_LESS_CROWDED).await;
            }
        };
        tokio::select! {
            never = self.work_on(job, is_mine) => match never {},
            ended = watching => ended,
        }
    }

    async fn work_on(&self, job: MaintenanceJob, is_mine: bool) -> Infallible {
        if is_mine {
            self.work(&job).await;
        }
        loop {
            match store::take(self.pool(), Some(job.id), Self::LEASE).await {
                Ok(Some(job)) => self.work(&job).await,
                Ok(None) | Err(_) => tokio::time::sleep(Self::TICK).await,
            }
        }
    }

    const fn pool(&self) -> &PgPool {
        &self.foundation.pool
    }

    /// Does what there is to do about the job, and writes down what became of it.
    async fn work(&self, job: &MaintenanceJob) {
        info!(module = self.module, job = %job.id, subject = job.subject, "working on a maintenance job");
        let worked = match &job.work {
            Work::Republish { first, last, types } => {
                let all = Republication::of(self.module, *first, *last, types.clone());
                self.republish(job, &all).await
            }
            Work::Rebuild { projection, patience_seconds, trust_event_store } => {
                let options = RebuildOptions {
                    compare_only: job.dry_run,
                    patience: Duration::from_secs(*patience_seconds),
                    trust_event_store: *trust_event_store,
                };
                self.rebuild(job, projection, options).await
            }
        };
        let Err(halt) = worked else { return };
        if let Err(error) = self.halted(job, halt).await {
            warn!(module = self.module, job = %job.id, %error, "a maintenance job waits for the database");
        }
    }

    async fn halted(&self, job: &MaintenanceJob, halt: Halt) -> sqlx::Result<()> {
        let attempt = job.attempts + 1;
        match halt {
            Halt::Elsewhere => store::keep(self.pool(), job.id, Self::LEASE).await,
            Halt::Impossible(failure) => self.fail(job, &failure).await,
            Halt::Later(failure) if attempt >= Self::ATTEMPTS => {
                self.fail(job, &format!("MAINTENANCE_EXHAUSTED: {failure}")).await
            }
            Halt::Database(error) if attempt >= Self::ATTEMPTS => {
                self.fail(job, &format!("MAINTENANCE_EXHAUSTED: {error}")).await
            }
            Halt::Later(failure) => self.stumble(job, &failure, attempt).await,
            Halt::Database(error) => self.stumble(job, &error.to_string(), attempt).await,
        }
    }

    async fn stumble(&self, job: &MaintenanceJob, failure: &str, attempt: i32) -> sqlx::Result<()> {
        warn!(module = self.module, job = %job.id, failure, "a maintenance job is tried again");
        let pause = Self::LEASE.saturating_mul(u32::try_from(attempt).unwrap_or(1)).min(Self::LONGEST_PAUSE);
        store::stumble(self.pool(), job.id, failure, pause).await
    }

    /// Ends the job. The audit log hears of it as of a command that was refused.
    async fn fail(&self, job: &MaintenanceJob, failure: &str) -> sqlx::Result<()> {
        let mut transaction = self.foundation.begin().await?;
        if !store::fail_in_tx(&mut transaction, job.id, failure).await? {
            return Ok(());
        }
        let code = failure.split_once(": ").map_or(failure, |(code, _)| code).to_owned();
        let (context, command) = (job.context(), job.work.command());
        let told =
            tell_refused_in_tx(&self.foundation, self.module, &mut transaction, &context, command, code, Some(job.id));
        told.await?;
        transaction.commit().await?;
        self.foundation.outbox.committed();
        warn!(module = self.module, job = %job.id, failure, "a maintenance job failed");
        Ok(())
    }

    /// Counts first: who publishes how much is on record before the first event goes out. Then page by page.
    async fn republish(&self, job: &MaintenanceJob, all: &Republication) -> Result<(), Halt> {
        if job.expected.is_none() {
            self.count(job, all).await?;
            if job.dry_run {
                return Ok(());
            }
        }
        let counted = store::find(self.pool(), job.id).await?.ok_or(Halt::Elsewhere)?;
        let (mut position, mut events) = (counted.position, counted.events);
        while position < all.last {
            self.wait_while_crowded(job.id).await?;
            let (page, reached) = all.page(self.archive.as_ref(), position).await?;
            let again: Vec<NewEvent> =
                page.into_iter().map(|event| NewEvent::again(event.envelope, &event.data)).collect();
            let count = i64::try_from(again.len()).unwrap_or(i64::MAX);
            let mut transaction = self.foundation.begin().await?;
            if !store::advance_in_tx(&mut transaction, job.id, position, reached, count, Self::LEASE).await? {
                return Err(Halt::Elsewhere);
            }
            self.foundation.outbox.append_in_tx(&mut transaction, again).await?;
            (position, events) = (reached, events + count);
            if position >= all.last {
                store::done_in_tx(&mut *transaction, job.id, events, None).await?;
            }
            crash::point(crash::REPUBLISHING, self.module);
            transaction.commit().await?;
            self.foundation.outbox.committed();
        }
        Ok(())
    }

    async fn count(&self, job: &MaintenanceJob, all: &Republication) -> Result<(), Halt> {
        let (mut counts, mut after) = (BTreeMap::new(), all.first - 1);
        while after < all.last {
            after = all.count_on(self.archive.as_ref(), after, &mut counts).await?;
            store::keep(self.pool(), job.id, Self::LEASE).await?;
        }
        let count: i64 = counts.values().sum();
        let report = json!({ "types": counts });
        let mut transaction = self.foundation.begin().await?;
        if !store::count_in_tx(&mut transaction, job.id, all.first - 1, count, &report).await? {
            return Err(Halt::Elsewhere);
        }
        if job.dry_run {
            store::done_in_tx(&mut *transaction, job.id, 0, None).await?;
        } else {
            let mut operation = job.operation(self.module);
            operation.count = usize::try_from(count).unwrap_or(usize::MAX);
            let (context, first) = (job.context(), job.next_sequence());
            operation.tell_in_tx(&self.foundation, &mut transaction, &context, OperatorStep::Done, first).await?;
        }
        transaction.commit().await?;
        self.foundation.outbox.committed();
        Ok(())
    }

    async fn wait_while_crowded(&self, id: Uuid) -> Result<(), Halt> {
        while Outbox::holds_more_than(self.pool(), Self::CROWDED).await? {
            store::keep(self.pool(), id, Self::LEASE).await?;
            tokio::time::sleep(Self::UNTIL_LESS_CROWDED).await;
        }
        Ok(())
    }

    /// The lease is kept by a clock beside the work, because one step of it may take long. What is swapped is swapped in
    /// the transaction that ends the job.
    async fn rebuild(&self, job: &MaintenanceJob, name: &str, options: RebuildOptions) -> Result<(), Halt> {
        let found = self.projections.iter().find(|projection| projection.name() == name);
        let projection = found.ok_or_else(|| Halt::Impossible(unknown(&job.subject)))?;
        let (pool, source) = (self.pool().clone(), Arc::clone(&self.archive) as _);
        let record = JobRecord {
            foundation: self.foundation.clone(),
            context: job.context(),
            operation: job.operation(self.module),
            first: job.next_sequence(),
            job: job.id,
        };
        let rebuild = Rebuild::new(self.module, pool, Arc::clone(projection), source, options).recorded(record);
        let reached = Reached::default();
        let progress = |position: i64, head: i64| {
            reached.position.store(position, Ordering::Relaxed);
            reached.head.store(head, Ordering::Relaxed);
        };
        let rebuilt = tokio::select! {
            rebuilt = rebuild.run(&progress) => rebuilt,
            never = self.keep_saying(job.id, &reached) => match never {},
        };
        match rebuilt {
            Ok(report) if job.dry_run => {
                let events = i64::try_from(report.events).unwrap_or(i64::MAX);
                store::done_in_tx(self.pool(), job.id, events, Some(&report.to_json())).await?;
                Ok(())
            }
            Ok(_) => {
                self.foundation.outbox.committed();
                Ok(())
            }
            Err(RebuildError::Running(_) | RebuildError::Ended) => Err(Halt::Elsewhere),
            Err(RebuildError::Database(error)) => Err(Halt::Database(error)),
            Err(RebuildError::Source(error)) => Err(error.into()),
            Err(impossible) => Err(Halt::Impossible(impossible.to_string())),
        }
    }

    async fn keep_saying(&self, id: Uuid, reached: &Reached) -> Infallible {
        loop {
            tokio::time::sleep(Self::TICK).await;
            let (position, head) = (reached.position.load(Ordering::Relaxed), reached.head.load(Ordering::Relaxed));
            if let Err(error) = store::reach(self.pool(), id, position, head, Self::LEASE).await {
                warn!(module = self.module, job = %id, %error, "a rebuild cannot say how far it is");
            }
        }
    }
}

/// How far a rebuild is: written by it, read by the clock beside it.
#[derive(Default)]
struct Reached {
    position: AtomicI64,
    head: AtomicI64,
}

/// The job is of a release that has a projection this one has not.
fn unknown(subject: &str) -> String {
    MaintenanceError::ProjectionUnknown(subject.to_owned()).to_string()
}
