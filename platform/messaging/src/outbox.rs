use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;
use uuid::Uuid;
use vostro_events::{
    Cause, DataRef, DomainEvent, Envelope, EventType, NextVersionOf, copy_of, read_structured, write_structured,
};

use crate::claim::{self, CLAIMED_BYTES};
use crate::{AdmissionGate, EventTooLarge, MESSAGE_BYTES};

use crate::crash;

/// An event that is about to be committed.
#[derive(Debug, Clone)]
pub struct NewEvent {
    envelope: Envelope,
    bytes: Vec<u8>,
}

/// Data that an event does not carry.
struct LeftBehind {
    /// SHA-256.
    digest: Vec<u8>,
    data: Vec<u8>,
}

impl NewEvent {
    /// `id` is fresh (UUIDv7); `sequence` is the event's number in its aggregate, from 1 without gaps.
    pub fn new<E: DomainEvent>(id: Uuid, occurred_at: DateTime<Utc>, sequence: i64, cause: Cause, event: &E) -> Self {
        let envelope = Envelope {
            id,
            event_type: EventType::of(event.event_type()),
            occurred_at,
            aggregate_type: E::AGGREGATE.into(),
            aggregate_id: event.aggregate_id(),
            sequence,
            partition_key: event.partition_key(),
            cause,
            dataref: None,
        };
        let bytes = write_structured(&envelope, &data_of(event));
        Self { envelope, bytes }
    }

    /// What happened, in the version that is going and in the one that is coming. They are published one after the other,
    /// share everything but type and data, and are one thing to whoever gets both. `id` is a fresh UUIDv7; the newer
    /// one's follows from it.
    pub fn in_two_versions<Before: DomainEvent, After: NextVersionOf<Before>>(
        id: Uuid,
        occurred_at: DateTime<Utc>,
        sequence: i64,
        cause: Cause,
        (before, after): (&Before, &After),
    ) -> [Self; 2] {
        let first = Self::new(id, occurred_at, sequence, cause, before);
        let event_type = EventType::of(after.event_type());
        let envelope = Envelope { id: copy_of(id), event_type, ..first.envelope.clone() };
        let bytes = write_structured(&envelope, &data_of(after));
        [first, Self { envelope, bytes }]
    }

    /// An event that was committed before and is published once more: the same id, sequence and data.
    pub fn again(envelope: Envelope, data: &RawValue) -> Self {
        let bytes = write_structured(&envelope, data);
        Self { envelope, bytes }
    }

    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the data out, puts a reference in its place, and returns the data. `None` when that was done before.
    ///
    /// # Errors
    /// When there is more data than subscribers take.
    fn leave_data_behind(&mut self) -> Result<Option<LeftBehind>, EventTooLarge> {
        if self.envelope.dataref.is_some() {
            return Ok(None);
        }
        let (_, data) = read_structured(&self.bytes).expect("these bytes were written by write_structured");
        let data = data.get().as_bytes();
        if data.len() > CLAIMED_BYTES {
            let event_type = self.envelope.event_type.as_str().to_owned();
            return Err(EventTooLarge { event_type, bytes: data.len(), most: CLAIMED_BYTES });
        }
        let (sha256, data) = (claim::sha256(data), data.to_vec());
        self.envelope.dataref = Some(DataRef { sha256, size: u64::try_from(data.len()).unwrap_or(u64::MAX) });
        self.bytes = write_structured(&self.envelope, RawValue::NULL);
        Ok(Some(LeftBehind { digest: sha256.to_vec(), data }))
    }

    /// # Errors
    /// When nobody would take it.
    pub(crate) fn check_size(&self) -> Result<(), EventTooLarge> {
        let (bytes, most) = (self.bytes.len(), MESSAGE_BYTES);
        if bytes <= most {
            return Ok(());
        }
        Err(EventTooLarge { event_type: self.envelope.event_type.as_str().to_owned(), bytes, most })
    }
}

fn data_of<E: DomainEvent>(event: &E) -> Box<RawValue> {
    serde_json::value::to_raw_value(event).expect("events are plain data and always serialise")
}

/// Events of these types leave their data behind when they have more bytes.
#[derive(Debug, Clone, Copy)]
struct Claiming {
    over: usize,
    types: &'static [&'static str],
}

impl Claiming {
    fn concerns(&self, event: &NewEvent) -> bool {
        event.bytes.len() > self.over && self.types.contains(&event.envelope.event_type.as_str())
    }
}

/// The outgoing side of one module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    committed: Arc<Notify>,
    gate: AdmissionGate,
    /// Which events leave their data behind; `None`: none does.
    claiming: Option<Claiming>,
}

/// A row waiting to be published.
#[derive(Debug, Clone)]
pub struct OutboxRow {
    pub id: i64,
    pub event_id: Uuid,
    pub event_type: String,
    pub slot: i16,
    pub aggregate_id: Uuid,
    pub occurred_at: DateTime<Utc>,
    pub event: Vec<u8>,
}

/// How much is waiting, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxStatus {
    pub rows: i64,
    pub oldest: Option<DateTime<Utc>>,
}

