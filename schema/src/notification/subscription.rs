use async_graphql::{Context, Result};
use futures::{Stream, StreamExt as _};

use super::types::Notification;
use super::{facade, failure};
use crate::access::{Access, signed_in};
use crate::guards::{self, Authenticated};

/// Watching notifications.
pub struct Subscription;

#[async_graphql::Subscription(name = "Subscription")]
impl Subscription {
    /// Your notifications in the app as they come. Begins with what none of your clients has received yet; with
    /// `afterSequence` also with everything after that, so that a client that lost its connection misses nothing. What is
    /// sent counts as delivered.
    #[graphql(guard = "Authenticated", directive = Access::apply(signed_in().cost(5)))]
    async fn notification_received(
        &self,
        ctx: &Context<'_>,
        after_sequence: Option<i64>,
    ) -> Result<impl Stream<Item = Result<Notification>> + use<>> {
        let received = facade(ctx)?.received(guards::context(ctx)?, after_sequence).map_err(failure)?;
        Ok(received.map(|notification| notification.map(Notification).map_err(failure)))
    }
}
