use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_events::transaction::{RouteV1, TransactionKind};
use vostro_kernel::{Actor, ActorKind, Money, Refusal, Roles};

use super::Channel;
use crate::error::TransactionErrorCode;

/// Where a transaction is in its life: `INITIATED → COMPLETED | FAILED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Accepted and durable; the ledger has not answered yet.
    Initiated,
    /// The money moved. The end.
    Completed,
    /// The money did not move and will not. The end.
    Failed,
}

/// The text is not the name of a status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown status {0:?}")]
pub struct UnknownStatus(pub String);

impl Status {
    pub const ALL: [Self; 3] = [Self::Initiated, Self::Completed, Self::Failed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initiated => "INITIATED",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }

    pub const fn has_ended(self) -> bool {
        !matches!(self, Self::Initiated)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

/// What the ledger did with a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was booked.
    Booked { at: DateTime<Utc> },
    /// It was refused by the rule `code`, such as `ACC_INSUFFICIENT_FUNDS`.
    Rejected { code: String, at: DateTime<Utc> },
}

impl Outcome {
    /// The status the outcome leads to.
    pub const fn status(&self) -> Status {
        match self {
            Self::Booked { .. } => Status::Completed,
            Self::Rejected { .. } => Status::Failed,
        }
    }

    pub const fn at(&self) -> DateTime<Utc> {
        match self {
            Self::Booked { at } | Self::Rejected { at, .. } => *at,
        }
    }

    /// The rule that refused it.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Booked { .. } => None,
            Self::Rejected { code, .. } => Some(code),
        }
    }
}

/// One payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub id: Uuid,
    /// Who gave the command.
    pub initiator_id: Uuid,
    pub kind: TransactionKind,
    pub status: Status,
    /// Always positive.
    pub amount: Money,
    /// Debited.
    pub source_account_id: Uuid,
    /// Credited.
    pub destination_account_id: Uuid,
    /// `None` when the source is an internal account.
    pub source_owner_id: Option<Uuid>,
    /// `None` when the destination is an internal account.
    pub destination_owner_id: Option<Uuid>,
    /// What the payer wants the payee to read.
    pub reference: Option<String>,
    pub channel: Option<Channel>,
    /// The ledger's reason; only on failed transactions.
    pub failure_code: Option<String>,
    pub initiated_at: DateTime<Utc>,
    /// When the ledger booked or refused it.
    pub completed_at: Option<DateTime<Utc>>,
}

impl Transaction {
    /// Number of the transaction's latest event: 1 while it is under way, 2 when it has ended.
    pub const fn sequence(&self) -> i64 {
        if self.status.has_ended() { 2 } else { 1 }
    }

    /// When the latest event happened.
    pub fn occurred_at(&self) -> DateTime<Utc> {
        self.completed_at.unwrap_or(self.initiated_at)
    }

    /// Ends the transaction the way the ledger decided.
    ///
    /// # Errors
    /// [`TransactionErrorCode::InvalidState`] when it has ended before: a transaction has exactly one outcome.
    pub fn settle(self, outcome: &Outcome) -> Result<Self, Refusal<TransactionErrorCode>> {
        let status = outcome.status();
        if self.status.has_ended() {
            let refusal = Refusal::new(TransactionErrorCode::InvalidState);
            return Err(refusal.saying(format!("The transaction is {} and cannot become {status}.", self.status)));
        }
        Ok(Self { status, failure_code: outcome.code().map(str::to_owned), completed_at: Some(outcome.at()), ..self })
    }

    /// Whether the actor may know of it: whoever gave the command, the owners of both accounts, staff.
    pub fn is_visible_to(&self, actor: &Actor) -> bool {
        let involved = [Some(self.initiator_id), self.source_owner_id, self.destination_owner_id];
        actor.roles.is_staff() || actor.id.is_some_and(|actor| involved.contains(&Some(actor)))
    }

