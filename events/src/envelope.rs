use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_kernel::{ActorKind, RequestContext, Slot};

use crate::{DataRef, identity_of};

/// `<module>.<event>.v<major>`: which event, and which version of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(Cow<'static, str>);

/// The text is not of the form `<module>.<event>.v<major>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event type is not of the form <module>.<event>.v<major>")]
pub struct InvalidEventType;

impl EventType {
    /// A type spelled out in the source.
    pub const fn of(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// Reads a type from a message. Unknown modules and events are fine (the archive keeps what it does not know);
    /// a text of another form is not.
    ///
    /// # Errors
    /// [`InvalidEventType`].
    pub fn parse(text: &str) -> Result<Self, InvalidEventType> {
        let mut words = text.split('.');
        let well_formed = match (words.next(), words.next(), words.next(), words.next()) {
            (Some(module), Some(event), Some(version), None) => {
                Self::is_word(module)
                    && Self::is_word(event)
                    && version.strip_prefix('v').is_some_and(|major| major.parse::<u16>().is_ok())
            }
            _ => false,
        };
        if well_formed { Ok(Self(Cow::Owned(text.to_owned()))) } else { Err(InvalidEventType) }
    }

    fn is_word(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The module that owns the event.
    pub fn module(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// Which event it is, whatever the version: `<module>.<event>`.
    pub fn event(&self) -> &str {
        self.0.rsplit_once(".v").map_or(&self.0, |(event, _)| event)
    }

    /// Which version of it, from 1.
    pub fn major(&self) -> u16 {
        self.0.rsplit_once(".v").and_then(|(_, major)| major.parse().ok()).unwrap_or_default()
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an event happened: what the audit log answers "who, by which command, because of what" from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The same for everything one outside request led to.
    pub correlation_id: Uuid,
    /// The command or the event that directly led to this event.
    pub causation_id: Uuid,
    /// The name of the accepted command, on the first event it led to; consequences carry none.
    pub command: Option<Cow<'static, str>>,
    pub actor_kind: ActorKind,
    pub actor_id: Option<Uuid>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl Cause {
    /// Caused directly by the command `name`.
    pub fn command(context: &RequestContext, name: &'static str) -> Self {
        Self {
            correlation_id: context.correlation_id,
            causation_id: context.command_id,
            command: Some(Cow::Borrowed(name)),
            actor_kind: context.actor.kind,
            actor_id: context.actor.id,
            traceparent: context.traceparent.clone(),
        }
    }

    /// Caused by another event: same correlation, same actor, no command of its own.
    pub fn event(envelope: &Envelope) -> Self {
        Self { causation_id: envelope.id, command: None, ..envelope.cause.clone() }
    }
}

/// What is known about an event beside its data: the CloudEvents attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// UUIDv7, the same over every redelivery, republication and replay. That of the newer one of two versions that are
    /// published of one event follows from it; see [`copy_of`](crate::copy_of).
    pub id: Uuid,
    pub event_type: EventType,
    /// When the fact became true (commit of the producing transaction, up to its duration), microseconds.
    pub occurred_at: DateTime<Utc>,
    pub aggregate_type: Cow<'static, str>,
    pub aggregate_id: Uuid,
    /// 1 for the aggregate's first event, without gaps.
    pub sequence: i64,
    pub partition_key: Uuid,
    pub cause: Cause,
    /// Where the data is when it was too large to travel; the event's own data is `null` then.
    pub dataref: Option<DataRef>,
}

impl Envelope {
    pub fn slot(&self) -> Slot {
        Slot::of(self.partition_key)
    }

    /// What the event is known by in whichever version it comes; see [`identity_of`].
    pub const fn identity(&self) -> Uuid {
        identity_of(self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_names_its_module_its_event_and_its_version() {
        let event_type = EventType::parse("account.balance-changed.v12").expect("well formed");
        assert_eq!(event_type.module(), "account");
        assert_eq!((event_type.event(), event_type.major()), ("account.balance-changed", 12));
    }

    #[test]
    fn texts_of_another_form_are_not_types() {
        for text in ["", "account", "account.created", "account.created.1", "a.b.v1.s00", "A.b.v1", "a..v1", "a.b.vx"] {
            assert_eq!(EventType::parse(text), Err(InvalidEventType), "{text:?}");
        }
    }
}
