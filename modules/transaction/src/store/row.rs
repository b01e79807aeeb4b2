use std::error::Error;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vostro_events::transaction::TransactionKind;
use vostro_kernel::Money;

use crate::domain::Transaction;

/// A row of `transaction.transaction`, apart from what only idempotency needs. Instances share payments in this form
/// ([`super::shared`]).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub id: Uuid,
    pub initiator_id: Uuid,
    pub kind: String,
    pub status: String,
    pub amount_minor: i64,
    pub currency: String,
    pub source_account_id: Uuid,
    pub destination_account_id: Uuid,
    pub source_owner_id: Option<Uuid>,
    pub destination_owner_id: Option<Uuid>,
    pub reference: Option<String>,
    pub channel: Option<String>,
    pub failure_code: Option<String>,
    pub initiated_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
}

impl Row {
    pub(super) fn into_transaction(self) -> sqlx::Result<Transaction> {
        Ok(Transaction {
            id: self.id,
            initiator_id: self.initiator_id,
            kind: kind(&self.kind)?,
            status: decode(&self.status)?,
            amount: Money::new(self.amount_minor, decode(&self.currency)?),
            source_account_id: self.source_account_id,
            destination_account_id: self.destination_account_id,
            source_owner_id: self.source_owner_id,
            destination_owner_id: self.destination_owner_id,
            reference: self.reference,
            channel: self.channel.as_deref().map(decode).transpose()?,
            failure_code: self.failure_code,
            initiated_at: self.initiated_at,
            completed_at: self.completed_at,
        })
    }
}

/// Reads a name from a column whose check constraint allows no other.
pub(crate) fn decode<T: FromStr<Err: Error + Send + Sync + 'static>>(text: &str) -> sqlx::Result<T> {
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

pub(super) fn kind(text: &str) -> sqlx::Result<TransactionKind> {
    [TransactionKind::Transfer, TransactionKind::Deposit, TransactionKind::Withdrawal]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| sqlx::Error::Decode(format!("unknown kind {text:?}").into()))
}
