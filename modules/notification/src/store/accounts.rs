//! How accounts are named in texts.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Table, execute_on};

/// The last characters of an account's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountTail {
    pub account_id: Uuid,
    pub tail: String,
}

/// Keeps the tails of new accounts. A number never changes, so what is known stays.
pub(crate) async fn keep_in_tx(
    connection: &mut PgConnection,
    table: Table,
    accounts: &[AccountTail],
) -> sqlx::Result<()> {
    if accounts.is_empty() {
        return Ok(());
    }
    let ids = accounts.iter().map(|account| account.account_id).collect::<Vec<_>>();
    let tails = accounts.iter().map(|account| account.tail.clone()).collect::<Vec<_>>();
    execute_on!(
        table,
        connection,
        "insert into notification.account",
        " (account_id, tail) select * from unnest($1::uuid[], $2::text[])
         on conflict do nothing",
        &ids,
        &tails
    )?;
    Ok(())
}
