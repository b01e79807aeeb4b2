use std::str::FromStr;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use vostro_events::notification::Channel;

use super::{Topic, UnknownName};
use crate::NotificationErrorCode;

/// How far a notification has come.
///
/// In the app: `SENT → DELIVERED → READ`. By e-mail: `QUEUED → (RETRYING →) DELIVERED | FAILED | SUPPRESSED`, and `READ`
/// when the person says so; `SENT` and `DELIVERED` fall together, as the mail server takes an e-mail and says so at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Waits to be sent.
    Queued,
    /// Handed to its channel.
    Sent,
    /// Sending failed, or the address is not known yet; it is tried again.
    Retrying,
    /// A client has received it, or the mail server has taken it.
    Delivered,
    /// The person has read it.
    Read,
    /// Given up.
    Failed,
    /// Not said, for a recorded reason.
    Suppressed,
}

impl Status {
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Sent, Self::Retrying, Self::Delivered, Self::Read, Self::Failed, Self::Suppressed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Sent => "SENT",
            Self::Retrying => "RETRYING",
            Self::Delivered => "DELIVERED",
            Self::Read => "READ",
            Self::Failed => "FAILED",
            Self::Suppressed => "SUPPRESSED",
        }
    }
}

impl FromStr for Status {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| UnknownName(text.to_owned()))
    }
}

/// A notification as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub id: Uuid,
    /// Grows with every notification of the person; not without gaps.
    pub sequence: i64,
    pub user_id: Uuid,
    pub topic: Topic,
    pub channel: Channel,
    pub status: Status,
    /// In the language the person had chosen when it was written.
    pub title: String,
    pub body: String,
    /// The event that gave the reason.
    pub source_event_id: Uuid,
    pub created_at: DateTime<Utc>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub read_at: Option<DateTime<Utc>>,
}

/// The id of what is said about an event to a person on a channel (UUIDv8, RFC 9562 §5.8). Saying the same twice gives the
/// same id, so the primary key refuses the second. The first 48 bits are those of the event's id, its time, so that ids
/// grow with time; the others are a hash.
pub fn notification_id(source_event: Uuid, user: Uuid, topic: Topic, channel: Channel) -> Uuid {
    let digest = Sha256::new()
        .chain_update(source_event.as_bytes())
        .chain_update(user.as_bytes())
        .chain_update(topic.as_str())
        .chain_update([0])
        .chain_update(channel.as_str())
        .finalize();
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&source_event.as_bytes()[..6]);
    bytes[6..].copy_from_slice(&digest[..10]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Whether marking a notification as read changes it.
///
/// # Errors
/// [`NotificationErrorCode::NotDelivered`] for an e-mail that is still with the bank;
/// [`NotificationErrorCode::NotFound`] for what was never said.
pub fn reading(channel: Channel, status: Status) -> Result<bool, NotificationErrorCode> {
    match (channel, status) {
        (_, Status::Suppressed) => Err(NotificationErrorCode::NotFound),
        (_, Status::Read) => Ok(false),
        (Channel::InApp, _) | (Channel::Email, Status::Delivered) => Ok(true),
        (Channel::Email, _) => Err(NotificationErrorCode::NotDelivered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_id_depends_on_each_part_of_the_key_and_on_nothing_else() {
        let (event, user) = (Uuid::now_v7(), Uuid::now_v7());
        let mut ids = HashSet::new();
        for topic in Topic::ALL {
            for channel in Channel::ALL {
                for (event, user) in [(event, user), (user, event), (Uuid::now_v7(), user), (event, Uuid::now_v7())] {
                    let id = notification_id(event, user, topic, channel);
                    assert_eq!(id, notification_id(event, user, topic, channel));
                    assert!(ids.insert(id));
                }
            }
        }
    }

    #[test]
    fn ids_of_later_events_come_later() {
        let earlier = Uuid::parse_str("01890a5d-ac96-774b-bcce-b302099a8057").expect("a UUID");
        let later = Uuid::parse_str("01890a5d-ac97-774b-bcce-b302099a8057").expect("a UUID");
        let id = |event| notification_id(event, Uuid::nil(), Topic::Welcome, Channel::InApp);
        assert!(id(earlier) < id(later));
        assert_eq!(id(earlier).get_version_num(), 8);
    }

    #[test]
    fn reading_changes_what_has_arrived_once() {
        assert_eq!(reading(Channel::InApp, Status::Sent), Ok(true));
        assert_eq!(reading(Channel::InApp, Status::Delivered), Ok(true));
        assert_eq!(reading(Channel::InApp, Status::Read), Ok(false));
        assert_eq!(reading(Channel::Email, Status::Delivered), Ok(true));
        for status in [Status::Queued, Status::Retrying, Status::Failed] {
            assert_eq!(reading(Channel::Email, status), Err(NotificationErrorCode::NotDelivered));
        }
        assert_eq!(reading(Channel::InApp, Status::Suppressed), Err(NotificationErrorCode::NotFound));
    }

    #[test]
    fn every_status_is_read_back_from_its_name() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
    }
}
