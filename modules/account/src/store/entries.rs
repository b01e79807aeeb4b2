use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;
use vostro_kernel::{Currency, Page};

use super::text;
use crate::domain::Balance;

/// One entry of the ledger, as stored.
#[derive(Debug, Clone)]
pub(crate) struct EntryRow {
    /// The place of the page in the request this row belongs to, from 1.
    pub page: i64,
    pub sequence: i64,
    pub transaction_id: Uuid,
    pub currency: String,
    pub amount: i64,
    pub balance_after: i64,
    pub booked_at: DateTime<Utc>,
}

/// Pages of entries, newest first: one of each account. One statement for all, whichever way each is read.
pub(crate) async fn pages(pool: &PgPool, accounts: &[Uuid], pages: &[Page<i64>]) -> sqlx::Result<Vec<EntryRow>> {
    sqlx::query_as!(
        EntryRow,
        r#"select asked.page as "page!", e.sequence as "sequence!", e.transaction_id as "transaction_id!",
                  e.currency as "currency!", e.amount as "amount!", e.balance_after as "balance_after!",
                  e.booked_at as "booked_at!"
           from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::boolean[]) with ordinality
                as asked (account_id, beside, most, backward, page)
           cross join lateral (
               (select * from account.entry e
                where not asked.backward and e.account_id = asked.account_id and e.sequence < asked.beside
                order by e.sequence desc limit asked.most)
               union all
               (select * from account.entry e
                where asked.backward and e.account_id = asked.account_id and e.sequence > asked.beside
                order by e.sequence limit asked.most)
           ) e
           order by asked.page, e.sequence desc"#,
        accounts,
        &pages.iter().map(|page| page.from_or(i64::MAX, 0)).collect::<Vec<_>>(),
        &pages.iter().map(|page| page.limit.max(0)).collect::<Vec<_>>(),
        &pages.iter().map(Page::is_backward).collect::<Vec<_>>()
    )
    .fetch_all(pool)
    .await
}

/// The transaction behind an account's entry, if there is such an entry.
pub(crate) async fn transaction_of(pool: &PgPool, account: Uuid, sequence: i64) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "select transaction_id from account.entry where account_id = $1 and sequence = $2",
        account,
        sequence
    )
    .fetch_optional(pool)
    .await
}

/// How an account stood after one of its entries. Only what is posted was different then: entries move nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached {
    pub account_id: Uuid,
    pub currency: Currency,
    pub balance: Balance,
    pub transaction_id: Uuid,
    pub booked_at: DateTime<Utc>,
}

/// In place of a number: only the account's newest entry.
pub(crate) const NEWEST_ONLY: i64 = -1;

/// Of each account the entries behind the number that is known, oldest first, up to `limit`.
pub(crate) async fn since(pool: &PgPool, accounts: &[Uuid], known: &[i64], limit: i64) -> sqlx::Result<Vec<Reached>> {
    let rows = sqlx::query!(
        r#"select b.account_id, b.currency, b.pending_in, b.pending_out, b.locked, b.overdraft_limit,
                  e.sequence, e.transaction_id, e.balance_after, e.booked_at
           from unnest($1::uuid[], $2::bigint[]) as asked (account_id, known)
           join account.balance b on b.account_id = asked.account_id and b.sequence > asked.known
           cross join lateral (
               select * from account.entry e
               where e.account_id = b.account_id
                 and e.sequence > case when asked.known < 0 then b.sequence - 1 else asked.known end
               order by e.sequence limit $3
           ) e
           order by b.account_id, e.sequence"#,
        accounts,
        known,
        limit
    )
    .fetch_all(pool)
    .await?;
    let reached = rows.into_iter().map(|row| {
        Ok(Reached {
            account_id: row.account_id,
            currency: text::parse("currency", &row.currency)?,
            balance: Balance {
                posted: row.balance_after,
                pending_in: row.pending_in,
                pending_out: row.pending_out,
                locked: row.locked,
                overdraft_limit: row.overdraft_limit,
                sequence: row.sequence,
            },
            transaction_id: row.transaction_id,
            booked_at: row.booked_at,
        })
    });
    reached.collect()
}
