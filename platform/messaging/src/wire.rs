//! CloudEvents on AMQP without knowing AMQP: content type, headers and body.
//!
//! One event travels in binary mode (attributes in headers with the prefix `cloudEvents_`, the body is the data);
//! several travel as a CloudEvents JSON batch, compressed with Zstandard (RFC 8878; the content encoding says so). All of it
//! is standard, so any CloudEvents reader understands it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;
use vostro_events::{Undecodable, read_batch, read_structured, write_structured};

use crate::compression::{self, ZSTD};
use crate::{Frame, Incoming, limits};

/// The header in which the transport names the module that sent the message, as the broker authenticated it; empty when it
/// did not. A message without it did not come from a broker.
pub const SENDER: &str = "vostro-sender";

/// The header in which the transport hands over a message's content encoding; absent when the body is plain.
pub const CONTENT_ENCODING: &str = "content-encoding";

const PREFIX: &str = "cloudEvents_";
/// The CloudEvents AMQP binding also allows a colon.
const OTHER_PREFIX: &str = "cloudEvents:";
const JSON: &str = "application/json";
const BATCH: &str = "application/cloudevents-batch+json";
pub(crate) const STRUCTURED: &str = "application/cloudevents+json";

/// A message to publish, apart from its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundMessage {
    pub content_type: &'static str,
    /// How the body is packed; `None` when it is plain.
    pub content_encoding: Option<&'static str>,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// A message as it came from the broker. Headers that are not text are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InboundMessage {
    pub content_type: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// Puts a frame on the wire.
pub fn encode(frame: &Frame) -> OutboundMessage {
    match frame.events.as_slice() {
        [event] => binary(event),
        events => OutboundMessage {
            content_type: BATCH,
            content_encoding: Some(ZSTD),
            headers: BTreeMap::from([(format!("{PREFIX}type"), frame.event_type.clone())]),
            body: compression::compress(&[b"[".as_slice(), &events.join(&b','), b"]"].concat()),
        },
    }
}

fn binary(event: &[u8]) -> OutboundMessage {
    let mut attributes: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(event).expect("the outbox holds what write_structured wrote");
    let body = attributes.remove("data").map_or_else(Vec::new, |data| data.get().as_bytes().to_vec());
    let headers = attributes
        .into_iter()
        .filter_map(|(name, value)| Some((format!("{PREFIX}{name}"), serde_json::from_str(value.get()).ok()?)))
        .collect();
    OutboundMessage { content_type: JSON, content_encoding: None, headers, body }
}

/// Reads every event of a message.
///
/// # Errors
/// [`Undecodable`]; the message as a whole then belongs on the dead-letter queue.
pub fn decode(message: &InboundMessage) -> Result<Vec<Incoming>, Undecodable> {
    limits::check_size(message.body.len())?;
    let body = plain_body(message)?;
    limits::check_depth(&body)?;
    let media_type = message.content_type.split(';').next().unwrap_or_default().trim();
    let events = match media_type {
        BATCH => read_batch(&body)?,
        STRUCTURED => vec![read_structured(&body)?],
        JSON => vec![read_structured(&structured(&message.headers, &body)?)?],
        _ => return Err(Undecodable::ContentType(message.content_type.clone())),
    };
    let events: Vec<_> = events.into_iter().map(|(envelope, data)| Incoming { envelope, data }).collect();
    refuse_foreign_sender(message, &events)?;
    Ok(events)
}

fn plain_body(message: &InboundMessage) -> Result<Cow<'_, [u8]>, Undecodable> {
    match message.headers.get(CONTENT_ENCODING).map(String::as_str) {
        None => Ok(Cow::Borrowed(&message.body)),
        Some(ZSTD) => compression::expand(&message.body).map(Cow::Owned),
        Some(other) => Err(Undecodable::ContentEncoding(other.to_owned())),
    }
}

