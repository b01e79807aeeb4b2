//! Decisions, and what people see of them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use vostro_events::notification::Channel;
use vostro_kernel::{Page, PageDirection};

use super::{channel, locale, named};
use crate::domain::{Decision, Locale, Message, NewNotification, Status, Topic};

/// A notification as it is stored: not yet in words.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub id: Uuid,
    pub sequence: i64,
    pub user_id: Uuid,
    pub topic: Topic,
    pub channel: Channel,
    pub status: Status,
    pub locale: Locale,
    /// `None` when this release cannot read the message of another.
    pub message: Option<Message>,
    /// The tail of the number of the account it is about.
    pub account: Option<String>,
    pub source_event_id: Uuid,
    pub created_at: DateTime<Utc>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub read_at: Option<DateTime<Utc>>,
}

/// A row of the queries below, which all select the same columns.
struct Row {
    id: Uuid,
    sequence: i64,
    user_id: Uuid,
    topic: String,
    channel: String,
    status: String,
    locale: String,
    message: String,
    account: Option<String>,
    source_event_id: Uuid,
    created_at: DateTime<Utc>,
    delivered_at: Option<DateTime<Utc>>,
    read_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Stored {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        Ok(Self {
            id: row.id,
            sequence: row.sequence,
            user_id: row.user_id,
            topic: named(&row.topic)?,
            channel: channel(&row.channel)?,
            status: named(&row.status)?,
            locale: locale(&row.locale),
            message: message(row.id, &row.message),
            account: row.account,
            source_event_id: row.source_event_id,
            created_at: row.created_at,
            delivered_at: row.delivered_at,
            read_at: row.read_at,
        })
    }
}

/// Reads a stored message. One that cannot be read must not make a person's whole list unreadable.
pub(super) fn message(notification: Uuid, json: &str) -> Option<Message> {
    serde_json::from_str(json)
        .inspect_err(|error| tracing::error!(%notification, %error, "a stored message cannot be read"))
        .ok()
}

fn stored(rows: Vec<Row>) -> sqlx::Result<Vec<Stored>> {
    rows.into_iter().map(Stored::try_from).collect()
}

/// Stores decisions in order and returns the ids and numbers of those that had not been made before. The numbers of a
/// person's notifications in the app become visible in their order, whichever transactions store them.
pub(crate) async fn insert_in_tx(
    connection: &mut PgConnection,
    decisions: &[NewNotification<'_>],
) -> sqlx::Result<HashMap<Uuid, i64>> {
    let Some(created_at) = decisions.first().map(|decision| decision.created_at) else {
        return Ok(HashMap::new());
    };
    wait_for_turn_in_tx(connection, decisions).await?;
    let count = decisions.len();
    let (mut ids, mut users) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut sources, mut accounts) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut topics, mut channels) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut statuses, mut reasons) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut locales, mut messages) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for decision in decisions {
        let occasion = decision.occasion;
        ids.push(decision.id);
        users.push(occasion.user_id);
        sources.push(occasion.source_event_id);
        accounts.push(occasion.account_id);
        topics.push(decision.topic.as_str());
        channels.push(decision.channel.as_str());
        statuses.push(decision.decision.status().as_str());
        reasons.push(match decision.decision {
            Decision::Suppress(reason) => Some(reason.as_str()),
            Decision::Store | Decision::Queue => None,
        });
        locales.push(decision.locale.as_str());
        messages.push(serde_json::to_string(&occasion.message).expect("a message is plain data"));
    }
    let new = sqlx::query!(
        "insert into notification.notification
             (id, user_id, source_event_id, account_id, topic, channel, status, suppressed, locale, message, created_at)
         select id, user_id, source_event_id, account_id, topic, channel, status, suppressed, locale, message::json, $11
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::text[], $10::text[])
              as new (id, user_id, source_event_id, account_id, topic, channel, status, suppressed, locale, message)
         on conflict (id) do nothing
         returning id, sequence",
        &ids,
        &users,
        &sources,
        &accounts as &[Option<Uuid>],
        &topics as &[&str],
        &channels as &[&str],
        &statuses as &[&str],
        &reasons as &[Option<&str>],
        &locales as &[&str],
        &messages,
        created_at
    )
    .fetch_all(connection)
    .await?;
    Ok(new.into_iter().map(|row| (row.id, row.sequence)).collect())
}

