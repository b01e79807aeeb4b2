use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_kernel::{ActorKind, Page, RequestContext, Role};
use vostro_messaging::{BoundHandler, Foundation, Handler, Manifest, Module, StartError};

use crate::config::Config;
use crate::consume::Archive;
use crate::domain::{Hash, Outcome, Rules};
use crate::error::{ComplianceError, ComplianceErrorCode};
use crate::following::{self, Findings, FoundElsewhere, Position, Start, ViolationUpdate};
use crate::manifest::{ARCHIVE, MODULE, manifest};
use crate::proof::{self, AuditProof};
use crate::publish;
use crate::replay::{self, ArchivePoint, ArchivedEvent};
use crate::store::counts::{self, EventCount};
use crate::store::events::StoredRow;
use crate::store::gaps::{self, EventGap};
use crate::store::head;
use crate::store::names::{self, Names};
use crate::store::search::{self, Criteria};
use crate::store::violations::{self, Violation};
use crate::watch;

/// The compliance module. Cheap to clone.
#[derive(Clone)]
pub struct Compliance {
    inner: Arc<Inner>,
}

struct Inner {
    foundation: Foundation,
    config: Config,
    rules: Rules,
    findings: Findings,
}

/// What to look for in the audit log; everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The aggregate an event happened to (an account's id also finds its balance events), or what a refused command was
    /// about.
    pub subject_id: Option<Uuid>,
    /// Who gave the command. Finds accepted and refused commands; what they led to shares their correlation id.
    pub actor_id: Option<Uuid>,
    /// A CloudEvents type, such as `account.account-updated.v1`.
    pub event_type: Option<String>,
    pub outcome: Option<Outcome>,
    pub correlation_id: Option<Uuid>,
    /// Recorded at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Recorded before this time.
    pub to: Option<DateTime<Utc>>,
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place in the chain, from 1.
    pub position: i64,
    pub event_id: Uuid,
    pub event_type: String,
    pub module: String,
    pub aggregate_type: String,
    pub aggregate_id: Uuid,
    pub sequence: i64,
    pub actor_kind: ActorKind,
    pub actor_id: Option<Uuid>,
    /// The command it is the first event of, or the refusal of.
    pub command: Option<String>,
    pub outcome: Outcome,
    /// The refusal's code.
    pub code: Option<String>,
    /// What a refused command was about.
    pub subject_id: Option<Uuid>,
    pub correlation_id: Uuid,
    pub causation_id: Uuid,
    pub occurred_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
    pub hash: Hash,
    /// The data as JSON, exactly as the producer wrote it.
    pub data: String,
}

impl AuditEntry {
    /// The hash in hexadecimal.
    pub fn hash_hex(&self) -> String {
        proof::hex(&self.hash)
    }
}

impl Compliance {
    /// Events of an audit trail at most; the newest are kept.
    pub const LONGEST_TRAIL: i64 = 1000;
    /// Gaps reported at once at most.
    const MOST_GAPS: i64 = 1000;
    /// Who may ask.
    const OFFICERS: &[Role] = &[Role::ComplianceOfficer, Role::Admin];

    /// # Errors
    /// [`StartError`] when the configuration makes no sense.
    pub fn new(foundation: Foundation, config: Config) -> Result<Self, StartError> {
        let rules = config.rules().map_err(|reason| StartError { module: MODULE, reason })?;
        let findings = Findings::new(foundation.company.clone());
        Ok(Self { inner: Arc::new(Inner { foundation, config, rules, findings }) })
    }

