//! Frames and deliveries as AMQP properties, headers and bodies.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::message;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use vostro_messaging::{CONTENT_ENCODING, Delivery, Frame, InboundMessage, SENDER, encode};

use crate::topology::role;

/// Survives a restart of the broker, and dead-lettering keeps it.
const PERSISTENT: u8 = 2;
/// How often a quorum queue has delivered the message before; absent the first time.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// A message as lapin takes it.
pub(crate) struct Outgoing {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
}

/// Puts a frame into AMQP terms; `app_id` names the publisher and `user_id` its login. The error names a text that AMQP
/// cannot carry.
pub(crate) fn outgoing(frame: &Frame, app_id: &ShortString, user_id: &ShortString) -> Result<Outgoing, String> {
    let message = encode(frame);
    let mut headers = FieldTable::default();
    for (name, value) in message.headers {
        headers.insert(short(&name)?, AMQPValue::LongString(value.into()));
    }
    let seconds = u64::try_from(frame.occurred_at.timestamp()).unwrap_or_default();
    let mut properties = BasicProperties::default()
        .with_content_type(message.content_type.into())
        .with_headers(headers)
        .with_delivery_mode(PERSISTENT)
        .with_message_id(short(&frame.message_id.to_string())?)
        .with_timestamp(seconds)
        .with_type(short(&frame.event_type)?)
        .with_app_id(app_id.clone())
        .with_user_id(user_id.clone());
    if let Some(encoding) = message.content_encoding {
        properties = properties.with_content_encoding(encoding.into());
    }
    Ok(Outgoing {
        exchange: short(&frame.exchange)?,
        routing_key: short(&frame.routing_key)?,
        properties,
        body: message.body,
    })
}

/// Takes a delivery out of AMQP terms. The sender is the module whose login the broker has seen, which leaves out users of
/// other virtual hosts; nobody when the publisher did not say who it is.
pub(crate) fn incoming(delivery: message::Delivery, vhost: &str) -> Delivery {
    let properties = &delivery.properties;
    let headers = properties.headers().as_ref().map(FieldTable::inner);
    let sender = properties.user_id().as_ref().and_then(|user| role(vhost, user.as_str())).unwrap_or_default();
    let mut texts = headers.map_or_else(BTreeMap::new, texts);
    // Whatever a publisher wrote in these two is replaced.
    texts.insert(SENDER.to_owned(), sender.to_owned());
    texts.remove(CONTENT_ENCODING);
    if let Some(encoding) = properties.content_encoding().as_ref().filter(|encoding| !encoding.as_str().is_empty()) {
        texts.insert(CONTENT_ENCODING.to_owned(), encoding.to_string());
    }
    Delivery {
        tag: delivery.delivery_tag,
        delivery_count: headers.and_then(|headers| headers.get(DELIVERY_COUNT)).map_or(0, count),
        message: InboundMessage {
            content_type: properties.content_type().as_ref().map_or_else(String::new, ToString::to_string),
            headers: texts,
            body: delivery.data,
        },
    }
}

fn texts(headers: &BTreeMap<ShortString, AMQPValue>) -> BTreeMap<String, String> {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let text = match value {
                AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.to_owned(),
                AMQPValue::ShortString(text) => text.to_string(),
                _ => return None,
            };
            Some((name.to_string(), text))
        })
        .collect()
}

/// Brokers have used several integer types for it.
fn count(value: &AMQPValue) -> u64 {
    let count = match *value {
        AMQPValue::ShortShortInt(count) => i64::from(count),
        AMQPValue::ShortShortUInt(count) => i64::from(count),
        AMQPValue::ShortInt(count) => i64::from(count),
        AMQPValue::ShortUInt(count) => i64::from(count),
        AMQPValue::LongInt(count) => i64::from(count),
        AMQPValue::LongUInt(count) => i64::from(count),
        AMQPValue::LongLongInt(count) => count,
        _ => 0,
    };
    u64::try_from(count).unwrap_or_default()
}

/// lapin panics on texts above 255 bytes where AMQP has a short string.
pub(crate) fn short(text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text).map_err(|error| format!("{:.40}…: {error}", text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::types::LongString;

    fn delivery(headers: &[(&str, AMQPValue)]) -> message::Delivery {
        let mut delivery = message::Delivery::mock(7, "ev.a".into(), "a.x.v1.s00".into(), false, b"{}".to_vec());
        let table: BTreeMap<ShortString, AMQPValue> =
            headers.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        delivery.properties =
            BasicProperties::default().with_content_type("application/json".into()).with_headers(table.into());
        delivery
    }

    fn received(delivery: message::Delivery) -> Delivery {
        incoming(delivery, "vostro")
    }

    #[test]
    fn the_sender_is_who_logged_in_and_not_who_it_says() {
        let sender = |user: Option<&str>| {
            let mut delivery = delivery(&[(SENDER, AMQPValue::LongString("account".into()))]);
            if let Some(user) = user {
                delivery.properties = delivery.properties.with_user_id(user.into());
            }
            received(delivery).message.headers[SENDER].clone()
        };
        assert_eq!(sender(Some("vostro.auth")), "auth");
        assert_eq!(sender(Some("other.auth")), "");
        assert_eq!(sender(Some("vostro")), "");
        assert_eq!(sender(None), "");
    }

    #[test]
    fn only_text_headers_are_taken_over() {
        let delivery = received(delivery(&[
            ("cloudEvents_id", AMQPValue::LongString("1".into())),
            ("short", AMQPValue::ShortString("2".into())),
            ("bytes", AMQPValue::LongString(LongString::from(vec![0xff, 0xfe]))),
            ("number", AMQPValue::LongInt(3)),
        ]));
        let expected =
            [("cloudEvents_id", "1"), ("short", "2"), (SENDER, "")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(delivery.message.headers, BTreeMap::from(expected));
        assert_eq!((delivery.tag, delivery.message.content_type.as_str()), (7, "application/json"));
    }

    #[test]
    fn the_delivery_count_is_zero_when_absent_or_senseless() {
        assert_eq!(received(delivery(&[])).delivery_count, 0);
        assert_eq!(received(delivery(&[(DELIVERY_COUNT, AMQPValue::LongLongInt(3))])).delivery_count, 3);
        assert_eq!(received(delivery(&[(DELIVERY_COUNT, AMQPValue::LongLongInt(-3))])).delivery_count, 0);
        assert_eq!(received(delivery(&[(DELIVERY_COUNT, AMQPValue::Boolean(true))])).delivery_count, 0);
    }

    #[test]
    fn a_text_that_amqp_cannot_carry_is_an_error_and_no_panic() {
        assert!(short(&"x".repeat(256)).expect_err("too long").contains("255"));
        assert!(short(&"x".repeat(255)).is_ok());
    }
}
