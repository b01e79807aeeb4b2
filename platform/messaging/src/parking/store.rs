//! The rows of parking. Everything that adds to a key or releases it locks the key's row first, several keys in order.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{ParkedCounts, ParkedKeys, ParkedState, ReasonCode};
use crate::{InboundMessage, Incoming, wire};

/// Why a key is parked, and until when at least.
#[derive(Debug, Clone)]
pub(crate) struct Verdict<'a> {
    pub code: ReasonCode,
    pub reason: &'a str,
    pub state: ParkedState,
    pub next_attempt_at: DateTime<Utc>,
}

/// The first message of a parked key.
#[derive(Debug)]
pub(crate) struct Head {
    pub position: i64,
    pub event_id: Option<Uuid>,
    pub message: InboundMessage,
}

/// What became of a key whose first message was handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finished {
    /// Nothing was left; the key is free.
    Released,
    /// There is a next message.
    More,
    /// Somebody else has decided about the message meanwhile; the caller's transaction must not be committed.
    Gone,
}

/// Locks those of the keys that are parked and returns them. Waits for a release in progress; what was released is not
/// among them.
pub(crate) async fn lock_in_tx(
    connection: &mut PgConnection,
    subscription: &str,
    keys: &[Uuid],
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "select key from parked_key where subscription = $1 and key = any($2) order by key for update",
        subscription,
        keys
    )
    .fetch_all(connection)
    .await
}

/// Parks a key, or locks it when it is parked already: then it keeps its own reason.
pub(crate) async fn park_in_tx(
    connection: &mut PgConnection,
    subscription: &str,
    key: Uuid,
    verdict: &Verdict<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into parked_key (subscription, key, state, attempts, next_attempt_at, reason_code, reason, parked_at)
         values ($1, $2, $3, 0, $4, $5, $6, $7)
         on conflict (subscription, key) do update set subscription = excluded.subscription",
        subscription,
        key,
        verdict.state.as_str(),
        verdict.next_attempt_at,
        verdict.code.as_str(),
        storable(verdict.reason),
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds events behind their keys, in order, under these ids. The keys must be locked. An event that is there already is
/// not added again.
pub(crate) async fn append_in_tx(
    connection: &mut PgConnection,
    subscription: &str,
    events: &[&Incoming],
    event_ids: &[Uuid],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let ids: Vec<Uuid> = events.iter().map(|_| Uuid::now_v7()).collect();
    let keys: Vec<Uuid> = events.iter().map(|event| event.envelope.partition_key).collect();
    let types: Vec<String> = events.iter().map(|event| event.envelope.event_type.to_string()).collect();
    let bodies: Vec<Vec<u8>> = events.iter().map(|event| wire::alone(event).body).collect();
    let added = sqlx::query!(
        "insert into parked_message (id, subscription, key, event_id, event_type, content_type, headers, body, parked_at)
         select m.id, $1, m.key, m.event_id, m.event_type, $7, '{}', m.body, $8
         from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bytea[])
              with ordinality as m (id, key, event_id, event_type, body, nth)
         order by m.nth
         on conflict do nothing",
        subscription,
        &ids,
        &keys,
        event_ids,
        &types,
        &bodies,
        wire::STRUCTURED,
        now
    )
    .execute(connection)
    .await?;
    Ok(added.rows_affected())
}

