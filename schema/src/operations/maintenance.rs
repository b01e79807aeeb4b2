//! Long work that operators order: publishing once more, rebuilding. The desks decide; this says it in GraphQL.

use std::time::Duration;

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, Result, SimpleObject};
use serde_json::Value;
use vostro_kernel::RequestContext;
use vostro_messaging::Projection;
use vostro_messaging::maintenance::{self, ArchivePoint, MaintenanceDesk, MaintenanceError, MaintenanceOrder, Work};

use super::desks;
use super::types::{User, person, plain, uuid};
use crate::faults::{bad_user_input, forbidden, internal, module_unavailable};
use crate::guards;
use crate::scalars::DateTime;

crate::user_errors! {
    /// Why an order about maintenance was refused; nothing was done.
    pub MaintenanceUserError, MaintenanceErrorCode {
        /// It takes a person with the role OPERATOR or ADMIN.
        ///
        /// Have an administrator assign the role, or leave it to somebody who has it.
        MaintenanceForbidden,
        /// No module has this name.
        ///
        /// Take one of `outboxes`.
        MaintenanceModuleUnknown,
        /// No projection has this name.
        ///
        /// Take one of `projections`.
        MaintenanceProjectionUnknown,
        /// The archive has no event of this type, or it is another module's.
        ///
        /// Take a type of this module from `eventCounts`.
        MaintenanceEventTypeUnknown,
        /// The archive has nothing between the two points.
        ///
        /// Choose a wider range.
        MaintenanceRangeEmpty,
        /// Events are waited for an hour at most.
        ///
        /// Give an hour or less.
        MaintenancePatienceTooLong,
        /// The reason is missing; it goes to the audit log.
        ///
        /// Say why.
        MaintenanceReasonMissing,
        /// The projection is being rebuilt already, with other options.
        ///
        /// Wait until that has ended.
        MaintenanceUnderWay,
        /// There is no such job.
        ///
        /// Take an id from `maintenanceJobs`.
        MaintenanceJobUnknown,
        /// Nothing is to be decided about the job, or no more.
        ///
        /// Nothing is to be done; order it anew where it was declined.
        MaintenanceJobDecided,
        /// Whoever ordered it cannot decide about it.
        ///
        /// Have a second person decide.
        MaintenanceSamePerson,
    }
}

/// Why a job failed. Mend the cause and order it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum MaintenanceJobErrorCode {
    /// The event store has gaps, or the live projection has taken events that it has not.
    ///
    /// See that the archive is not behind; `trustEventStore` gives up what only the projection knows.
    RebuildEventsMissing,
    /// An event of the archive cannot be applied.
    ///
    /// Mend the module's reading of the event the text names, and order it again.
    RebuildEventUnusable,
    /// The live projection did not become what was rebuilt; nothing was changed.
    ///
    /// Order it again; if that repeats itself, tell the developers.
    RebuildNotEqual,
    /// The bank that works on it does not know the projection: it is of another release.
    ///
    /// Order it again when every instance is of one release.
    MaintenanceProjectionUnknown,
    /// It was tried again and again and did not get on; the text says what for.
    ///
    /// Mend what the text says, and order it again.
    MaintenanceExhausted,
}

/// What a job is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum MaintenanceKind {
    /// A module's events are published once more, from the archive.
    Republish,
    /// A projection is built again from the archive and swapped.
    Rebuild,
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "vostro_messaging::maintenance::JobState")]
pub enum MaintenanceState {
    /// A second person has to agree.
    Open,
    /// Somebody works on it, or will within seconds. What is interrupted is gone on with.
    Running,
    /// Done.
    Done,
    /// It cannot be done; see `failureCode`.
    Failed,
    /// A second person did not agree; nothing was done.
    Rejected,
}

/// A point in the archive: a position or a time.
#[derive(Debug, Clone, Copy, InputObject)]
pub struct ArchivePointInput {
    /// A position, as `auditEvents` has them.
    position: Option<i64>,
    /// The first event that was recorded then or later.
    recorded_at: Option<DateTime>,
}

