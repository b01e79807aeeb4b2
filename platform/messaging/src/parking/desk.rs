use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::operator::{DecidedMessageV1, OperatorStep};
use vostro_kernel::{Page, RequestContext, Role};

use super::refusal::recorded;
use super::request::{self, ParkingAction, ParkingRequest, RequestState};
use super::{DeskError, ParkedKeys, redacted, select, store};
use crate::operation::Operation;
use crate::{Foundation, InboundMessage, crash, decode};

/// Which actions need a second person, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalPolicy {
    /// `<module>.<subscription>`, or `<module>.*` for all of a module.
    pub subscriptions: Vec<String>,
    /// Whether trying again needs it too, beside giving up.
    pub redrive: bool,
    /// Whether publishing a module's events once more and rebuilding its projections need it too, beside rebuilding one with
    /// the loss of what only it knows. Modules are named as in `subscriptions`.
    pub maintenance: bool,
}

impl Default for ApprovalPolicy {
    /// Giving up what moves money takes two people; trying again does not, because effects are once anyway.
    fn default() -> Self {
        Self {
            subscriptions: vec!["account.postings".to_owned(), "transaction.*".to_owned()],
            redrive: false,
            maintenance: false,
        }
    }
}

impl ApprovalPolicy {
    fn asks(&self, action: ParkingAction, subscription: &str) -> bool {
        self.names(subscription) && (self.redrive || action != ParkingAction::Redrive)
    }

    /// `subject` is `<module>.outbox` or `<module>.<projection>`.
    pub(crate) fn asks_for_maintenance(&self, subject: &str, gives_up: bool) -> bool {
        self.names(subject) && (self.maintenance || gives_up)
    }

    fn names(&self, subject: &str) -> bool {
        self.subscriptions.iter().any(|pattern| match pattern.strip_suffix(".*") {
            Some(module) => module_of(subject) == module,
            None => pattern == subject,
        })
    }
}

/// Which parked messages. Every field narrows it; with none it is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Ids of parked messages or of their events.
    pub ids: Vec<Uuid>,
    pub key: Option<Uuid>,
    pub subscription: Option<String>,
    pub event_type: Option<String>,
    /// A [`super::ReasonCode`] as text.
    pub reason_code: Option<String>,
    /// A [`super::ParkedState`] as text.
    pub state: Option<String>,
}

/// A parked message without its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedMessage {
    /// Grows in the order of parking; where a further page begins.
    pub position: i64,
    pub id: Uuid,
    pub subscription: String,
    pub key: Uuid,
    /// Absent when the message cannot be read.
    pub event_id: Option<Uuid>,
    pub event_type: Option<String>,
    /// Whether it is the first of its key: the one that failed. The others wait behind it.
    pub is_first: bool,
    pub parked_at: DateTime<Utc>,
    /// The state of its key, see [`super::ParkedState`].
    pub state: String,
    /// How often the key's first message has been tried since it was parked or redriven.
    pub attempts: i32,
    /// Means something while the key is waiting.
    pub next_attempt_at: DateTime<Utc>,
    pub reason_code: String,
    pub reason: String,
}

impl ParkedMessage {
    /// In whose schema it is.
    pub fn module(&self) -> &str {
        module_of(&self.subscription)
    }
}

/// The module of a subscription, `<module>.<name>`.
pub(super) fn module_of(subscription: &str) -> &str {
    subscription.split_once('.').map_or(subscription, |(module, _)| module)
}

/// A parked message as far as an operator may see into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedPayload {
    pub message: ParkedMessage,
    pub content_type: String,
    /// Length of the body in bytes.
    pub size: usize,
    /// SHA-256 of the body, in hexadecimal.
    pub digest: String,
    /// The data of its events, see [`redacted`]. Empty when the message cannot be read.
    pub data: Vec<Value>,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Done, to this many keys (redrive) or messages. Zero: there was nothing left to do.
    Done(u64),
    /// Somebody else has to agree to this request first.
    Requested(Uuid),
}

/// Where operators look at the parked messages of one module and decide about them. Whatever they do is an event of the
/// module, committed with its effect.
#[derive(Clone)]
pub struct ParkingDesk {
    module: &'static str,
    foundation: Foundation,
    policy: ApprovalPolicy,
}

impl ParkingDesk {
    /// Messages one order can be about.
    pub const MOST: i64 = 100_000;

    /// `foundation` is the module's own.
    pub const fn new(module: &'static str, foundation: Foundation, policy: ApprovalPolicy) -> Self {
        Self { module, foundation, policy }
    }

