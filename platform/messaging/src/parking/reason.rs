use std::fmt;

use vostro_events::Undecodable;

use crate::HandlerError;
use crate::fault::{Fault, classify, is_about_data};

/// Why a message is parked. The codes are stable; operators, runbooks and alerts name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasonCode {
    /// Not a CloudEvent, or not one this release can read.
    Undecodable,
    /// It says it is an event of a module that did not send it.
    ForeignSender,
    /// An event type the subscription does not know, such as a version from the future.
    UnknownEvent,
    /// The data does not fit the event's schema, or contradicts what the module knows.
    Invalid,
    /// The database refuses what the handler makes of it: a constraint, a number out of range.
    EffectRefused,
    /// Something it needs is not there yet.
    Blocked,
    /// The handler failed on it repeatedly.
    RetriesExhausted,
    /// The process ended several times while this was being handled, or waited to be. It is tried alone.
    Interrupted,
    /// The process ended while handling it, repeatedly.
    CrashLoop,
}

impl ReasonCode {
    const ALL: [Self; 9] = [
        Self::Undecodable,
        Self::ForeignSender,
        Self::UnknownEvent,
        Self::Invalid,
        Self::EffectRefused,
        Self::Blocked,
        Self::RetriesExhausted,
        Self::Interrupted,
        Self::CrashLoop,
    ];

    /// The code of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "UNDECODABLE",
            Self::ForeignSender => "FOREIGN_SENDER",
            Self::UnknownEvent => "UNKNOWN_EVENT",
            Self::Invalid => "INVALID",
            Self::EffectRefused => "EFFECT_REFUSED",
            Self::Blocked => "BLOCKED",
            Self::RetriesExhausted => "RETRIES_EXHAUSTED",
            Self::Interrupted => "INTERRUPTED",
            Self::CrashLoop => "CRASH_LOOP",
        }
    }

    /// Time heals what is merely blocked, failed or was interrupted; the rest waits for a person.
    pub(crate) const fn state(self) -> ParkedState {
        match self {
            Self::Blocked | Self::RetriesExhausted | Self::Interrupted => ParkedState::Waiting,
            _ => ParkedState::Quarantined,
        }
    }
}

impl From<&Undecodable> for ReasonCode {
    fn from(reason: &Undecodable) -> Self {
        match reason {
            Undecodable::ForeignSender { .. } => Self::ForeignSender,
            _ => Self::Undecodable,
        }
    }
}

/// What happens next to a parked key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkedState {
    /// It is tried again by itself.
    Waiting,
    /// It is tried again when an operator says so.
    Quarantined,
}

impl ParkedState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Quarantined => "QUARANTINED",
        }
    }
}

impl fmt::Display for ParkedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Code and text for an event that failed by itself. `None` when the database is away: then nothing is wrong with the event.
pub(crate) fn reason_of(error: &HandlerError) -> Option<(ReasonCode, String)> {
    match error {
        HandlerError::Invalid { reason, .. } => Some((ReasonCode::Invalid, reason.clone())),
        HandlerError::Blocked { reason, .. } => Some((ReasonCode::Blocked, reason.clone())),
        HandlerError::Transient(reason) => Some((ReasonCode::RetriesExhausted, reason.clone())),
        HandlerError::Database(source) if classify(source) == Fault::DatabaseDown => None,
        HandlerError::Database(source) if is_about_data(source) => {
            Some((ReasonCode::EffectRefused, source.to_string()))
        }
        HandlerError::Database(source) => Some((ReasonCode::RetriesExhausted, source.to_string())),
    }
}
