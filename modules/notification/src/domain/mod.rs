//! The rules: who is told what, on which channel, in which words, and when an e-mail is tried again. Pure functions.

mod backoff;
mod decide;
mod format;
mod locale;
mod message;
mod notification;
mod topic;

pub use backoff::Backoff;
pub use decide::{Choices, Decision, Known, NewNotification, Occasion, decide};
pub use format::{account_tail, date, instant, money};
pub use locale::Locale;
pub use message::{FailureCause, Message, Product};
pub use notification::{Notification, Status, notification_id, reading};
pub use topic::{Suppression, Topic, Verdict};
pub use vostro_events::notification::Channel;

/// A text that is not one of the names a closed list has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown name {0:?}")]
pub struct UnknownName(pub String);