/// A module may tell what is its own and nothing else. The broker lets it publish to its own exchange only; this is for
/// what it writes into the message.
fn refuse_foreign_sender(message: &InboundMessage, events: &[Incoming]) -> Result<(), Undecodable> {
    let Some(sender) = message.headers.get(SENDER) else { return Ok(()) };
    match events.iter().find(|event| event.envelope.event_type.module() != sender) {
        None => Ok(()),
        Some(event) => Err(Undecodable::ForeignSender {
            event_type: event.envelope.event_type.as_str().to_owned(),
            sender: sender.clone(),
        }),
    }
}

/// A single event as a message of its own, for parking it when it came in a frame with others.
pub(crate) fn alone(event: &Incoming) -> InboundMessage {
    let body = write_structured(&event.envelope, &event.data);
    InboundMessage { content_type: STRUCTURED.to_owned(), headers: BTreeMap::new(), body }
}

/// Rebuilds the structured form of a binary-mode message, so that there is one reader for both.
fn structured(headers: &BTreeMap<String, String>, body: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let data: &RawValue = serde_json::from_slice(body)
        .map_err(|error| Undecodable::Malformed(format!("the data is not JSON: {error}")))?;
    let mut event = serde_json::Map::new();
    for (name, value) in headers {
        if let Some(attribute) = name.strip_prefix(PREFIX).or_else(|| name.strip_prefix(OTHER_PREFIX)) {
            event.insert(attribute.to_owned(), value.as_str().into());
        }
    }
    let mut text = serde_json::to_vec(&event).expect("a map of strings always serialises");
    text.pop();
    if !event.is_empty() {
        text.push(b',');
    }
    text.extend_from_slice(b"\"data\":");
    text.extend_from_slice(data.get().as_bytes());
    text.push(b'}');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use uuid::Uuid;
    use vostro_events::{Cause, Envelope, EventType};
    use vostro_kernel::ActorKind;

    fn event(sequence: i64) -> (Envelope, Vec<u8>) {
        let envelope = Envelope {
            id: Uuid::now_v7(),
            event_type: EventType::of("auth.user-updated.v1"),
            occurred_at: DateTime::UNIX_EPOCH,
            aggregate_type: "user".into(),
            aggregate_id: Uuid::now_v7(),
            sequence,
            partition_key: Uuid::now_v7(),
            cause: Cause {
                correlation_id: Uuid::now_v7(),
                causation_id: Uuid::now_v7(),
                command: None,
                actor_kind: ActorKind::System,
                actor_id: None,
                traceparent: None,
            },
            dataref: None,
        };
        let data = RawValue::from_string(r#"{"name":"Zoë","n":1}"#.to_owned()).expect("JSON");
        let bytes = write_structured(&envelope, &data);
        (envelope, bytes)
    }

    fn frame(events: Vec<Vec<u8>>) -> Frame {
        Frame {
            exchange: "ev.auth".into(),
            routing_key: "auth.user-updated.v1.s00".into(),
            event_type: "auth.user-updated.v1".into(),
            message_id: Uuid::nil(),
            occurred_at: DateTime::UNIX_EPOCH,
            rows: vec![0; events.len()],
            events,
        }
    }

    fn received(message: OutboundMessage) -> InboundMessage {
        let mut headers = message.headers;
        headers.extend(message.content_encoding.map(|encoding| (CONTENT_ENCODING.to_owned(), encoding.to_owned())));
        InboundMessage { content_type: message.content_type.into(), headers, body: message.body }
    }

    #[test]
    fn a_lone_event_travels_in_binary_mode() {
        let (envelope, bytes) = event(1);
        let message = encode(&frame(vec![bytes]));
        assert_eq!(message.content_type, "application/json");
        assert_eq!(message.headers["cloudEvents_specversion"], "1.0");
        assert_eq!(message.headers["cloudEvents_id"], envelope.id.to_string());
        assert_eq!(message.headers["cloudEvents_source"], "/vostro/auth");
        assert_eq!(message.body, r#"{"name":"Zoë","n":1}"#.as_bytes());
        let decoded = decode(&received(message)).expect("decodable");
        assert_eq!(decoded[0].envelope, envelope);
    }

    #[test]
    fn several_events_travel_as_a_batch_in_order() {
        let (first, second) = (event(1), event(2));
        let message = encode(&frame(vec![first.1, second.1]));
        assert_eq!(message.content_type, "application/cloudevents-batch+json");
        assert_eq!(message.content_encoding, Some("zstd"));
        let decoded = decode(&received(message)).expect("decodable");
        assert_eq!(decoded.into_iter().map(|event| event.envelope).collect::<Vec<_>>(), [first.0, second.0]);
    }

    #[test]
    fn a_body_that_cannot_be_unpacked_is_undecodable_with_a_reason() {
        let packed = received(encode(&frame(vec![event(1).1, event(2).1])));
        let reason = |change: &dyn Fn(&mut InboundMessage)| {
            let mut message = packed.clone();
            change(&mut message);
            decode(&message).expect_err("undecodable").to_string()
        };
        let encoded = |name: &'static str| {
            move |message: &mut InboundMessage| {
                message.headers.insert(CONTENT_ENCODING.to_owned(), name.to_owned());
            }
        };
        assert_eq!(reason(&encoded("br")), "unsupported content encoding \"br\"");
        let truncated = reason(&|message| message.body.truncate(message.body.len() / 2));
        assert!(truncated.starts_with("not a CloudEvent: the body is no complete Zstandard frame"), "{truncated}");
        let never_packed = reason(&|message| message.body = b"[]".to_vec());
        assert!(
            never_packed.starts_with("not a CloudEvent: the body is no complete Zstandard frame"),
            "{never_packed}"
        );
    }

    #[test]
    fn what_travels_small_and_would_be_read_large_is_refused() {
        let mut message = received(encode(&frame(vec![event(1).1, event(2).1])));
        message.body = compression::compress(&[b"[".as_slice(), &vec![b' '; limits::MESSAGE_BYTES]].concat());
        assert!(message.body.len() < limits::MESSAGE_BYTES / 100);
        let (bytes, most) = (limits::MESSAGE_BYTES + 1, limits::MESSAGE_BYTES);
        assert_eq!(decode(&message).expect_err("too large"), Undecodable::TooLarge { bytes, most });
    }

    #[test]
    fn a_plain_batch_of_another_publisher_is_read_too() {
        let (envelope, bytes) = event(1);
        let body = [b"[".as_slice(), &bytes, b"]"].concat();
        let message = InboundMessage { content_type: BATCH.into(), body, ..Default::default() };
        assert_eq!(decode(&message).expect("decodable")[0].envelope, envelope);
    }

    #[test]
    fn an_event_from_somebody_who_does_not_own_it_is_refused() {
        let from = |sender: &str, events: Vec<Vec<u8>>| {
            let mut message = received(encode(&frame(events)));
            message.headers.insert(SENDER.to_owned(), sender.to_owned());
            decode(&message).map(|events| events.len())
        };
        assert_eq!(from("auth", vec![event(1).1]), Ok(1));
        assert_eq!(from("auth", vec![event(1).1, event(2).1]), Ok(2));
        for forger in ["account", ""] {
            for events in [vec![event(1).1], vec![event(1).1, event(2).1]] {
                let expected =
                    Undecodable::ForeignSender { event_type: "auth.user-updated.v1".into(), sender: forger.into() };
                assert_eq!(from(forger, events), Err(expected));
            }
        }
    }

    #[test]
    fn messages_of_others_are_undecodable_with_a_reason() {
        let reason = |content_type: &str, body: &[u8]| {
            let message =
                InboundMessage { content_type: content_type.into(), body: body.to_vec(), ..Default::default() };
            decode(&message).expect_err("undecodable").to_string()
        };
        assert_eq!(reason("text/plain", b"hello"), "unsupported content type \"text/plain\"");
        assert!(reason("application/json", b"{").starts_with("not a CloudEvent: the data is not JSON"));
        assert!(reason("application/json", b"{}").contains("missing field"));
        assert!(reason("application/cloudevents-batch+json", b"[]").contains("empty batch"));
    }
}
