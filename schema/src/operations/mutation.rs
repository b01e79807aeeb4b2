use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject};
use tracing::warn;
use vostro_messaging::ConsumptionDesk;
use vostro_messaging::parking::{self, Decision, DeskError};

use super::maintenance::{
    self, MaintenanceJobDecideInput, MaintenanceJobPayload, RebuildProjectionInput, RepublishOutboxInput,
};
use super::types::{ModuleConsumption, ParkedMessageFilter, ParkingRequest, QueueLook, uuid};
use super::{OPERATORS, desks, failure};
use crate::access::{Access, only};
use crate::faults::internal;
use crate::guards;

crate::user_errors! {
    /// Why an operator's order was refused; nothing was done.
    pub OperationsUserError, OperationsErrorCode {
        /// It takes a person with the role OPERATOR or ADMIN.
        ///
        /// Have an administrator assign the role, or leave it to somebody who has it.
        ParkingForbidden,
        /// No module has this name.
        ///
        /// Take one of `consumptions`.
        ParkingModuleUnknown,
        /// The selection says nothing; the whole bank cannot be meant.
        ///
        /// Name a subscription, a key or ids.
        ParkingSelectionEmpty,
        /// No parked message is selected, or none any more.
        ///
        /// Look at `parkedMessages`; somebody may have been quicker, or it was released by itself.
        ParkingNothingSelected,
        /// The reason is missing; it goes to the audit log.
        ///
        /// Say why.
        ParkingReasonMissing,
        /// Only the first message of a key can be skipped.
        ///
        /// Skip the first one, or redrive the key.
        ParkingNotFirst,
        /// The selection is about several subscriptions; name one.
        ///
        /// Name the subscription.
        ParkingSeveralSubscriptions,
        /// More messages are selected than one order can be about.
        ///
        /// Give several orders.
        ParkingTooMany,
        /// There is no such request.
        ///
        /// Take an id from `parkingRequests`.
        ParkingRequestUnknown,
        /// Somebody has decided about the request already.
        ///
        /// Nothing is to be done; ask anew where it was declined.
        ParkingRequestDecided,
        /// Whoever asked for it cannot decide about it.
        ///
        /// Have a second operator decide.
        ParkingSamePerson,
    }
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum ParkingOutcome {
    /// Done.
    Done,
    /// A second person has to agree; see `request`.
    Requested,
    /// Declined; nothing was done.
    Declined,
}

/// The keys to try again, by any of their messages.
#[derive(Debug, InputObject)]
pub struct ParkedRedriveInput {
    selection: ParkedMessageFilter,
    /// Why; needed where it takes a second person.
    reason: Option<String>,
}

/// The first messages of keys to pass over. They are named one by one: repeating it skips nothing more.
#[derive(Debug, InputObject)]
pub struct ParkedSkipInput {
    message_ids: Vec<ID>,
    reason: String,
}

/// The messages to give up.
#[derive(Debug, InputObject)]
pub struct ParkedDiscardInput {
    selection: ParkedMessageFilter,
    reason: String,
}

/// The request to decide about.
#[derive(Debug, InputObject)]
pub struct ParkingRequestDecideInput {
    request_id: ID,
}

/// What became of an order about parked messages.
#[derive(Default, SimpleObject)]
pub struct ParkingOrderPayload {
    /// `null` when it was refused.
    outcome: Option<ParkingOutcome>,
    /// To how many keys (redrive) or messages it was done; 0 when there was nothing left to do.
    count: i64,
    /// What a second person has to decide, or has decided. `null` too when it cannot be shown just now; see
    /// `parkingRequests`.
    request: Option<ParkingRequest>,
    user_errors: Vec<OperationsUserError>,
}

/// The module whose consumers to stop.
#[derive(Debug, InputObject)]
pub struct ConsumptionPauseInput {
    module: String,
    reason: String,
}

/// The module whose consumers to let go on.
#[derive(Debug, InputObject)]
pub struct ConsumptionResumeInput {
    module: String,
    reason: Option<String>,
}

/// What became of stopping consumers or letting them go on.
#[derive(Default, SimpleObject)]
pub struct ConsumptionPayload {
    /// `null` when it was refused, or when it cannot be shown just now; see `consumptions`.
    consumption: Option<ModuleConsumption>,
    /// Whether it was different before.
    changed: bool,
    user_errors: Vec<OperationsUserError>,
}

/// What operators do. Every order and every decision is an event of the module it is about, and so is every refusal.
pub struct Mutation;

#[Object(name = "Mutation")]
impl Mutation {
    /// Tries the keys of the selected messages again now, each from its first message in its order. Twice is as good as
    /// once.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(20)))]
    async fn parked_redrive(
        &self,
        ctx: &Context<'_>,
        input: ParkedRedriveInput,
    ) -> Result<Option<ParkingOrderPayload>> {
        let reason = input.reason.unwrap_or_default();
        order(ctx, parking::ParkingAction::Redrive, input.selection, &reason).await.map(Some)
    }

    /// Passes over the first message of a key for good; the next one is tried at once.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(20)))]
    async fn parked_skip(&self, ctx: &Context<'_>, input: ParkedSkipInput) -> Result<Option<ParkingOrderPayload>> {
        let selection = ParkedMessageFilter { ids: Some(input.message_ids), ..ParkedMessageFilter::default() };
        order(ctx, parking::ParkingAction::Skip, selection, &input.reason).await.map(Some)
    }

    /// Gives the selected messages up for good, wherever in their keys they are.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(20)))]
    async fn parked_discard(
        &self,
        ctx: &Context<'_>,
        input: ParkedDiscardInput,
    ) -> Result<Option<ParkingOrderPayload>> {
        order(ctx, parking::ParkingAction::Discard, input.selection, &input.reason).await.map(Some)
    }

    /// Agrees to what somebody else asked for; it is done with that.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(20)))]
    async fn parking_request_approve(
        &self,
        ctx: &Context<'_>,
        input: ParkingRequestDecideInput,
    ) -> Result<Option<ParkingOrderPayload>> {
        decide(ctx, &input.request_id, true).await.map(Some)
    }

    /// Refuses what somebody else asked for; nothing is done.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(20)))]
    async fn parking_request_decline(
        &self,
        ctx: &Context<'_>,
        input: ParkingRequestDecideInput,
    ) -> Result<Option<ParkingOrderPayload>> {
        decide(ctx, &input.request_id, false).await.map(Some)
    }

    /// Stops a module's consumers in every running instance within a second. To drain it, wait until `isDrained`.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(10)))]
    async fn consumption_pause(
        &self,
        ctx: &Context<'_>,
        input: ConsumptionPauseInput,
    ) -> Result<Option<ConsumptionPayload>> {
        switch(ctx, &input.module, true, Some(&input.reason)).await.map(Some)
    }

    /// Lets a module's consumers go on.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(10)))]
    async fn consumption_resume(
        &self,
        ctx: &Context<'_>,
        input: ConsumptionResumeInput,
    ) -> Result<Option<ConsumptionPayload>> {
        switch(ctx, &input.module, false, input.reason.as_deref()).await.map(Some)
    }

    /// Publishes events of a module once more, from the archive, in their order. Subscribers that have had them drop
    /// them, so it is safe to republish too much. It is a job: `maintenanceJob` tells how far it is.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(20)))]
    async fn republish_outbox(
        &self,
        ctx: &Context<'_>,
        input: RepublishOutboxInput,
    ) -> Result<Option<MaintenanceJobPayload>> {
        maintenance::republish(ctx, input).await.map(Some)
    }

    /// Builds a projection again from the archive, beside the live one, compares the two, and makes the live one the same in
    /// one transaction. The bank goes on, nothing is published, nobody is told. It is a job: `maintenanceJob` tells how far
    /// it is.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(20)))]
    async fn rebuild_projection(
        &self,
        ctx: &Context<'_>,
        input: RebuildProjectionInput,
    ) -> Result<Option<MaintenanceJobPayload>> {
        maintenance::rebuild(ctx, input).await.map(Some)
    }

    /// Agrees to what somebody else ordered; it begins with that.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(20)))]
    async fn maintenance_job_approve(
        &self,
        ctx: &Context<'_>,
        input: MaintenanceJobDecideInput,
    ) -> Result<Option<MaintenanceJobPayload>> {
        maintenance::decide(ctx, &input.job_id, true).await.map(Some)
    }

    /// Refuses what somebody else ordered; nothing is done.
    #[graphql(directive = Access::apply(only(OPERATORS).internal().cost(20)))]
    async fn maintenance_job_decline(
        &self,
        ctx: &Context<'_>,
        input: MaintenanceJobDecideInput,
    ) -> Result<Option<MaintenanceJobPayload>> {
        maintenance::decide(ctx, &input.job_id, false).await.map(Some)
    }
}

async fn order(
    ctx: &Context<'_>,
    action: parking::ParkingAction,
    selection: ParkedMessageFilter,
    reason: &str,
) -> Result<ParkingOrderPayload> {
    let (module, selection) = selection.read()?;
    let parking = &desks(ctx)?.parking;
    match parking.order(&guards::command(ctx)?, action, module.as_deref(), &selection, reason).await {
        Ok(Decision::Done(count)) => Ok(ParkingOrderPayload::done(ParkingOutcome::Done, count, None)),
        Ok(Decision::Requested(id)) => {
            // It is asked for and committed: an error here would have whoever asked ask again.
            let request = parking.request(id).await.unwrap_or_else(|error| {
                warn!(%id, %error, "a request that was just made cannot be shown");
                None
            });
            Ok(ParkingOrderPayload::done(ParkingOutcome::Requested, 0, request))
        }
        Err(error) => Ok(ParkingOrderPayload { user_errors: vec![refusal(error)?], ..ParkingOrderPayload::default() }),
    }
}

async fn decide(ctx: &Context<'_>, id: &ID, agree: bool) -> Result<ParkingOrderPayload> {
    let decided = desks(ctx)?.parking.decide(&guards::command(ctx)?, uuid(id)?, agree).await;
    match decided {
        Ok((request, Decision::Done(count))) => {
            let outcome = if agree { ParkingOutcome::Done } else { ParkingOutcome::Declined };
            Ok(ParkingOrderPayload::done(outcome, count, Some(request)))
        }
        Ok((_, Decision::Requested(id))) => Err(internal(format_args!("a decision led to request {id}"))),
        Err(error) => Ok(ParkingOrderPayload { user_errors: vec![refusal(error)?], ..ParkingOrderPayload::default() }),
    }
}

async fn switch(ctx: &Context<'_>, module: &str, paused: bool, reason: Option<&str>) -> Result<ConsumptionPayload> {
    let all = &desks(ctx)?.consumption;
    let Some(desk) = all.iter().find(|desk| desk.module() == module) else {
        return refuse_unknown(ctx, all, module, paused).await;
    };
    match desk.switch(&guards::command(ctx)?, paused, reason).await {
        Ok(changed) => {
            // It is switched and committed, whatever the broker says about its queues.
            let consumption = ModuleConsumption::of(desk, QueueLook::default()).await.inspect_err(|error| {
                warn!(module, ?error, "a module that was just switched cannot be shown");
            });
            let consumption = consumption.ok();
            Ok(ConsumptionPayload { consumption, changed, user_errors: Vec::new() })
        }
        Err(error) => ConsumptionPayload::refused(error),
    }
}

/// On record at the first desk, since a module that does not exist has none.
async fn refuse_unknown(
    ctx: &Context<'_>,
    desks: &[ConsumptionDesk],
    module: &str,
    paused: bool,
) -> Result<ConsumptionPayload> {
    let unknown = DeskError::ModuleUnknown(module.to_owned());
    let Some(desk) = desks.first() else { return ConsumptionPayload::refused(unknown) };
    match desk.refused(&guards::command(ctx)?, paused, Err(unknown)).await {
        Ok(()) => Err(internal("a refusal was not passed on")),
        Err(error) => ConsumptionPayload::refused(error),
    }
}

impl ParkingOrderPayload {
    fn done(outcome: ParkingOutcome, count: u64, request: Option<parking::ParkingRequest>) -> Self {
        Self {
            outcome: Some(outcome),
            count: i64::try_from(count).unwrap_or(i64::MAX),
            request: request.map(ParkingRequest),
            user_errors: Vec::new(),
        }
    }
}

impl ConsumptionPayload {
    fn refused(error: DeskError) -> Result<Self> {
        Ok(Self { user_errors: vec![refusal(error)?], ..Self::default() })
    }
}

/// A refusal is data; everything else is a top-level error.
fn refusal(error: DeskError) -> Result<OperationsUserError> {
    let Some((code, message)) = error.refusal() else { return Err(failure(error)) };
    let known = OperationsErrorCode::named(&code);
    let code = known.ok_or_else(|| internal(format_args!("refusal code {code} is missing in the schema")))?;
    Ok(OperationsUserError { code, message, field: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_the_desks_has_a_code_in_the_schema() {
        for error in DeskError::each() {
            let text = error.to_string();
            let refused = refusal(error).unwrap_or_else(|_| panic!("{text} has no code"));
            assert!(text.ends_with(&refused.message), "{text}");
        }
    }
}
