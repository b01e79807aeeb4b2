use uuid::Uuid;

use super::JobState;
use crate::SourceError;
use crate::fault::{Fault, classify};
use crate::parking::Refusing;

/// An order about maintenance that cannot be carried out; nothing was done. Each text begins with a stable code.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    #[error("MAINTENANCE_FORBIDDEN: only a person with the role OPERATOR or ADMIN may do this")]
    Forbidden,
    #[error("MAINTENANCE_MODULE_UNKNOWN: no module is called {0}")]
    ModuleUnknown(String),
    #[error(
        "MAINTENANCE_PROJECTION_UNKNOWN: no projection is called {0}; see which there are with vostro projection list"
    )]
    ProjectionUnknown(String),
    #[error("MAINTENANCE_EVENT_TYPE_UNKNOWN: the archive has no event of {module} of the type {event_type}")]
    EventTypeUnknown { module: &'static str, event_type: String },
    #[error("MAINTENANCE_RANGE_EMPTY: the archive has nothing from {first} to {last}; begin earlier or end later")]
    RangeEmpty { first: i64, last: i64 },
    #[error("MAINTENANCE_PATIENCE_TOO_LONG: waiting for {0} seconds is too long; wait for an hour at most")]
    PatienceTooLong(u64),
    #[error("MAINTENANCE_REASON_MISSING: say why; the reason goes to the audit log")]
    ReasonMissing,
    #[error("MAINTENANCE_UNDER_WAY: {0} is being rebuilt already, with other options; wait until that has ended")]
    UnderWay(String),
    #[error("MAINTENANCE_JOB_UNKNOWN: there is no job {0}")]
    JobUnknown(Uuid),
    #[error("MAINTENANCE_JOB_DECIDED: nothing is to be decided about the job; it is {}", .0.as_str())]
    JobDecided(JobState),
    #[error("MAINTENANCE_SAME_PERSON: whoever asked for it cannot decide about it; a second person has to")]
    SamePerson,
    #[error("database")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl MaintenanceError {
    /// The stable code and what to do about it; `None` for a fault.
    pub fn refusal(&self) -> Option<(String, String)> {
        if matches!(self, Self::Database(_) | Self::Source(_)) {
            return None;
        }
        let text = self.to_string();
        text.split_once(": ").map(|(code, message)| (code.to_owned(), message.to_owned()))
    }

    /// Whether it is because a database is away, and may pass by itself.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Database(error) => classify(error) == Fault::DatabaseDown,
            Self::Source(_) => true,
            _ => false,
        }
    }

    /// One of each refusal, so that whoever lists the codes can show that none is missing.
    pub fn each() -> [Self; 11] {
        [
            Self::Forbidden,
            Self::ModuleUnknown(String::new()),
            Self::ProjectionUnknown(String::new()),
            Self::EventTypeUnknown { module: "", event_type: String::new() },
            Self::RangeEmpty { first: 0, last: 0 },
            Self::PatienceTooLong(0),
            Self::ReasonMissing,
            Self::UnderWay(String::new()),
            Self::JobUnknown(Uuid::nil()),
            Self::JobDecided(JobState::Done),
            Self::SamePerson,
        ]
    }
}

impl Refusing for MaintenanceError {
    fn code(&self) -> Option<String> {
        self.refusal().map(|(code, _)| code)
    }
}
