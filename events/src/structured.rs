//! CloudEvents JSON format (structured mode): attributes and data in one JSON object.
//!
//! This is how an event lies in the outbox, so that publishing is copying bytes; several of them in an array are a
//! CloudEvents batch.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;
use vostro_kernel::ActorKind;

use crate::{Cause, DataRef, Envelope, EventType};

/// Bytes that are not an event, with what is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    #[error("not a CloudEvent: {0}")]
    Malformed(String),
    #[error("unsupported CloudEvents version {0:?}")]
    SpecVersion(String),
    #[error("unsupported content type {0:?}")]
    ContentType(String),
    #[error("unsupported content encoding {0:?}")]
    ContentEncoding(String),
    #[error("the message has {bytes} bytes; at most {most} are read")]
    TooLarge { bytes: usize, most: usize },
    #[error("the JSON is nested deeper than {most} levels")]
    TooDeep { most: usize },
    #[error("attribute {0} is missing or malformed")]
    Attribute(&'static str),
    /// Readable, and not to be believed: the authenticated sender (empty: nobody) is not the module that owns the type.
    #[error("{event_type} was sent by {sender:?}, which does not own it")]
    ForeignSender { event_type: String, sender: String },
}

/// The attributes in the order they are written. Names are lower-case letters and digits, as CloudEvents demands.
#[derive(Serialize, Deserialize)]
struct Structured<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    id: Uuid,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    event_type: Cow<'a, str>,
    subject: Uuid,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    aggregatetype: Cow<'a, str>,
    #[serde(borrow)]
    sequence: Cow<'a, str>,
    partitionkey: Uuid,
    correlationid: Uuid,
    causationid: Uuid,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    command: Option<Cow<'a, str>>,
    #[serde(borrow)]
    actorkind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actorid: Option<Uuid>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    dataref: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    datadigest: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    datasize: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Writes an event with its data (JSON text) as one JSON object.
pub fn write_structured(envelope: &Envelope, data: &RawValue) -> Vec<u8> {
    let Cause { correlation_id, causation_id, command, actor_kind, actor_id, traceparent } = &envelope.cause;
    let reference = envelope.dataref.map(|reference| reference.attributes(envelope.event_type.module()));
    let [dataref, datadigest, datasize] = reference.map_or([None, None, None], |attributes| attributes.map(Some));
    let structured = Structured {
        specversion: "1.0".into(),
        id: envelope.id,
        source: format!("/vostro/{}", envelope.event_type.module()).into(),
        event_type: envelope.event_type.as_str().into(),
        subject: envelope.aggregate_id,
        time: envelope.occurred_at.to_rfc3339_opts(SecondsFormat::Micros, true).into(),
        aggregatetype: envelope.aggregate_type.as_ref().into(),
        sequence: format!("{:020}", envelope.sequence).into(),
        partitionkey: envelope.partition_key,
        correlationid: *correlation_id,
        causationid: *causation_id,
        command: command.as_deref().map(Cow::Borrowed),
        actorkind: actor_kind.as_str().into(),
        actorid: *actor_id,
        traceparent: traceparent.as_deref().map(Cow::Borrowed),
        dataref: dataref.map(Cow::Owned),
        datadigest: datadigest.map(Cow::Owned),
        datasize: datasize.map(Cow::Owned),
        data,
    };
    serde_json::to_vec(&structured).expect("strings, UUIDs and JSON text always serialise")
}

/// Reads one structured event.
///
/// # Errors
/// [`Undecodable`] with the first thing that is wrong. Attributes nobody knows are ignored, as CloudEvents asks.
pub fn read_structured(bytes: &[u8]) -> Result<(Envelope, Box<RawValue>), Undecodable> {
    let wire: Structured<'_> =
        serde_json::from_slice(bytes).map_err(|error| Undecodable::Malformed(error.to_string()))?;
    wire.into_event()
}

/// Reads a batch: a JSON array of structured events. One bad event makes the batch undecodable, because nothing can be
/// said about where the next one begins; an empty batch is refused, because nobody sends one on purpose.
///
/// # Errors
/// [`Undecodable`].
pub fn read_batch(bytes: &[u8]) -> Result<Vec<(Envelope, Box<RawValue>)>, Undecodable> {
    let wires: Vec<Structured<'_>> =
        serde_json::from_slice(bytes).map_err(|error| Undecodable::Malformed(error.to_string()))?;
    if wires.is_empty() {
        return Err(Undecodable::Malformed("an empty batch".to_owned()));
    }
    wires.into_iter().map(Structured::into_event).collect()
}

