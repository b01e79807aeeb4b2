use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

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

/// Pages of entries, newest first: for each account, up to `limits` entries with numbers below `before`.
pub(crate) async fn pages(
    pool: &PgPool,
    accounts: &[Uuid],
    before: &[i64],
    limits: &[i64],
) -> sqlx::Result<Vec<EntryRow>> {
    sqlx::query_as!(
        EntryRow,
        r#"select asked.page as "page!", e.sequence, e.transaction_id, e.currency, e.amount, e.balance_after, e.booked_at
           from unnest($1::uuid[], $2::bigint[], $3::bigint[]) with ordinality
                as asked (account_id, before, most, page)
           cross join lateral (
               select * from account.entry e
               where e.account_id = asked.account_id and e.sequence < asked.before
               order by e.sequence desc limit asked.most
           ) e
           order by asked.page, e.sequence desc"#,
        accounts,
        before,
        limits
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
