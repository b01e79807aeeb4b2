use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use uuid::Uuid;

use super::types::{
    AuditEvent, AuditEventFilter, AuditVerification, EventCount, EventGap, Evidence, Violation, subject,
};
use super::{OFFICERS, facade, failure, shown};
use crate::access::{Access, only};
use crate::connection::{Page, PageArguments, PageRequest};
use crate::guards;
use crate::ids::{self, IdKind};
use crate::loader::Batch;
use crate::scope::RequestScope;

/// The violations of a request, each asked for once.
pub(crate) fn violation_batch(scope: &RequestScope) -> Arc<Batch<Uuid, vostro_compliance::Violation>> {
    Batch::of(scope)
}

/// The same of its documents.
pub(crate) fn evidence_batch(scope: &RequestScope) -> Arc<Batch<Uuid, vostro_compliance::Evidence>> {
    Batch::of(scope)
}

/// Reading the audit log.
pub struct Query;

/// Every question is a command of its own: a refused one is recorded under its id.
#[Object(name = "Query")]
impl Query {
    #[graphql(entity)]
    async fn violation_by_key(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Violation>> {
        guards::authenticated(ctx)?;
        let id = ids::decode(IdKind::Violation, &id)?;
        let ask = async |ids: Vec<Uuid>| {
            let found = shown(facade(ctx)?.violations_by_id(&guards::command(ctx)?, &ids).await)?;
            Ok(found.into_iter().map(|violation| (violation.violation_id, violation)).collect())
        };
        Ok(violation_batch(guards::scope(ctx)?).load(id, ask).await?.map(Violation))
    }

    #[graphql(entity)]
    async fn evidence_by_key(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Evidence>> {
        guards::authenticated(ctx)?;
        let id = ids::decode(IdKind::Evidence, &id)?;
        let ask = async |ids: Vec<Uuid>| {
            let found = shown(facade(ctx)?.evidence_by_id(&guards::command(ctx)?, &ids).await)?;
            Ok(found.into_iter().map(|evidence| (evidence.evidence_id, evidence)).collect())
        };
        Ok(evidence_batch(guards::scope(ctx)?).load(id, ask).await?.map(Evidence))
    }

    /// The audit log, newest first: every event of every module, accepted and refused commands among them.
    #[graphql(directive = Access::apply(only(OFFICERS).recorded().page()))]
    async fn audit_events(
        &self,
        ctx: &Context<'_>,
        filter: Option<AuditEventFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Option<Page<AuditEvent>>> {
        let page = PageRequest::<i64>::new("auditEvents", PageArguments { first, after, last, before })?;
        let filter = filter.unwrap_or_default().read()?;
        let entries = facade(ctx)?.audit_events(&guards::command(ctx)?, &filter, page.rows()).await.map_err(failure)?;
        Ok(Some(page.connection(entries, |entry| entry.position, AuditEvent)))
    }

    /// Everything on record about one object, oldest first: its events, and refused commands about it. Of more than 1,000
    /// the newest; `auditEvents` pages through all of them.
    #[graphql(directive = Access::apply(only(OFFICERS).recorded().cost(20).about(100)))]
    async fn audit_trail(&self, ctx: &Context<'_>, aggregate_id: ID) -> Result<Option<Vec<AuditEvent>>> {
        let aggregate = subject(&aggregate_id)?;
        let entries = facade(ctx)?.audit_trail(&guards::command(ctx)?, aggregate).await.map_err(failure)?;
        Ok(Some(entries.into_iter().map(AuditEvent).collect()))
    }

    /// Recomputes the whole audit chain: takes the longer the more events there are. `vostro audit verify` shows progress.
    #[graphql(directive = Access::apply(only(OFFICERS).recorded().cost(500)))]
    async fn audit_verification(&self, ctx: &Context<'_>) -> Result<Option<AuditVerification>> {
        let proof = facade(ctx)?.audit_verification(&guards::command(ctx)?).await.map_err(failure)?;
        Ok(Some(AuditVerification(proof)))
    }

    /// What the live rules found, newest first.
    #[graphql(directive = Access::apply(only(OFFICERS).recorded().page()))]
    async fn violations(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Option<Page<Violation>>> {
        let page = PageRequest::<(chrono::DateTime<Utc>, Uuid)>::new(
            "violations",
            PageArguments { first, after, last, before },
        )?;
        let found = facade(ctx)?.violations(&guards::command(ctx)?, page.rows()).await.map_err(failure)?;
        Ok(Some(page.connection(found, |violation| (violation.detected_at, violation.violation_id), Violation)))
    }

    /// The documents that are kept with a violation, in the order they came.
    #[graphql(directive = Access::apply(only(OFFICERS).recorded().page()))]
    async fn violation_evidence(
        &self,
        ctx: &Context<'_>,
        violation_id: ID,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Option<Page<Evidence>>> {
        let violation = ids::decode(IdKind::Violation, &violation_id)?;
        let page = PageRequest::<i64>::new("violationEvidence", PageArguments { first, after, last, before })?;
        let kept = facade(ctx)?.evidence(&guards::command(ctx)?, violation, page.rows()).await.map_err(failure)?;
        Ok(Some(page.connection(kept, |evidence| evidence.sequence, Evidence)))
    }

    /// The content of a document that is kept with a violation, in base64; `null` when there is none with this id.
    #[graphql(directive = Access::apply(only(OFFICERS).recorded().cost(50)))]
    async fn evidence_content(&self, ctx: &Context<'_>, id: ID) -> Result<Option<String>> {
        let evidence = ids::decode(IdKind::Evidence, &id)?;
        let content = facade(ctx)?.evidence_content(&guards::command(ctx)?, evidence).await.map_err(failure)?;
        Ok(content.map(|content| STANDARD.encode(content)))
    }

    /// Events that are missing between others for longer than they may be under way.
    #[graphql(directive = Access::apply(only(OFFICERS).recorded().cost(20).about(20)))]
    async fn event_gaps(&self, ctx: &Context<'_>) -> Result<Option<Vec<EventGap>>> {
        let gaps = facade(ctx)?.event_gaps(&guards::command(ctx)?).await.map_err(failure)?;
        Ok(Some(gaps.into_iter().map(EventGap).collect()))
    }

    /// How many events of each type are stored.
    #[graphql(directive = Access::apply(only(OFFICERS).recorded().cost(20).about(50)))]
    async fn event_counts(&self, ctx: &Context<'_>) -> Result<Option<Vec<EventCount>>> {
        let counts = facade(ctx)?.event_counts(&guards::command(ctx)?).await.map_err(failure)?;
        Ok(Some(counts.into_iter().map(EventCount).collect()))
    }
}
