//! Refused commands, so that the audit log shows what somebody tried and was not allowed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::DomainEvent;

/// A module understood a command and refused it; nothing changed.
///
/// Each module publishes it under a type of its own, because a module may publish to its own exchange only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandRefusedV1 {
    /// The module that refused.
    pub module: String,
    /// The id of the command; also the aggregate id, as a command is refused once.
    pub command_id: Uuid,
    /// The command's name, such as `transferCreate`.
    pub command: String,
    /// The stable refusal code, such as `ACC_FROZEN`.
    pub code: String,
    /// What the command was about, when it named something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_id: Option<Uuid>,
}

impl CommandRefusedV1 {
    /// One type per module.
    pub const TYPES: [&'static str; 5] = [
        "auth.command-refused.v1",
        "account.command-refused.v1",
        "transaction.command-refused.v1",
        "notification.command-refused.v1",
        "compliance.command-refused.v1",
    ];
}

impl DomainEvent for CommandRefusedV1 {
    const AGGREGATE: &'static str = "command";

    fn event_type(&self) -> &'static str {
        Self::TYPES
            .into_iter()
            .find(|event_type| event_type.split('.').next() == Some(&self.module))
            .expect("commands are refused by modules that exist")
    }

    fn aggregate_id(&self) -> Uuid {
        self.command_id
    }
}
