use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use uuid::Uuid;
use vostro_events::operator::OperatorStep;
use vostro_kernel::{Page, RequestContext, Role};

use super::{
    ArchivePoint, EventArchive, JobState, MaintenanceError, MaintenanceJob, MaintenanceWorker, Republication, Work,
    store,
};
use crate::parking::{ApprovalPolicy, recorded};
use crate::{Foundation, Projection};

/// What an operator wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaintenanceOrder {
    /// See [`Republication::resolve`].
    Republish { from: ArchivePoint, to: Option<ArchivePoint>, types: Vec<String> },
    /// See [`Work::Rebuild`].
    Rebuild { projection: String, patience: Duration, trust_event_store: bool },
}

impl MaintenanceOrder {
    /// Its name in the audit log.
    const fn command(&self) -> &'static str {
        match self {
            Self::Republish { .. } => "outboxRepublish",
            Self::Rebuild { .. } => "projectionRebuild",
        }
    }
}

/// What became of an order.
#[derive(Debug, Clone)]
pub struct Ordered {
    pub job: MaintenanceJob,
    /// Whether it was made by this order. Ordering what is asked for or under way already gives that.
    pub is_new: bool,
}

/// Where operators order long work about one module, look how far it is, and agree to what others ordered. Cheap to clone.
#[derive(Clone)]
pub struct MaintenanceDesk {
    module: &'static str,
    foundation: Foundation,
    policy: ApprovalPolicy,
    archive: Arc<dyn EventArchive>,
    projections: Vec<Arc<dyn Projection>>,
    /// Wakes the worker of this process.
    ordered: Arc<Notify>,
}

impl MaintenanceDesk {
    const LONGEST_PATIENCE: Duration = Duration::from_secs(3_600);

    /// `foundation` and `projections` are the module's own.
    pub fn new(
        module: &'static str,
        foundation: Foundation,
        policy: ApprovalPolicy,
        archive: Arc<dyn EventArchive>,
        projections: Vec<Arc<dyn Projection>>,
    ) -> Self {
        Self { module, foundation, policy, archive, projections, ordered: Arc::default() }
    }

