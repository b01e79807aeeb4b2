use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use vostro_notification::NotificationError;

use super::types::{Notification, NotificationChannel, NotificationPreference, NotificationTopic};
use super::{facade, failure};
use crate::access::{Access, signed_in};
use crate::guards;
use crate::ids::{self, IdKind};

crate::user_errors! {
    /// Why a command on notifications was refused.
    pub NotificationUserError, NotificationErrorCode {
        /// No notification with this id, or not one of yours.
        ///
        /// Take an id from `notifications`.
        NtfNotFound,
        /// The notice protects your account and cannot be switched off on this channel.
        ///
        /// Leave it on; other topics can be switched off.
        NtfTopicMandatory,
        /// The e-mail is still on its way.
        ///
        /// Wait until its state is final.
        NtfNotDelivered,
    }
}

/// The notification you have read.
#[derive(Debug, InputObject)]
pub struct NotificationMarkReadInput {
    notification_id: ID,
}

/// What became of `notificationMarkRead`.
#[derive(Debug, SimpleObject)]
pub struct NotificationMarkReadPayload {
    notification: Option<Notification>,
    user_errors: Vec<NotificationUserError>,
}

/// What you want to hear about, or no longer.
#[derive(Debug, InputObject)]
pub struct PreferencesUpdateInput {
    topic: NotificationTopic,
    channel: NotificationChannel,
    enabled: bool,
}

/// What became of `preferencesUpdate`.
#[derive(Debug, SimpleObject)]
pub struct PreferencesUpdatePayload {
    /// All preferences after the change.
    preferences: Option<Vec<NotificationPreference>>,
    user_errors: Vec<NotificationUserError>,
}

/// Commands on notifications.
pub struct Mutation;

#[Object(name = "Mutation")]
impl Mutation {
    /// Notes that you have read a notification. Repeating it changes nothing.
    #[graphql(directive = Access::apply(signed_in().cost(10)))]
    async fn notification_mark_read(
        &self,
        ctx: &Context<'_>,
        input: NotificationMarkReadInput,
    ) -> Result<Option<NotificationMarkReadPayload>> {
        let id = ids::decode(IdKind::Notification, &input.notification_id)?;
        match facade(ctx)?.mark_read(&guards::command(ctx)?, id).await {
            Ok(notification) => Ok(Some(NotificationMarkReadPayload {
                notification: Some(Notification(notification)),
                user_errors: Vec::new(),
            })),
            Err(error) => Ok(Some(NotificationMarkReadPayload {
                notification: None,
                user_errors: vec![refusal_or_fault(error)?],
            })),
        }
    }

    /// Switches a topic on or off on a channel, for what happens from now on.
    #[graphql(directive = Access::apply(signed_in().cost(10)))]
    async fn preferences_update(
        &self,
        ctx: &Context<'_>,
        input: PreferencesUpdateInput,
    ) -> Result<Option<PreferencesUpdatePayload>> {
        let (topic, channel) = (input.topic.into(), input.channel.into());
        match facade(ctx)?.preferences_update(&guards::command(ctx)?, topic, channel, input.enabled).await {
            Ok(preferences) => Ok(Some(PreferencesUpdatePayload {
                preferences: Some(preferences.into_iter().map(Into::into).collect()),
                user_errors: Vec::new(),
            })),
            Err(error) => {
                Ok(Some(PreferencesUpdatePayload { preferences: None, user_errors: vec![refusal_or_fault(error)?] }))
            }
        }
    }
}

/// A refusal is data; everything else is a top-level error.
fn refusal_or_fault(error: NotificationError) -> Result<NotificationUserError> {
    match error {
        NotificationError::Refused(refusal) => NotificationUserError::of(refusal),
        fault => Err(failure(fault)),
    }
}
