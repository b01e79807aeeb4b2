//! The AsyncAPI 3 document of each module, derived from its manifest and from the events' schemas.
//!
//! A type it publishes is a channel on its exchange, a subscription is a channel on its queue; what the module does with
//! each is an operation. A question is an operation with a reply.

mod questions;

use serde_json::{Map, Value, json};
use vostro_events::query::{QueryDescription, queries};
use vostro_events::{EventDescription, catalog};
use vostro_kernel::SLOTS;
use vostro_messaging::{EventSelector, Manifest, Subscription};

use questions::Questions;

/// The AMQP binding that channels and operations use.
const BINDING: &str = "0.3.0";
/// The virtual host of the generated definitions.
const VHOST: &str = "vostro";

/// One document per module: its name and the JSON text, the same for the same manifests.
pub fn documents(manifests: &[Manifest]) -> Vec<(&'static str, String)> {
    let (events, queries) = (catalog(), queries());
    manifests
        .iter()
        .map(|manifest| (manifest.module, vostro_events::canonical_text(document(manifest, &events, &queries))))
        .collect()
}

fn document(manifest: &Manifest, events: &[EventDescription], queries: &[QueryDescription]) -> Value {
    let mut channels = Map::new();
    let mut operations = Map::new();
    let mut messages = Map::new();
    for event in events.iter().filter(|event| manifest.publishes.contains(&event.event_type)) {
        channels.insert(event.event_type.to_owned(), published(event));
        operations.insert(format!("publish-{}", event.event_type), send(event));
        messages.insert(event.event_type.to_owned(), message(event));
    }
    for subscription in &manifest.subscribes {
        let taken: Vec<_> = events.iter().filter(|event| subscription.takes(event.event_type)).collect();
        channels.insert(subscription.queue(), queue(subscription, &taken));
        operations.insert(format!("receive-{}", subscription.group()), receive(subscription, &taken));
        messages.extend(taken.iter().map(|event| (event.event_type.to_owned(), message(event))));
    }
    let questions = Questions::of(manifest, queries);
    channels.extend(questions.channels);
    operations.extend(questions.operations);
    messages.extend(questions.messages);
    json!({
        "asyncapi": "3.1.0",
        "info": {
            "title": format!("Vostro {}", manifest.module),
            "version": manifest.version,
            "description": manifest.purpose,
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": { "broker": {
            "host": "{host}:{port}",
            "protocol": "amqp",
            "protocolVersion": "0-9-1",
            "pathname": format!("/{VHOST}"),
            "description": format!("RabbitMQ 3.10 or newer. The module logs in as {VHOST}.{}.", manifest.module),
            "variables": { "host": { "default": "127.0.0.1" }, "port": { "default": "5672" } },
            "security": [{ "$ref": "#/components/securitySchemes/login" }],
        } },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "messageTraits": { "cloudEvent": cloud_event() },
            "securitySchemes": { "login": { "type": "userPassword" } },
        },
        "x-owner": manifest.module,
    })
}

/// The channel of one type of event, on the exchange of its owner.
fn published(event: &EventDescription) -> Value {
    json!({
        "address": format!("{}.{{slot}}", event.event_type),
        "parameters": { "slot": {
            "description": "Where the aggregate's events travel: the same for all of them, so that their order is kept.",
            "enum": (0..SLOTS).map(|slot| format!("s{slot:02}")).collect::<Vec<_>>(),
        } },
        "messages": { event.event_type: { "$ref": format!("#/components/messages/{}", event.event_type) } },
        "bindings": { "amqp": {
            "is": "routingKey",
            "exchange": {
                "name": format!("ev.{}", event.module()), "type": "topic", "durable": true, "autoDelete": false,
                "vhost": VHOST,
            },
            "bindingVersion": BINDING,
        } },
        "x-owner": event.module(),
        "x-aggregate": event.aggregate,
        "x-slots": SLOTS,
    })
}