/// Makes transactions that number notifications of one person in the app commit one after the other. Has to come before the
/// numbers are drawn, in a statement of its own.
async fn wait_for_turn_in_tx(connection: &mut PgConnection, decisions: &[NewNotification<'_>]) -> sqlx::Result<()> {
    let in_app = decisions.iter().filter(|decision| decision.decision == Decision::Store);
    let mut people = in_app.map(|decision| decision.occasion.user_id).collect::<Vec<_>>();
    if people.is_empty() {
        return Ok(());
    }
    // The same order in every transaction, or two of them would wait for each other in a circle.
    people.sort_unstable();
    people.dedup();
    // A row that is there is locked, although the condition lets nothing be written.
    sqlx::query!(
        "insert into notification.numbering (user_id) select * from unnest($1::uuid[])
         on conflict (user_id) do update set user_id = excluded.user_id where false",
        &people
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Which notifications a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    pub channel: Option<Channel>,
    /// Only what has been read, or only what has not; both when absent.
    pub unread: Option<bool>,
}

/// A page of a person's notifications, newest first.
pub(crate) async fn page(pool: &PgPool, user: Uuid, wanted: Wanted, page: Page<i64>) -> sqlx::Result<Vec<Stored>> {
    let from = page.from_or(i64::MAX, 0);
    macro_rules! outwards {
        ($beyond:literal, $order:literal) => {
            match (wanted.unread, wanted.channel) {
                // Whether an e-mail was read, its reader's mailbox knows.
                (Some(true), Some(Channel::Email)) => Vec::new(),
                (Some(true), _) => {
                    sqlx::query_as!(
                        Row,
                        r#"select n.id, n.sequence, n.user_id, n.topic, n.channel, n.status, n.locale,
                                  n.message::text as "message!", a.tail as "account?", n.source_event_id, n.created_at,
                                  n.delivered_at, n.read_at
                           from notification.notification n left join notification.account a using (account_id)
                           where n.user_id = $1 and n.sequence "# + $beyond + r#" $2
                             and n.read_at is null and n.suppressed is null and n.channel = 'IN_APP'
                           order by n.sequence "# + $order + r#" limit $3"#,
                        user,
                        from,
                        page.limit
                    )
                    .fetch_all(pool)
                    .await?
                }
                (read_only, channel) => {
                    sqlx::query_as!(
                        Row,
                        r#"select n.id, n.sequence, n.user_id, n.topic, n.channel, n.status, n.locale,
                                  n.message::text as "message!", a.tail as "account?", n.source_event_id, n.created_at,
                                  n.delivered_at, n.read_at
                           from notification.notification n left join notification.account a using (account_id)
                           where n.user_id = $1 and n.sequence "# + $beyond + r#" $2 and n.suppressed is null
                             and ($4::text is null or n.channel = $4) and (not $5 or n.read_at is not null)
                           order by n.sequence "# + $order + r#" limit $3"#,
                        user,
                        from,
                        page.limit,
                        channel.map(Channel::as_str),
                        read_only.is_some()
                    )
                    .fetch_all(pool)
                    .await?
                }
            }
        };
    }
    let rows = match page.direction {
        PageDirection::Forward => outwards!("<", "desc"),
        PageDirection::Backward => outwards!(">", "asc"),
    };
    stored(page.in_order(rows))
}

/// Those of these notifications that are the person's and were said.
pub(crate) async fn by_ids(pool: &PgPool, user: Uuid, ids: &[Uuid]) -> sqlx::Result<Vec<Stored>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select n.id, n.sequence, n.user_id, n.topic, n.channel, n.status, n.locale, n.message::text as "message!",
                  a.tail as "account?", n.source_event_id, n.created_at, n.delivered_at, n.read_at
           from notification.notification n left join notification.account a using (account_id)
           where n.id = any($2) and n.user_id = $1 and n.suppressed is null
           order by n.sequence"#,
        user,
        ids
    )
    .fetch_all(pool)
    .await?;
    stored(rows)
}

