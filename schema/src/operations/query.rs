use async_graphql::{Context, ID, Object, Result};
use chrono::Utc;
use uuid::Uuid;
use vostro_messaging::maintenance::MaintenanceDesk;

use super::maintenance::{self, MaintenanceJob, ProjectionDescription};
use super::types::{
    ModuleConsumption, OutboxStatus, ParkedMessage, ParkedMessageContent, ParkedMessageFilter, ParkingRequest,
    QueueLook, TopologyDifference, uuid,
};
use super::{OPERATORS, broker_away, desks, failure, fault};
use crate::access::{Access, only};
use crate::connection::{Page, PageArguments, PageRequest};

/// What operators look at.
pub struct Query;

#[Object(name = "Query")]
impl Query {
    /// Messages that wait in their subscriber's database, dead letters included: module by module, in the order of parking.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().page()))]
    async fn parked_messages(
        &self,
        ctx: &Context<'_>,
        filter: Option<ParkedMessageFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Option<Page<ParkedMessage>>> {
        let page = PageRequest::<(String, i64)>::new("parkedMessages", PageArguments { first, after, last, before })?;
        let (module, selection) = filter.unwrap_or_default().read()?;
        let wanted = desks(ctx)?.parking.about(module.as_deref(), &selection).map_err(failure)?;
        let found = wanted.list(&selection, page.rows()).await.map_err(fault)?;
        Ok(Some(page.connection(found, |message| (message.module().to_owned(), message.position), ParkedMessage)))
    }

    /// One parked message with its contents, by its own id or that of its event; `null` when it is not parked.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(5)))]
    async fn parked_message(&self, ctx: &Context<'_>, id: ID) -> Result<Option<ParkedMessageContent>> {
        let found = desks(ctx)?.parking.show(uuid(&id)?).await.map_err(fault)?;
        Ok(found.map(ParkedMessageContent))
    }

    /// What operators asked for that takes two, newest first; only what is still open unless asked otherwise.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().page()))]
    async fn parking_requests(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = true)] open_only: bool,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Option<Page<ParkingRequest>>> {
        let page = PageRequest::<(chrono::DateTime<Utc>, Uuid)>::new(
            "parkingRequests",
            PageArguments { first, after, last, before },
        )?;
        let found = desks(ctx)?.parking.requests(open_only, page.rows()).await.map_err(fault)?;
        Ok(Some(page.connection(found, |request| (request.requested_at, request.id), ParkingRequest)))
    }

    /// What each module has still to publish.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(5).about(5)))]
    async fn outboxes(&self, ctx: &Context<'_>) -> Result<Option<Vec<OutboxStatus>>> {
        let desks = desks(ctx)?;
        let now = desks.clock.now();
        let mut all = Vec::with_capacity(desks.consumption.len());
        for desk in &desks.consumption {
            let status = desk.outbox().await.map_err(fault)?;
            all.push(OutboxStatus {
                module: desk.module(),
                waiting: status.rows,
                oldest_at: status.oldest.map(Into::into),
                oldest_age_millis: status.oldest.map(|oldest| (now - oldest).num_milliseconds().max(0)),
            });
        }
        Ok(Some(all))
    }

    /// Whether each module's consumers run, and what its queues hold.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(5).about(5)))]
    async fn consumptions(&self, ctx: &Context<'_>) -> Result<Option<Vec<ModuleConsumption>>> {
        let (look, mut all) = (QueueLook::default(), Vec::new());
        for desk in &desks(ctx)?.consumption {
            all.push(ModuleConsumption::of(desk, look.clone()).await?);
        }
        Ok(Some(all))
    }

    /// What operators ordered that takes long, newest first; only what has not ended unless asked otherwise.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().page()))]
    async fn maintenance_jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = true)] unfinished_only: bool,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Option<Page<MaintenanceJob>>> {
        let page = PageRequest::<(chrono::DateTime<Utc>, Uuid)>::new(
            "maintenanceJobs",
            PageArguments { first, after, last, before },
        )?;
        let jobs = desks(ctx)?.maintenance.jobs(unfinished_only, page.rows());
        let found = jobs.await.map_err(maintenance::failure)?;
        Ok(Some(page.connection(found, |job| (job.requested_at, job.id), MaintenanceJob)))
    }

    /// One of them: how far it is and what came of it; `null` when there is none with this id.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(5)))]
    async fn maintenance_job(&self, ctx: &Context<'_>, id: ID) -> Result<Option<MaintenanceJob>> {
        let found = desks(ctx)?.maintenance.job(uuid(&id)?).await.map_err(maintenance::failure)?;
        Ok(found.map(|(_, job)| MaintenanceJob(job)))
    }

    /// What can be rebuilt.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().about(10)))]
    async fn projections(&self, ctx: &Context<'_>) -> Result<Option<Vec<ProjectionDescription>>> {
        let described = |desk: &MaintenanceDesk| {
            let all = desk.projections().iter().map(|projection| ProjectionDescription::of(desk, projection.as_ref()));
            all.collect::<Vec<_>>()
        };
        Ok(Some(desks(ctx)?.maintenance.iter().flat_map(described).collect()))
    }

    /// How the broker differs from what the modules' manifests say; empty when it does not.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(20).about(20)))]
    async fn topology_differences(&self, ctx: &Context<'_>) -> Result<Option<Vec<TopologyDifference>>> {
        let found = desks(ctx)?.broker.topology_differences().await.map_err(broker_away)?;
        Ok(Some(found.into_iter().map(Into::into).collect()))
    }
}
