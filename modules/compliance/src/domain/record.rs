use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;
use vostro_events::EventType;
use vostro_kernel::ActorKind;

/// What an event is to the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A consequence, or something that happened by itself.
    Event,
    /// The first event of an accepted command.
    Accepted,
    /// A refused command.
    Refused,
}

impl Outcome {
    pub const ALL: [Self; 3] = [Self::Event, Self::Accepted, Self::Refused];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "EVENT",
            Self::Accepted => "ACCEPTED",
            Self::Refused => "REFUSED",
        }
    }

    /// As it is stored.
    pub const fn number(self) -> i16 {
        match self {
            Self::Event => 0,
            Self::Accepted => 1,
            Self::Refused => 2,
        }
    }

    pub fn of_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.number() == number)
    }
}

const ACTORS: [ActorKind; 4] = [ActorKind::User, ActorKind::Staff, ActorKind::System, ActorKind::Anonymous];

/// The kind of actor as it is stored.
pub const fn actor_number(kind: ActorKind) -> i16 {
    match kind {
        ActorKind::User => 0,
        ActorKind::Staff => 1,
        ActorKind::System => 2,
        ActorKind::Anonymous => 3,
    }
}

pub fn actor_kind(number: i16) -> Option<ActorKind> {
    ACTORS.into_iter().find(|kind| actor_number(*kind) == number)
}

/// One stored event, by its logical columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    pub position: i64,
    pub event_id: Uuid,
    pub event_type: &'a str,
    /// The module that counts the aggregate.
    pub module: &'a str,
    pub aggregate_type: &'a str,
    pub aggregate_id: Uuid,
    pub sequence: i64,
    /// Where it differs from the aggregate's id.
    pub partition_key: Option<Uuid>,
    pub occurred_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
    pub correlation_id: Uuid,
    pub causation_id: Uuid,
    pub actor_kind: ActorKind,
    pub actor_id: Option<Uuid>,
    pub outcome: Outcome,
    pub command: Option<&'a str>,
    /// The refusal's code.
    pub code: Option<&'a str>,
    /// What a refused command was about.
    pub subject_id: Option<Uuid>,
    pub data: &'a str,
}

/// What the audit log needs of a refused command. Read leniently: the event is stored whatever its data looks like.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Refusal {
    pub command: Option<String>,
    pub code: Option<String>,
    pub subject_id: Option<Uuid>,
}

/// The refusal an event tells of, when its type says that it tells of one.
pub fn refusal_of(event_type: &EventType, data: &str) -> Option<Refusal> {
    let is_refusal = event_type.as_str().split('.').nth(1) == Some("command-refused");
    is_refusal.then(|| {
        let mut refusal: Refusal = serde_json::from_str(data).unwrap_or_default();
        refusal.command = refusal.command.filter(|text| is_storable(text));
        refusal.code = refusal.code.filter(|text| is_storable(text));
        refusal
    })
}

/// Names longer than this are no names.
const LONGEST_NAME: usize = 200;

/// An attribute that no column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is empty, longer than {LONGEST_NAME} bytes or contains a zero character")]
pub struct Unstorable(&'static str);

/// Checks the attributes whose form nothing else has checked.
///
/// # Errors
/// [`Unstorable`], naming the first one.
pub fn storable(event_type: &EventType, aggregate_type: &str, command: Option<&str>) -> Result<(), Unstorable> {
    let attributes =
        [("type", Some(event_type.as_str())), ("aggregatetype", Some(aggregate_type)), ("command", command)];
    attributes
        .into_iter()
        .find(|(_, text)| text.is_some_and(|text| !is_storable(text)))
        .map_or(Ok(()), |(name, _)| Err(Unstorable(name)))
}

/// PostgreSQL's text holds every character but zero.
fn is_storable(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_NAME && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_numbers_are_read_back() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::of_number(outcome.number()), Some(outcome));
        }
        for kind in ACTORS {
            assert_eq!(actor_kind(actor_number(kind)), Some(kind));
        }
        assert_eq!((Outcome::of_number(3), actor_kind(4)), (None, None));
    }

    #[test]
    fn a_refusal_is_known_by_its_type_in_every_version() {
        let data = r#"{"module":"account","command":"accountFreeze","code":"ACC_FROZEN","new":1}"#;
        for event_type in ["account.command-refused.v1", "card.command-refused.v2"] {
            let refusal = refusal_of(&EventType::of(event_type), data).expect("a refusal");
            assert_eq!(refusal.code.as_deref(), Some("ACC_FROZEN"));
            assert_eq!(refusal.command.as_deref(), Some("accountFreeze"));
        }
        assert_eq!(refusal_of(&EventType::of("account.account-created.v1"), data), None);
    }

    #[test]
    fn a_refusal_with_unreadable_data_is_still_a_refusal() {
        let refused = EventType::of("auth.command-refused.v1");
        for data in ["[]", r#"{"code":7}"#, r#"{"code":"a\u0000b"}"#, r#"{"code":""}"#] {
            assert_eq!(refusal_of(&refused, data), Some(Refusal::default()), "{data}");
        }
    }

    #[test]
    fn attributes_no_column_can_hold_are_named() {
        let known = EventType::of("auth.user-registered.v1");
        assert_eq!(storable(&known, "user", None), Ok(()));
        assert_eq!(storable(&known, "us\0er", None), Err(Unstorable("aggregatetype")));
        assert_eq!(storable(&known, "", None), Err(Unstorable("aggregatetype")));
        assert_eq!(storable(&known, "user", Some(&"x".repeat(201))), Err(Unstorable("command")));
    }
}
