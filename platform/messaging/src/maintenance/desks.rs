use std::cmp::Reverse;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_kernel::{Page, RequestContext};

use super::desk::{authorised, decision_command};
use super::{MaintenanceDesk, MaintenanceError, MaintenanceJob, MaintenanceOrder, Ordered};

/// The desks of all modules: what operators ask whatever module it is about. Cheap to clone.
#[derive(Clone)]
pub struct MaintenanceDesks(Vec<MaintenanceDesk>);

impl MaintenanceDesks {
    pub const fn new(desks: Vec<MaintenanceDesk>) -> Self {
        Self(desks)
    }

    /// Each module's desk.
    pub fn iter(&self) -> impl Iterator<Item = &MaintenanceDesk> {
        self.0.iter()
    }

    /// The desk of one module.
    ///
    /// # Errors
    /// [`MaintenanceError::ModuleUnknown`].
    pub fn of(&self, module: &str) -> Result<&MaintenanceDesk, MaintenanceError> {
        let found = self.0.iter().find(|desk| desk.module() == module);
        found.ok_or_else(|| MaintenanceError::ModuleUnknown(module.to_owned()))
    }

    /// Orders events of a module to be published once more, see [`MaintenanceDesk::order`].
    ///
    /// # Errors
    /// [`MaintenanceError`]. A refusal is on record under the id of the command.
    pub async fn republish(
        &self,
        context: &RequestContext,
        module: &str,
        order: &MaintenanceOrder,
        dry_run: bool,
        reason: &str,
        taken_for: Duration,
    ) -> Result<Ordered, MaintenanceError> {
        let found = authorised(context).and_then(|_| self.of(module));
        let desk = self.recorded(context, "outboxRepublish", None, found).await?;
        desk.order(context, order, dry_run, reason, taken_for).await
    }

    /// Orders a projection, `<module>.<name>`, to be built again, see [`MaintenanceDesk::order`].
    ///
    /// # Errors
    /// [`MaintenanceError`]. A refusal is on record under the id of the command.
    #[expect(clippy::too_many_arguments, reason = "an order says all of this")]
    pub async fn rebuild(
        &self,
        context: &RequestContext,
        name: &str,
        patience: Duration,
        trust_event_store: bool,
        dry_run: bool,
        reason: &str,
        taken_for: Duration,
    ) -> Result<Ordered, MaintenanceError> {
        let found = authorised(context).and_then(|_| self.with_projection(name));
        let (desk, projection) = self.recorded(context, "projectionRebuild", None, found).await?;
        let order = MaintenanceOrder::Rebuild { projection, patience, trust_event_store };
        desk.order(context, &order, dry_run, reason, taken_for).await
    }

    fn with_projection(&self, name: &str) -> Result<(&MaintenanceDesk, String), MaintenanceError> {
        let parts = name.split_once('.');
        let found = parts.and_then(|(module, table)| Some((self.of(module).ok()?, table.to_owned())));
        found.ok_or_else(|| MaintenanceError::ProjectionUnknown(name.to_owned()))
    }

    /// A page of the jobs of all modules, newest first.
    ///
    /// # Errors
    /// Database faults.
    pub async fn jobs(
        &self,
        unfinished_only: bool,
        page: Page<(DateTime<Utc>, Uuid)>,
    ) -> sqlx::Result<Vec<MaintenanceJob>> {
        let mut jobs = Vec::new();
        for desk in &self.0 {
            jobs.extend(desk.jobs(unfinished_only, page).await?);
        }
        Ok(page.merged(jobs, |job| Reverse((job.requested_at, job.id))))
    }

    /// One job, and the desk it was ordered at.
    ///
    /// # Errors
    /// Database faults.
    pub async fn job(&self, id: Uuid) -> sqlx::Result<Option<(&MaintenanceDesk, MaintenanceJob)>> {
        for desk in &self.0 {
            if let Some(job) = desk.job(id).await? {
                return Ok(Some((desk, job)));
            }
        }
        Ok(None)
    }

    /// Agrees to what somebody else ordered, or refuses it, see [`MaintenanceDesk::decide`].
    ///
    /// # Errors
    /// [`MaintenanceError`]. A refusal is on record under the id of the command.
    pub async fn decide(
        &self,
        context: &RequestContext,
        id: Uuid,
        agree: bool,
    ) -> Result<MaintenanceJob, MaintenanceError> {
        let found = self.to_decide(context, id).await;
        let desk = self.recorded(context, decision_command(agree), Some(id), found).await?;
        desk.decide(context, id, agree).await
    }

    async fn to_decide(&self, context: &RequestContext, id: Uuid) -> Result<&MaintenanceDesk, MaintenanceError> {
        authorised(context)?;
        self.job(id).await?.map(|(desk, _)| desk).ok_or(MaintenanceError::JobUnknown(id))
    }

    /// A refusal before it is known which module it is about is told by the first one.
    async fn recorded<T>(
        &self,
        context: &RequestContext,
        command: &'static str,
        subject_id: Option<Uuid>,
        result: Result<T, MaintenanceError>,
    ) -> Result<T, MaintenanceError> {
        match self.0.first() {
            Some(desk) => desk.recorded(context, command, subject_id, result).await,
            None => result,
        }
    }
}
