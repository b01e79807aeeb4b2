use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, Result, SimpleObject};
use tokio::sync::OnceCell;
use uuid::Uuid;
use vostro_messaging::parking::{self, ParkedPayload, RequestState, Selection};
use vostro_messaging::{Consumption, ConsumptionDesk};

use super::{BrokerAway, Difference, QueueTotals, broker_away, desks, fault};
use crate::faults::bad_user_input;
use crate::ids::{self, IdKind};
use crate::scalars::DateTime;

/// What happens next to the key of a parked message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "vostro_messaging::parking::ParkedState")]
pub enum ParkedState {
    /// It is tried again by itself.
    Waiting,
    /// It is tried again when an operator says so.
    Quarantined,
}

/// Why a key is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "vostro_messaging::parking::ReasonCode")]
pub enum ParkedReason {
    /// A dead letter: not a CloudEvent, or not one this release can read.
    Undecodable,
    /// It says it is an event of a module that did not send it.
    ForeignSender,
    /// An event type the subscription does not know, such as a version from the future.
    UnknownEvent,
    /// The data does not fit the event's schema, or contradicts what the module knows.
    Invalid,
    /// The database refuses what the module makes of it.
    EffectRefused,
    /// Something it needs is not there yet.
    Blocked,
    /// The module failed on it repeatedly.
    RetriesExhausted,
    /// The process ended several times while it was being handled, or waited to be. It is tried alone.
    Interrupted,
    /// A dead letter: the process ended while handling it, repeatedly.
    CrashLoop,
}

/// What can be done about parked messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "vostro_messaging::parking::ParkingAction")]
pub enum ParkingAction {
    /// Try the keys again now, each in its order.
    Redrive,
    /// Pass over the first message of a key.
    Skip,
    /// Give messages up.
    Discard,
}

/// How far a request for a second person has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "vostro_messaging::parking::RequestState")]
pub enum ParkingRequestState {
    /// Waits for a second person.
    Open,
    /// A second person agreed, and it was done with that.
    Approved,
    /// A second person declined; nothing was done.
    Rejected,
}

/// Which parked messages; everything that is given must hold.
#[derive(Debug, Default, InputObject)]
pub struct ParkedMessageFilter {
    /// Ids of parked messages, or of their events. At most 1,000.
    pub ids: Option<Vec<ID>>,
    /// Of this module.
    pub module: Option<String>,
    /// Of this subscription, `<module>.<name>`.
    pub subscription: Option<String>,
    /// Everything that is kept in order together.
    pub key: Option<ID>,
    /// An event type, such as `account.account-updated.v1`.
    pub event_type: Option<String>,
    pub reason_code: Option<ParkedReason>,
    pub state: Option<ParkedState>,
}

impl ParkedMessageFilter {
    const MOST_IDS: usize = 1_000;

    /// The module, and the selection in it.
    pub(super) fn read(self) -> Result<(Option<String>, Selection)> {
        let ids = self.ids.unwrap_or_default();
        if ids.len() > Self::MOST_IDS {
            return Err(bad_user_input(format!(
                "`ids` has {} entries: at most {} are taken.",
                ids.len(),
                Self::MOST_IDS
            )));
        }
        let selection = Selection {
            ids: ids.iter().map(uuid).collect::<Result<_>>()?,
            key: self.key.as_ref().map(uuid).transpose()?,
            subscription: self.subscription,
            event_type: self.event_type,
            reason_code: self.reason_code.map(|code| parking::ReasonCode::from(code).as_str().to_owned()),
            state: self.state.map(|state| parking::ParkedState::from(state).as_str().to_owned()),
        };
        Ok((self.module, selection))
    }
}

/// The ids of parked messages, keys and requests are plain UUIDs, the same that the command line and the logs show.
pub(super) fn uuid(id: &ID) -> Result<Uuid> {
    Uuid::try_parse(id).map_err(|_| bad_user_input(format!("`{}` is not a UUID", id.as_str())))
}

pub(super) fn plain(id: Uuid) -> ID {
    ID(id.as_hyphenated().to_string())
}

/// A person the bank knows: a customer, or somebody of its staff.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(unresolvable = "id")]
pub struct User {
    id: ID,
}

