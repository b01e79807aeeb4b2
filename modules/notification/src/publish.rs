//! The one place where what happened in here becomes what the others are told.

use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::command::CommandRefusedV1;
use vostro_events::notification::{
    Channel, NotificationDeliveredV1, NotificationReadV1, NotificationSentV1, PreferenceChangedV1,
};
use vostro_kernel::{Ids, RefusalCode, RequestContext};
use vostro_messaging::NewEvent;

use crate::NotificationErrorCode;
use crate::domain::{NewNotification, Topic};
use crate::manifest::MODULE;
use crate::store::Claimed;

/// Numbers of the events of one notification. Not every notification gets all three, but none is left out in between.
const SENT: i64 = 1;
const DELIVERED: i64 = 2;
const READ: i64 = 3;

/// The receipt of a notification a client has fetched or was sent.
pub(crate) const CLIENT: &str = "client";

/// Stored in the app's inbox.
pub(crate) fn stored(ids: &dyn Ids, notification: &NewNotification<'_>, cause: Cause) -> NewEvent {
    let event = NotificationSentV1 {
        notification_id: notification.id,
        user_id: notification.occasion.user_id,
        topic: notification.topic.as_str().to_owned(),
        channel: notification.channel,
        template: notification.occasion.message.template().to_owned(),
        locale: notification.locale.as_str().to_owned(),
        source_event_id: notification.occasion.source_event_id,
        attempt: 1,
    };
    NewEvent::new(ids.next(), notification.created_at, SENT, cause, &event)
}

/// Taken by the mail server, which said `receipt`.
pub(crate) fn mailed(ids: &dyn Ids, mail: &Claimed, receipt: &str, now: DateTime<Utc>) -> [NewEvent; 2] {
    let sent = NotificationSentV1 {
        notification_id: mail.notification_id,
        user_id: mail.user_id,
        topic: mail.topic.as_str().to_owned(),
        channel: Channel::Email,
        template: mail.message.as_ref().map_or("", crate::domain::Message::template).to_owned(),
        locale: mail.locale.as_str().to_owned(),
        source_event_id: mail.source_event_id,
        attempt: i32::try_from(mail.attempt).unwrap_or(i32::MAX),
    };
    [
        NewEvent::new(ids.next(), now, SENT, mail.cause.clone(), &sent),
        delivered(ids, mail.notification_id, mail.user_id, Channel::Email, receipt, mail.cause.clone(), now),
    ]
}

/// Reached the person's device or mailbox.
pub(crate) fn delivered(
    ids: &dyn Ids,
    notification_id: Uuid,
    user_id: Uuid,
    channel: Channel,
    receipt: &str,
    cause: Cause,
    now: DateTime<Utc>,
) -> NewEvent {
    let event =
        NotificationDeliveredV1 { notification_id, user_id, channel, delivered_at: now, receipt: receipt.to_owned() };
    NewEvent::new(ids.next(), now, DELIVERED, cause, &event)
}

/// The person has read it.
pub(crate) fn read(ids: &dyn Ids, notification_id: Uuid, user_id: Uuid, cause: Cause, now: DateTime<Utc>) -> NewEvent {
    NewEvent::new(ids.next(), now, READ, cause, &NotificationReadV1 { notification_id, user_id })
}

/// The person wants to hear about a topic on a channel, or no longer.
pub(crate) fn preference_changed(
    ids: &dyn Ids,
    context: &RequestContext,
    event: &PreferenceChangedV1,
    sequence: i64,
    now: DateTime<Utc>,
) -> NewEvent {
    NewEvent::new(ids.next(), now, sequence, Cause::command(context, PREFERENCES_UPDATE), event)
}

/// A command was refused.
pub(crate) fn refused(
    ids: &dyn Ids,
    context: &RequestContext,
    command: &'static str,
    code: NotificationErrorCode,
    subject_id: Option<Uuid>,
    now: DateTime<Utc>,
) -> NewEvent {
    let event = CommandRefusedV1 {
        module: MODULE.to_owned(),
        command_id: context.command_id,
        command: command.to_owned(),
        code: code.code().to_owned(),
        subject_id,
    };
    NewEvent::new(ids.next(), now, 1, Cause::command(context, command), &event)
}

/// What follows from a request that is no command: a client fetched something.
pub(crate) fn fetched_by(context: &RequestContext) -> Cause {
    Cause { command: None, ..Cause::command(context, "") }
}

pub(crate) const MARK_READ: &str = "notificationMarkRead";
pub(crate) const PREFERENCES_UPDATE: &str = "preferencesUpdate";

/// The public form of a choice.
pub(crate) fn choice(user_id: Uuid, topic: Topic, channel: Channel, enabled: bool) -> PreferenceChangedV1 {
    PreferenceChangedV1 { user_id, topic: topic.as_str().to_owned(), channel, enabled }
}
