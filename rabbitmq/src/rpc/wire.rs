//! Questions and replies as AMQP properties, headers and bodies.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use uuid::Uuid;
use vostro_messaging::rpc::{Asked, Reply, Request};
use vostro_messaging::trace;

use crate::message::short;
use crate::topology::role;

/// The exchange of all replies.
pub(crate) const REPLIES: &str = "rpc.reply";
/// What the names of reply queues begin with.
pub(crate) const REPLY_QUEUES: &str = "reply.";

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const NOTHING: &str = "application/octet-stream";
/// Lost with the broker, like the caller's patience.
const TRANSIENT: u8 = 1;
/// When the caller stops waiting, by its clock: milliseconds since 1970, UTC. For people; callees go by the expiration,
/// which needs no two clocks to agree.
const DEADLINE: &str = "vostro-deadline";
/// W3C trace context.
const TRACEPARENT: &str = "traceparent";
/// What kind of reply it is.
const OUTCOME: &str = "vostro-outcome";
const ANSWERED: &str = "answered";
const REFUSED: &str = "refused";
const FAILED: &str = "failed";

pub(crate) fn exchange_of(callee: &str) -> String {
    format!("rpc.{callee}")
}

pub(crate) fn queue_of(callee: &str) -> String {
    format!("q.{callee}.rpc")
}

/// A fresh name for the reply queue of an instance of a module. Nobody can guess it.
pub(super) fn reply_queue(module: &str) -> String {
    format!("{REPLY_QUEUES}{module}.{:032x}", rand::random::<u128>())
}

pub(super) fn question(
    request: &Request,
    now: DateTime<Utc>,
    reply_to: &str,
    user: &str,
) -> Result<BasicProperties, String> {
    let left = (request.deadline - now).num_milliseconds().max(0);
    let mut headers = FieldTable::default();
    headers.insert(DEADLINE.into(), AMQPValue::LongLongInt(request.deadline.timestamp_millis()));
    if let Some(traceparent) = &request.traceparent {
        headers.insert(TRACEPARENT.into(), AMQPValue::LongString(traceparent.as_str().into()));
    }
    Ok(BasicProperties::default()
        .with_content_type(JSON.into())
        .with_headers(headers)
        .with_delivery_mode(TRANSIENT)
        .with_type(short(request.query)?)
        .with_correlation_id(short(&request.id.to_string())?)
        .with_reply_to(short(reply_to)?)
        .with_expiration(short(&left.to_string())?)
        .with_user_id(short(user)?))
}

/// A question with the way back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub asked: Asked,
    pub correlation_id: ShortString,
    pub reply_to: ShortString,
}

/// Reads a question. `None` when it lacks what a reply needs, or asks for the reply to go to somebody else than the sender.
pub(super) fn received(properties: &BasicProperties, body: Vec<u8>, vhost: &str) -> Option<Received> {
    let caller = properties.user_id().as_ref().and_then(|user| role(vhost, user.as_str()))?;
    let reply_to = properties.reply_to().clone()?;
    if !reply_to.as_str().starts_with(&format!("{REPLY_QUEUES}{caller}.")) {
        return None;
    }
    let headers = properties.headers().as_ref()?.inner();
    let traceparent = match headers.get(TRACEPARENT) {
        Some(AMQPValue::LongString(text)) => std::str::from_utf8(text.as_bytes()).ok(),
        _ => None,
    };
    let traceparent = traceparent.filter(|text| trace::is_valid(text)).map(ToOwned::to_owned);
    let patience = Duration::from_millis(properties.expiration().as_ref()?.as_str().parse().ok()?);
    let query = properties.kind().as_ref()?.to_string();
    let asked = Asked { query, caller: caller.to_owned(), patience, body, traceparent };
    Some(Received { asked, correlation_id: properties.correlation_id().clone()?, reply_to })
}

/// A reply as it is published.
pub(super) fn reply(
    reply: Reply,
    correlation_id: ShortString,
    user: &str,
) -> Result<(BasicProperties, Vec<u8>), String> {
    let (outcome, content_type, body) = match reply {
        Reply::Answered(body) => (ANSWERED, JSON, body),
        Reply::Refused(reason) => (REFUSED, TEXT, reason.into_bytes()),
        Reply::Failed => (FAILED, NOTHING, Vec::new()),
    };
    let mut headers = FieldTable::default();
    headers.insert(OUTCOME.into(), AMQPValue::LongString(outcome.into()));
    let properties = BasicProperties::default()
        .with_content_type(content_type.into())
        .with_headers(headers)
        .with_delivery_mode(TRANSIENT)
        .with_correlation_id(correlation_id)
        .with_user_id(short(user)?);
    Ok((properties, body))
}