pub(super) fn person(id: Uuid) -> User {
    User { id: ids::encode(IdKind::User, id) }
}

/// A message that waits in its subscriber's database, in order with everything of its key.
#[derive(Description)]
pub struct ParkedMessage(pub(super) parking::ParkedMessage);

#[Object(use_type_description)]
impl ParkedMessage {
    async fn id(&self) -> ID {
        plain(self.0.id)
    }

    async fn module(&self) -> &str {
        self.0.module()
    }

    /// `<module>.<name>`.
    async fn subscription(&self) -> &str {
        &self.0.subscription
    }

    /// What is kept in order together has the same key.
    async fn key(&self) -> ID {
        plain(self.0.key)
    }

    /// Absent when the message cannot be read.
    async fn event_id(&self) -> Option<ID> {
        self.0.event_id.map(plain)
    }

    /// Absent when the message cannot be read.
    async fn event_type(&self) -> Option<&str> {
        self.0.event_type.as_deref()
    }

    /// Whether it is the first of its key: the one that failed. The others wait behind it.
    async fn is_first(&self) -> bool {
        self.0.is_first
    }

    async fn parked_at(&self) -> DateTime {
        self.0.parked_at.into()
    }

    /// The state of its key.
    async fn state(&self) -> ParkedState {
        if self.0.state == parking::ParkedState::Waiting.as_str() {
            ParkedState::Waiting
        } else {
            ParkedState::Quarantined
        }
    }

    /// How often the first message of the key has been tried since it was parked or redriven.
    async fn attempts(&self) -> i32 {
        self.0.attempts
    }

    /// When the key is tried again by itself; `null` when it is not.
    async fn next_attempt_at(&self) -> Option<DateTime> {
        let waits = self.0.state == parking::ParkedState::Waiting.as_str();
        waits.then(|| self.0.next_attempt_at.into())
    }

    /// Why the key is parked; `null` for a reason of another release.
    async fn reason_code(&self) -> Option<ParkedReason> {
        parking::ReasonCode::named(&self.0.reason_code).map(Into::into)
    }

    /// The same in words.
    async fn reason(&self) -> &str {
        &self.0.reason
    }
}

/// A parked message as far as an operator may see into it.
#[derive(Description)]
pub struct ParkedMessageContent(pub(super) ParkedPayload);

#[Object(use_type_description)]
impl ParkedMessageContent {
    async fn message(&self) -> ParkedMessage {
        ParkedMessage(self.0.message.clone())
    }

    async fn content_type(&self) -> &str {
        &self.0.content_type
    }

    /// Length of the body in bytes.
    async fn size(&self) -> usize {
        self.0.size
    }

    /// SHA-256 of the body, in hexadecimal.
    async fn digest(&self) -> &str {
        &self.0.digest
    }

    /// The data of its events as JSON. Ids, amounts, times and codes are shown; what may be personal is `[redacted]`.
    /// Empty when the message cannot be read.
    async fn data(&self) -> Vec<String> {
        self.0.data.iter().map(ToString::to_string).collect()
    }
}

/// What one operator wants done, and a second one has to agree to.
#[derive(Description)]
pub struct ParkingRequest(pub(super) parking::ParkingRequest);

#[Object(use_type_description)]
impl ParkingRequest {
    async fn id(&self) -> ID {
        plain(self.0.id)
    }

    async fn module(&self) -> &str {
        self.0.module()
    }

    async fn subscription(&self) -> &str {
        &self.0.subscription
    }

    async fn action(&self) -> ParkingAction {
        self.0.action.into()
    }

    async fn state(&self) -> ParkingRequestState {
        self.0.state.into()
    }

    /// How many messages it is about, as they were when it was asked for.
    async fn message_count(&self) -> usize {
        self.0.messages.len()
    }

    /// The first hundred of them.
    async fn message_ids(&self) -> Vec<ID> {
        self.0.messages.iter().take(100).copied().map(plain).collect()
    }

    async fn reason(&self) -> &str {
        &self.0.reason
    }

    async fn requested_by(&self) -> Option<User> {
        Some(person(self.0.requested_by))
    }

    async fn requested_at(&self) -> DateTime {
        self.0.requested_at.into()
    }

