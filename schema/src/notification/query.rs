use async_graphql::{Context, ID, Object, Result};
use uuid::Uuid;
use vostro_notification::domain;

use super::types::{Notification, NotificationFilter, NotificationPreference};
use super::{facade, failure};
use crate::access::{Access, signed_in};
use crate::connection::{Page, PageArguments, PageRequest};
use crate::guards;
use crate::ids::{self, IdKind};
use crate::loader::Batch;

/// Reading notifications.
pub struct Query;

#[Object(name = "Query")]
impl Query {
    #[graphql(entity)]
    async fn notification_by_key(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Notification>> {
        guards::authenticated(ctx)?;
        let id = ids::decode(IdKind::Notification, &id)?;
        let ask = async |ids: Vec<Uuid>| {
            let found = facade(ctx)?.notifications_by_id(guards::context(ctx)?, &ids).await.map_err(failure)?;
            Ok(found.into_iter().map(|notification| (notification.id, notification)).collect())
        };
        let batch = Batch::<Uuid, domain::Notification>::of(guards::scope(ctx)?);
        Ok(batch.load(id, ask).await?.map(Notification))
    }

    /// Your notifications, newest first. Those of the app count as delivered with this.
    #[graphql(directive = Access::apply(signed_in().page()))]
    async fn notifications(
        &self,
        ctx: &Context<'_>,
        filter: Option<NotificationFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Option<Page<Notification>>> {
        let page = PageRequest::<i64>::new("notifications", PageArguments { first, after, last, before })?;
        let (facade, context, filter) = (facade(ctx)?, guards::context(ctx)?, filter.unwrap_or_default().into());
        let found = facade.notifications(context, filter, page.shown()).await.map_err(failure)?;
        Ok(Some(page.connection(found, |notification| notification.sequence, Notification)))
    }

    /// How many notifications wait in the app to be read. Counted up to 10,000.
    #[graphql(directive = Access::apply(signed_in()))]
    async fn unread_count(&self, ctx: &Context<'_>) -> Result<Option<i64>> {
        facade(ctx)?.unread_count(guards::context(ctx)?).await.map(Some).map_err(failure)
    }

    /// What you hear about, on which channel: each topic on each channel.
    #[graphql(directive = Access::apply(signed_in().about(20)))]
    async fn notification_preferences(&self, ctx: &Context<'_>) -> Result<Option<Vec<NotificationPreference>>> {
        let preferences = facade(ctx)?.preferences(guards::context(ctx)?).await.map_err(failure)?;
        Ok(Some(preferences.into_iter().map(Into::into).collect()))
    }
}