    pub const fn module(&self) -> &'static str {
        self.module
    }

    /// What can be rebuilt.
    pub fn projections(&self) -> &[Arc<dyn Projection>] {
        &self.projections
    }

    /// Where events are republished from.
    pub fn archive(&self) -> &dyn EventArchive {
        self.archive.as_ref()
    }

    /// Works on what is ordered here.
    pub fn worker(&self) -> MaintenanceWorker {
        let Self { module, foundation, archive, projections, ordered, .. } = self.clone();
        MaintenanceWorker::new(module, foundation, archive, projections, ordered)
    }

    /// One job.
    ///
    /// # Errors
    /// Database faults.
    pub async fn job(&self, id: Uuid) -> sqlx::Result<Option<MaintenanceJob>> {
        store::find(&self.foundation.pool, id).await
    }

    /// A page of the jobs, newest first.
    ///
    /// # Errors
    /// Database faults.
    pub async fn jobs(
        &self,
        unfinished_only: bool,
        page: Page<(DateTime<Utc>, Uuid)>,
    ) -> sqlx::Result<Vec<MaintenanceJob>> {
        store::list(&self.foundation.pool, unfinished_only, page).await
    }

    /// Orders something done: it begins at once, or, where the policy asks, when a second person agrees. Ordering what is
    /// under way gives the job that is. For as long as `taken_for` no running bank begins with a new job, so that whoever
    /// ordered it can.
    ///
    /// # Errors
    /// [`MaintenanceError`]. A refusal is on record under the id of the command.
    pub async fn order(
        &self,
        context: &RequestContext,
        order: &MaintenanceOrder,
        dry_run: bool,
        reason: &str,
        taken_for: Duration,
    ) -> Result<Ordered, MaintenanceError> {
        let ordered = self.try_order(context, order, dry_run, reason.trim(), taken_for).await;
        self.recorded(context, order.command(), None, ordered).await
    }

    async fn try_order(
        &self,
        context: &RequestContext,
        order: &MaintenanceOrder,
        dry_run: bool,
        reason: &str,
        taken_for: Duration,
    ) -> Result<Ordered, MaintenanceError> {
        let operator = authorised(context)?;
        if reason.is_empty() && !dry_run {
            return Err(MaintenanceError::ReasonMissing);
        }
        let (work, target) = self.work(order).await?;
        let subject = work.subject(self.module);
        let asks = !dry_run && self.policy.asks_for_maintenance(&subject, work.gives_up());
        let Foundation { clock, ids, outbox, .. } = &self.foundation;
        let job = MaintenanceJob {
            id: ids.next(),
            subject,
            work,
            dry_run,
            reason: reason.to_owned(),
            state: if asks { JobState::Open } else { JobState::Running },
            requested_by: operator,
            requested_at: clock.now(),
            correlation_id: context.correlation_id,
            traceparent: context.traceparent.clone(),
            decided_by: None,
            decided_at: None,
            position: 0,
            target,
            events: 0,
            expected: None,
            report: None,
            failure: None,
            attempts: 0,
            ended_at: None,
        };
        let mut transaction = self.foundation.begin().await?;
        if let Some(same) = store::same_in_tx(&mut transaction, &job.subject, &job.work, dry_run).await? {
            return Ok(Ordered { job: same, is_new: false });
        }
        let inserted = store::insert_in_tx(&mut transaction, &job, taken_for).await;
        inserted.map_err(|error| under_way(error, &job.subject))?;
        if asks {
            let operation = job.operation(self.module);
            operation.tell_in_tx(&self.foundation, &mut transaction, context, OperatorStep::Requested, 1).await?;
        }
        transaction.commit().await?;
        outbox.committed();
        self.ordered.notify_one();
        Ok(Ordered { job, is_new: true })
    }

    /// What an order comes to, and the position that is to be reached as far as it is known.
    async fn work(&self, order: &MaintenanceOrder) -> Result<(Work, i64), MaintenanceError> {
        match order {
            MaintenanceOrder::Republish { from, to, types } => {
                let all = Republication::resolve(self.archive.as_ref(), self.module, *from, *to, types).await?;
                let Republication { first, last, types, .. } = all;
                Ok((Work::Republish { first, last, types }, last))
            }
            MaintenanceOrder::Rebuild { projection, patience, trust_event_store } => {
                if self.projections.iter().all(|known| known.name() != projection) {
                    return Err(MaintenanceError::ProjectionUnknown(format!("{}.{projection}", self.module)));
                }
                if *patience > Self::LONGEST_PATIENCE {
                    return Err(MaintenanceError::PatienceTooLong(patience.as_secs()));
                }
                let (projection, patience_seconds) = (projection.clone(), patience.as_secs());
                Ok((Work::Rebuild { projection, patience_seconds, trust_event_store: *trust_event_store }, 0))
            }
        }
    }

    /// Agrees to what somebody else ordered, which begins with it, or refuses it.
    ///
    /// # Errors
    /// [`MaintenanceError`]; [`MaintenanceError::SamePerson`] for whoever ordered it. A refusal is on record under the id of
    /// the command.
    pub async fn decide(
        &self,
        context: &RequestContext,
        id: Uuid,
        agree: bool,
    ) -> Result<MaintenanceJob, MaintenanceError> {
        let decided = self.try_decide(context, id, agree).await;
        self.recorded(context, decision_command(agree), Some(id), decided).await
    }

    async fn try_decide(
        &self,
        context: &RequestContext,
        id: Uuid,
        agree: bool,
    ) -> Result<MaintenanceJob, MaintenanceError> {
        let operator = authorised(context)?;
        let mut transaction = self.foundation.begin().await?;
        let job = store::lock_in_tx(&mut transaction, id).await?.ok_or(MaintenanceError::JobUnknown(id))?;
        if job.state != JobState::Open {
            return Err(MaintenanceError::JobDecided(job.state));
        }
        if job.requested_by == operator {
            return Err(MaintenanceError::SamePerson);
        }
        let (state, step) = if agree {
            (JobState::Running, OperatorStep::Approved)
        } else {
            (JobState::Rejected, OperatorStep::Rejected)
        };
        let now = self.foundation.clock.now();
        let decided = store::decide_in_tx(&mut transaction, id, state, operator, now).await;
        decided.map_err(|error| under_way(error, &job.subject))?;
        job.operation(self.module).tell_in_tx(&self.foundation, &mut transaction, context, step, 2).await?;
        transaction.commit().await?;
        self.foundation.outbox.committed();
        self.ordered.notify_one();
        let ended_at = state.has_ended().then_some(now);
        Ok(MaintenanceJob { state, decided_by: Some(operator), decided_at: Some(now), ended_at, ..job })
    }

    /// See [`recorded`].
    pub(super) async fn recorded<T>(
        &self,
        context: &RequestContext,
        command: &'static str,
        subject_id: Option<Uuid>,
        result: Result<T, MaintenanceError>,
    ) -> Result<T, MaintenanceError> {
        recorded(&self.foundation, self.module, context, command, subject_id, result).await
    }
}

/// The name of deciding about a job in the audit log.
pub(super) const fn decision_command(agree: bool) -> &'static str {
    if agree { "maintenanceJobApprove" } else { "maintenanceJobDecline" }
}

/// Who it is, if they may decide.
pub(super) fn authorised(context: &RequestContext) -> Result<Uuid, MaintenanceError> {
    let may = context.actor.has_any(&[Role::Operator, Role::Admin]);
    context.actor.id.filter(|_| may).ok_or(MaintenanceError::Forbidden)
}

/// The one index that can refuse a job keeps a projection from being rebuilt twice at a time.
fn under_way(error: sqlx::Error, subject: &str) -> MaintenanceError {
    if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) {
        MaintenanceError::UnderWay(subject.to_owned())
    } else {
        error.into()
    }
}