    /// Never whoever requested it.
    async fn decided_by(&self) -> Option<User> {
        self.0.decided_by.map(person)
    }

    async fn decided_at(&self) -> Option<DateTime> {
        self.0.decided_at.map(Into::into)
    }

    /// Whether you may decide about it: it is open, and somebody else's.
    async fn is_yours_to_decide(&self, ctx: &Context<'_>) -> Result<bool> {
        Ok(self.0.state == RequestState::Open && crate::guards::user_id(ctx)? != self.0.requested_by)
    }
}

/// Events of a module that are committed and not yet confirmed by the broker.
#[derive(Debug, SimpleObject)]
pub struct OutboxStatus {
    pub module: &'static str,
    /// How many.
    pub waiting: i64,
    /// When the oldest of them occurred.
    pub oldest_at: Option<DateTime>,
    /// How long ago that is, in milliseconds.
    pub oldest_age_millis: Option<i64>,
}

/// What the broker says of the queues, asked once for everything one answer is about, and only when something needs it.
#[derive(Clone, Default)]
pub(super) struct QueueLook(Arc<OnceCell<Result<HashMap<String, QueueTotals>, BrokerAway>>>);

impl QueueLook {
    async fn of(&self, ctx: &Context<'_>, module: &str) -> Result<QueueTotals> {
        let broker = &desks(ctx)?.broker;
        match self.0.get_or_init(|| broker.queues()).await {
            Ok(queues) => Ok(queues.get(module).copied().unwrap_or_default()),
            Err(away) => Err(broker_away(away.clone())),
        }
    }
}

/// Whether a module's consumers run.
#[derive(Description)]
pub struct ModuleConsumption {
    module: &'static str,
    consumption: Consumption,
    look: QueueLook,
}

impl ModuleConsumption {
    pub(super) async fn of(desk: &ConsumptionDesk, look: QueueLook) -> Result<Self> {
        Ok(Self { module: desk.module(), consumption: desk.consumption().await.map_err(fault)?, look })
    }

    async fn totals(&self, ctx: &Context<'_>) -> Result<QueueTotals> {
        self.look.of(ctx, self.module).await
    }
}

#[Object(use_type_description)]
impl ModuleConsumption {
    async fn module(&self) -> &str {
        self.module
    }

    /// Paused consumers take nothing: the module's queues keep what comes, and its commands are still accepted.
    async fn is_paused(&self) -> bool {
        self.consumption.paused
    }

    /// Since when.
    async fn changed_at(&self) -> DateTime {
        self.consumption.changed_at.into()
    }

    /// What its queues hold; `null`, with an error, while the broker does not answer.
    async fn queues(&self, ctx: &Context<'_>) -> Result<Option<ModuleQueues>> {
        let QueueTotals { ready, unacknowledged, consumers } = self.totals(ctx).await?;
        Ok(Some(ModuleQueues { ready, unacknowledged, consumers }))
    }

    /// Whether it is paused and no instance holds a delivery any more; known seven seconds after the pause. `null`, with an
    /// error, while the broker does not answer.
    async fn is_drained(&self, ctx: &Context<'_>) -> Result<Option<bool>> {
        if !self.consumption.paused {
            return Ok(Some(false));
        }
        let QueueTotals { unacknowledged, consumers, .. } = self.totals(ctx).await?;
        Ok(Some(self.consumption.is_drained(desks(ctx)?.clock.now(), unacknowledged, consumers)))
    }
}

/// What a module's queues hold, together. The broker counts every five seconds.
#[derive(Debug, SimpleObject)]
pub struct ModuleQueues {
    /// Messages waiting for a consumer.
    ready: u64,
    /// Messages with a consumer, not settled yet.
    unacknowledged: u64,
    consumers: u64,
}

/// One way in which the broker is not as the modules' manifests say.
#[derive(Debug, SimpleObject)]
pub struct TopologyDifference {
    /// In words.
    text: String,
    /// Whether events would go astray. What is merely unexpected may belong to another release.
    is_harmful: bool,
}

impl From<Difference> for TopologyDifference {
    fn from(Difference { text, is_harmful }: Difference) -> Self {
        Self { text, is_harmful }
    }
}
