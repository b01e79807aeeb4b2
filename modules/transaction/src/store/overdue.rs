//! Transactions that wait for the ledger for too long. Set-based, and nothing here runs while a command is accepted.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// A page of transactions that was looked through.
pub(crate) struct Looked {
    /// The newest of them.
    pub last: Option<Uuid>,
    pub transactions: i64,
    /// Those that were not known to be overdue before.
    pub found: i64,
}

/// Takes the watch for this database transaction: how far it has come, or nothing while another instance has it.
pub(crate) async fn take_watch_in_tx(connection: &mut PgConnection) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!("select seen_through from transaction.decision_watch for update skip locked")
        .fetch_optional(connection)
        .await
}

/// Leaves the watch further on than it was.
pub(crate) async fn advance_watch_in_tx(connection: &mut PgConnection, seen_through: Uuid) -> sqlx::Result<()> {
    sqlx::query!("update transaction.decision_watch set seen_through = $1 where seen_through < $1", seen_through)
        .execute(connection)
        .await?;
    Ok(())
}

/// Looks through up to `limit` transactions above `after` and up to `through`, and notes those without an outcome.
pub(crate) async fn look_in_tx(
    connection: &mut PgConnection,
    after: Uuid,
    through: Uuid,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Looked> {
    sqlx::query_as!(
        Looked,
        r#"with page as materialized (
             select id, status from transaction.transaction where id > $1 and id <= $2 order by id limit $3
           ), found as (
             insert into transaction.overdue (transaction_id, next_inquiry_at)
             select id, $4 from page where status = 'INITIATED'
             on conflict (transaction_id) do nothing
             returning transaction_id
           )
           select (select id from page order by id desc limit 1) as last,
                  (select count(*) from page) as "transactions!", (select count(*) from found) as "found!""#,
        after,
        through,
        limit,
        now
    )
    .fetch_one(connection)
    .await
}

/// Forgets those that have ended, and says how many that were.
pub(crate) async fn forget_ended(pool: &PgPool) -> sqlx::Result<u64> {
    let forgotten = sqlx::query!(
        "delete from transaction.overdue o using transaction.transaction t
         where t.id = o.transaction_id and t.status <> 'INITIATED'"
    )
    .execute(pool)
    .await?;
    Ok(forgotten.rows_affected())
}

/// An overdue transaction that the ledger is to be asked about.
pub(crate) struct Due {
    pub transaction_id: Uuid,
    /// How often it was asked about, this time included.
    pub inquiries: i32,
}

/// Takes those whose next inquiry is due. The pause after it doubles from `first_pause_s` up to `longest_pause_s`, and
/// counts before the inquiry is made: one that never comes back is made again.
pub(crate) async fn take_due(
    pool: &PgPool,
    now: DateTime<Utc>,
    limit: i64,
    first_pause_s: f64,
    longest_pause_s: f64,
) -> sqlx::Result<Vec<Due>> {
    sqlx::query_as!(
        Due,
        "update transaction.overdue
         set inquiries = inquiries + 1,
             next_inquiry_at = $1 + least($3 * 2 ^ least(inquiries, 30), $4) * interval '1 second'
         where transaction_id in (
           select transaction_id from transaction.overdue where next_inquiry_at <= $1
           order by next_inquiry_at limit $2 for update skip locked
         )
         returning transaction_id, inquiries",
        now,
        limit,
        first_pause_s,
        longest_pause_s
    )
    .fetch_all(pool)
    .await
}

/// How far the watch has come.
pub(crate) async fn seen_through(pool: &PgPool) -> sqlx::Result<Uuid> {
    sqlx::query_scalar!("select seen_through from transaction.decision_watch").fetch_one(pool).await
}

/// At most `limit` of the overdue transactions of an account.
pub(crate) async fn of_account(pool: &PgPool, account: Uuid, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "select t.id from transaction.overdue o join transaction.transaction t on t.id = o.transaction_id
         where t.source_account_id = $1 or t.destination_account_id = $1 limit $2",
        account,
        limit
    )
    .fetch_all(pool)
    .await
}

/// How it stands with the transactions that are overdue, and with looking for them.
pub(crate) struct Overdue {
    pub transactions: i64,
    /// When the oldest of them was initiated.
    pub oldest: Option<DateTime<Utc>>,
    /// How far the watch has come.
    pub seen_through: Uuid,
}

pub(crate) async fn standing(pool: &PgPool) -> sqlx::Result<Overdue> {
    sqlx::query_as!(
        Overdue,
        r#"select count(*) as "transactions!", min(t.initiated_at) as oldest,
                  (select seen_through from transaction.decision_watch) as "seen_through!"
           from transaction.overdue o join transaction.transaction t on t.id = o.transaction_id"#
    )
    .fetch_one(pool)
    .await
}

/// The contexts of those of these transactions whose trace is recorded.
pub(crate) async fn traces(pool: &PgPool, ids: &[Uuid]) -> sqlx::Result<HashMap<Uuid, String>> {
    let rows = sqlx::query!(
        r#"select id, traceparent as "traceparent!" from transaction.transaction
           where id = any($1) and traceparent is not null"#,
        ids
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.traceparent)).collect())
}

/// How many overdue transactions the ledger has been asked about fewer than `inquiries` times.
pub(crate) async fn count_fresh(pool: &PgPool, inquiries: i32) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from transaction.overdue where inquiries < $1"#, inquiries)
        .fetch_one(pool)
        .await
}
