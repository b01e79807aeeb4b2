use async_graphql::{Context, ID, Object, Result};
use chrono::Utc;
use uuid::Uuid;

use super::types::{AuditEvent, AuditEventFilter, AuditVerification, EventCount, EventGap, Violation, subject};
use super::{facade, failure};
use crate::connection::{Page, PageRequest};
use crate::guards::{self, Authenticated};

/// Reading the audit log.
pub struct Query;

/// Every question is a command of its own: a refused one is recorded under its id.
#[Object(name = "Query")]
impl Query {
    /// The audit log, newest first: every event of every module, accepted and refused commands among them.
    #[graphql(guard = "Authenticated")]
    async fn audit_events(
        &self,
        ctx: &Context<'_>,
        filter: Option<AuditEventFilter>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Page<AuditEvent>> {
        let page = PageRequest::<i64>::new("auditEvents", first, after)?;
        let filter = filter.unwrap_or_default().read()?;
        let rows = vostro_compliance::Page { after: page.after, limit: page.rows_to_fetch() };
        let entries = facade(ctx)?.audit_events(&guards::command(ctx)?, &filter, rows).await.map_err(failure)?;
        Ok(page.connection(entries, |entry| entry.position, AuditEvent))
    }

    /// Everything on record about one object, oldest first: its events, and refused commands about it. Of more than 1,000
    /// the newest; `auditEvents` pages through all of them.
    #[graphql(guard = "Authenticated")]
    async fn audit_trail(&self, ctx: &Context<'_>, aggregate_id: ID) -> Result<Vec<AuditEvent>> {
        let aggregate = subject(&aggregate_id)?;
        let entries = facade(ctx)?.audit_trail(&guards::command(ctx)?, aggregate).await.map_err(failure)?;
        Ok(entries.into_iter().map(AuditEvent).collect())
    }

    /// Recomputes the whole audit chain: takes the longer the more events there are. `vostro audit verify` shows progress.
    #[graphql(guard = "Authenticated")]
    async fn audit_verification(&self, ctx: &Context<'_>) -> Result<AuditVerification> {
        let proof = facade(ctx)?.audit_verification(&guards::command(ctx)?).await.map_err(failure)?;
        Ok(AuditVerification(proof))
    }

    /// What the live rules found, newest first.
    #[graphql(guard = "Authenticated")]
    async fn violations(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Page<Violation>> {
        let page = PageRequest::<(chrono::DateTime<Utc>, Uuid)>::new("violations", first, after)?;
        let rows = vostro_compliance::Page { after: page.after, limit: page.rows_to_fetch() };
        let found = facade(ctx)?.violations(&guards::command(ctx)?, rows).await.map_err(failure)?;
        Ok(page.connection(found, |violation| (violation.detected_at, violation.violation_id), Violation))
    }

    /// Events that are missing between others for longer than they may be under way.
    #[graphql(guard = "Authenticated")]
    async fn event_gaps(&self, ctx: &Context<'_>) -> Result<Vec<EventGap>> {
        let gaps = facade(ctx)?.event_gaps(&guards::command(ctx)?).await.map_err(failure)?;
        Ok(gaps.into_iter().map(EventGap).collect())
    }

    /// How many events of each type are stored.
    #[graphql(guard = "Authenticated")]
    async fn event_counts(&self, ctx: &Context<'_>) -> Result<Vec<EventCount>> {
        let counts = facade(ctx)?.event_counts(&guards::command(ctx)?).await.map_err(failure)?;
        Ok(counts.into_iter().map(EventCount).collect())
    }
}