impl ArchivePointInput {
    fn read(self) -> Result<ArchivePoint> {
        match (self.position, self.recorded_at) {
            (Some(position), None) => Ok(ArchivePoint::Position(position)),
            (None, Some(time)) => Ok(ArchivePoint::Time(time.into())),
            _ => Err(bad_user_input("A point of the archive is either a `position` or a time, `recordedAt`.")),
        }
    }
}

/// Which events to publish once more.
#[derive(Debug, InputObject)]
pub struct RepublishOutboxInput {
    /// Whose events.
    module: String,
    /// Where to begin.
    from: ArchivePointInput,
    /// Where to end, a position included and a time not; without it at the end of the archive.
    to: Option<ArchivePointInput>,
    /// Only events of these types. At most 100.
    event_types: Option<Vec<String>>,
    /// Only count what would be published.
    #[graphql(default)]
    dry_run: bool,
    /// Why. Goes to the audit log; needed unless it is a dry run.
    reason: Option<String>,
}

impl RepublishOutboxInput {
    const MOST_TYPES: usize = 100;
}

/// Which projection to build again.
#[derive(Debug, InputObject)]
pub struct RebuildProjectionInput {
    /// `<module>.<name>`; `projections` lists them.
    projection: String,
    /// Only compare, and leave the live one as it is.
    #[graphql(default)]
    dry_run: bool,
    /// How long events may be on their way before they count as lost, in seconds; an hour at most.
    #[graphql(default = 60)]
    wait_seconds: u32,
    /// Swap although the live one claims events the archive does not have after that time: what only it knows is given up.
    #[graphql(default)]
    trust_event_store: bool,
    /// Why. Goes to the audit log; needed unless it is a dry run.
    reason: Option<String>,
}

/// The job to decide about.
#[derive(Debug, InputObject)]
pub struct MaintenanceJobDecideInput {
    pub(super) job_id: ID,
}

/// What became of an order about maintenance.
#[derive(Default, SimpleObject)]
pub struct MaintenanceJobPayload {
    /// `null` when it was refused. Ordering what is asked for or under way already gives the job that is.
    job: Option<MaintenanceJob>,
    user_errors: Vec<MaintenanceUserError>,
}

/// Long work that an operator ordered. Poll it while it is `RUNNING`.
#[derive(Description)]
pub struct MaintenanceJob(pub(super) maintenance::MaintenanceJob);

#[Object(use_type_description)]
impl MaintenanceJob {
    async fn id(&self) -> ID {
        plain(self.0.id)
    }

    async fn module(&self) -> &str {
        self.0.module()
    }

    /// `<module>.outbox`, or `<module>.<projection>`.
    async fn subject(&self) -> &str {
        &self.0.subject
    }

    async fn kind(&self) -> MaintenanceKind {
        match self.0.work {
            Work::Republish { .. } => MaintenanceKind::Republish,
            Work::Rebuild { .. } => MaintenanceKind::Rebuild,
        }
    }

    /// Whether it only counts, or only compares.
    async fn dry_run(&self) -> bool {
        self.0.dry_run
    }

    async fn reason(&self) -> &str {
        &self.0.reason
    }

    async fn state(&self) -> MaintenanceState {
        self.0.state.into()
    }

    async fn requested_by(&self) -> Option<User> {
        Some(person(self.0.requested_by))
    }

    async fn requested_at(&self) -> DateTime {
        self.0.requested_at.into()
    }

    /// Never whoever requested it; `null` as well where one person was enough.
    async fn decided_by(&self) -> Option<User> {
        self.0.decided_by.map(person)
    }

