use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result};
use uuid::Uuid;
use vostro_transaction::domain;

use super::types::{Transaction, TransactionFilter};
use super::{facade, failure};
use crate::access::{Access, signed_in};
use crate::connection::{Page, PageRequest};
use crate::guards;
use crate::ids::{self, IdKind};
use crate::loader::Batch;

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
            Ok(rows.into_iter().map(|row| (row.id, Arc::new(row))).collect())
        };
        let batch = guards::scope(ctx)?.shared(Batch::<Uuid, Arc<domain::Transaction>>::default);
        Ok(batch.load(id, ask).await?.map(Transaction))
    }

    /// The transaction, if you gave the command, own one of its accounts, or work for the bank.
    #[graphql(directive = Access::apply(signed_in()))]
    async fn transaction(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Transaction>> {
        self.transaction_by_key(ctx, id).await
    }

    /// Transactions of your accounts, newest first; for staff, everybody's.
    #[graphql(directive = Access::apply(signed_in().page()))]
    async fn transactions(
        &self,
        ctx: &Context<'_>,
        filter: Option<TransactionFilter>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Page<Transaction>>> {
        let page = PageRequest::<Uuid>::new("transactions", first, after)?;
        let filter = filter.unwrap_or_default().read()?;
        let rows = facade(ctx)?
            .transactions(guards::context(ctx)?, &filter, page.after, page.rows_to_fetch())
            .await
            .map_err(failure)?;
        Ok(Some(page.connection(rows, |row| row.id, |row| Transaction(Arc::new(row)))))
    }
}
