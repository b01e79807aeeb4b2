//! What people chose to hear about.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;
use vostro_events::notification::Channel;

use super::{channel, named};
use crate::domain::{Choices, Topic};

/// What a person chose, where they chose.
pub(crate) async fn choices(executor: impl PgExecutor<'_>, user: Uuid) -> sqlx::Result<Choices> {
    let rows = sqlx::query!("select topic, channel, enabled from notification.preference where user_id = $1", user)
        .fetch_all(executor)
        .await?;
    rows.into_iter().map(|row| Ok(((named(&row.topic)?, channel(&row.channel)?), row.enabled))).collect()
}

/// Makes two changes of the same person's preferences wait for each other. The person need not be known yet.
pub(crate) async fn lock_in_tx(connection: &mut PgConnection, user: Uuid) -> sqlx::Result<()> {
    sqlx::query!("insert into notification.recipient (user_id) values ($1) on conflict do nothing", user)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("select user_id from notification.recipient where user_id = $1 for update", user)
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// Keeps a choice and returns how often the person has chosen, this time included: the number of the event about it.
pub(crate) async fn choose_in_tx(
    connection: &mut PgConnection,
    user: Uuid,
    topic: Topic,
    channel: Channel,
    enabled: bool,
) -> sqlx::Result<i64> {
    sqlx::query!(
        "insert into notification.preference (user_id, topic, channel, enabled) values ($1, $2, $3, $4)
         on conflict (user_id, topic, channel) do update set enabled = excluded.enabled",
        user,
        topic.as_str(),
        channel.as_str(),
        enabled
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query_scalar!(
        "update notification.recipient set preference_version = preference_version + 1 where user_id = $1
         returning preference_version",
        user
    )
    .fetch_one(connection)
    .await
}
