use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::Key;

/// Events that are missing between events that are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventGap {
    /// The module that counts the aggregate.
    pub module: String,
    pub aggregate_type: String,
    pub aggregate_id: Uuid,
    /// The first sequence that is missing.
    pub missing_from: i64,
    /// The last sequence that is missing.
    pub missing_to: i64,
    pub opened_at: DateTime<Utc>,
}

fn columns(keys: &[Key]) -> (Vec<Uuid>, Vec<i16>, Vec<i64>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        columns.0.push(key.aggregate_id);
        columns.1.push(key.stream);
        columns.2.push(key.sequence);
    }
    columns
}

/// Closes the gaps before the events that follow the stored ones; returns how many.
///
/// # Errors
/// Database faults.
pub async fn close_in_tx(connection: &mut PgConnection, stored: &[Key], now: DateTime<Utc>) -> sqlx::Result<u64> {
    let (aggregates, streams, sequences) = columns(stored);
    let closed = sqlx::query!(
        "update compliance.event_gap gap set closed_at = $4
         from unnest($1::uuid[], $2::smallint[], $3::bigint[]) as stored(aggregate_id, stream, sequence)
         where gap.closed_at is null and gap.aggregate_id = stored.aggregate_id and gap.stream = stored.stream
           and gap.before_sequence = stored.sequence + 1",
        &aggregates,
        &streams,
        &sequences,
        now
    )
    .execute(connection)
    .await?;
    Ok(closed.rows_affected())
}

/// Opens a gap before each of these events. One that splits or shortens an older gap is as old as that one.
///
/// # Errors
/// Database faults.
pub async fn open_in_tx(connection: &mut PgConnection, orphans: &[Key], now: DateTime<Utc>) -> sqlx::Result<()> {
    let (aggregates, streams, sequences) = columns(orphans);
    sqlx::query!(
        "insert into compliance.event_gap (aggregate_id, stream, before_sequence, opened_at)
         select orphan.aggregate_id, orphan.stream, orphan.sequence, coalesce((
             select gap.opened_at from compliance.event_gap gap
             where gap.aggregate_id = orphan.aggregate_id and gap.stream = orphan.stream
               and gap.before_sequence > orphan.sequence and (gap.closed_at is null or gap.closed_at = $4)
             order by gap.before_sequence limit 1
         ), $4)
         from unnest($1::uuid[], $2::smallint[], $3::bigint[]) as orphan(aggregate_id, stream, sequence)",
        &aggregates,
        &streams,
        &sequences,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Gaps that are open since before `before`, the oldest first.
///
/// # Errors
/// Database faults.
pub async fn open_since(pool: &PgPool, before: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<EventGap>> {
    sqlx::query_as!(
        EventGap,
        r#"select stream.module, stream.aggregate_type, gap.aggregate_id, gap.opened_at,
                  gap.before_sequence - 1 as "missing_to!",
                  coalesce((
                      select max(stored.sequence) from compliance.event stored
                      where stored.aggregate_id = gap.aggregate_id and stored.stream = gap.stream
                        and stored.sequence < gap.before_sequence
                  ), 0) + 1 as "missing_from!"
           from compliance.event_gap gap join compliance.stream stream on stream.code = gap.stream
           where gap.closed_at is null and gap.opened_at <= $1
           order by gap.opened_at, gap.aggregate_id, gap.before_sequence limit $2"#,
        before,
        limit
    )
    .fetch_all(pool)
    .await
}

/// How many gaps are open in the streams of these modules, however new.
///
/// # Errors
/// Database faults.
pub async fn count_open_of(pool: &PgPool, modules: &[String]) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from compliance.event_gap gap join compliance.stream on stream.code = gap.stream
           where gap.closed_at is null and stream.module = any($1)"#,
        modules
    )
    .fetch_one(pool)
    .await
}

/// How many gaps are open since before `before`.
///
/// # Errors
/// Database faults.
pub async fn count_open_since(pool: &PgPool, before: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from compliance.event_gap where closed_at is null and opened_at <= $1"#,
        before
    )
    .fetch_one(pool)
    .await
}
