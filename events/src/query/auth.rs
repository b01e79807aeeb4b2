//! What the auth module is asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Query;

/// Is this the name of that customer? The name itself does not leave the auth module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NameCheckV1 {
    pub user_id: Uuid,
    /// As somebody who wants to pay has typed it.
    pub name: String,
}

impl NameCheckV1 {
    /// Characters of the longest name there can be in a payment (EPC). A longer one is refused.
    pub const LONGEST_NAME: usize = 140;
}

impl Query for NameCheckV1 {
    const TYPE: &'static str = "auth.name-check.v1";
    type Answer = NameCheckAnswerV1;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NameCheckAnswerV1 {
    pub result: NameCheckResult,
    /// The name with most letters hidden, with a close match only: enough to recognise it, not enough to learn it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NameCheckResult {
    Match,
    CloseMatch,
    NoMatch,
}
