use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject};
use vostro_account::{AccountError, AccountErrorCode as Code, GenerateStatement, domain};
use vostro_kernel::Money as KernelMoney;

use super::mutation::AccountUserError;
use super::query::Query;
use super::types::Account;
use super::{facade, failure};
use crate::access::{Access, signed_in};
use crate::guards;
use crate::ids::{self, IdKind};
use crate::scalars::{Date, DateTime, IdempotencyKey, Money};

/// What has become of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::StatementStatus")]
pub enum StatementStatus {
    /// Its parts are being written.
    Preparing,
    /// It can be read.
    Ready,
    /// Somebody did not want it any more.
    Cancelled,
    /// It could not be prepared in time. Ask for another.
    Failed,
    /// It was kept for as long as statements are. Ask for another.
    Expired,
}

/// Why a statement failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::StatementFailure")]
pub enum StatementFailureCode {
    /// The account's entries do not add up. The bank has to mend that first.
    LedgerInconsistent,
    /// Writing it did not work. Ask for another later.
    NotWritten,
    /// Its time was up before it was its turn. Ask for another later.
    OutOfTime,
}

/// How far a statement is.
#[derive(Debug, Clone, Copy, SimpleObject)]
pub struct StatementProgress {
    /// Entries that are written.
    done: i64,
    /// Entries it will have.
    total: i64,
}

/// The entries of an account in a period, as a document.
#[derive(Debug, Clone)]
pub struct Statement(pub(super) domain::Statement);

#[Object]
impl Statement {
    async fn id(&self) -> ID {
        ids::encode(IdKind::Statement, self.0.id)
    }

    async fn account(&self, ctx: &Context<'_>) -> Result<Option<Account>> {
        Query.account_by_key(ctx, ids::encode(IdKind::Account, self.0.account_id)).await
    }

    /// The first day of the period.
    async fn from(&self) -> Date {
        self.0.period.first().into()
    }

    /// The last day of the period.
    async fn to(&self) -> Date {
        self.0.period.last().into()
    }

    async fn status(&self) -> StatementStatus {
        self.0.status.into()
    }

    async fn progress(&self) -> StatementProgress {
        StatementProgress { done: self.0.done, total: self.0.entries }
    }

    /// The balance before the first of its entries.
    async fn opening_balance(&self) -> Money {
        KernelMoney::new(self.0.opening_balance, self.0.currency).into()
    }

    /// The balance after the last of its entries; null until it is ready.
    async fn closing_balance(&self) -> Option<Money> {
        let is_known = self.0.done == self.0.entries && self.0.parts > 0;
        is_known.then(|| KernelMoney::new(self.0.closing_balance, self.0.currency).into())
    }

    /// How many parts it has; those written so far while it is being prepared.
    async fn parts(&self) -> i32 {
        self.0.parts
    }

    /// The text of one part, from 1: CSV (RFC 4180). The parts one after the other are the document; only the first
    /// names the columns. Null unless the statement is ready.
    #[graphql(directive = Access::apply(signed_in().cost(20)))]
    async fn part(&self, ctx: &Context<'_>, number: i32) -> Result<Option<String>> {
        facade(ctx)?.statement_part(guards::context(ctx)?, self.0.id, number).await.map_err(failure)
    }

    async fn requested_at(&self) -> DateTime {
        self.0.requested_at.into()
    }

    /// Why it failed; null unless it did.
    async fn failure_code(&self) -> Option<StatementFailureCode> {
        let has_failed = self.0.status == domain::StatementStatus::Failed;
        self.0.failure.filter(|_| has_failed).map(Into::into)
    }

    /// When it was ready, cancelled, given up or expired.
    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended_at.map(Into::into)
    }
}

/// What is wanted of a statement.
#[derive(Debug, InputObject)]
pub struct StatementGenerateInput {
    idempotency_key: IdempotencyKey,
    account_id: ID,
    /// The first day of the period.
    from: Date,
    /// The last day, at most 366 days from the first on. It must be over.
    to: Date,
}

impl StatementGenerateInput {
    pub(super) fn read(self) -> Result<GenerateStatement> {
        Ok(GenerateStatement {
            account_id: ids::decode(IdKind::Account, &self.account_id)?,
            from: self.from.0,
            to: self.to.0,
            idempotency_key: self.idempotency_key.into(),
        })
    }
}

/// A statement that is not wanted any more.
#[derive(Debug, InputObject)]
pub struct StatementCancelInput {
    pub(super) statement_id: ID,
}

macro_rules! payloads {
    ($($name:ident)+) => { $(
        /// The statement as committed, or why nothing was done.
        #[derive(Debug, SimpleObject)]
        pub struct $name {
            statement: Option<Statement>,
            user_errors: Vec<AccountUserError>,
        }

        impl $name {
            pub(super) fn of(result: Result<domain::Statement, AccountError>) -> Result<Self> {
                match result {
                    Ok(statement) => Ok(Self { statement: Some(Statement(statement)), user_errors: Vec::new() }),
                    Err(AccountError::Refused(refusal)) if refusal.code != Code::Forbidden => {
                        Ok(Self { statement: None, user_errors: vec![AccountUserError::of(refusal)?] })
                    }
                    Err(error) => Err(failure(error)),
                }
            }
        }
    )+ };
}
payloads! { StatementGeneratePayload StatementCancelPayload }