/// Keeps a message that cannot be read. Its key must be locked.
pub(crate) async fn append_unreadable_in_tx(
    connection: &mut PgConnection,
    subscription: &str,
    key: Uuid,
    message: &InboundMessage,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let headers: BTreeMap<String, String> =
        message.headers.iter().map(|(name, value)| (storable(name), storable(value))).collect();
    let headers = serde_json::to_value(headers).expect("a map of strings always serialises");
    sqlx::query!(
        "insert into parked_message (id, subscription, key, content_type, headers, body, parked_at)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        Uuid::now_v7(),
        subscription,
        key,
        storable(&message.content_type),
        headers,
        message.body,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes the key that has waited longest beyond its time. Nobody else takes it before `until`; the attempt counts from
/// now on, also when the process ends in it.
pub(crate) async fn claim_due(
    pool: &PgPool,
    subscription: &str,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Option<(Uuid, u32)>> {
    let claimed = sqlx::query!(
        "update parked_key set attempts = attempts + 1, next_attempt_at = $3
         where subscription = $1 and key = (
             select key from parked_key
             where subscription = $1 and state = 'WAITING' and next_attempt_at <= $2
             order by next_attempt_at limit 1 for update skip locked)
         returning key, attempts",
        subscription,
        now,
        until
    )
    .fetch_optional(pool)
    .await?;
    Ok(claimed.map(|row| (row.key, u32::try_from(row.attempts).unwrap_or(u32::MAX))))
}

/// The first message of a key.
pub(crate) async fn head(pool: &PgPool, subscription: &str, key: Uuid) -> sqlx::Result<Option<Head>> {
    let row = sqlx::query!(
        "select position, event_id, content_type, headers, body from parked_message
         where subscription = $1 and key = $2 order by position limit 1",
        subscription,
        key
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Head {
        position: row.position,
        event_id: row.event_id,
        message: InboundMessage {
            content_type: row.content_type,
            headers: serde_json::from_value(row.headers).unwrap_or_default(),
            body: row.body,
        },
    }))
}

/// Takes a handled message out, in the transaction that holds its effect, and releases the key when it was the last.
pub(crate) async fn finish_in_tx(
    connection: &mut PgConnection,
    subscription: &str,
    key: Uuid,
    position: i64,
    until: DateTime<Utc>,
) -> sqlx::Result<Finished> {
    lock_in_tx(&mut *connection, subscription, &[key]).await?;
    let removed =
        sqlx::query!("delete from parked_message where position = $1", position).execute(&mut *connection).await?;
    if removed.rows_affected() == 0 {
        return Ok(Finished::Gone);
    }
    if release_in_tx(&mut *connection, subscription, &[key]).await? > 0 {
        return Ok(Finished::Released);
    }
    // The next message is tried with the same claim, and its attempts are its own.
    sqlx::query!(
        "update parked_key set attempts = 1, next_attempt_at = $3 where subscription = $1 and key = $2",
        subscription,
        key,
        until
    )
    .execute(connection)
    .await?;
    Ok(Finished::More)
}

/// Releases those of the keys that have no message left. They must be locked.
pub(crate) async fn release_in_tx(
    connection: &mut PgConnection,
    subscription: &str,
    keys: &[Uuid],
) -> sqlx::Result<u64> {
    let released = sqlx::query!(
        "delete from parked_key k where k.subscription = $1 and k.key = any($2) and not exists (
             select from parked_message m where m.subscription = k.subscription and m.key = k.key)",
        subscription,
        keys
    )
    .execute(connection)
    .await?;
    Ok(released.rows_affected())
}

/// Says when and whether a key that failed again is tried once more.
///
/// Nothing happens when somebody else has decided about the key since it was claimed until `claim`.
pub(crate) async fn postpone(
    pool: &PgPool,
    subscription: &str,
    key: Uuid,
    claim: DateTime<Utc>,
    verdict: &Verdict<'_>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update parked_key set state = $3, next_attempt_at = $4, reason_code = $5, reason = $6
         where subscription = $1 and key = $2 and next_attempt_at = $7",
        subscription,
        key,
        verdict.state.as_str(),
        verdict.next_attempt_at,
        verdict.code.as_str(),
        storable(verdict.reason),
        claim
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Gives a claim back as if it had not been taken: the attempt said nothing about the event.
///
/// Nothing happens when somebody else has decided about the key since it was claimed until `claim`.
pub(crate) async fn give_back(
    pool: &PgPool,
    subscription: &str,
    key: Uuid,
    claim: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update parked_key set attempts = greatest(attempts - 1, 0), next_attempt_at = $3
         where subscription = $1 and key = $2 and next_attempt_at = $4",
        subscription,
        key,
        now,
        claim
    )
    .execute(pool)
    .await?;
    Ok(())
}

pub(crate) async fn counts(pool: &PgPool, subscription: &str) -> sqlx::Result<ParkedCounts> {
    sqlx::query_as!(
        ParkedCounts,
        r#"select count(*) filter (where state = 'WAITING') as "waiting!",
                  count(*) filter (where state = 'QUARANTINED') as "quarantined!",
                  min(parked_at) filter (where state = 'WAITING') as oldest,
                  exists (select from inbox where subscription = $1) as "given_up!"
           from parked_key where subscription = $1"#,
        subscription
    )
    .fetch_one(pool)
    .await
}

pub(crate) async fn keys(pool: &PgPool) -> sqlx::Result<ParkedKeys> {
    sqlx::query_as!(
        ParkedKeys,
        r#"select count(*) filter (where state = 'WAITING') as "waiting!",
                  count(*) filter (where state = 'QUARANTINED') as "quarantined!"
           from parked_key"#
    )
    .fetch_one(pool)
    .await
}

/// PostgreSQL keeps no NUL in text, and a message that cannot be kept would stop everybody behind it. Errors can repeat
/// what they complain about at any length.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}").chars().take(2_000).collect()
}