impl Outbox {
    /// An outbox that keeps the data of events of these types, when they have more than so many bytes, in the module's
    /// claims and lets the events travel without ([`crate::claim`]). The module has to answer for them, and whoever
    /// takes them to ask: give [`crate::Manifest::claimed`].
    pub fn claiming(over: usize, types: &'static [&'static str]) -> Self {
        Self { claiming: Some(Claiming { over, types }), ..Self::default() }
    }

    /// Adds events to the caller's transaction, in order. Call it *after* the aggregates' rows are locked or inserted:
    /// only then do the ids of one aggregate's events follow the order of their commits.
    ///
    /// # Errors
    /// Database faults; [`EventTooLarge`] within [`sqlx::Error::Encode`], and then the transaction must not commit.
    pub async fn append_in_tx(&self, connection: &mut PgConnection, events: Vec<NewEvent>) -> sqlx::Result<()> {
        let Some(first) = events.first() else { return Ok(()) };
        crash::point(crash::WRITTEN, first.envelope.event_type.module());
        let count = events.len();
        let (mut ids, mut types, mut slots) =
            (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut aggregates, mut times, mut bodies) =
            (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut digests, mut claims) = (Vec::new(), Vec::new());
        for mut event in events {
            if self.claiming.is_some_and(|claiming| claiming.concerns(&event))
                && let Some(LeftBehind { digest, data }) = event.leave_data_behind()?
            {
                digests.push(digest);
                claims.push(data);
            }
            event.check_size()?;
            ids.push(event.envelope.id);
            types.push(event.envelope.event_type.to_string());
            slots.push(i16::from(event.envelope.slot().number()));
            aggregates.push(event.envelope.aggregate_id);
            times.push(event.envelope.occurred_at);
            bodies.push(event.bytes);
        }
        if !claims.is_empty() {
            claim::keep_in_tx(connection, &digests, &claims).await?;
        }
        sqlx::query!(
            "insert into outbox (event_id, event_type, slot, aggregate_id, occurred_at, event)
             select * from unnest($1::uuid[], $2::text[], $3::smallint[], $4::uuid[], $5::timestamptz[], $6::bytea[])",
            &ids,
            &types,
            &slots,
            &aggregates,
            &times,
            &bodies
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Whether commands that would write to it are let in.
    pub fn gate(&self) -> &AdmissionGate {
        &self.gate
    }

    /// Wakes the relay. Call it after the commit; forgetting it delays the events by one poll, no more.
    pub fn committed(&self) {
        self.committed.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.committed.notified().await;
    }

    /// What is waiting in the module whose pool this is.
    ///
    /// # Errors
    /// Database faults.
    pub async fn status(pool: &PgPool) -> sqlx::Result<OutboxStatus> {
        Self::status_from(pool, 0).await
    }

    /// What is waiting from the id `first` on. Deleted rows are looked at until they are vacuumed, some ten thousand of
    /// them under load, so whoever asks often says where to begin.
    pub(crate) async fn status_from(pool: &PgPool, first: i64) -> sqlx::Result<OutboxStatus> {
        sqlx::query_as!(
            OutboxStatus,
            r#"select count(*) as "rows!", min(occurred_at) as oldest from outbox where id >= $1"#,
            first
        )
        .fetch_one(pool)
        .await
    }

    /// Whether more than `most` events wait. Looks at no more than these.
    pub(crate) async fn holds_more_than(pool: &PgPool, most: i64) -> sqlx::Result<bool> {
        let next = sqlx::query_scalar!("select id from outbox order by id offset $1 limit 1", most);
        Ok(next.fetch_optional(pool).await?.is_some())
    }

    /// The rows after `newest`, and those in the gaps before it (each from one id to another, both included), oldest first.
    pub(crate) async fn waiting(
        pool: &PgPool,
        newest: i64,
        gaps: &[RangeInclusive<i64>],
        limit: i64,
    ) -> sqlx::Result<Vec<OutboxRow>> {
        let (lows, highs): (Vec<i64>, Vec<i64>) = gaps.iter().map(|gap| (*gap.start(), *gap.end())).unzip();
        sqlx::query_as!(
            OutboxRow,
            // Each half in the order of the index: any other plan looks at every dead row on its way.
            r#"select id as "id!", event_id as "event_id!", event_type as "event_type!", slot as "slot!",
                   aggregate_id as "aggregate_id!", occurred_at as "occurred_at!", event as "event!"
               from (
                   (select id, event_id, event_type, slot, aggregate_id, occurred_at, event
                    from outbox where id > $1 order by id limit $4)
                   union all
                   select late.*
                   from unnest($2::bigint[], $3::bigint[]) as gap (low, high)
                   cross join lateral (
                       select id, event_id, event_type, slot, aggregate_id, occurred_at, event
                       from outbox where id between gap.low and gap.high order by id limit $4
                   ) as late
               ) as waiting
               order by id limit $4"#,
            newest,
            &lows,
            &highs,
            limit
        )
        .fetch_all(pool)
        .await
    }

    pub(crate) async fn delete(pool: &PgPool, ids: &[i64]) -> sqlx::Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        sqlx::query!("delete from outbox where id = any($1)", ids).execute(pool).await?;
        Ok(())
    }
}
