//! What the notification module tells: what was said to whom, and whether it arrived. Never the text itself.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain_event::domain_events;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Channel {
    InApp,
    Email,
}

impl Channel {
    pub const ALL: [Self; 2] = [Self::InApp, Self::Email];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InApp => "IN_APP",
            Self::Email => "EMAIL",
        }
    }
}

/// A notification was handed to its channel: stored in the inbox of the app, or given to the mail server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationSentV1 {
    pub notification_id: Uuid,
    pub user_id: Uuid,
    /// What it is about, such as `PAYMENT_RECEIVED`.
    pub topic: String,
    pub channel: Channel,
    pub template: String,
    pub locale: String,
    /// The event that gave the reason.
    pub source_event_id: Uuid,
    /// 1 for the first try.
    pub attempt: i32,
}

/// A notification reached the person's device or mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationDeliveredV1 {
    pub notification_id: Uuid,
    pub user_id: Uuid,
    pub channel: Channel,
    pub delivered_at: DateTime<Utc>,
    /// What the channel said about it, without personal data: a mail server's reply code, or `client`.
    pub receipt: String,
}

/// The person has read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationReadV1 {
    pub notification_id: Uuid,
    pub user_id: Uuid,
}

/// A person wants to hear about a topic on a channel, or no longer. Numbered in the person's preference sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferenceChangedV1 {
    pub user_id: Uuid,
    pub topic: String,
    pub channel: Channel,
    pub enabled: bool,
}

domain_events! {
    NotificationSentV1 => "notification.sent.v1", "notification", notification_id;
    NotificationDeliveredV1 => "notification.delivered.v1", "notification", notification_id;
    NotificationReadV1 => "notification.read.v1", "notification", notification_id;
    PreferenceChangedV1 => "notification.preference-changed.v1", "preference", user_id;
}
