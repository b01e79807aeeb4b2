use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::names::Names;
use crate::domain::{Hash, Key, Known, Numbered, Outcome, Record, actor_kind, actor_number};

/// An event about to be stored.
#[derive(Debug)]
pub struct NewRow<'a> {
    pub record: Record<'a>,
    pub event_type: i16,
    pub stream: i16,
    pub hash: Hash,
    /// Of the trace it belongs to, if that is recorded.
    pub traceparent: Option<&'a str>,
}

/// What is stored under the given keys and under the keys just before them.
///
/// # Errors
/// Database faults.
pub async fn known_in_tx(connection: &mut PgConnection, keys: &[Key], names: &Names) -> sqlx::Result<Known> {
    let aggregates: Vec<Uuid> = keys.iter().map(|key| key.aggregate_id).collect();
    let streams: Vec<i16> = keys.iter().map(|key| key.stream).collect();
    let sequences: Vec<i64> = keys.iter().map(|key| key.sequence).collect();
    let rows = sqlx::query!(
        r#"select stored.aggregate_id, stored.stream, stored.sequence, stored.event_id, stored.type as event_type
           from unnest($1::uuid[], $2::smallint[], $3::bigint[]) as wanted(aggregate_id, stream, sequence)
           join compliance.event stored
             on stored.aggregate_id = wanted.aggregate_id and stored.stream = wanted.stream
            and stored.sequence between wanted.sequence - 1 and wanted.sequence"#,
        &aggregates,
        &streams,
        &sequences
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Numbered {
            key: Key { aggregate_id: row.aggregate_id, stream: row.stream, sequence: row.sequence },
            event_id: row.event_id,
            kind: names.kind(row.event_type),
        })
        .collect())
}

