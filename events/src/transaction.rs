//! What the transaction module tells: a payment was accepted, and how it ended. Exactly one outcome per transaction.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vostro_kernel::Money;

use crate::domain_event::domain_events;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TransactionKind {
    Transfer,
    Deposit,
    Withdrawal,
}

impl TransactionKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transfer => "TRANSFER",
            Self::Deposit => "DEPOSIT",
            Self::Withdrawal => "WITHDRAWAL",
        }
    }
}

/// Where the money goes from, where to, and whose accounts these are. Repeated in each event of a transaction, so that
/// nobody has to remember the first to understand the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteV1 {
    /// Debited.
    pub source_account_id: Uuid,
    /// Credited.
    pub destination_account_id: Uuid,
    /// Absent when the source is an internal account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_owner_id: Option<Uuid>,
    /// Absent when the destination is an internal account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_owner_id: Option<Uuid>,
}

/// A payment was accepted and is durable; the ledger has not seen it yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionInitiatedV1 {
    pub transaction_id: Uuid,
    pub kind: TransactionKind,
    pub route: RouteV1,
    /// Always positive.
    pub amount: Money,
    /// What the payer wants the payee to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// The money moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionCompletedV1 {
    pub transaction_id: Uuid,
    pub kind: TransactionKind,
    pub route: RouteV1,
    pub amount: Money,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    pub booked_at: DateTime<Utc>,
}

/// The money did not move and will not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionFailedV1 {
    pub transaction_id: Uuid,
    pub kind: TransactionKind,
    pub route: RouteV1,
    pub amount: Money,
    /// The rule that refused it, such as `ACC_INSUFFICIENT_FUNDS`.
    pub code: String,
}

domain_events! {
    TransactionInitiatedV1 => "transaction.initiated.v1", "transaction", transaction_id;
    TransactionCompletedV1 => "transaction.completed.v1", "transaction", transaction_id;
    TransactionFailedV1 => "transaction.failed.v1", "transaction", transaction_id;
}
