//! Questions between modules: a channel to each callee, one to the module that answers, and the way back.

use serde_json::{Map, Value, json};
use vostro_events::query::{QueryDescription, callee_of};
use vostro_messaging::Manifest;

use super::{BINDING, VHOST};

/// The channel of all replies.
const REPLIES: &str = "rpc.reply";
/// The two replies that are no answer.
const REFUSED: &str = "refused";
const FAILED: &str = "failed";

/// What a module's questions and answers add to its document.
#[derive(Default)]
pub(super) struct Questions {
    pub channels: Map<String, Value>,
    pub operations: Map<String, Value>,
    pub messages: Map<String, Value>,
}

impl Questions {
    pub fn of(manifest: &Manifest, queries: &[QueryDescription]) -> Self {
        let mut questions = Self::default();
        let named = |names: &[&str]| queries.iter().filter(|query| names.contains(&query.query)).collect::<Vec<_>>();
        let (asked, answered) = (named(manifest.calls), named(manifest.serves));
        for query in &asked {
            let callee = callee_of(query.query);
            let of_callee: Vec<_> = asked.iter().filter(|other| callee_of(other.query) == callee).collect();
            let channel = exchange(callee, &of_callee.iter().map(|query| query.query).collect::<Vec<_>>());
            questions.channels.insert(format!("rpc.{callee}"), channel);
            let operation = operation("send", &format!("rpc.{callee}"), query.query);
            questions.operations.insert(format!("ask-{}", query.query), operation);
        }
        if !answered.is_empty() {
            let name = format!("q.{}.rpc", manifest.module);
            let names: Vec<_> = answered.iter().map(|query| query.query).collect();
            questions.channels.insert(name.clone(), queue(manifest.module, &name, &names));
            for query in &answered {
                let operation = operation("receive", &name, query.query);
                questions.operations.insert(format!("answer-{}", query.query), operation);
            }
        }
        let both: Vec<_> = asked.into_iter().chain(answered).collect();
        if !both.is_empty() {
            questions.channels.insert(REPLIES.to_owned(), replies(&both));
            questions.messages.insert(REFUSED.to_owned(), without_answer(REFUSED, "text/plain", "string"));
            questions.messages.insert(FAILED.to_owned(), without_answer(FAILED, "application/octet-stream", "null"));
        }
        for query in both {
            questions.messages.insert(query.query.to_owned(), question(query));
            questions.messages.insert(answer_to(query.query), answer(query));
        }
        questions
    }
}

fn answer_to(query: &str) -> String {
    format!("answer-to-{query}")
}

fn references(names: impl IntoIterator<Item = String>) -> Map<String, Value> {
    let reference = |name: String| {
        let target = json!({ "$ref": format!("#/components/messages/{name}") });
        (name, target)
    };
    names.into_iter().map(reference).collect()
}

/// Where a caller sends its questions: the routing key is the type of the question.
fn exchange(callee: &str, queries: &[&str]) -> Value {
    json!({
        "address": "{query}",
        "parameters": { "query": { "description": "The type of the question.", "enum": queries } },
        "messages": references(queries.iter().map(|query| (*query).to_owned())),
        "bindings": { "amqp": {
            "is": "routingKey",
            "exchange": {
                "name": format!("rpc.{callee}"), "type": "direct", "durable": true, "autoDelete": false, "vhost": VHOST,
            },
            "bindingVersion": BINDING,
        } },
        "x-owner": callee,
    })
}

/// Where a callee takes them from.
fn queue(callee: &str, name: &str, queries: &[&str]) -> Value {
    json!({
        "address": name,
        "messages": references(queries.iter().map(|query| (*query).to_owned())),
        "bindings": { "amqp": {
            "is": "queue",
            "queue": { "name": name, "durable": true, "exclusive": false, "autoDelete": false, "vhost": VHOST },
            "bindingVersion": BINDING,
        } },
        "x-owner": callee,
    })
}

