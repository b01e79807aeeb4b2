//! The archive as a source: events as their producers wrote them, for publishing them once more.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::PgPool;
use vostro_events::{Cause, Envelope, EventType};

use crate::domain::Record;
use crate::store::events::StoredRow;
use crate::store::{events, names, search};

/// An event out of the archive. Its data are the producer's bytes.
#[derive(Debug, Clone)]
pub struct ArchivedEvent {
    pub position: i64,
    pub envelope: Envelope,
    pub data: Box<RawValue>,
}

/// Where in the archive something begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchivePoint {
    Position(i64),
    /// The first event that was recorded then or later.
    Time(DateTime<Utc>),
}

/// At most `limit` events of these types after one position and up to another, oldest first.
pub(crate) async fn page_of(
    pool: &PgPool,
    types: &[&str],
    after: i64,
    until: i64,
    limit: i64,
) -> sqlx::Result<Vec<ArchivedEvent>> {
    let names = names::load(&mut *pool.acquire().await?).await?;
    let codes: Vec<i16> = types.iter().filter_map(|name| names.event_type(name)).collect();
    let rows = events::page_of(pool, &codes, after, until, limit).await?;
    let unreadable = |position: i64| sqlx::Error::Decode(format!("position {position} holds no event").into());
    let positions: Vec<i64> = rows.iter().map(|row| row.position).collect();
    let mut traces = events::traces_at(pool, &positions).await?;
    let read = |row: &StoredRow| {
        let mut event = row.record(&names).and_then(archived).ok_or_else(|| unreadable(row.position))?;
        event.envelope.cause.traceparent = traces.remove(&row.position);
        Ok(event)
    };
    rows.iter().map(read).collect()
}

/// How many events of these types there are after one position and up to another, by type.
pub(crate) async fn counts(
    pool: &PgPool,
    types: &[&str],
    after: i64,
    until: i64,
) -> sqlx::Result<BTreeMap<String, i64>> {
    let names = names::load(&mut *pool.acquire().await?).await?;
    let codes: Vec<i16> = types.iter().filter_map(|name| names.event_type(name)).collect();
    let counts = events::counts_of(pool, &codes, after, until).await?;
    let named = |(code, count)| names.event_type_of(code).map(|name| (name.to_owned(), count));
    Ok(counts.into_iter().filter_map(named).collect())
}

/// The types of a module's events that there are.
pub(crate) async fn types_of(pool: &PgPool, module: &str) -> sqlx::Result<Vec<String>> {
    Ok(names::load(&mut *pool.acquire().await?).await?.event_types_of(module))
}

/// The position of a point; one behind the last for a time after it.
pub(crate) async fn position(pool: &PgPool, point: ArchivePoint) -> sqlx::Result<i64> {
    match point {
        ArchivePoint::Position(position) => Ok(position),
        ArchivePoint::Time(time) => search::first_position_at(&mut *pool.acquire().await?, time).await,
    }
}

fn archived(record: Record<'_>) -> Option<ArchivedEvent> {
    let envelope = Envelope {
        id: record.event_id,
        event_type: EventType::parse(record.event_type).ok()?,
        occurred_at: record.occurred_at,
        aggregate_type: Cow::Owned(record.aggregate_type.to_owned()),
        aggregate_id: record.aggregate_id,
        sequence: record.sequence,
        partition_key: record.partition_key.unwrap_or(record.aggregate_id),
        cause: Cause {
            correlation_id: record.correlation_id,
            causation_id: record.causation_id,
            command: record.command.map(|command| Cow::Owned(command.to_owned())),
            actor_kind: record.actor_kind,
            actor_id: record.actor_id,
            // It is beside the record: see `page_of`.
            traceparent: None,
        },
        // The archive has the data of every event.
        dataref: None,
    };
    let data = RawValue::from_string(record.data.to_owned()).ok()?;
    Some(ArchivedEvent { position: record.position, envelope, data })
}
