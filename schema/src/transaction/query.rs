use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result};
use uuid::Uuid;
use vostro_events::query::auth::NameCheckV1;
use vostro_kernel::Iban;
use vostro_transaction::domain;

use super::payee_budget::PayeeBudget;
use super::types::{PayeeVerification, Transaction, TransactionFilter};
use super::{facade, failure};
use crate::access::{Access, signed_in};
use crate::connection::{Page, PageArguments, PageRequest};
use crate::faults::bad_user_input;
use crate::fresh;
use crate::guards;
use crate::ids::{self, IdKind};
use crate::loader::Batch;
use crate::scope::RequestScope;

/// Reading payments.
pub struct Query;

#[Object(name = "Query")]
impl Query {
    #[graphql(entity)]
    async fn transaction_by_key(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Transaction>> {
        guards::authenticated(ctx)?;
        let id = ids::decode(IdKind::Transaction, &id)?;
        let ask = async |ids: Vec<Uuid>| {
            let rows = facade(ctx)?.transactions_by_id(guards::context(ctx)?, &ids).await.map_err(failure)?;
            Ok(rows.into_iter().map(|row| (row.id, row)).collect())
        };
        Ok(batch(guards::scope(ctx)?).load(id, ask).await?.map(Transaction))
    }

    /// The transaction, if you gave the command, own one of its accounts, or work for the bank.
    #[graphql(directive = Access::apply(signed_in()))]
    async fn transaction(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "Not older than this `sequence`: 2 for one that has ended. Waited for up to a second, then \
            `STALE_READ`.")]
        min_version: Option<i64>,
    ) -> Result<Option<Transaction>> {
        let known = self.transaction_by_key(ctx, id.clone()).await?;
        let is_new_enough = |transaction: &Transaction| transaction.0.sequence() >= min_version.unwrap_or_default();
        let read = || async {
            let id = ids::decode(IdKind::Transaction, &id)?;
            // What has not ended is not kept, so this is the database.
            let found = facade(ctx)?.transactions_by_id(guards::context(ctx)?, &[id]).await.map_err(failure)?;
            let found = found.into_iter().next();
            if let Some(row) = &found {
                batch(guards::scope(ctx)?).know(row.id, Arc::clone(row));
            }
            Ok(found.map(Transaction))
        };
        fresh::at_least(known, is_new_enough, read).await
    }

    /// Whether the account with this IBAN belongs to somebody of this name: ask before you pay. `null` without a login.
    ///
    /// Dear, and 20 at once and six a minute at most, so that nobody asks for everybody's names.
    #[graphql(directive = Access::apply(signed_in().cost(100)))]
    async fn payee_verification(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "With or without blanks.")] iban: String,
        #[graphql(desc = "Of the payee, as you know it; at most 140 characters.")] name: String,
    ) -> Result<Option<PayeeVerification>> {
        let iban = Iban::parse(&iban).map_err(|error| bad_user_input(error.to_string()))?;
        if name.trim().is_empty() || name.chars().nth(NameCheckV1::LONGEST_NAME).is_some() {
            return Err(bad_user_input(format!("a name has 1 to {} characters", NameCheckV1::LONGEST_NAME)));
        }
        ctx.data::<PayeeBudget>()?.spend(guards::user_id(ctx)?)?;
        let check = facade(ctx)?.payee_check(&iban, &name).await.map_err(failure)?;
        Ok(Some(check.into()))
    }

    /// Transactions of your accounts, newest first; for staff, everybody's.
    #[graphql(directive = Access::apply(signed_in().page()))]
    async fn transactions(
        &self,
        ctx: &Context<'_>,
        filter: Option<TransactionFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Option<Page<Transaction>>> {
        let page = PageRequest::<Uuid>::new("transactions", PageArguments { first, after, last, before })?;
        let filter = filter.unwrap_or_default().read()?;
        let rows = facade(ctx)?.transactions(guards::context(ctx)?, &filter, page.rows()).await.map_err(failure)?;
        Ok(Some(page.connection(rows, |row| row.id, |row| Transaction(Arc::new(row)))))
    }
}

/// What the request reads of payments.
pub(crate) fn batch(scope: &RequestScope) -> Arc<Batch<Uuid, Arc<domain::Transaction>>> {
    Batch::of(scope)
}
