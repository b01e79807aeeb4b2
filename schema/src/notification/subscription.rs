use async_graphql::{Context, Result, SimpleObject};
use futures::{Stream, StreamExt as _};
use vostro_notification::Start;

use super::types::Notification;
use super::{facade, failure};
use crate::access::{Access, signed_in};
use crate::guards::{self, Authenticated};
use crate::live::{self, UpdateKind};
use crate::scalars::DateTime;

/// A notification that has come.
#[derive(SimpleObject)]
pub struct NotificationArrival {
    notification: Notification,
    /// The notification's own. It grows from update to update, with gaps.
    sequence: i64,
    occurred_at: DateTime,
    /// Never `LAGGED`: a client that is slow gets everything later.
    kind: UpdateKind,
    /// Pass it as `after` to go on behind this update.
    cursor: String,
}

const ARRIVED: &str = "notificationArrived";

/// Watching notifications.
pub struct Subscription;

#[async_graphql::Subscription(name = "Subscription")]
impl Subscription {
    /// Your notifications in the app as they come. Begins with what none of your clients has received yet; with `after`, the
    /// cursor of an earlier update, with everything since then. What is sent counts as delivered.
    #[graphql(guard = "Authenticated", directive = Access::apply(signed_in().cost(5)))]
    async fn notification_arrived(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<NotificationArrival>> + use<>> {
        let start = live::position(ARRIVED, after.as_deref())?.map_or(Start::Unreceived, Start::After);
        let received = facade(ctx)?.received(guards::context(ctx)?, start).map_err(failure)?;
        Ok(received.map(|arrival| {
            let arrival = arrival.map_err(failure)?;
            Ok(NotificationArrival {
                sequence: arrival.notification.sequence,
                occurred_at: arrival.notification.created_at.into(),
                kind: arrival.kind.into(),
                cursor: live::cursor(ARRIVED, &arrival.notification.sequence),
                notification: Notification(arrival.notification),
            })
        }))
    }

    /// Your notifications in the app as they come. Begins with what none of your clients has received yet; with
    /// `afterSequence` also with everything after that, so that a client that lost its connection misses nothing. What is
    /// sent counts as delivered.
    #[graphql(
        guard = "Authenticated",
        directive = Access::apply(signed_in().cost(5)),
        deprecation = "since 2026-11; remove after 2027-05; use `notificationArrived`"
    )]
    async fn notification_received(
        &self,
        ctx: &Context<'_>,
        after_sequence: Option<i64>,
    ) -> Result<impl Stream<Item = Result<Notification>> + use<>> {
        let start = after_sequence.map_or(Start::Unreceived, Start::UnreceivedAndAfter);
        let received = facade(ctx)?.received(guards::context(ctx)?, start).map_err(failure)?;
        Ok(received.map(|arrival| arrival.map(|arrival| Notification(arrival.notification)).map_err(failure)))
    }
}
