//! The queue of e-mails.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use vostro_events::Cause;
use vostro_kernel::ActorKind;

use super::notifications::message;
use super::{locale, named};
use crate::domain::{Locale, Message, NewNotification, Topic};

/// An e-mail a pass has taken to send.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    pub notification_id: Uuid,
    pub user_id: Uuid,
    /// 1 for the first try.
    pub attempt: u32,
    pub queued_at: DateTime<Utc>,
    /// The cause of the events that follow.
    pub cause: Cause,
    pub source_event_id: Uuid,
    pub topic: Topic,
    pub locale: Locale,
    /// `None` when this release cannot read the message of another.
    pub message: Option<Message>,
    pub account: Option<String>,
    /// `None` while the person is not known.
    pub sealed_contact: Option<String>,
}

/// Queues e-mails to be sent at once.
pub(crate) async fn queue_in_tx(
    connection: &mut PgConnection,
    mails: &[(&NewNotification<'_>, Cause)],
) -> sqlx::Result<()> {
    let Some(now) = mails.first().map(|(mail, _)| mail.created_at) else { return Ok(()) };
    let count = mails.len();
    let (mut ids, mut users) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut correlations, mut kinds) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut actors, mut traces) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for (mail, cause) in mails {
        ids.push(mail.id);
        users.push(mail.occasion.user_id);
        correlations.push(cause.correlation_id);
        kinds.push(cause.actor_kind.as_str());
        actors.push(cause.actor_id);
        traces.push(cause.traceparent.as_deref());
    }
    sqlx::query!(
        "insert into notification.email
             (notification_id, user_id, correlation_id, actor_kind, actor_id, traceparent, due_at, queued_at)
         select *, $7::timestamptz, $7::timestamptz
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::text[])",
        &ids,
        &users,
        &correlations,
        &kinds as &[&str],
        &actors as &[Option<Uuid>],
        &traces as &[Option<&str>],
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes up to `limit` due e-mails for the pass `claim`. Should the pass never settle them, they become due again after
/// `hold`. Others that claim at the same time skip what is taken here.
pub(crate) async fn claim(
    pool: &PgPool,
    claim: Uuid,
    now: DateTime<Utc>,
    hold: TimeDelta,
    limit: i64,
) -> sqlx::Result<Vec<Claimed>> {
    let rows = sqlx::query!(
        r#"with taken as (
               update notification.email e set claim = $1, due_at = $3, attempts = e.attempts + 1
               from (select notification_id from notification.email where due_at <= $2
                     order by due_at limit $4 for update skip locked) due
               where e.notification_id = due.notification_id
               returning e.*
           )
           select t.notification_id as "notification_id!", t.user_id as "user_id!", t.attempts as "attempts!",
                  t.queued_at as "queued_at!", t.correlation_id as "correlation_id!", t.actor_kind as "actor_kind!",
                  t.actor_id as "actor_id?", t.traceparent as "traceparent?", n.source_event_id, n.topic, n.locale,
                  n.message::text as "message!", a.tail as "account?", r.sealed_contact as "sealed_contact?"
           from taken t
           join notification.notification n on n.id = t.notification_id
           left join notification.account a using (account_id)
           left join notification.recipient r on r.user_id = t.user_id
           order by t.queued_at, t.notification_id"#,
        claim,
        now,
        now + hold,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let cause = Cause {
                correlation_id: row.correlation_id,
                causation_id: row.source_event_id,
                command: None,
                actor_kind: named::<ActorKind>(&row.actor_kind)?,
                actor_id: row.actor_id,
                traceparent: row.traceparent,
            };
            Ok(Claimed {
                notification_id: row.notification_id,
                user_id: row.user_id,
                attempt: u32::try_from(row.attempts).unwrap_or(u32::MAX),
                queued_at: row.queued_at,
                cause,
                source_event_id: row.source_event_id,
                topic: named(&row.topic)?,
                locale: locale(&row.locale),
                message: message(row.notification_id, &row.message),
                account: row.account,
                sealed_contact: row.sealed_contact,
            })
        })
        .collect()
}

/// When the next e-mail is due; `None` when none is queued.
pub(crate) async fn next_due(pool: &PgPool) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!("select min(due_at) from notification.email").fetch_one(pool).await
}
