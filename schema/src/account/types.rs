use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject};
use uuid::Uuid;
use vostro_account::{EntryPage, StatementPage, domain};
use vostro_kernel::Money as KernelMoney;

use super::statement::Statement;
use super::{facade, failure};
use crate::access::{Access, signed_in};
use crate::connection::{Page, PageArguments, PageRequest};
use crate::guards;
use crate::ids::{self, IdKind};
use crate::loader::Batch;
use crate::scalars::{CurrencyCode, DateTime, Money};

/// What kind of account it is towards the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::Product")]
pub enum Product {
    /// For everyday payments; may be overdrawn by agreement.
    Current,
    /// For keeping money; never overdrawn.
    Savings,
    /// The bank's own.
    Internal,
}

/// What an account may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "vostro_events::account::AccountStatus")]
pub enum AccountStatus {
    Active,
    /// No debits and no credits until it is lifted.
    Frozen,
    /// For good.
    Closed,
}

/// Whose money an account counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "vostro_events::account::AccountKind")]
pub enum AccountKind {
    /// A customer's: a liability of the bank.
    Customer,
    /// The bank's own.
    Internal,
}

/// Which side of the account an entry is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum Direction {
    Debit,
    Credit,
}

/// A person the bank knows: a customer, or somebody of its staff.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(unresolvable = "id")]
pub struct User {
    id: ID,
}

/// A balance by phase.
#[derive(Debug, Clone, SimpleObject)]
pub struct Balance {
    /// Booked.
    posted: Money,
    /// Announced credits.
    pending_in: Money,
    /// Reserved for debits that are on their way.
    pending_out: Money,
    /// Set apart.
    locked: Money,
    /// What may be spent: posted − pendingOut − locked + overdraft limit.
    available: Money,
    /// Number of the entry it results from; 0 before the first.
    sequence: i64,
    as_of: DateTime,
}

impl Balance {
    pub(super) fn of(balance: &domain::Balance, currency: vostro_kernel::Currency, as_of: DateTime) -> Self {
        let money = |minor| Money::from(KernelMoney::new(minor, currency));
        Self {
            posted: money(balance.posted),
            pending_in: money(balance.pending_in),
            pending_out: money(balance.pending_out),
            locked: money(balance.locked),
            available: money(balance.available()),
            sequence: balance.sequence,
            as_of,
        }
    }
}

/// One movement of money on an account.
#[derive(Debug, Clone, SimpleObject)]
pub struct Entry {
    id: ID,
    /// 1 for the account's first entry, without gaps.
    sequence: i64,
    transaction_id: ID,
    direction: Direction,
    /// Never negative.
    amount: Money,
    balance_after: Money,
    booked_at: DateTime,
}

impl From<vostro_account::Entry> for Entry {
    fn from(entry: vostro_account::Entry) -> Self {
        let debit = entry.amount.minor < 0;
        let amount = KernelMoney::new(entry.amount.minor.saturating_abs(), entry.amount.currency);
        Self {
            id: ID(format!("ent_{}_{}", entry.account_id, entry.sequence)),
            sequence: entry.sequence,
            transaction_id: ids::encode(IdKind::Transaction, entry.transaction_id),
            direction: if debit { Direction::Debit } else { Direction::Credit },
            amount: amount.into(),
            balance_after: entry.balance_after.into(),
            booked_at: entry.booked_at.into(),
        }
    }
}

/// An account of the bank.
#[derive(Debug, Clone)]
pub struct Account(pub(super) Arc<domain::Account>);

#[Object]
impl Account {
    async fn id(&self) -> ID {
        ids::encode(IdKind::Account, self.0.id)
    }

    /// The number people write: an IBAN, or the code of an internal account.
    async fn number(&self) -> &str {
        &self.0.number
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn product(&self) -> Product {
        self.0.product.into()
    }

    async fn kind(&self) -> AccountKind {
        self.0.kind.into()
    }

    async fn currency(&self) -> CurrencyCode {
        CurrencyCode(self.0.currency)
    }

    async fn status(&self) -> AccountStatus {
        self.0.status.into()
    }

    /// The holder; null on the bank's own accounts.
    async fn owner(&self) -> Option<User> {
        self.0.owner_id.map(|id| User { id: ids::encode(IdKind::User, id) })
    }

    async fn balance(&self) -> Balance {
        Balance::of(&self.0.balance, self.0.currency, self.0.balance_at.into())
    }

    /// How far the balance may go below zero.
    async fn overdraft_limit(&self) -> Money {
        KernelMoney::new(self.0.balance.overdraft_limit, self.0.currency).into()
    }

    /// Movements, newest first.
    #[graphql(directive = Access::apply(signed_in().page()))]
    async fn entries(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<Entry>> {
        let page = PageRequest::<i64>::new("entries", PageArguments { first, after, last, before })?;
        let asked = EntryPage { account_id: self.0.id, page: page.rows() };
        let ask = async |asked: Vec<EntryPage>| {
            let pages = facade(ctx)?.entries(guards::context(ctx)?, &asked).await.map_err(failure)?;
            Ok(asked.into_iter().zip(pages).collect())
        };
        let batch = Batch::<EntryPage, Vec<vostro_account::Entry>>::of(guards::scope(ctx)?);
        let entries = batch.load(asked, ask).await?.unwrap_or_default();
        Ok(page.connection(entries, |entry| entry.sequence, Entry::from))
    }

    /// Statements that were asked for, newest first.
    #[graphql(directive = Access::apply(signed_in().page()))]
    async fn statements(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<Statement>> {
        let page = PageRequest::<Uuid>::new("statements", PageArguments { first, after, last, before })?;
        let asked = StatementPage { account_id: self.0.id, page: page.rows() };
        let ask = async |asked: Vec<StatementPage>| {
            let pages = facade(ctx)?.statements(guards::context(ctx)?, &asked).await.map_err(failure)?;
            Ok(asked.into_iter().zip(pages).collect())
        };
        let batch = Batch::<StatementPage, Vec<domain::Statement>>::of(guards::scope(ctx)?);
        let statements = batch.load(asked, ask).await?.unwrap_or_default();
        Ok(page.connection(statements, |statement| statement.id, Statement))
    }

    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Grows with every change of the account's terms.
    async fn version(&self) -> i64 {
        self.0.version
    }
}