    async fn decided_at(&self) -> Option<DateTime> {
        self.0.decided_at.map(Into::into)
    }

    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended_at.map(Into::into)
    }

    /// The position of the archive that is reached.
    async fn position(&self) -> i64 {
        self.0.position
    }

    /// The position to reach; 0 until it is known.
    async fn target(&self) -> i64 {
        self.0.target
    }

    /// Events that were published, or applied beside the live projection.
    async fn events(&self) -> i64 {
        self.0.events
    }

    /// How many events are to be published; `null` until they are counted, and for a rebuild.
    async fn expected_events(&self) -> Option<i64> {
        self.0.expected
    }

    /// How many events of which type a republication is about.
    async fn event_counts(&self) -> Option<Vec<EventTypeCount>> {
        let counts = self.0.report.as_ref()?["types"].as_object()?;
        let count = |(name, count): (&String, &Value)| EventTypeCount {
            event_type: name.clone(),
            count: count.as_i64().unwrap_or_default(),
        };
        Some(counts.iter().map(count).collect())
    }

    /// How the live projection and the rebuilt one compared.
    async fn comparison(&self) -> Option<ProjectionComparison> {
        let report = self.0.report.as_ref().filter(|report| report["checksumLive"].is_string())?;
        let number = |name: &str| report[name].as_i64().unwrap_or_default();
        let text = |name: &str| report[name].as_str().unwrap_or_default().to_owned();
        Some(ProjectionComparison {
            is_equal: report["equal"] == true,
            same: number("same"),
            different: number("different"),
            behind: number("behind"),
            ahead: number("ahead"),
            checksum_live: text("checksumLive"),
            checksum_rebuilt: text("checksumRebuilt"),
            changed: report["changed"].as_i64(),
        })
    }

    /// Why it failed; `null` unless it did.
    async fn failure_code(&self) -> Option<MaintenanceJobErrorCode> {
        if self.0.state != maintenance::JobState::Failed {
            return None;
        }
        let code = self.0.failure.as_ref()?.split_once(": ")?.0;
        let items = <MaintenanceJobErrorCode as async_graphql::resolver_utils::EnumType>::items();
        items.iter().find(|item| item.name == code).map(|item| item.value)
    }

    /// The same in words, or, while it runs, what the last attempt failed for.
    async fn failure(&self) -> Option<&str> {
        self.0.failure.as_deref()
    }

    /// Whether you may decide about it: it is open, and somebody else's.
    async fn is_yours_to_decide(&self, ctx: &Context<'_>) -> Result<bool> {
        Ok(self.0.state == maintenance::JobState::Open && guards::user_id(ctx)? != self.0.requested_by)
    }
}

/// Events of one type.
#[derive(Debug, SimpleObject)]
pub struct EventTypeCount {
    event_type: String,
    count: i64,
}

/// How a live projection and the one that was built beside it compared. Each row is counted once.
#[derive(Debug, SimpleObject)]
pub struct ProjectionComparison {
    is_equal: bool,
    /// The same in both.
    same: i64,
    /// Of the same version and not the same: the live one was damaged.
    different: i64,
    /// The live one had not taken an event that the archive has.
    behind: i64,
    /// The live one had taken an event that the archive has not.
    ahead: i64,
    checksum_live: String,
    checksum_rebuilt: String,
    /// Rows of the live one that were changed; `null` when it was only compared.
    changed: Option<i64>,
}

/// What a module keeps of others' events, and can build again from the archive.
#[derive(Debug, SimpleObject)]
pub struct ProjectionDescription {
    /// `<module>.<name>`.
    name: String,
    module: &'static str,
    /// The subscription that keeps it, `<module>.<name>`.
    subscription: String,
    /// The event types it follows from.
    event_types: Vec<&'static str>,
}

impl ProjectionDescription {
    pub(super) fn of(desk: &MaintenanceDesk, projection: &dyn Projection) -> Self {
        Self {
            name: format!("{}.{}", desk.module(), projection.name()),
            module: desk.module(),
            subscription: projection.subscription().group(),
            event_types: projection.events().to_vec(),
        }
    }
}

