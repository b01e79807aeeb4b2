use async_graphql::{Context, Error, ID, Result, SimpleObject};
use futures::{Stream, StreamExt as _};

use super::statement::Statement;
use super::types::{Account, Balance};
use super::{facade, failure};
use crate::access::{Access, signed_in};
use crate::faults::bad_user_input;
use crate::guards::{self, Authenticated};
use crate::ids::{self, IdKind};
use crate::live::{self, UpdateKind};
use crate::scalars::DateTime;

/// An account as it is from now on.
#[derive(Debug, SimpleObject)]
pub struct AccountUpdate {
    account: Account,
    /// The account's version: grows by one, but for updates of kind `LAGGED`.
    sequence: i64,
    occurred_at: DateTime,
    /// `LAGGED` when versions between were passed over; the state contains what they did.
    kind: UpdateKind,
    /// Pass it as `after` to go on behind this update.
    cursor: String,
}

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

/// A statement as it is from now on.
#[derive(Debug, SimpleObject)]
pub struct StatementUpdate {
    statement: Statement,
    /// Grows with every step. Of the last part and the end that comes with it only the end is told.
    sequence: i64,
    occurred_at: DateTime,
    /// `LAGGED` when steps between were passed over; the state contains what they did.
    kind: UpdateKind,
    /// Pass it as `after` to go on behind this update.
    cursor: String,
}

/// Watching accounts.
pub struct Subscription;

#[async_graphql::Subscription(name = "Subscription")]
impl Subscription {
    /// The account now, and then whenever its status or its overdraft limit has changed. With `after`, the cursor of an
    /// earlier update, the account now if it has changed since then, and no snapshot. States are told: of changes that
    /// follow each other while nobody listens, or within a moment at another instance, the last. `balanceChanged` tells
    /// what is booked.
    #[graphql(guard = "Authenticated", directive = Access::apply(signed_in().cost(5)))]
    async fn account_updated(
        &self,
        ctx: &Context<'_>,
        account_id: ID,
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<AccountUpdate>> + use<>> {
        let id = ids::decode(IdKind::Account, &account_id)?;
        let stream = format!("accountUpdated:{id}");
        let after = live::position(&stream, after.as_deref())?;
        let updates = facade(ctx)?.account_updates(guards::context(ctx)?, id, after).await.map_err(failure)?;
        let updates = updates.ok_or_else(no_such_account)?;
        Ok(updates.map(move |update| {
            let vostro_account::AccountUpdate { account, kind } = update.map_err(failure)?;
            Ok(AccountUpdate {
                sequence: account.version,
                occurred_at: account.changed_at.into(),
                kind: kind.into(),
                cursor: live::cursor(&stream, &account.version),
                account: Account(account),
            })
        }))
    }

    /// The balance now, and then after every entry. With `after`, the cursor of an earlier update, every entry since then
    /// and no snapshot. An overdraft limit changes what is available without an entry: `accountUpdated` tells that.
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
        let changes = changes.ok_or_else(no_such_account)?;
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

    /// How far the statement is, and then every further step of it; ends with the statement's own end. With `after`,
    /// the cursor of an earlier update, what has happened since then and no snapshot. Of steps that follow each other
    /// while nobody listens the last is told.
    #[graphql(guard = "Authenticated", directive = Access::apply(signed_in().cost(5)))]
    async fn statement_updated(
        &self,
        ctx: &Context<'_>,
        statement_id: ID,
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<StatementUpdate>> + use<>> {
        let stream = format!("statementUpdated:{}", ids::decode(IdKind::Statement, &statement_id)?);
        let after = live::position(&stream, after.as_deref())?;
        let updates = statement_updates(ctx, &statement_id, after).await?;
        Ok(updates.map(move |update| {
            let vostro_account::StatementUpdate { statement, kind } = update?;
            Ok(StatementUpdate {
                sequence: statement.version,
                occurred_at: statement.changed_at.into(),
                kind: kind.into(),
                cursor: live::cursor(&stream, &statement.version),
                statement: Statement(statement),
            })
        }))
    }

    /// The statement as it is now, and whenever it has got further; ends with the statement's own end.
    #[graphql(
        guard = "Authenticated",
        directive = Access::apply(signed_in().cost(5)),
        deprecation = "since 2026-11; remove after 2027-05; use `statementUpdated`"
    )]
    async fn statement_progress(
        &self,
        ctx: &Context<'_>,
        statement_id: ID,
    ) -> Result<impl Stream<Item = Result<Statement>> + use<>> {
        let updates = statement_updates(ctx, &statement_id, None).await?;
        Ok(updates.map(|update| update.map(|update| Statement(update.statement))))
    }
}

fn no_such_account() -> Error {
    bad_user_input("No account with this id, or not one of yours.")
}

async fn statement_updates(
    ctx: &Context<'_>,
    id: &ID,
    after: Option<i64>,
) -> Result<impl Stream<Item = Result<vostro_account::StatementUpdate>> + use<>> {
    let id = ids::decode(IdKind::Statement, id)?;
    let updates = facade(ctx)?.statement_updates(guards::context(ctx)?, id, after).await.map_err(failure)?;
    let updates = updates.ok_or_else(|| bad_user_input("No statement with this id, or not of an account of yours."))?;
    Ok(updates.map(|update| update.map_err(failure)))
}