    /// The events that meet the filter, newest first. The key of a page is the position.
    ///
    /// # Errors
    /// `CMP_FORBIDDEN` for everybody but compliance officers and administrators; database faults.
    pub async fn audit_events(
        &self,
        context: &RequestContext,
        filter: &AuditFilter,
        page: Page<i64>,
    ) -> Result<Vec<AuditEntry>, ComplianceError> {
        self.authorise(context, "auditEvents").await?;
        let mut transaction = search::begin(&self.inner.foundation.pool).await?;
        let names = names::load(&mut transaction).await?;
        let types = match (&filter.event_type, filter.outcome) {
            (Some(event_type), _) => match names.event_type(event_type) {
                Some(code) => Some(vec![code]),
                None => return Ok(Vec::new()),
            },
            // Refusals have types of their own, and an index by type.
            (None, Some(Outcome::Refused)) => Some(names.types_about("command-refused")),
            (None, _) => None,
        };
        let from = match filter.from {
            Some(time) => search::first_position_at(&mut transaction, time).await?,
            None => 1,
        };
        let to = match filter.to {
            Some(time) => search::first_position_at(&mut transaction, time).await?,
            None => i64::MAX,
        };
        let criteria = Criteria {
            subject_id: filter.subject_id,
            actor_id: filter.actor_id,
            correlation_id: filter.correlation_id,
            types,
            outcome: filter.outcome.map(Outcome::number),
            from,
            before: to,
            page,
        };
        let rows = search::find(&mut transaction, &criteria).await?;
        transaction.commit().await?;
        entries(rows, &names)
    }

    /// Everything that is known about an aggregate, oldest first: its events, and refused commands about it. Of a very
    /// long trail the newest [`Self::LONGEST_TRAIL`] events.
    ///
    /// # Errors
    /// As [`Self::audit_events`].
    pub async fn audit_trail(
        &self,
        context: &RequestContext,
        aggregate_id: Uuid,
    ) -> Result<Vec<AuditEntry>, ComplianceError> {
        self.authorise(context, "auditTrail").await?;
        let mut transaction = search::begin(&self.inner.foundation.pool).await?;
        let names = names::load(&mut transaction).await?;
        let criteria = Criteria {
            subject_id: Some(aggregate_id),
            actor_id: None,
            correlation_id: None,
            types: None,
            outcome: None,
            from: 1,
            before: i64::MAX,
            page: Page::forward(None, Self::LONGEST_TRAIL),
        };
        let mut rows = search::find(&mut transaction, &criteria).await?;
        transaction.commit().await?;
        rows.reverse();
        entries(rows, &names)
    }

    /// How many events of each type are stored.
    ///
    /// # Errors
    /// As [`Self::audit_events`].
    pub async fn event_counts(&self, context: &RequestContext) -> Result<Vec<EventCount>, ComplianceError> {
        self.authorise(context, "eventCounts").await?;
        Ok(counts::by_type(&self.inner.foundation.pool).await?)
    }

    /// Events that have been missing between stored ones for longer than the grace, the longest first.
    ///
    /// # Errors
    /// As [`Self::audit_events`].
    pub async fn event_gaps(&self, context: &RequestContext) -> Result<Vec<EventGap>, ComplianceError> {
        self.authorise(context, "eventGaps").await?;
        let before = self.inner.foundation.clock.now() - self.inner.config.gap_grace();
        Ok(gaps::open_since(&self.inner.foundation.pool, before, Self::MOST_GAPS).await?)
    }

    /// What the rules found, newest first. The key of a page is the time of detection and the id.
    ///
    /// # Errors
    /// As [`Self::audit_events`].
    pub async fn violations(
        &self,
        context: &RequestContext,
        page: Page<(DateTime<Utc>, Uuid)>,
    ) -> Result<Vec<Violation>, ComplianceError> {
        self.authorise(context, "violations").await?;
        Ok(violations::page(&self.inner.foundation.pool, page).await?)
    }

    /// The violations with these ids, in no order that means anything.
    ///
    /// # Errors
    /// As [`Self::audit_events`]: whoever may not ask is not told which of them there are.
    pub async fn violations_by_id(
        &self,
        context: &RequestContext,
        ids: &[Uuid],
    ) -> Result<Vec<Violation>, ComplianceError> {
        self.authorise_by_id(context, ids).await?;
        Ok(violations::by_ids(&self.inner.foundation.pool, ids).await?)
    }