/// Stores events at the positions after `base`, in their order.
///
/// # Errors
/// Database faults.
pub async fn insert_in_tx(
    connection: &mut PgConnection,
    base: i64,
    recorded_at: DateTime<Utc>,
    rows: &[NewRow<'_>],
) -> sqlx::Result<()> {
    macro_rules! column {
        ($row:ident => $value:expr) => {
            rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    sqlx::query!(
        "insert into compliance.event (
             position, recorded_at, occurred_at, sequence, event_id, aggregate_id, correlation_id, causation_id, actor_id,
             partition_key, subject_id, type, stream, actor_kind, outcome, command, code, hash, data, traceparent
         )
         select $1 + ordinality, $2, occurred_at, sequence, event_id, aggregate_id, correlation_id, causation_id, actor_id,
             partition_key, subject_id, type, stream, actor_kind, outcome, command, code, hash, data, traceparent
         from unnest(
             $3::timestamptz[], $4::bigint[], $5::uuid[], $6::uuid[], $7::uuid[], $8::uuid[], $9::uuid[], $10::uuid[],
             $11::uuid[], $12::smallint[], $13::smallint[], $14::smallint[], $15::smallint[], $16::text[], $17::text[],
             $18::bytea[], $19::text[], $20::text[]
         ) with ordinality as new(
             occurred_at, sequence, event_id, aggregate_id, correlation_id, causation_id, actor_id, partition_key, subject_id,
             type, stream, actor_kind, outcome, command, code, hash, data, traceparent, ordinality
         )",
        base,
        recorded_at,
        &column!(row => row.record.occurred_at),
        &column!(row => row.record.sequence),
        &column!(row => row.record.event_id),
        &column!(row => row.record.aggregate_id),
        &column!(row => row.record.correlation_id),
        &column!(row => row.record.causation_id),
        &column!(row => row.record.actor_id) as &[Option<Uuid>],
        &column!(row => row.record.partition_key) as &[Option<Uuid>],
        &column!(row => row.record.subject_id) as &[Option<Uuid>],
        &column!(row => row.event_type),
        &column!(row => row.stream),
        &column!(row => actor_number(row.record.actor_kind)),
        &column!(row => row.record.outcome.number()),
        &column!(row => row.record.command) as &[Option<&str>],
        &column!(row => row.record.code) as &[Option<&str>],
        &column!(row => row.hash.as_slice()) as &[&[u8]],
        &column!(row => row.record.data) as &[&str],
        &column!(row => row.traceparent) as &[Option<&str>]
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A row as it is stored, which somebody may have changed.
#[derive(Debug)]
pub struct StoredRow {
    pub position: i64,
    pub occurred_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
    pub sequence: i64,
    pub event_id: Uuid,
    pub aggregate_id: Uuid,
    pub correlation_id: Uuid,
    pub causation_id: Uuid,
    pub actor_id: Option<Uuid>,
    pub partition_key: Option<Uuid>,
    pub subject_id: Option<Uuid>,
    pub event_type: i16,
    pub stream: i16,
    pub actor_kind: i16,
    pub outcome: i16,
    pub command: Option<String>,
    pub code: Option<String>,
    pub hash: Vec<u8>,
    pub data: String,
}

impl StoredRow {
    /// The event it holds; `None` when it holds something no event can have been stored as.
    pub fn record<'a>(&'a self, names: &'a Names) -> Option<Record<'a>> {
        let (module, aggregate_type) = names.stream_of(self.stream)?;
        Some(Record {
            position: self.position,
            event_id: self.event_id,
            event_type: names.event_type_of(self.event_type)?,
            module,
            aggregate_type,
            aggregate_id: self.aggregate_id,
            sequence: self.sequence,
            partition_key: self.partition_key,
            occurred_at: self.occurred_at,
            recorded_at: self.recorded_at,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            actor_kind: actor_kind(self.actor_kind)?,
            actor_id: self.actor_id,
            outcome: Outcome::of_number(self.outcome)?,
            command: self.command.as_deref(),
            code: self.code.as_deref(),
            subject_id: self.subject_id,
            data: &self.data,
        })
    }
}

/// The rows after a position, in order.
///
/// # Errors
/// Database faults.
pub async fn page(pool: &PgPool, after: i64, limit: i64) -> sqlx::Result<Vec<StoredRow>> {
    sqlx::query_as!(
        StoredRow,
        r#"select position, occurred_at, recorded_at, sequence, event_id, aggregate_id, correlation_id, causation_id,
                  actor_id, partition_key, subject_id, type as event_type, stream, actor_kind, outcome, command, code, hash,
                  data
           from compliance.event where position > $1 order by position limit $2"#,
        after,
        limit
    )
    .fetch_all(pool)
    .await
}

/// The rows of these types after one position and up to another, in order. Reads every row between the two until it has
/// `limit`: whoever asks for rare types keeps them near each other.
///
/// # Errors
/// Database faults.
pub async fn page_of(pool: &PgPool, types: &[i16], after: i64, until: i64, limit: i64) -> sqlx::Result<Vec<StoredRow>> {
    sqlx::query_as!(
        StoredRow,
        r#"select position, occurred_at, recorded_at, sequence, event_id, aggregate_id, correlation_id, causation_id,
                  actor_id, partition_key, subject_id, type as event_type, stream, actor_kind, outcome, command, code, hash,
                  data
           from compliance.event where position > $1 and position <= $2 and type = any($3) order by position limit $4"#,
        after,
        until,
        types,
        limit
    )
    .fetch_all(pool)
    .await
}

/// The trace contexts there are at these positions.
///
/// # Errors
/// Database faults.
pub async fn traces_at(pool: &PgPool, positions: &[i64]) -> sqlx::Result<HashMap<i64, String>> {
    let rows = sqlx::query!(
        r#"select position, traceparent as "traceparent!" from compliance.event
           where position = any($1) and traceparent is not null"#,
        positions
    );
    Ok(rows.fetch_all(pool).await?.into_iter().map(|row| (row.position, row.traceparent)).collect())
}

/// How many rows of these types there are after one position and up to another.
///
/// # Errors
/// Database faults.
pub async fn counts_of(pool: &PgPool, types: &[i16], after: i64, until: i64) -> sqlx::Result<Vec<(i16, i64)>> {
    let counts = sqlx::query!(
        r#"select type as event_type, count(*) as "count!" from compliance.event
           where position > $1 and position <= $2 and type = any($3) group by type"#,
        after,
        until,
        types
    );
    Ok(counts.fetch_all(pool).await?.into_iter().map(|row| (row.event_type, row.count)).collect())
}

/// What an event said, and when.
#[derive(Debug)]
pub struct Told {
    pub aggregate_id: Uuid,
    pub occurred_at: DateTime<Utc>,
    pub event_type: i16,
    pub data: String,
}

/// The newest `limit` events of each of these aggregates of one stream, newest first per aggregate. Of an event that was
/// published in several of these types, one counts.
///
/// # Errors
/// Database faults.
pub async fn newest_in_tx(
    connection: &mut PgConnection,
    stream: i16,
    types: &[i16],
    aggregates: &[Uuid],
    limit: i64,
) -> sqlx::Result<Vec<Told>> {
    sqlx::query_as!(
        Told,
        r#"select wanted.aggregate_id as "aggregate_id!", newest.occurred_at, newest.type as event_type, newest.data
           from unnest($3::uuid[]) as wanted(aggregate_id)
           cross join lateral (
               select distinct on (sequence) sequence, occurred_at, type, data from compliance.event
               where aggregate_id = wanted.aggregate_id and stream = $1 and type = any($2)
               order by sequence desc, type desc limit $4
           ) newest"#,
        stream,
        types,
        aggregates,
        limit
    )
    .fetch_all(connection)
    .await
}