    pub const fn module(&self) -> &'static str {
        self.module
    }

    /// A page of the parked messages, in the order of parking.
    ///
    /// # Errors
    /// Database faults.
    pub async fn list(&self, selection: &Selection, page: Page<i64>) -> sqlx::Result<Vec<ParkedMessage>> {
        select::messages(&self.foundation.pool, selection, page).await
    }

    /// How many keys are parked.
    ///
    /// # Errors
    /// Database faults.
    pub async fn keys(&self) -> sqlx::Result<ParkedKeys> {
        store::keys(&self.foundation.pool).await
    }

    /// One message with its data, personal things left out. By its own id or that of its event.
    ///
    /// # Errors
    /// Database faults.
    pub async fn show(&self, id: Uuid) -> sqlx::Result<Option<ParkedPayload>> {
        let selection = Selection { ids: vec![id], ..Selection::default() };
        let Some(message) = self.list(&selection, Page::forward(None, 1)).await?.pop() else { return Ok(None) };
        let Some(wire) = select::wire(&self.foundation.pool, message.id).await? else { return Ok(None) };
        Ok(Some(ParkedPayload {
            message,
            size: wire.body.len(),
            digest: digest(&wire.body),
            data: shown(&wire),
            content_type: wire.content_type,
        }))
    }

    /// A page of the requests for a second person, newest first.
    ///
    /// # Errors
    /// Database faults.
    pub async fn requests(
        &self,
        open_only: bool,
        page: Page<(DateTime<Utc>, Uuid)>,
    ) -> sqlx::Result<Vec<ParkingRequest>> {
        request::list(&self.foundation.pool, open_only, page).await
    }

    /// One request.
    ///
    /// # Errors
    /// Database faults.
    pub async fn request(&self, id: Uuid) -> sqlx::Result<Option<ParkingRequest>> {
        request::find(&self.foundation.pool, id).await
    }

    /// Orders something done to the selected messages: at once, or, where the policy asks, when a second person agrees.
    /// [`ParkingAction::Redrive`] is about the whole keys of the selected messages. [`ParkingAction::Skip`] of a key is
    /// about its first message. Ordering the same again does nothing again.
    ///
    /// # Errors
    /// [`DeskError`]. A refusal is on record under the id of the command.
    pub async fn order(
        &self,
        context: &RequestContext,
        action: ParkingAction,
        selection: &Selection,
        reason: &str,
    ) -> Result<Decision, DeskError> {
        let ordered = self.try_order(context, action, selection, reason).await;
        self.recorded(context, action.command(), None, ordered).await
    }

    async fn try_order(
        &self,
        context: &RequestContext,
        action: ParkingAction,
        selection: &Selection,
        reason: &str,
    ) -> Result<Decision, DeskError> {
        let operator = authorised(context)?;
        if reason.trim().is_empty() && action != ParkingAction::Redrive {
            return Err(DeskError::ReasonMissing);
        }
        let (subscription, messages) = self.selected(action, selection).await?;
        let now = self.foundation.clock.now();
        let id = self.foundation.ids.next();
        let mut transaction = self.foundation.begin().await?;
        let mut operation = Operation::new(id, self.module, action.into(), action.command());
        operation.subscription = Some(subscription.clone());
        operation.reason = Some(reason.trim().to_owned()).filter(|reason| !reason.is_empty());
        if self.policy.asks(action, &subscription) {
            let reason = operation.reason.clone().ok_or(DeskError::ReasonMissing)?;
            operation.messages = select::decided_in_tx(&mut transaction, &messages).await?;
            let messages: Vec<Uuid> = operation.messages.iter().map(|message| message.message_id).collect();
            if messages.is_empty() {
                return Err(DeskError::NothingSelected);
            }
            operation.tell_in_tx(&self.foundation, &mut transaction, context, OperatorStep::Requested, 1).await?;
            let request = ParkingRequest {
                id,
                action,
                subscription,
                messages,
                reason,
                state: RequestState::Open,
                requested_by: operator,
                requested_at: now,
                decided_by: None,
                decided_at: None,
            };
            request::insert_in_tx(&mut transaction, &request).await?;
            transaction.commit().await?;
            self.foundation.outbox.committed();
            return Ok(Decision::Requested(id));
        }
        let (done, decided) = self.carry_out_in_tx(&mut transaction, action, &subscription, &messages, now).await?;
        if done > 0 {
            operation.messages = decided;
            operation.tell_in_tx(&self.foundation, &mut transaction, context, OperatorStep::Done, 1).await?;
        }
        crash::point(crash::DECIDED, self.module);
        transaction.commit().await?;
        self.foundation.outbox.committed();
        Ok(Decision::Done(done))
    }

    /// Agrees to what somebody else asked for, which is done with it, or refuses it.
    ///
    /// # Errors
    /// [`DeskError`]; [`DeskError::SamePerson`] for whoever asked. A refusal is on record under the id of the command.
    pub async fn decide(&self, context: &RequestContext, id: Uuid, agree: bool) -> Result<Decision, DeskError> {
        let decided = self.try_decide(context, id, agree).await;
        self.recorded(context, decision_command(agree), Some(id), decided).await
    }

    async fn try_decide(&self, context: &RequestContext, id: Uuid, agree: bool) -> Result<Decision, DeskError> {
        let operator = authorised(context)?;
        let now = self.foundation.clock.now();
        let mut transaction = self.foundation.begin().await?;
        let request = request::lock_in_tx(&mut transaction, id).await?.ok_or(DeskError::RequestUnknown(id))?;
        if request.state != RequestState::Open {
            return Err(DeskError::RequestDecided(request.state));
        }
        if request.requested_by == operator {
            return Err(DeskError::SamePerson);
        }
        let (state, step) = if agree {
            (RequestState::Approved, OperatorStep::Approved)
        } else {
            (RequestState::Rejected, OperatorStep::Rejected)
        };
        request::decide_in_tx(&mut transaction, id, state, operator, now).await?;
        let ParkingRequest { action, subscription, messages, reason, .. } = request;
        let (done, decided) = if agree {
            self.carry_out_in_tx(&mut transaction, action, &subscription, &messages, now).await?
        } else {
            (0, Vec::new())
        };
        let mut operation = Operation::new(id, self.module, action.into(), action.command());
        operation.subscription = Some(subscription);
        operation.reason = Some(reason);
        operation.messages = decided;
        let told = Operation::events_for(messages.len());
        operation.tell_in_tx(&self.foundation, &mut transaction, context, step, 1 + told).await?;
        crash::point(crash::DECIDED, self.module);
        transaction.commit().await?;
        self.foundation.outbox.committed();
        Ok(Decision::Done(done))
    }

    /// See [`recorded`].
    pub(super) async fn recorded<T>(
        &self,
        context: &RequestContext,
        command: &'static str,
        subject_id: Option<Uuid>,
        result: Result<T, DeskError>,
    ) -> Result<T, DeskError> {
        recorded(&self.foundation, self.module, context, command, subject_id, result).await
    }

    /// The messages an order is about, which are all of one subscription.
    async fn selected(&self, action: ParkingAction, selection: &Selection) -> Result<(String, Vec<Uuid>), DeskError> {
        let mut messages = self.list(selection, Page::forward(None, Self::MOST + 1)).await?;
        if i64::try_from(messages.len()).unwrap_or(i64::MAX) > Self::MOST {
            return Err(DeskError::TooMany(Self::MOST));
        }
        if action == ParkingAction::Skip {
            if let Some(named) = messages.iter().find(|m| !selection.ids.is_empty() && !m.is_first) {
                return Err(DeskError::NotFirst(named.id));
            }
            messages.retain(|message| message.is_first);
        }
        let subscription = messages.first().ok_or(DeskError::NothingSelected)?.subscription.clone();
        if messages.iter().any(|message| message.subscription != subscription) {
            return Err(DeskError::SeveralSubscriptions);
        }
        Ok((subscription, messages.into_iter().map(|message| message.id).collect()))
    }

    /// Does it, and says to how many keys or messages, and to which messages.
    async fn carry_out_in_tx(
        &self,
        connection: &mut PgConnection,
        action: ParkingAction,
        subscription: &str,
        messages: &[Uuid],
        now: DateTime<Utc>,
    ) -> sqlx::Result<(u64, Vec<DecidedMessageV1>)> {
        let keys = select::keys_in_tx(&mut *connection, messages).await?;
        store::lock_in_tx(&mut *connection, subscription, &keys).await?;
        if action == ParkingAction::Redrive {
            let redriven = select::redrive_in_tx(&mut *connection, subscription, &keys, now).await?;
            let decided = if redriven > 0 { select::decided_in_tx(connection, messages).await? } else { Vec::new() };
            return Ok((redriven, decided));
        }
        let decided = select::decided_in_tx(&mut *connection, messages).await?;
        select::remove_in_tx(&mut *connection, subscription, messages, now).await?;
        store::release_in_tx(connection, subscription, &keys).await?;
        Ok((u64::try_from(decided.len()).unwrap_or(u64::MAX), decided))
    }
}

/// The name of deciding about a request in the audit log.
pub(super) const fn decision_command(agree: bool) -> &'static str {
    if agree { "parkingRequestApprove" } else { "parkingRequestDecline" }
}

/// Who it is, if they may decide.
pub(crate) fn authorised(context: &RequestContext) -> Result<Uuid, DeskError> {
    let roles = context.actor.roles;
    let id = context.actor.id.filter(|_| roles.contains(Role::Operator) || roles.contains(Role::Admin));
    id.ok_or(DeskError::Forbidden)
}

fn shown(message: &InboundMessage) -> Vec<Value> {
    let events = decode(message).unwrap_or_default();
    events
        .iter()
        .map(|event| {
            let data = serde_json::from_str(event.data.get()).unwrap_or_default();
            redacted(event.envelope.event_type.as_str(), &data)
        })
        .collect()
}

/// SHA-256 in hexadecimal.
fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
