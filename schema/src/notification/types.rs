use async_graphql::{Enum, ID, InputObject, Object, SimpleObject};
use vostro_notification::{Filter, domain};

use crate::ids::{self, IdKind};
use crate::scalars::DateTime;

/// What a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::Topic")]
pub enum NotificationTopic {
    /// You have registered.
    Welcome,
    /// Somebody logged in as you.
    Security,
    /// An account was opened, its terms changed, or a statement of it can be read.
    Account,
    /// Money left one of your accounts.
    PaymentSent,
    /// Money came in.
    PaymentReceived,
    /// A payment of yours was not carried out.
    PaymentFailed,
}

/// How a notification reaches you.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::Channel")]
pub enum NotificationChannel {
    /// Shown in the app.
    InApp,
    /// To your e-mail address.
    Email,
}

/// How far a notification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::Status")]
pub enum NotificationStatus {
    /// An e-mail that waits to be sent.
    Queued,
    /// In the app, and not yet fetched by a client.
    Sent,
    /// An e-mail that could not be sent and will be tried again.
    Retrying,
    /// Fetched by a client, or taken by the mail server.
    Delivered,
    /// You have read it.
    Read,
    /// An e-mail that could not be sent.
    Failed,
    /// Not said. Such notifications are not listed.
    Suppressed,
}

/// Something the bank told you.
#[derive(Debug, Clone)]
pub struct Notification(pub(super) domain::Notification);

#[Object]
impl Notification {
    async fn id(&self) -> ID {
        ids::encode(IdKind::Notification, self.0.id)
    }

    async fn topic(&self) -> NotificationTopic {
        self.0.topic.into()
    }

    async fn channel(&self) -> NotificationChannel {
        self.0.channel.into()
    }

    async fn status(&self) -> NotificationStatus {
        self.0.status.into()
    }

    /// One line, in the language you had chosen when it was written.
    async fn title(&self) -> &str {
        &self.0.title
    }

    /// The whole text. For an e-mail this is the text of the app, not the words of the mail.
    async fn body(&self) -> &str {
        &self.0.body
    }

    /// The event that gave the reason, as the audit log names it.
    async fn source_event_id(&self) -> ID {
        ID(self.0.source_event_id.as_hyphenated().to_string())
    }

    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When a client first fetched it, or the mail server took it.
    async fn delivered_at(&self) -> Option<DateTime> {
        self.0.delivered_at.map(Into::into)
    }

    async fn read_at(&self) -> Option<DateTime> {
        self.0.read_at.map(Into::into)
    }

    /// Grows with each of your notifications, with gaps; `notificationReceived` resumes after it.
    async fn sequence(&self) -> i64 {
        self.0.sequence
    }
}

/// Which notifications to list; all of them without a filter.
#[derive(Debug, Clone, Default, InputObject)]
pub struct NotificationFilter {
    /// `true`: only what waits in the app to be read; `false`: only what you have read.
    unread: Option<bool>,
    channel: Option<NotificationChannel>,
}

impl From<NotificationFilter> for Filter {
    fn from(filter: NotificationFilter) -> Self {
        Self { unread: filter.unread, channel: filter.channel.map(Into::into) }
    }
}

/// Whether you hear about a topic on a channel.
#[derive(Debug, Clone, SimpleObject)]
pub struct NotificationPreference {
    topic: NotificationTopic,
    channel: NotificationChannel,
    enabled: bool,
    /// It cannot be switched off.
    mandatory: bool,
}

impl From<vostro_notification::Preference> for NotificationPreference {
    fn from(preference: vostro_notification::Preference) -> Self {
        Self {
            topic: preference.topic.into(),
            channel: preference.channel.into(),
            enabled: preference.enabled,
            mandatory: preference.mandatory,
        }
    }
}
