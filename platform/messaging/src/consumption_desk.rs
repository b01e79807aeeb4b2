use vostro_events::operator::{OperatorAction, OperatorStep};
use vostro_kernel::RequestContext;

use crate::parking::{DeskError, authorised, recorded};
use crate::{Consumption, ConsumptionSwitch, Foundation, Operation, Outbox, OutboxStatus};

/// Where operators look at a module's coming and going, stop its consumers and let them go on. Cheap to clone.
#[derive(Clone)]
pub struct ConsumptionDesk {
    module: &'static str,
    foundation: Foundation,
}

impl ConsumptionDesk {
    /// `foundation` is the module's own.
    pub const fn new(module: &'static str, foundation: Foundation) -> Self {
        Self { module, foundation }
    }

    pub const fn module(&self) -> &'static str {
        self.module
    }

    /// Whether the module's consumers run.
    ///
    /// # Errors
    /// Database faults.
    pub async fn consumption(&self) -> sqlx::Result<Consumption> {
        ConsumptionSwitch::read(&self.foundation.pool).await
    }

    /// What waits to be published.
    ///
    /// # Errors
    /// Database faults.
    pub async fn outbox(&self) -> sqlx::Result<OutboxStatus> {
        Outbox::status(&self.foundation.pool).await
    }

    /// Stops the module's consumers in every running instance within a second, or lets them go on, and says whether that
    /// changed anything. A change is an event of the module, committed with it.
    ///
    /// # Errors
    /// [`DeskError::Forbidden`] and, for stopping without saying why, [`DeskError::ReasonMissing`], which are on record under
    /// the id of the command; and database faults.
    pub async fn switch(
        &self,
        context: &RequestContext,
        paused: bool,
        reason: Option<&str>,
    ) -> Result<bool, DeskError> {
        let switched = self.try_switch(context, paused, reason).await;
        self.refused(context, paused, switched).await
    }

    /// Tells the audit log when switching was refused, here or by whoever asked in the operator's name; passes anything
    /// else on.
    ///
    /// # Errors
    /// The refusal itself, and database faults.
    pub async fn refused<T>(
        &self,
        context: &RequestContext,
        paused: bool,
        result: Result<T, DeskError>,
    ) -> Result<T, DeskError> {
        recorded(&self.foundation, self.module, context, action(paused).1, None, result).await
    }

    async fn try_switch(
        &self,
        context: &RequestContext,
        paused: bool,
        reason: Option<&str>,
    ) -> Result<bool, DeskError> {
        authorised(context)?;
        let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
        if paused && reason.is_none() {
            return Err(DeskError::ReasonMissing);
        }
        let (action, command) = action(paused);
        let Foundation { pool, outbox, clock, ids, .. } = &self.foundation;
        let mut transaction = crate::begin(pool).await?;
        let changed = ConsumptionSwitch::set_in_tx(&mut transaction, paused, clock.now()).await?;
        if changed {
            let mut operation = Operation::new(ids.next(), self.module, action, command);
            operation.reason = reason.map(ToOwned::to_owned);
            operation.tell_in_tx(&self.foundation, &mut transaction, context, OperatorStep::Done, 1).await?;
        }
        transaction.commit().await?;
        outbox.committed();
        Ok(changed)
    }
}

/// What switching is, and its name in the audit log.
const fn action(paused: bool) -> (OperatorAction, &'static str) {
    if paused { (OperatorAction::Pause, "modulePause") } else { (OperatorAction::Resume, "moduleResume") }
}
