use std::sync::Arc;

use async_graphql::{Enum, ID, InputObject, Object, Result, SimpleObject};
use uuid::Uuid;
use vostro_transaction::domain;

use crate::ids::{self, IdKind};
use crate::live::UpdateKind;
use crate::scalars::{DateTime, Money};

/// What kind of payment a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::TransactionKind")]
pub enum TransactionKind {
    /// Between two accounts of the bank.
    Transfer,
    /// Money that came in from outside.
    Deposit,
    /// Money that goes out.
    Withdrawal,
}

/// Where a transaction is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::Status")]
pub enum TransactionStatus {
    /// Accepted and durable; the ledger has not answered yet.
    Initiated,
    /// The money moved.
    Completed,
    /// The money did not move and will not; `failureCode` says why.
    Failed,
}

/// Whether a payee is who the payer thinks (verification of payee, Regulation (EU) 2024/886).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum PayeeMatch {
    /// The account belongs to somebody of this name.
    Match,
    /// Nearly; look at `suggestion` before you pay.
    CloseMatch,
    /// The account belongs to somebody else.
    NoMatch,
    /// Nobody can say: it is no open account of a customer of this bank, or the check did not come through.
    Unavailable,
}

/// The answer to the question whose an account is.
#[derive(Debug, Clone, SimpleObject)]
pub struct PayeeVerification {
    pub result: PayeeMatch,
    /// With a close match: the name with most letters hidden.
    pub suggestion: Option<String>,
}

impl From<domain::PayeeCheck> for PayeeVerification {
    fn from(check: domain::PayeeCheck) -> Self {
        let (result, suggestion) = match check {
            domain::PayeeCheck::Match => (PayeeMatch::Match, None),
            domain::PayeeCheck::CloseMatch { suggestion } => (PayeeMatch::CloseMatch, Some(suggestion)),
            domain::PayeeCheck::NoMatch => (PayeeMatch::NoMatch, None),
            domain::PayeeCheck::Unavailable => (PayeeMatch::Unavailable, None),
        };
        Self { result, suggestion }
    }
}

/// Where cash came in or went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::Channel")]
pub enum CashChannel {
    /// Over the counter.
    Branch,
    Atm,
    /// A card payment or withdrawal.
    Card,
    /// From or to another bank.
    Wire,
}

/// When a command that starts a transaction answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Enum)]
pub enum WaitFor {
    /// As soon as the payment is accepted and durable.
    #[default]
    None,
    /// When the payment has ended, or after a few seconds with the state it has then.
    Completed,
}

impl From<WaitFor> for vostro_transaction::WaitFor {
    fn from(wait_for: WaitFor) -> Self {
        match wait_for {
            WaitFor::None => Self::Accepted,
            WaitFor::Completed => Self::Outcome,
        }
    }
}

/// An account of the bank.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(unresolvable = "id")]
pub struct Account {
    id: ID,
}

impl Account {
    fn of(id: Uuid) -> Self {
        Self { id: ids::encode(IdKind::Account, id) }
    }
}

/// One payment.
#[derive(Debug, Clone)]
pub struct Transaction(pub(super) Arc<domain::Transaction>);

#[Object]
impl Transaction {
    async fn id(&self) -> ID {
        ids::encode(IdKind::Transaction, self.0.id)
    }

    async fn kind(&self) -> TransactionKind {
        self.0.kind.into()
    }

    async fn status(&self) -> TransactionStatus {
        self.0.status.into()
    }

    /// What moves; always positive.
    async fn amount(&self) -> Money {
        self.0.amount.into()
    }

    /// The account the money leaves.
    async fn source(&self) -> Option<Account> {
        Some(Account::of(self.0.source_account_id))
    }

    /// The account the money arrives on.
    async fn destination(&self) -> Option<Account> {
        Some(Account::of(self.0.destination_account_id))
    }

    /// What the payer wants the payee to read.
    async fn reference(&self) -> Option<&str> {
        self.0.reference.as_deref()
    }

    /// Where cash came in or went out.
    async fn channel(&self) -> Option<CashChannel> {
        self.0.channel.map(Into::into)
    }

    /// The rule of the ledger that refused it, such as `ACC_INSUFFICIENT_FUNDS`; only on failed transactions.
    async fn failure_code(&self) -> Option<&str> {
        self.0.failure_code.as_deref()
    }

    /// When it was accepted.
    async fn initiated_at(&self) -> DateTime {
        self.0.initiated_at.into()
    }

    /// When the ledger booked or refused it.
    async fn completed_at(&self) -> Option<DateTime> {
        self.0.completed_at.map(Into::into)
    }

    /// Number of its latest change: 1 while it is under way, 2 when it has ended.
    async fn sequence(&self) -> i64 {
        self.0.sequence()
    }
}

/// A transaction as it is from now on.
#[derive(Debug, Clone, SimpleObject)]
pub struct TransactionUpdate {
    pub(super) transaction: Transaction,
    /// 1 when it was accepted, 2 when it ended.
    pub(super) sequence: i64,
    pub(super) occurred_at: DateTime,
    pub(super) kind: UpdateKind,
    /// Pass it as `after` to go on behind this update.
    pub(super) cursor: String,
}

/// Narrows a list of transactions. All conditions must hold.
#[derive(Debug, Clone, Default, InputObject)]
pub struct TransactionFilter {
    /// Debited or credited.
    account_id: Option<ID>,
    status: Option<TransactionStatus>,
    kind: Option<TransactionKind>,
    /// Accepted at or after.
    from: Option<DateTime>,
    /// Accepted before.
    to: Option<DateTime>,
    /// A part of the reference, in upper or lower case.
    reference: Option<String>,
}

impl TransactionFilter {
    pub(super) fn read(self) -> Result<vostro_transaction::Filter> {
        Ok(vostro_transaction::Filter {
            account_id: ids::decode_opt(IdKind::Account, self.account_id.as_ref())?,
            status: self.status.map(Into::into),
            kind: self.kind.map(Into::into),
            from: self.from.map(Into::into),
            to: self.to.map(Into::into),
            reference: self.reference.filter(|reference| !reference.is_empty()),
        })
    }
}
