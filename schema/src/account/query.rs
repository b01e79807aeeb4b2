use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use uuid::Uuid;
use vostro_account::{AccountFilter as Filter, domain};
use vostro_kernel::Currency;

use super::statement::Statement;
use super::types::{Account, AccountStatus};
use super::{facade, failure};
use crate::access::{Access, only, signed_in};
use crate::connection::{Page, PageArguments, PageRequest};
use crate::faults::internal;
use crate::fresh;
use crate::guards::{self, STAFF};
use crate::ids::{self, IdKind};
use crate::loader::Batch;
use crate::scalars::{CurrencyCode, Decimal, Money};
use crate::scope::RequestScope;

/// What a list of accounts is narrowed to.
#[derive(Debug, Default, InputObject)]
pub struct AccountFilter {
    owner_id: Option<ID>,
    status: Option<AccountStatus>,
}

/// What the accounts of one currency add up to.
#[derive(Debug, SimpleObject)]
pub struct TrialBalanceLine {
    currency: CurrencyCode,
    /// Sum of all balances below zero, as a positive amount.
    debit: Money,
    /// Sum of all balances above zero.
    credit: Money,
    /// Whether the two are equal, as double entry promises.
    balanced: bool,
}

/// Reading accounts.
pub struct Query;

#[Object(name = "Query")]
impl Query {
    #[graphql(entity)]
    pub(super) async fn account_by_key(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Account>> {
        guards::authenticated(ctx)?;
        let id = ids::decode(IdKind::Account, &id)?;
        let ask = async |ids: Vec<Uuid>| {
            let rows = facade(ctx)?.accounts_by_id(guards::context(ctx)?, &ids).await.map_err(failure)?;
            Ok(rows.into_iter().map(|row| (row.id, row)).collect())
        };
        Ok(batch(guards::scope(ctx)?).load(id, ask).await?.map(Account))
    }

    #[graphql(entity)]
    pub(super) async fn statement_by_key(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Statement>> {
        guards::authenticated(ctx)?;
        let id = ids::decode(IdKind::Statement, &id)?;
        let ask = async |ids: Vec<Uuid>| {
            let rows = facade(ctx)?.statements_by_id(guards::context(ctx)?, &ids).await.map_err(failure)?;
            Ok(rows.into_iter().map(|row| (row.id, Arc::new(row))).collect())
        };
        let batch = statement_batch(guards::scope(ctx)?);
        Ok(batch.load(id, ask).await?.map(|row| Statement(domain::Statement::clone(&row))))
    }

    /// The account, if it is yours or you work for the bank.
    #[graphql(directive = Access::apply(signed_in()))]
    async fn account(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "Not older than this `version`. Waited for up to a second, then `STALE_READ`.")]
        min_version: Option<i64>,
        #[graphql(desc = "The same for the `sequence` of its balance.")] min_sequence: Option<i64>,
    ) -> Result<Option<Account>> {
        let known = self.account_by_key(ctx, id.clone()).await?;
        let is_new_enough = |account: &Account| {
            account.0.version >= min_version.unwrap_or_default()
                && account.0.balance.sequence >= min_sequence.unwrap_or_default()
        };
        let read = || async {
            let id = ids::decode(IdKind::Account, &id)?;
            let found = facade(ctx)?.account_anew(guards::context(ctx)?, id).await.map_err(failure)?;
            if let Some(row) = &found {
                batch(guards::scope(ctx)?).know(row.id, Arc::clone(row));
            }
            Ok(found.map(Account))
        };
        fresh::at_least(known, is_new_enough, read).await
    }

    /// Your accounts, in the order they were opened; for staff, all customers' accounts.
    #[graphql(directive = Access::apply(signed_in().page()))]
    async fn accounts(
        &self,
        ctx: &Context<'_>,
        filter: Option<AccountFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Option<Page<Account>>> {
        let page = PageRequest::<Uuid>::new("accounts", PageArguments { first, after, last, before })?;
        let AccountFilter { owner_id, status } = filter.unwrap_or_default();
        let owner_id = owner_id.map(|id| ids::decode(IdKind::User, &id)).transpose()?;
        let filter = Filter { owner_id, status: status.map(Into::into) };
        let rows = facade(ctx)?.accounts(guards::context(ctx)?, filter, page.rows()).await.map_err(failure)?;
        let rows: Vec<_> = rows.into_iter().map(Arc::new).collect();
        batch(guards::scope(ctx)?).learn(rows.iter().map(|row| (row.id, Arc::clone(row))));
        Ok(Some(page.connection(rows, |row| row.id, Account)))
    }

    /// The statement, if it is of an account of yours or you work for the bank.
    #[graphql(directive = Access::apply(signed_in()))]
    async fn statement(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Statement>> {
        self.statement_by_key(ctx, id).await
    }

    /// The bank's own accounts.
    #[graphql(directive = Access::apply(only(STAFF).about(30)))]
    async fn internal_accounts(&self, ctx: &Context<'_>) -> Result<Option<Vec<Account>>> {
        let rows = facade(ctx)?.internal_accounts(guards::context(ctx)?).await.map_err(failure)?;
        Ok(Some(rows.into_iter().map(|row| Account(Arc::new(row))).collect()))
    }

    /// Debits and credits of every currency.
    #[graphql(directive = Access::apply(only(STAFF).cost(20).about(30)))]
    async fn trial_balance(&self, ctx: &Context<'_>) -> Result<Option<Vec<TrialBalanceLine>>> {
        let lines = facade(ctx)?.trial_balance(guards::context(ctx)?).await.map_err(failure)?;
        let line = |line: vostro_account::TrialBalanceLine| {
            Ok(TrialBalanceLine {
                currency: CurrencyCode(line.currency),
                debit: money(line.debit(), line.currency)?,
                credit: money(line.credit(), line.currency)?,
                balanced: line.is_balanced(),
            })
        };
        lines.into_iter().map(line).collect::<Result<_>>().map(Some)
    }
}

/// What the request reads of accounts.
pub(crate) fn batch(scope: &RequestScope) -> Arc<Batch<Uuid, Arc<domain::Account>>> {
    Batch::of(scope)
}

/// What the request reads of statements.
pub(crate) fn statement_batch(scope: &RequestScope) -> Arc<Batch<Uuid, Arc<domain::Statement>>> {
    Batch::of(scope)
}

/// A sum over accounts, which may be larger than one account can hold.
fn money(amount: String, currency: Currency) -> Result<Money> {
    Ok(Money { amount: Decimal::new(amount).map_err(internal)?, currency: currency.into() })
}