/// A reply as it comes in: whose question it answers, who sent it (nobody when the broker does not know), and what it says.
pub(super) fn replied(properties: &BasicProperties, body: Vec<u8>, vhost: &str) -> Option<(Uuid, String, Reply)> {
    let id = properties.correlation_id().as_ref()?.as_str().parse().ok()?;
    let sender = properties.user_id().as_ref().and_then(|user| role(vhost, user.as_str())).unwrap_or_default();
    let outcome = match properties.headers().as_ref()?.inner().get(OUTCOME)? {
        AMQPValue::LongString(text) => text.as_bytes().to_vec(),
        _ => return None,
    };
    let reply = match outcome.as_slice() {
        outcome if outcome == ANSWERED.as_bytes() => Reply::Answered(body),
        outcome if outcome == REFUSED.as_bytes() => Reply::Refused(String::from_utf8_lossy(&body).into_owned()),
        outcome if outcome == FAILED.as_bytes() => Reply::Failed,
        _ => return None,
    };
    Some((id, sender.to_owned(), reply))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn request() -> Request {
        Request {
            id: Uuid::from_u128(7),
            query: "auth.name-check.v1",
            callee: "auth",
            deadline: DateTime::from_timestamp_millis(1_900_000_000_250).expect("an instant"),
            body: b"{}".to_vec(),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        }
    }

    fn sent(reply_to: &str, user: &str) -> BasicProperties {
        let request = request();
        question(&request, request.deadline - TimeDelta::milliseconds(400), reply_to, user).expect("short texts")
    }

    #[test]
    fn a_question_is_read_as_it_was_asked_and_expires_with_its_callers_patience() {
        let properties = sent("reply.account.1", "vostro.account");
        assert_eq!(properties.expiration().as_ref().map(ShortString::as_str), Some("400"));
        let received = received(&properties, b"{}".to_vec(), "vostro").expect("complete");
        let Request { query, body, traceparent, .. } = request();
        let patience = Duration::from_millis(400);
        let asked = Asked { query: query.to_owned(), caller: "account".to_owned(), patience, body, traceparent };
        assert_eq!(received.asked, asked);
        assert_eq!(received.correlation_id.as_str(), Uuid::from_u128(7).to_string());
    }

    #[test]
    fn a_malformed_trace_context_is_ignored_and_the_question_is_not() {
        let request = Request { traceparent: Some("00-forged".to_owned()), ..request() };
        let properties =
            question(&request, request.deadline, "reply.account.1", "vostro.account").expect("short texts");
        let received = received(&properties, Vec::new(), "vostro").expect("complete");
        assert_eq!(received.asked.traceparent, None);
    }

    #[test]
    fn a_caller_cannot_have_the_reply_sent_to_somebody_else() {
        for (reply_to, user) in [
            ("reply.compliance.1", "vostro.account"),
            ("q.compliance.archive", "vostro.account"),
            ("reply.account.1", "other.account"),
            ("reply.account.1", "vostro"),
        ] {
            assert_eq!(received(&sent(reply_to, user), Vec::new(), "vostro"), None, "{reply_to} {user}");
        }
    }

    #[test]
    fn a_callee_whose_clock_is_wrong_knows_how_long_the_caller_waits() {
        let question = |deadline| {
            let request = Request { deadline, ..request() };
            let asked_at = deadline - TimeDelta::milliseconds(400);
            let properties = question(&request, asked_at, "reply.account.1", "vostro.account").expect("short texts");
            received(&properties, Vec::new(), "vostro").expect("complete").asked.patience
        };
        for deadline in [DateTime::UNIX_EPOCH + TimeDelta::days(1), request().deadline] {
            assert_eq!(question(deadline), Duration::from_millis(400));
        }
    }

    #[test]
    fn what_lacks_a_deadline_or_the_way_back_is_no_question() {
        let whole = sent("reply.account.1", "vostro.account");
        let bare = BasicProperties::default().with_user_id("vostro.account".into());
        assert_eq!(received(&bare, Vec::new(), "vostro"), None);
        assert_eq!(received(&whole.with_expiration("soon".into()), Vec::new(), "vostro"), None);
    }

    #[test]
    fn every_kind_of_reply_comes_back_as_it_was_sent() {
        let id = Uuid::from_u128(7);
        for sent in [Reply::Answered(b"[1]".to_vec()), Reply::Refused("no".to_owned()), Reply::Failed] {
            let correlation_id = short(&id.to_string()).expect("short");
            let (properties, body) = reply(sent.clone(), correlation_id, "vostro.auth").expect("short texts");
            let (of, sender, reply) = replied(&properties, body, "vostro").expect("complete");
            assert_eq!((of, sender.as_str(), reply), (id, "auth", sent));
        }
        assert_eq!(replied(&BasicProperties::default(), Vec::new(), "vostro"), None);
    }
}