pub(super) async fn republish(ctx: &Context<'_>, input: RepublishOutboxInput) -> Result<MaintenanceJobPayload> {
    let RepublishOutboxInput { module, from, to, event_types, dry_run, reason } = input;
    let types = event_types.unwrap_or_default();
    if types.len() > RepublishOutboxInput::MOST_TYPES {
        return Err(bad_user_input("At most 100 `eventTypes` are taken; leave them out for all."));
    }
    let order =
        MaintenanceOrder::Republish { from: from.read()?, to: to.map(ArchivePointInput::read).transpose()?, types };
    let (context, reason) = (guards::command(ctx)?, reason.unwrap_or_default());
    let desks = &desks(ctx)?.maintenance;
    let ordered = desks.republish(&context, &module, &order, dry_run, &reason, Duration::ZERO).await;
    payload(ordered.map(|ordered| ordered.job))
}

pub(super) async fn rebuild(ctx: &Context<'_>, input: RebuildProjectionInput) -> Result<MaintenanceJobPayload> {
    let RebuildProjectionInput { projection, dry_run, wait_seconds, trust_event_store, reason } = input;
    let (context, reason) = (guards::command(ctx)?, reason.unwrap_or_default());
    let patience = Duration::from_secs(wait_seconds.into());
    let desks = &desks(ctx)?.maintenance;
    let ordered =
        desks.rebuild(&context, &projection, patience, trust_event_store, dry_run, &reason, Duration::ZERO).await;
    payload(ordered.map(|ordered| ordered.job))
}

pub(super) async fn decide(ctx: &Context<'_>, id: &ID, agree: bool) -> Result<MaintenanceJobPayload> {
    let context: RequestContext = guards::command(ctx)?;
    payload(desks(ctx)?.maintenance.decide(&context, uuid(id)?, agree).await)
}

fn payload(
    result: std::result::Result<maintenance::MaintenanceJob, MaintenanceError>,
) -> Result<MaintenanceJobPayload> {
    match result {
        Ok(job) => Ok(MaintenanceJobPayload { job: Some(MaintenanceJob(job)), user_errors: Vec::new() }),
        Err(error) => Ok(MaintenanceJobPayload { job: None, user_errors: vec![refusal(error)?] }),
    }
}

/// A refusal is data; everything else is a top-level error.
fn refusal(error: MaintenanceError) -> Result<MaintenanceUserError> {
    let Some((code, message)) = error.refusal() else { return Err(failure(error)) };
    let known = MaintenanceErrorCode::named(&code);
    let code = known.ok_or_else(|| internal(format_args!("refusal code {code} is missing in the schema")))?;
    Ok(MaintenanceUserError { code, message, field: None })
}

/// A fault as a top-level error. What may pass by itself says so.
pub(super) fn failure(error: impl Into<MaintenanceError>) -> async_graphql::Error {
    let error = error.into();
    if error.is_passing() {
        tracing::warn!(%error, cause = ?std::error::Error::source(&error), "maintenance cannot be ordered or seen");
        return module_unavailable();
    }
    match error {
        MaintenanceError::Forbidden => forbidden(),
        fault => internal(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_the_desks_has_a_code_in_the_schema() {
        for error in MaintenanceError::each() {
            let text = error.to_string();
            let refused = refusal(error).unwrap_or_else(|_| panic!("{text} has no code"));
            assert!(text.ends_with(&refused.message), "{text}");
        }
    }

    #[test]
    fn a_point_of_the_archive_is_a_position_or_a_time() {
        let neither = ArchivePointInput { position: None, recorded_at: None };
        let now = chrono::Utc::now().into();
        let both = ArchivePointInput { position: Some(1), recorded_at: Some(now) };
        assert!(neither.read().is_err() && both.read().is_err());
        assert!(ArchivePointInput { position: None, recorded_at: Some(now) }.read().is_ok());
    }
}