impl Structured<'_> {
    fn into_event(self) -> Result<(Envelope, Box<RawValue>), Undecodable> {
        if self.specversion != "1.0" {
            return Err(Undecodable::SpecVersion(self.specversion.into_owned()));
        }
        let event_type = EventType::parse(&self.event_type).map_err(|_| Undecodable::Attribute("type"))?;
        if self.source.strip_prefix("/vostro/") != Some(event_type.module()) {
            return Err(Undecodable::Attribute("source"));
        }
        let dataref = match (&self.dataref, &self.datadigest, &self.datasize) {
            (None, None, None) => None,
            (Some(reference), Some(digest), Some(size)) => {
                let read = DataRef::read(event_type.module(), reference, digest, size);
                Some(read.ok_or(Undecodable::Attribute("dataref"))?)
            }
            _ => return Err(Undecodable::Attribute("dataref")),
        };
        let sequence = self.sequence.parse::<i64>().ok().filter(|sequence| *sequence >= 1);
        let cause = Cause {
            correlation_id: self.correlationid,
            causation_id: self.causationid,
            command: self.command.map(|command| Cow::Owned(command.into_owned())),
            actor_kind: self.actorkind.parse::<ActorKind>().map_err(|_| Undecodable::Attribute("actorkind"))?,
            actor_id: self.actorid,
            traceparent: self.traceparent.map(Cow::into_owned),
        };
        let envelope = Envelope {
            id: self.id,
            event_type,
            occurred_at: parse_time(&self.time).ok_or(Undecodable::Attribute("time"))?,
            aggregate_type: Cow::Owned(self.aggregatetype.into_owned()),
            aggregate_id: self.subject,
            sequence: sequence.ok_or(Undecodable::Attribute("sequence"))?,
            partition_key: self.partitionkey,
            cause,
            dataref,
        };
        Ok((envelope, self.data.to_owned()))
    }
}

fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            id: Uuid::now_v7(),
            event_type: EventType::of("account.balance-changed.v1"),
            occurred_at: DateTime::from_timestamp_micros(1_790_000_000_123_456).expect("a valid time"),
            aggregate_type: "balance".into(),
            aggregate_id: Uuid::now_v7(),
            sequence: 42,
            partition_key: Uuid::now_v7(),
            cause: Cause {
                correlation_id: Uuid::now_v7(),
                causation_id: Uuid::now_v7(),
                command: Some("transferCreate".into()),
                actor_kind: ActorKind::User,
                actor_id: Some(Uuid::now_v7()),
                traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            },
            dataref: None,
        }
    }

    fn data(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).expect("JSON text")
    }

    #[test]
    fn an_event_is_read_back_as_it_was_written_to_the_byte() {
        let (envelope, data) = (envelope(), data(r#"{"b": 1, "a":[2]}"#));
        let (read, read_data) = read_structured(&write_structured(&envelope, &data)).expect("decodable");
        assert_eq!(read, envelope);
        assert_eq!(read_data.get(), data.get());
    }

    #[test]
    fn a_reference_to_data_elsewhere_is_read_back_or_named_when_it_is_broken() {
        let dataref = Some(DataRef { sha256: [0xab; 32], size: 100_000 });
        let (envelope, null) = (Envelope { dataref, ..envelope() }, data("null"));
        let written = String::from_utf8(write_structured(&envelope, &null)).expect("UTF-8");
        assert_eq!(read_structured(written.as_bytes()).map(|(read, _)| read), Ok(envelope));
        for (from, to) in [("sha-256:abab", "sha-256:abac"), ("claim:account", "claim:auth"), ("datasize", "datasise")]
        {
            let broken = written.replacen(from, to, 1);
            let refusal = read_structured(broken.as_bytes()).expect_err("broken");
            assert_eq!(refusal, Undecodable::Attribute("dataref"), "{from}");
        }
    }

    #[test]
    fn a_batch_keeps_the_order_of_its_events() {
        let events = [envelope(), envelope(), envelope()];
        let texts = events.iter().map(|event| write_structured(event, &data("{}"))).collect::<Vec<_>>();
        let batch = [b"[".to_vec(), texts.join(&b','), b"]".to_vec()].concat();
        let read = read_batch(&batch).expect("decodable").into_iter().map(|(event, _)| event).collect::<Vec<_>>();
        assert_eq!(read, events);
    }

    #[test]
    fn every_broken_attribute_is_named() {
        let text = String::from_utf8(write_structured(&envelope(), &data("{}"))).expect("UTF-8");
        let broken = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            read_structured(text.replacen(from, to, 1).as_bytes()).expect_err("broken")
        };
        assert_eq!(broken("\"1.0\"", "\"0.3\""), Undecodable::SpecVersion("0.3".into()));
        assert_eq!(broken("account.balance-changed.v1", "account.balance-changed"), Undecodable::Attribute("type"));
        assert_eq!(broken("/vostro/account", "/vostro/auth"), Undecodable::Attribute("source"));
        assert_eq!(broken("00000000000000000042", "-1"), Undecodable::Attribute("sequence"));
        assert_eq!(broken("\"USER\"", "\"GOD\""), Undecodable::Attribute("actorkind"));
        assert!(matches!(broken("\"subject\"", "\"object\""), Undecodable::Malformed(_)));
    }

    #[test]
    fn bytes_that_are_no_event_are_undecodable() {
        for bytes in [&b""[..], b"{", b"[]", b"null", b"\xff\xfe", b"[{}]"] {
            assert!(read_batch(bytes).is_err());
            assert!(read_structured(bytes).is_err());
        }
    }
}