    /// Who gave the command, as far as the transaction remembers: its id and whether it paid from an account of its
    /// own. Staff does everything else.
    pub(crate) fn initiator(&self) -> Actor {
        let own = self.source_owner_id == Some(self.initiator_id);
        let kind = if own { ActorKind::User } else { ActorKind::Staff };
        Actor { kind, id: Some(self.initiator_id), roles: Roles::NONE, session: None }
    }

    pub(crate) fn touches(&self, account: Uuid) -> bool {
        self.source_account_id == account || self.destination_account_id == account
    }

    pub(crate) fn route(&self) -> RouteV1 {
        RouteV1 {
            source_account_id: self.source_account_id,
            destination_account_id: self.destination_account_id,
            source_owner_id: self.source_owner_id,
            destination_owner_id: self.destination_owner_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vostro_kernel::{Role, Roles};

    const INITIATOR: Uuid = Uuid::from_u128(1);
    const PAYER: Uuid = Uuid::from_u128(2);
    const PAYEE: Uuid = Uuid::from_u128(3);

    fn initiated() -> Transaction {
        Transaction {
            id: Uuid::from_u128(9),
            initiator_id: INITIATOR,
            kind: TransactionKind::Transfer,
            status: Status::Initiated,
            amount: Money::new(100, "EUR".parse().expect("a currency")),
            source_account_id: Uuid::from_u128(10),
            destination_account_id: Uuid::from_u128(11),
            source_owner_id: Some(PAYER),
            destination_owner_id: Some(PAYEE),
            reference: None,
            channel: None,
            failure_code: None,
            initiated_at: DateTime::UNIX_EPOCH,
            completed_at: None,
        }
    }

    fn booked() -> Outcome {
        Outcome::Booked { at: DateTime::UNIX_EPOCH }
    }

    fn rejected() -> Outcome {
        Outcome::Rejected { code: "ACC_INSUFFICIENT_FUNDS".into(), at: DateTime::UNIX_EPOCH }
    }

    #[test]
    fn a_booked_transaction_is_completed() {
        let completed = initiated().settle(&booked()).expect("allowed");
        assert_eq!((completed.status, completed.sequence()), (Status::Completed, 2));
        assert_eq!((completed.failure_code, completed.completed_at), (None, Some(DateTime::UNIX_EPOCH)));
    }

    #[test]
    fn a_rejected_transaction_has_failed_for_the_ledgers_reason() {
        let failed = initiated().settle(&rejected()).expect("allowed");
        assert_eq!((failed.status, failed.sequence()), (Status::Failed, 2));
        assert_eq!(failed.failure_code.as_deref(), Some("ACC_INSUFFICIENT_FUNDS"));
    }

    #[test]
    fn a_transaction_ends_once() {
        for first in [booked(), rejected()] {
            for second in [booked(), rejected()] {
                let ended = initiated().settle(&first).expect("allowed");
                let refusal = ended.settle(&second).expect_err("it has ended");
                assert_eq!(refusal.code, TransactionErrorCode::InvalidState);
                assert!(refusal.message.contains(first.status().as_str()), "{}", refusal.message);
                assert!(refusal.message.contains(second.status().as_str()), "{}", refusal.message);
            }
        }
    }

    #[test]
    fn a_transaction_is_seen_by_those_involved_and_by_staff() {
        let person = |id, role| Actor::person(id, Roles::from_iter([role]), None);
        let stranger = Uuid::from_u128(99);
        for involved in [INITIATOR, PAYER, PAYEE] {
            assert!(initiated().is_visible_to(&person(involved, Role::Customer)));
        }
        for role in [Role::Operator, Role::ComplianceOfficer, Role::Admin] {
            assert!(initiated().is_visible_to(&person(stranger, role)), "{role}");
        }
        assert!(!initiated().is_visible_to(&person(stranger, Role::Customer)));
        assert!(!initiated().is_visible_to(&Actor::ANONYMOUS));
        let internal = Transaction { source_owner_id: None, destination_owner_id: None, ..initiated() };
        assert!(!internal.is_visible_to(&Actor::ANONYMOUS));
    }

    #[test]
    fn every_status_is_read_back_from_its_name() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("initiated".parse::<Status>().is_err());
    }
}
