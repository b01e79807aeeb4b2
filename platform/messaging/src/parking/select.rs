//! What operators read and change of parked messages.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use vostro_events::operator::DecidedMessageV1;
use vostro_kernel::{Page, PageDirection};

use super::{ParkedMessage, Selection};
use crate::InboundMessage;

/// A page of the selected messages, in the order of parking.
pub(super) async fn messages(
    pool: &PgPool,
    selection: &Selection,
    page: Page<i64>,
) -> sqlx::Result<Vec<ParkedMessage>> {
    macro_rules! outwards {
        ($beyond:literal, $order:literal) => {
            sqlx::query_as!(
                ParkedMessage,
                r#"select m.position, m.id, m.subscription, m.key, m.event_id, m.event_type, m.parked_at,
                          not exists (select from parked_message f
                                      where f.subscription = m.subscription and f.key = m.key and f.position < m.position)
                              as "is_first!",
                          k.state, k.attempts, k.next_attempt_at, k.reason_code, k.reason
                   from parked_message m join parked_key k using (subscription, key)
                   where m.position "# + $beyond + r#" $1
                     and (cardinality($2::uuid[]) = 0 or m.id = any($2) or m.event_id = any($2))
                     and ($3::uuid is null or m.key = $3)
                     and ($4::text is null or m.subscription = $4)
                     and ($5::text is null or m.event_type = $5)
                     and ($6::text is null or k.reason_code = $6)
                     and ($7::text is null or k.state = $7)
                   order by m.position "# + $order + " limit $8",
                page.from_or(0, i64::MAX),
                &selection.ids,
                selection.key,
                selection.subscription,
                selection.event_type,
                selection.reason_code,
                selection.state,
                page.limit
            )
            .fetch_all(pool)
            .await?
        };
    }
    let rows = match page.direction {
        PageDirection::Forward => outwards!(">", "asc"),
        PageDirection::Backward => outwards!("<", "desc"),
    };
    Ok(page.in_order(rows))
}

pub(super) async fn wire(pool: &PgPool, id: Uuid) -> sqlx::Result<Option<InboundMessage>> {
    let row = sqlx::query!("select content_type, headers, body from parked_message where id = $1", id)
        .fetch_optional(pool)
        .await?;
    Ok(row.map(|row| InboundMessage {
        content_type: row.content_type,
        headers: serde_json::from_value(row.headers).unwrap_or_default(),
        body: row.body,
    }))
}

pub(super) async fn keys_in_tx(connection: &mut PgConnection, messages: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!("select distinct key from parked_message where id = any($1)", messages)
        .fetch_all(connection)
        .await
}

/// Those of the messages that are still parked, for the audit log.
pub(super) async fn decided_in_tx(
    connection: &mut PgConnection,
    messages: &[Uuid],
) -> sqlx::Result<Vec<DecidedMessageV1>> {
    // The bodies of a hundred thousand messages have no business in this process's memory.
    sqlx::query_as!(
        DecidedMessageV1,
        r#"select id as message_id, key, event_id, event_type, encode(sha256(body), 'hex') as "digest!"
           from parked_message where id = any($1) order by position"#,
        messages
    )
    .fetch_all(connection)
    .await
}

/// Makes keys due now, as if they had just been parked, and says how many were not yet.
pub(super) async fn redrive_in_tx(
    connection: &mut PgConnection,
    subscription: &str,
    keys: &[Uuid],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let redriven = sqlx::query!(
        "update parked_key set state = 'WAITING', attempts = 0, next_attempt_at = $3
         where subscription = $1 and key = any($2) and (state = 'QUARANTINED' or next_attempt_at > $3)",
        subscription,
        keys,
        now
    )
    .execute(connection)
    .await?;
    Ok(redriven.rows_affected())
}

/// Takes messages out for good: their events have inbox rows from now on, so they stay given up when they come again. A
/// key whose first message goes is tried from its new first one at once.
pub(super) async fn remove_in_tx(
    connection: &mut PgConnection,
    subscription: &str,
    messages: &[Uuid],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update parked_key k set state = 'WAITING', attempts = 0, next_attempt_at = $3
         where k.subscription = $1 and (
             select m.id from parked_message m where m.subscription = k.subscription and m.key = k.key
             order by m.position limit 1) = any($2)",
        subscription,
        messages,
        now
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into inbox (subscription, event_id)
         select subscription, event_id from parked_message
         where subscription = $1 and id = any($2) and event_id is not null
         on conflict do nothing",
        subscription,
        messages
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("delete from parked_message where subscription = $1 and id = any($2)", subscription, messages)
        .execute(connection)
        .await?;
    Ok(())
}
