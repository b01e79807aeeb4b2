//! What the compliance module tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain_event::domain_events;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    Low,
    Medium,
    High,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        }
    }
}

/// A rule found something a compliance officer has to look at. Never shown to the customer it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComplianceViolationDetectedV1 {
    pub violation_id: Uuid,
    /// The rule's stable name, such as `LARGE_TRANSFER`.
    pub rule_id: String,
    /// The version of the rule's parameters.
    pub rule_version: i32,
    pub severity: Severity,
    /// The account it is about.
    pub subject_id: Uuid,
    /// The transactions that are the evidence, the triggering one last.
    pub transaction_ids: Vec<Uuid>,
    /// What was measured, in the unit of the threshold.
    pub score: i64,
    pub threshold: i64,
    /// In plain words, for the officer.
    pub explanation: String,
}

/// An officer keeps a document with a violation. Who it was stands around the event, the document's content nowhere in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComplianceEvidenceAttachedV1 {
    pub evidence_id: Uuid,
    pub violation_id: Uuid,
    /// What the document is, such as `application/pdf`.
    pub media_type: String,
    /// In bytes.
    pub size: i32,
    /// Of the content, in hexadecimal.
    pub sha256: String,
}

domain_events! {
    ComplianceViolationDetectedV1 => "compliance.violation-detected.v1", "violation", violation_id;
    ComplianceEvidenceAttachedV1 => "compliance.evidence-attached.v1", "evidence", evidence_id;
}
