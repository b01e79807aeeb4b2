//! The data of an event that was too large to travel, asked of the module that published it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The part of some data that begins at `offset`. Its type is `<module>.claim.v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimV1 {
    /// SHA-256 of the data, 64 hexadecimal digits, as in the event.
    pub digest: String,
    /// In bytes, from 0.
    pub offset: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimAnswerV1 {
    /// Absent when the module does not have the data (any more).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<ClaimPartV1>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimPartV1 {
    /// Base64. The part ends where the module likes it to; empty at the end of the data.
    pub bytes: String,
}