    /// The latest 20 violations, oldest first, or with `after` all since then, and then each that the rules find. Whoever
    /// is more than 1,000 behind gets the latest, the first of them marked as `Lagged`. The stream ends with a database
    /// fault.
    ///
    /// # Errors
    /// As [`Self::audit_events`].
    pub async fn follow_violations(
        &self,
        context: &RequestContext,
        after: Option<Position>,
    ) -> Result<impl Stream<Item = Result<ViolationUpdate, ComplianceError>> + Send + use<>, ComplianceError> {
        self.authorise(context, "violationDetected").await?;
        self.follow(after, false).await
    }

    /// The same with what happens to violations, old and new ones: the documents that are kept with them. A snapshot has the
    /// latest document of each; whoever is more than 1,000 documents behind gets one, too.
    ///
    /// # Errors
    /// As [`Self::audit_events`].
    pub async fn follow_work(
        &self,
        context: &RequestContext,
        after: Option<Position>,
    ) -> Result<impl Stream<Item = Result<ViolationUpdate, ComplianceError>> + Send + use<>, ComplianceError> {
        self.authorise(context, "violationUpdated").await?;
        self.follow(after, true).await
    }

    async fn follow(
        &self,
        after: Option<Position>,
        with_documents: bool,
    ) -> Result<impl Stream<Item = Result<ViolationUpdate, ComplianceError>> + Send + use<>, ComplianceError> {
        let start = after.map_or(Start::Now { with_documents }, Start::After);
        Ok(following::follow(self.inner.foundation.pool.clone(), &self.inner.findings, start).await?)
    }

    /// Recomputes the whole chain for somebody of the bank.
    ///
    /// # Errors
    /// As [`Self::audit_events`]. A broken chain is no error but the answer.
    pub async fn audit_verification(&self, context: &RequestContext) -> Result<AuditProof, ComplianceError> {
        self.authorise(context, "auditVerification").await?;
        Ok(self.verify_audit(|_, _| {}).await?)
    }

    /// Recomputes the whole chain, for an operator at the machine. `progress` is told how many of how many events have
    /// been looked at.
    ///
    /// # Errors
    /// Database faults. A broken chain is no error but the answer.
    pub async fn verify_audit(&self, progress: impl FnMut(u64, u64)) -> sqlx::Result<AuditProof> {
        proof::verify(&self.inner.foundation.pool, progress).await
    }

    /// The archived events of these types after one position and up to another, oldest first.
    ///
    /// # Errors
    /// Database faults, and a row that holds no event.
    pub async fn archived_of(
        &self,
        types: &[&str],
        after: i64,
        until: i64,
        limit: i64,
    ) -> sqlx::Result<Vec<ArchivedEvent>> {
        replay::page_of(&self.inner.foundation.pool, types, after, until, limit).await
    }

    /// How many archived events of these types there are after one position and up to another, by type.
    ///
    /// # Errors
    /// Database faults.
    pub async fn archive_counts(&self, types: &[&str], after: i64, until: i64) -> sqlx::Result<BTreeMap<String, i64>> {
        replay::counts(&self.inner.foundation.pool, types, after, until).await
    }

    /// The types of this module's events that are archived, in every version.
    ///
    /// # Errors
    /// Database faults.
    pub async fn archived_types(&self, module: &str) -> sqlx::Result<Vec<String>> {
        replay::types_of(&self.inner.foundation.pool, module).await
    }

    /// How many events are missing between others of these modules, however new the gap is.
    ///
    /// # Errors
    /// Database faults.
    pub async fn archive_gaps(&self, modules: &[String]) -> sqlx::Result<i64> {
        gaps::count_open_of(&self.inner.foundation.pool, modules).await
    }

    /// The position of the newest event in the archive; 0 when there is none.
    ///
    /// # Errors
    /// Database faults.
    pub async fn archive_head(&self) -> sqlx::Result<i64> {
        Ok(head::read(&self.inner.foundation.pool).await?.map_or(0, |head| head.position))
    }

    /// The position of a point in the archive; one behind the last for a time after it.
    ///
    /// # Errors
    /// Database faults.
    pub async fn archive_position(&self, point: ArchivePoint) -> sqlx::Result<i64> {
        replay::position(&self.inner.foundation.pool, point).await
    }

    pub(crate) fn foundation(&self) -> &Foundation {
        &self.inner.foundation
    }

    pub(crate) fn findings(&self) -> &Findings {
        &self.inner.findings
    }

