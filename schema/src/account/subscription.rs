use async_graphql::{Context, ID, Result, SimpleObject};
use futures::{Stream, StreamExt as _};

use super::statement::Statement;
use super::types::Balance;
use super::{facade, failure};
use crate::access::{Access, signed_in};
use crate::faults::bad_user_input;
use crate::guards::{self, Authenticated};
use crate::ids::{self, IdKind};
use crate::live::{self, UpdateKind};
use crate::scalars::DateTime;

/// A balance and what led to it.
#[derive(Debug, SimpleObject)]
pub struct BalanceChange {
    account_id: ID,
    /// Number of the entry; grows by one, but for updates of kind `LAGGED`.
    sequence: i64,
    /// What is reserved and arranged is as of now.
    balance: Balance,
    /// Null in the snapshot of an account without entries.
    transaction_id: Option<ID>,
    occurred_at: DateTime,
    kind: UpdateKind,
    /// Pass it as `after` to go on behind this update.
    cursor: String,
}

/// Watching accounts.
pub struct Subscription;

#[async_graphql::Subscription(name = "Subscription")]
impl Subscription {
    /// The balance now, and then every change of it. With `after`, the cursor of an earlier update, every change since then
    /// and no snapshot.
    #[graphql(guard = "Authenticated", directive = Access::apply(signed_in().cost(5)))]
    async fn balance_changed(
        &self,
        ctx: &Context<'_>,
        account_id: ID,
        after: Option<String>,
        #[graphql(deprecation = "since 2026-11; remove after 2027-05; use `after`")] after_sequence: Option<i64>,
    ) -> Result<impl Stream<Item = Result<BalanceChange>> + use<>> {
        let id = ids::decode(IdKind::Account, &account_id)?;
        let stream = format!("balanceChanged:{id}");
        let after = live::sequence(&stream, after.as_deref(), after_sequence)?;
        let changes = facade(ctx)?.balance_changes(guards::context(ctx)?, id, after).await.map_err(failure)?;
        let changes = changes.ok_or_else(|| bad_user_input("No account with this id, or not one of yours."))?;
        Ok(changes.map(move |change| {
            let change = change.map_err(failure)?;
            Ok(BalanceChange {
                account_id: ids::encode(IdKind::Account, change.account_id),
                sequence: change.balance.sequence,
                balance: Balance::of(&change.balance, change.currency, change.occurred_at.into()),
                transaction_id: change.transaction_id.map(|id| ids::encode(IdKind::Transaction, id)),
                occurred_at: change.occurred_at.into(),
                kind: change.kind.into(),
                cursor: live::cursor(&stream, &change.balance.sequence),
            })
        }))
    }

    /// The statement as it is now, and whenever it has got further; ends with the statement's own end.
    #[graphql(guard = "Authenticated", directive = Access::apply(signed_in().cost(5)))]
    async fn statement_progress(
        &self,
        ctx: &Context<'_>,
        statement_id: ID,
    ) -> Result<impl Stream<Item = Result<Statement>> + use<>> {
        let id = ids::decode(IdKind::Statement, &statement_id)?;
        let states = facade(ctx)?.statement_progress(guards::context(ctx)?, id).await.map_err(failure)?;
        let states =
            states.ok_or_else(|| bad_user_input("No statement with this id, or not of an account of yours."))?;
        Ok(states.map(|state| state.map(Statement).map_err(failure)))
    }
}