fn send(event: &EventDescription) -> Value {
    let channel = format!("#/channels/{}", event.event_type);
    json!({
        "action": "send",
        "channel": { "$ref": channel },
        "messages": [{ "$ref": format!("{channel}/messages/{}", event.event_type) }],
        "bindings": { "amqp": { "deliveryMode": 2, "mandatory": true, "timestamp": true, "bindingVersion": BINDING } },
    })
}

/// The channel of a subscription: what its queue holds.
fn queue(subscription: &Subscription, events: &[&EventDescription]) -> Value {
    let messages: Map<String, Value> = events
        .iter()
        .map(|event| {
            (event.event_type.to_owned(), json!({ "$ref": format!("#/components/messages/{}", event.event_type) }))
        })
        .collect();
    let takes_unknown = subscription.events == EventSelector::All;
    json!({
        "address": subscription.queue(),
        "messages": messages,
        "bindings": { "amqp": {
            "is": "queue",
            "queue": {
                "name": subscription.queue(), "durable": true, "exclusive": false, "autoDelete": false, "vhost": VHOST,
            },
            "bindingVersion": BINDING,
        } },
        "x-owner": subscription.module,
        // The queue has a single active consumer.
        "x-ordered": true,
        "x-dead-letters": subscription.dead_letter_queue(),
        "x-takes-unknown-types": takes_unknown,
    })
}

fn receive(subscription: &Subscription, events: &[&EventDescription]) -> Value {
    let channel = format!("#/channels/{}", subscription.queue());
    let messages: Vec<Value> =
        events.iter().map(|event| json!({ "$ref": format!("{channel}/messages/{}", event.event_type) })).collect();
    json!({
        "action": "receive",
        "channel": { "$ref": channel },
        "messages": messages,
        "bindings": { "amqp": { "ack": true, "bindingVersion": BINDING } },
        "x-batch": subscription.batch,
    })
}

fn message(event: &EventDescription) -> Value {
    let schema = format!("../../events/schemas/{}.json", event.event_type);
    json!({
        "name": event.event_type,
        "contentType": "application/json",
        "traits": [{ "$ref": "#/components/messageTraits/cloudEvent" }],
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": { "$ref": schema },
        },
    })
}

/// What every event has beside its data.
fn cloud_event() -> Value {
    let text = || json!({ "type": "string" });
    let id = || json!({ "type": "string", "format": "uuid" });
    json!({
        "description": "A CloudEvent 1.0 in binary mode: attributes in headers, data in the body. Events of one type and \
            slot that wait at the same moment travel as one application/cloudevents-batch+json with the content encoding \
            zstd (RFC 8878).",
        "headers": {
            "type": "object",
            "properties": {
                "cloudEvents_specversion": { "const": "1.0" },
                "cloudEvents_id": id(),
                "cloudEvents_source": text(),
                "cloudEvents_type": text(),
                "cloudEvents_subject": id(),
                "cloudEvents_time": { "type": "string", "format": "date-time" },
                "cloudEvents_aggregatetype": text(),
                "cloudEvents_sequence": { "type": "string", "pattern": "^[0-9]{20}$" },
                "cloudEvents_partitionkey": id(),
                "cloudEvents_correlationid": id(),
                "cloudEvents_causationid": id(),
                "cloudEvents_command": text(),
                "cloudEvents_actorkind": text(),
                "cloudEvents_actorid": id(),
                "cloudEvents_traceparent": text(),
            },
            "required": [
                "cloudEvents_specversion", "cloudEvents_id", "cloudEvents_source", "cloudEvents_type",
                "cloudEvents_subject", "cloudEvents_time", "cloudEvents_aggregatetype", "cloudEvents_sequence",
                "cloudEvents_partitionkey", "cloudEvents_correlationid", "cloudEvents_causationid",
                "cloudEvents_actorkind",
            ],
        },
    })
}
