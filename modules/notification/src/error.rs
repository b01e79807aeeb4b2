use vostro_kernel::{Refusal, RefusalCode};
use vostro_messaging::may_pass;

/// The closed list of reasons to refuse a command of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationErrorCode {
    /// No notification with this id, or not one of the caller's.
    NotFound,
    /// The notice cannot be switched off.
    TopicMandatory,
    /// An e-mail that has not reached the mail server cannot have been read.
    NotDelivered,
}

impl NotificationErrorCode {
    pub const ALL: [Self; 3] = [Self::NotFound, Self::TopicMandatory, Self::NotDelivered];
}

impl RefusalCode for NotificationErrorCode {
    fn code(self) -> &'static str {
        match self {
            Self::NotFound => "NTF_NOT_FOUND",
            Self::TopicMandatory => "NTF_TOPIC_MANDATORY",
            Self::NotDelivered => "NTF_NOT_DELIVERED",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::NotFound => "There is no such notification.",
            Self::TopicMandatory => "This notice protects your account and cannot be switched off on this channel.",
            Self::NotDelivered => "This e-mail has not been delivered yet.",
        }
    }
}

/// Why a use case did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NotificationError {
    /// The rules do not allow it; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal<NotificationErrorCode>),
    /// The database did not do its part.
    #[error("database")]
    Database(#[from] sqlx::Error),
}

impl NotificationError {
    /// Whether the same call may well succeed a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::Database(error) => may_pass(error),
        }
    }
}

impl From<NotificationErrorCode> for NotificationError {
    fn from(code: NotificationErrorCode) -> Self {
        Self::Refused(code.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_refusal_has_a_code_of_its_own_and_a_sentence() {
        let codes: BTreeSet<_> = NotificationErrorCode::ALL.iter().map(|code| code.code()).collect();
        assert_eq!(codes.len(), NotificationErrorCode::ALL.len());
        for code in NotificationErrorCode::ALL {
            assert!(code.code().starts_with("NTF_") && code.message().ends_with('.'), "{code:?}");
        }
    }

    #[test]
    fn a_lost_database_may_come_back_and_a_refusal_stays() {
        assert!(NotificationError::from(sqlx::Error::PoolTimedOut).is_passing());
        assert!(!NotificationError::from(sqlx::Error::RowNotFound).is_passing());
        assert!(!NotificationError::from(NotificationErrorCode::NotFound).is_passing());
    }
}
