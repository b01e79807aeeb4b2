//! The live rules: what a completed payment is compared with, and what is found.
//!
//! A rule is a function of the payment, what its account paid lately, and parameters with a version. It never blocks a
//! payment: the money has moved when it looks.

mod large_transfer;
mod rapid_transfers;

use uuid::Uuid;
use vostro_events::compliance::Severity;
use vostro_events::transaction::TransactionCompletedV1;
use vostro_kernel::Money;

use super::Velocity;

pub use large_transfer::{LARGE_TRANSFER, LargeTransfer};
pub use rapid_transfers::{RAPID_TRANSFERS, RapidTransfers};

/// A completed payment, as far as the rules look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    pub transaction_id: Uuid,
    /// The debited account, when it is a customer's.
    pub source: Option<Uuid>,
    /// The credited account, when it is a customer's.
    pub destination: Option<Uuid>,
    pub amount: Money,
    /// When the ledger booked it, in minutes since 1970.
    pub minute: i64,
}

impl From<&TransactionCompletedV1> for Payment {
    fn from(event: &TransactionCompletedV1) -> Self {
        let route = &event.route;
        Self {
            transaction_id: event.transaction_id,
            source: route.source_owner_id.map(|_| route.source_account_id),
            destination: route.destination_owner_id.map(|_| route.destination_account_id),
            amount: event.amount,
            minute: event.booked_at.timestamp().div_euclid(60),
        }
    }
}

/// Minutes since 1970, the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from_minute: i64,
    pub until_minute: i64,
}

/// Something a compliance officer has to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub rule_id: &'static str,
    pub rule_version: i32,
    pub severity: Severity,
    /// The account.
    pub subject_id: Uuid,
    /// The transaction with which the threshold was reached.
    pub transaction_id: Uuid,
    /// Other payments the account made in this time are evidence too.
    pub window: Option<Window>,
    /// In the unit of the threshold: payments, or minor units.
    pub score: i64,
    pub threshold: i64,
    pub explanation: String,
    /// The same for everything that is one finding: rule, account and window.
    pub dedupe_key: String,
}

/// The rules with their parameters.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The version of the parameters, repeated in every finding.
    pub version: i32,
    pub large_transfer: LargeTransfer,
    pub rapid_transfers: RapidTransfers,
}

impl Rules {
    /// Applies every rule to a payment. `velocity` is that of the source account; it takes the payment in.
    pub fn examine(&self, payment: &Payment, velocity: &mut Velocity) -> Vec<Finding> {
        let large = self.large_transfer.examine(payment, self.version);
        let rapid = self.rapid_transfers.examine(payment, velocity, self.version);
        large.into_iter().chain(rapid).collect()
    }
}