    /// Lets officers, administrators and the bank itself pass. That somebody else tried is written into the audit log.
    pub(crate) async fn authorise(&self, context: &RequestContext, query: &'static str) -> Result<(), ComplianceError> {
        self.authorise_about(context, query, None).await
    }

    /// The same for objects that are asked for by nothing but their ids. A single one is named in the audit log.
    pub(crate) async fn authorise_by_id(&self, context: &RequestContext, ids: &[Uuid]) -> Result<(), ComplianceError> {
        let subject = if let [id] = ids { Some(*id) } else { None };
        self.authorise_about(context, "node", subject).await
    }

    async fn authorise_about(
        &self,
        context: &RequestContext,
        query: &'static str,
        subject: Option<Uuid>,
    ) -> Result<(), ComplianceError> {
        if context.actor.kind == ActorKind::System || context.actor.has_any(Self::OFFICERS) {
            return Ok(());
        }
        self.record_refusal(context, query, ComplianceErrorCode::Forbidden, subject).await?;
        Err(ComplianceErrorCode::Forbidden.into())
    }

    /// Writes a refusal into the audit log; `subject` is what the command was about.
    pub(crate) async fn record_refusal(
        &self,
        context: &RequestContext,
        command: &'static str,
        code: ComplianceErrorCode,
        subject: Option<Uuid>,
    ) -> Result<(), ComplianceError> {
        let Foundation { pool, outbox, clock, ids, .. } = self.foundation();
        let refused = publish::refused(ids.next(), clock.now(), context, command, code, subject);
        let mut transaction = vostro_messaging::begin(pool).await?;
        outbox.append_in_tx(&mut transaction, vec![refused]).await?;
        transaction.commit().await?;
        outbox.committed();
        Ok(())
    }
}

fn entries(rows: Vec<StoredRow>, names: &Names) -> Result<Vec<AuditEntry>, ComplianceError> {
    rows.into_iter().map(|row| entry(row, names).ok_or_else(unreadable)).collect()
}

/// Somebody changed the row behind the bank's back; the proof names it.
fn unreadable() -> ComplianceError {
    sqlx::Error::Decode("a stored event cannot be read; verify the audit chain".into()).into()
}

fn entry(row: StoredRow, names: &Names) -> Option<AuditEntry> {
    let record = row.record(names)?;
    let (event_type, module) = (record.event_type.to_owned(), record.module.to_owned());
    let (aggregate_type, actor_kind, outcome) = (record.aggregate_type.to_owned(), record.actor_kind, record.outcome);
    Some(AuditEntry {
        position: row.position,
        event_id: row.event_id,
        event_type,
        module,
        aggregate_type,
        aggregate_id: row.aggregate_id,
        sequence: row.sequence,
        actor_kind,
        actor_id: row.actor_id,
        command: row.command,
        outcome,
        code: row.code,
        subject_id: row.subject_id,
        correlation_id: row.correlation_id,
        causation_id: row.causation_id,
        occurred_at: row.occurred_at,
        recorded_at: row.recorded_at,
        hash: row.hash.try_into().ok()?,
        data: row.data,
    })
}

#[async_trait]
impl Module for Compliance {
    fn manifest(&self) -> Manifest {
        manifest()
    }

    fn handlers(&self) -> Vec<BoundHandler> {
        let handler: Arc<dyn Handler> = Arc::new(Archive::new(
            self.inner.foundation.clone(),
            self.inner.rules.clone(),
            self.inner.findings.clone(),
        ));
        vec![BoundHandler { subscription: ARCHIVE, handler }]
    }

    fn background(&self, stop: CancellationToken) -> Vec<BoxFuture<'static, ()>> {
        let every = Duration::from_secs(self.inner.config.watch_seconds.into());
        let foundation = self.inner.foundation.clone();
        let elsewhere = FoundElsewhere::new(foundation.pool.clone());
        vec![
            watch::run(foundation, self.inner.config.gap_grace(), every, stop.clone()).boxed(),
            self.inner.findings.clone().look_around(elsewhere, stop).boxed(),
        ]
    }
}
