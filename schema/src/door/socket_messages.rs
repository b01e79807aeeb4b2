//! The messages of `graphql-transport-ws`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::clients::is_name_header;
use super::envelope::Envelope;

/// The sub-protocol both sides speak.
pub const PROTOCOL: &str = "graphql-transport-ws";

/// Why the bank closes a connection. Codes from 4400 are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The server stops.
    GoingAway,
    /// The client may be let in a little later; nothing is known against it.
    TryAgainLater,
    /// The caller has as many connections as it may.
    TooManyConnections,
    /// A message the protocol does not know, or at the wrong time.
    BadMessage,
    /// An operation before `connection_init` was acknowledged.
    Unauthorized,
    /// The token proves nothing, or not any longer.
    Forbidden,
    /// Another sub-protocol.
    SubprotocolNotAcceptable,
    /// No `connection_init` in time.
    InitTimeout,
    /// An operation with the id of one that is still running.
    DuplicateOperation,
    /// More than one `connection_init`.
    TooManyInits,
}

impl Close {
    pub const fn code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::TryAgainLater | Self::TooManyConnections => 1013,
            Self::BadMessage => 4400,
            Self::Unauthorized => 4401,
            Self::Forbidden => 4403,
            Self::SubprotocolNotAcceptable => 4406,
            Self::InitTimeout => 4408,
            Self::DuplicateOperation => 4409,
            Self::TooManyInits => 4429,
        }
    }

    pub const fn reason(self) -> &'static str {
        match self {
            Self::GoingAway => "The server is stopping",
            Self::TryAgainLater => "Try again later",
            Self::TooManyConnections => "Too many connections of this caller",
            Self::BadMessage => "Invalid message",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::SubprotocolNotAcceptable => "Subprotocol not acceptable",
            Self::InitTimeout => "Connection initialisation timeout",
            Self::DuplicateOperation => "Subscriber already exists",
            Self::TooManyInits => "Too many initialisation requests",
        }
    }
}

/// A message from the client.
#[derive(Debug)]
pub enum ClientMessage<'a> {
    Init(Hello),
    Ping,
    Pong,
    Subscribe { id: String, envelope: Envelope<'a> },
    Complete { id: String },
}

/// Whom a client says it acts for, and what it is: headers of other transports, in the payload of the first message.
#[derive(Debug, Default)]
pub struct Hello {
    pub authorization: Option<String>,
    pub client: Option<String>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

/// The text is no message of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAMessage;

/// The longest id of an operation; ids come back with every event.
const LONGEST_ID: usize = 128;

impl<'a> ClientMessage<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`NotAMessage`], upon which the protocol wants the connection closed.
    pub fn parse(text: &'a str) -> Result<Self, NotAMessage> {
        let raw: Raw<'a> = serde_json::from_str(text).map_err(|_| NotAMessage)?;
        let id = || match &raw.id {
            Some(id) if (1..=LONGEST_ID).contains(&id.len()) => Ok(id.clone().into_owned()),
            _ => Err(NotAMessage),
        };
        match &*raw.kind {
            "connection_init" => raw.payload.map_or(Ok(Self::Init(Hello::default())), hello),
            "ping" => Ok(Self::Ping),
            "pong" => Ok(Self::Pong),
            "complete" => Ok(Self::Complete { id: id()? }),
            "subscribe" => {
                let payload = raw.payload.ok_or(NotAMessage)?;
                let envelope = Envelope::from_json(payload.get().as_bytes()).map_err(|_| NotAMessage)?;
                if envelope.query.is_none() && envelope.document_id().is_none() {
                    return Err(NotAMessage);
                }
                Ok(Self::Subscribe { id: id()?, envelope })
            }
            _ => Err(NotAMessage),
        }
    }
}

fn hello<'a>(payload: &RawValue) -> Result<ClientMessage<'a>, NotAMessage> {
    let payload: Option<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(payload.get()).map_err(|_| NotAMessage)?;
    let mut payload = payload.unwrap_or_default();
    let mut text = |wanted: fn(&str) -> bool| match payload.iter_mut().find(|(name, _)| wanted(name)) {
        None | Some((_, serde_json::Value::Null)) => Ok(None),
        Some((_, serde_json::Value::String(text))) => Ok(Some(std::mem::take(text))),
        Some(_) => Err(NotAMessage),
    };
    let authorization = text(|name| name.eq_ignore_ascii_case("authorization"))?;
    Ok(ClientMessage::Init(Hello { authorization, client: text(is_name_header)? }))
}

pub const ACKNOWLEDGE: &str = r#"{"type":"connection_ack"}"#;
pub const PONG: &str = r#"{"type":"pong"}"#;

/// `next` with a response, or `error` with a list of errors.
pub fn with_payload(kind: &str, id: &str, payload: &[u8]) -> String {
    let id = serde_json::Value::from(id);
    let payload = String::from_utf8_lossy(payload);
    format!(r#"{{"type":"{kind}","id":{id},"payload":{payload}}}"#)
}

pub fn complete(id: &str) -> String {
    let id = serde_json::Value::from(id);
    format!(r#"{{"type":"complete","id":{id}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_in_the_payload_of_the_first_message() {
        let token = |text: &str| match ClientMessage::parse(text) {
            Ok(ClientMessage::Init(hello)) => hello.authorization,
            other => panic!("{other:?}"),
        };
        assert_eq!(token(r#"{"type":"connection_init"}"#), None);
        assert_eq!(token(r#"{"type":"connection_init","payload":null}"#), None);
        assert_eq!(token(r#"{"type":"connection_init","payload":{"a":1}}"#), None);
        assert_eq!(
            token(r#"{"type":"connection_init","payload":{"Authorization":"Bearer x"}}"#),
            Some("Bearer x".into())
        );
    }

    #[test]
    fn the_name_of_the_client_is_found_beside_the_token() {
        let text =
            r#"{"type":"connection_init","payload":{"authorization":"Bearer x","ApolloGraphQL-Client-Name":"app"}}"#;
        let Ok(ClientMessage::Init(hello)) = ClientMessage::parse(text) else { panic!("no introduction") };
        assert_eq!((hello.authorization.as_deref(), hello.client.as_deref()), (Some("Bearer x"), Some("app")));
    }

    #[test]
    fn what_the_protocol_does_not_know_is_no_message() {
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"type":"start","id":"1"}"#,
            r#"{"type":"complete"}"#,
            r#"{"type":"complete","id":""}"#,
            r#"{"type":"complete","id":7}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"subscribe","payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":"1","payload":{}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":1}}"#,
            r#"{"type":"connection_init","payload":"Bearer x"}"#,
            r#"{"type":"connection_init","payload":{"authorization":7}}"#,
            r#"{"type":"connection_init","payload":{"graphql-client-name":7}}"#,
        ] {
            assert!(ClientMessage::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ids_are_written_as_json() {
        assert_eq!(complete("a\"b"), r#"{"type":"complete","id":"a\"b"}"#);
        assert_eq!(with_payload("next", "1", b"{}"), r#"{"type":"next","id":"1","payload":{}}"#);
    }
}
