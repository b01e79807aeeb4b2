//! What operators do to a module's messaging, so that the audit log shows who decided about which message, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::DomainEvent;

/// What an operator does, or wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OperatorAction {
    /// Parked keys are tried again, now.
    Redrive,
    /// The first message of a parked key is passed over.
    Skip,
    /// Parked messages are given up.
    Discard,
    /// Events are published once more from the archive.
    Republish,
    /// The module's consumers stop.
    Pause,
    /// The module's consumers go on.
    Resume,
    /// A projection is built again from the event store and swapped. `subscription` names the projection.
    Rebuild,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OperatorStep {
    /// Done by one person alone.
    Done,
    /// Asked for; a second person has to agree.
    Requested,
    /// A second person agreed, and it is done.
    Approved,
    /// A second person did not agree; nothing was done.
    Rejected,
}

/// One message an operator decided about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecidedMessageV1 {
    /// The id of the parked message.
    pub message_id: Uuid,
    /// What was kept in order together with it.
    pub key: Uuid,
    /// Absent for a message that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// SHA-256 of the message's body, in hexadecimal.
    pub digest: String,
}

/// An operator did something to a module's messaging, or asked for it. Who it was is the actor of the event.
///
/// Each module publishes it under a type of its own, because a module may publish to its own exchange only. A decision
/// about many messages is told in several events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperatorActedV1 {
    /// The same for a request and the decision about it; also the aggregate id.
    pub operation_id: Uuid,
    /// The module it was done to.
    pub module: String,
    pub action: OperatorAction,
    pub step: OperatorStep,
    /// `<module>.<name>`, where it is about one subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Why, in the words of whoever did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many messages or events it is about, over all events of this step.
    pub count: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<DecidedMessageV1>,
}

impl OperatorActedV1 {
    /// One type per module.
    pub const TYPES: [&'static str; 5] = [
        "auth.operator-acted.v1",
        "account.operator-acted.v1",
        "transaction.operator-acted.v1",
        "notification.operator-acted.v1",
        "compliance.operator-acted.v1",
    ];
}

impl DomainEvent for OperatorActedV1 {
    const AGGREGATE: &'static str = "operation";

    fn event_type(&self) -> &'static str {
        Self::TYPES
            .into_iter()
            .find(|event_type| event_type.split('.').next() == Some(&self.module))
            .expect("operators act on modules that exist")
    }

    fn aggregate_id(&self) -> Uuid {
        self.operation_id
    }
}