/// The way back. The routing key is the caller's own queue, which it names in each question.
fn replies(queries: &[&QueryDescription]) -> Value {
    let answers = queries.iter().map(|query| answer_to(query.query));
    json!({
        "address": null,
        "description": "The routing key is the queue that the question names in reply_to.",
        "messages": references(answers.chain([REFUSED.to_owned(), FAILED.to_owned()])),
        "bindings": { "amqp": {
            "is": "routingKey",
            "exchange": { "name": REPLIES, "type": "direct", "durable": true, "autoDelete": false, "vhost": VHOST },
            "bindingVersion": BINDING,
        } },
    })
}

/// Asking, or answering; with what comes back.
fn operation(action: &str, channel: &str, query: &str) -> Value {
    let of_channel =
        |channel: &str, message: &str| json!({ "$ref": format!("#/channels/{channel}/messages/{message}") });
    let replies = [answer_to(query), REFUSED.to_owned(), FAILED.to_owned()];
    let binding = match action {
        "send" => json!({ "deliveryMode": 1, "mandatory": true, "bindingVersion": BINDING }),
        _ => json!({ "ack": true, "bindingVersion": BINDING }),
    };
    json!({
        "action": action,
        "channel": { "$ref": format!("#/channels/{channel}") },
        "messages": [of_channel(channel, query)],
        "bindings": { "amqp": binding },
        "reply": {
            "address": {
                "location": "$message.header#/reply_to",
                "description": "The caller's own queue; a callee replies to no other module's.",
            },
            "channel": { "$ref": format!("#/channels/{REPLIES}") },
            "messages": replies.iter().map(|message| of_channel(REPLIES, message)).collect::<Vec<_>>(),
        },
    })
}

fn question(query: &QueryDescription) -> Value {
    json!({
        "name": query.query,
        "contentType": "application/json",
        "correlationId": { "location": "$message.header#/correlation_id" },
        "headers": {
            "type": "object",
            "description": "reply_to, correlation_id, expiration and user_id are AMQP properties.",
            "properties": {
                "reply_to": { "type": "string", "pattern": r"^reply\.[a-z]+\.[0-9a-f]{32}$" },
                "correlation_id": { "type": "string", "format": "uuid" },
                "expiration": { "type": "string", "description": "Milliseconds until nobody waits for the answer." },
                "user_id": { "type": "string", "description": "Who asks, as the broker authenticated it." },
                "vostro-deadline": {
                    "type": "integer", "description": "When nobody waits any more: milliseconds since 1970, UTC.",
                },
                "traceparent": { "type": "string", "description": "W3C trace context." },
            },
            "required": ["reply_to", "correlation_id", "user_id", "vostro-deadline"],
        },
        "payload": payload(&query.question),
    })
}

fn answer(query: &QueryDescription) -> Value {
    json!({
        "name": answer_to(query.query),
        "contentType": "application/json",
        "correlationId": { "location": "$message.header#/correlation_id" },
        "headers": reply_headers("answered"),
        "payload": payload(&query.answer),
    })
}

fn payload(schema: &Value) -> Value {
    json!({ "schemaFormat": "application/schema+json;version=draft-2020-12", "schema": schema })
}

/// A reply of another outcome.
fn without_answer(outcome: &str, content_type: &str, payload: &str) -> Value {
    let summary = match outcome {
        REFUSED => "The callee will not answer this question, however often it is asked; with the reason.",
        _ => "The callee could not answer this time; why is in its log. Asking again may help.",
    };
    json!({
        "name": outcome,
        "summary": summary,
        "contentType": content_type,
        "correlationId": { "location": "$message.header#/correlation_id" },
        "headers": reply_headers(outcome),
        "payload": { "type": payload },
    })
}

fn reply_headers(outcome: &str) -> Value {
    json!({
        "type": "object",
        "properties": {
            "correlation_id": { "type": "string", "format": "uuid", "description": "The question's (AMQP property)." },
            "vostro-outcome": { "const": outcome },
        },
        "required": ["correlation_id", "vostro-outcome"],
    })
}
