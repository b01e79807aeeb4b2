use uuid::Uuid;

use super::RequestState;
use crate::fault::{Fault, classify};

/// An order that cannot be carried out; nothing was done. Each text begins with a stable code.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error("PARKING_FORBIDDEN: only a person with the role OPERATOR or ADMIN may do this")]
    Forbidden,
    #[error("PARKING_MODULE_UNKNOWN: no module is called {0}")]
    ModuleUnknown(String),
    #[error("PARKING_SELECTION_EMPTY: say which messages: ids, key, subscription, event type, reason code or state")]
    SelectionEmpty,
    #[error("PARKING_NOTHING_SELECTED: no parked message is selected; see what there is with list")]
    NothingSelected,
    #[error("PARKING_REASON_MISSING: say why; the reason goes to the audit log")]
    ReasonMissing,
    #[error("PARKING_NOT_FIRST: message {0} is not the first of its key; skip the first, or discard this one")]
    NotFirst(Uuid),
    #[error("PARKING_SEVERAL_SUBSCRIPTIONS: the selection is about several subscriptions; name one")]
    SeveralSubscriptions,
    #[error("PARKING_TOO_MANY: more than {0} messages are selected; narrow the selection")]
    TooMany(i64),
    #[error("PARKING_REQUEST_UNKNOWN: there is no request {0}")]
    RequestUnknown(Uuid),
    #[error("PARKING_REQUEST_DECIDED: the request is already {}", .0.as_str())]
    RequestDecided(RequestState),
    #[error("PARKING_SAME_PERSON: whoever asked for it cannot decide about it; a second person has to")]
    SamePerson,
    #[error("database")]
    Database(#[from] sqlx::Error),
}

impl DeskError {
    /// The stable code and what to do about it; `None` for a fault.
    pub fn refusal(&self) -> Option<(String, String)> {
        let text = self.to_string();
        text.split_once(": ").map(|(code, message)| (code.to_owned(), message.to_owned()))
    }

    /// Whether it is because the database is away, and may pass by itself.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Database(error) if classify(error) == Fault::DatabaseDown)
    }

    /// One of each refusal, so that whoever lists the codes can show that none is missing.
    pub fn each() -> [Self; 11] {
        [
            Self::Forbidden,
            Self::ModuleUnknown(String::new()),
            Self::SelectionEmpty,
            Self::NothingSelected,
            Self::ReasonMissing,
            Self::NotFirst(Uuid::nil()),
            Self::SeveralSubscriptions,
            Self::TooMany(0),
            Self::RequestUnknown(Uuid::nil()),
            Self::RequestDecided(RequestState::Approved),
            Self::SamePerson,
        ]
    }
}
