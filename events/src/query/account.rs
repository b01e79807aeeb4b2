//! What the account module is asked.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Query;

/// Data of an event that was too large to travel; see [`super::claim`].
pub const CLAIM: &str = "account.claim.v1";

/// What has the ledger decided about these transactions?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostingDecisionsV1 {
    /// At most [`PostingDecisionsV1::LIMIT`].
    pub transaction_ids: Vec<Uuid>,
}

impl PostingDecisionsV1 {
    /// How many transactions can be asked for at once.
    pub const LIMIT: usize = 500;
}

impl Query for PostingDecisionsV1 {
    const TYPE: &'static str = "account.posting-decisions.v1";
    type Answer = PostingDecisionsAnswerV1;
}

/// What is final. A transaction that is not in it is *not decided yet*: the ledger may still book or refuse it, now or in
/// a week, so nobody may conclude from its absence that it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostingDecisionsAnswerV1 {
    pub decided: Vec<PostingDecisionV1>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostingDecisionV1 {
    pub transaction_id: Uuid,
    /// When it was booked or refused.
    pub decided_at: DateTime<Utc>,
    /// The rule that refused it; absent when it was booked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal_code: Option<String>,
}