/// In-app notifications of a person that no client has received, oldest first, after `after` in the person's sequence and up
/// to `through`.
pub(crate) async fn undelivered(
    pool: &PgPool,
    user: Uuid,
    after: i64,
    through: i64,
    limit: i64,
) -> sqlx::Result<Vec<Stored>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select n.id, n.sequence, n.user_id, n.topic, n.channel, n.status, n.locale, n.message::text as "message!",
                  a.tail as "account?", n.source_event_id, n.created_at, n.delivered_at, n.read_at
           from notification.notification n left join notification.account a using (account_id)
           where n.user_id = $1 and n.sequence > $2 and n.sequence <= $3 and n.delivered_at is null
             and n.read_at is null and n.suppressed is null and n.channel = 'IN_APP'
           order by n.sequence limit $4"#,
        user,
        after,
        through,
        limit
    )
    .fetch_all(pool)
    .await?;
    stored(rows)
}

/// In-app notifications of a person after `after` in the person's sequence, oldest first.
pub(crate) async fn since(pool: &PgPool, user: Uuid, after: i64, limit: i64) -> sqlx::Result<Vec<Stored>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select n.id, n.sequence, n.user_id, n.topic, n.channel, n.status, n.locale, n.message::text as "message!",
                  a.tail as "account?", n.source_event_id, n.created_at, n.delivered_at, n.read_at
           from notification.notification n left join notification.account a using (account_id)
           where n.user_id = $1 and n.sequence > $2 and n.suppressed is null and n.channel = 'IN_APP'
           order by n.sequence limit $3"#,
        user,
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    stored(rows)
}

/// The sequence of the latest in-app notification of each of these people who has one.
pub(crate) async fn latest(pool: &PgPool, users: &[Uuid]) -> sqlx::Result<Vec<(Uuid, i64)>> {
    let rows = sqlx::query!(
        r#"select person.id as "id!", n.sequence
           from unnest($1::uuid[]) as person (id) cross join lateral (
               select sequence from notification.notification
               where user_id = person.id and suppressed is null and channel = 'IN_APP'
               order by sequence desc limit 1
           ) n"#,
        users
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.sequence)).collect())
}

/// How many in-app notifications a person has not read, up to `most`.
pub(crate) async fn unread(pool: &PgPool, user: Uuid, most: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from (
               select 1 from notification.notification
               where user_id = $1 and read_at is null and suppressed is null and channel = 'IN_APP' limit $2
           ) as unread"#,
        user,
        most
    )
    .fetch_one(pool)
    .await
}

/// Marks in-app notifications as received by a client and returns those that were not before. Locks in id order, so that
/// two clients of a person fetching the same do not wait for each other in a circle.
pub(crate) async fn deliver_in_tx(
    connection: &mut PgConnection,
    ids: &[Uuid],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "update notification.notification n set delivered_at = $2, status = 'DELIVERED'
         from (select id from notification.notification
               where id = any($1) and delivered_at is null and status = 'SENT' and channel = 'IN_APP'
               order by id for update) undelivered
         where n.id = undelivered.id returning n.id",
        ids,
        now
    )
    .fetch_all(connection)
    .await
}

/// A notification of the person, locked until the transaction ends.
pub(crate) async fn lock_in_tx(
    connection: &mut PgConnection,
    user: Uuid,
    id: Uuid,
) -> sqlx::Result<Option<(Channel, Status)>> {
    let row = sqlx::query!(
        "select channel, status from notification.notification where id = $1 and user_id = $2 for update",
        id,
        user
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| Ok((channel(&row.channel)?, named(&row.status)?))).transpose()
}

/// Marks a notification as read; reading implies that it was received.
pub(crate) async fn read_in_tx(connection: &mut PgConnection, id: Uuid, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "update notification.notification
         set read_at = $2, delivered_at = coalesce(delivered_at, $2), status = 'READ' where id = $1",
        id,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}
