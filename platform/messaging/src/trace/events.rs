use std::borrow::Cow;

use opentelemetry::trace::SpanKind;
use serde::Deserialize;

use super::{Step, is_on, step};
use crate::{Frame, Incoming, PublishError};

/// The events of a window on their way to the broker, a span each.
#[derive(Default)]
pub(crate) struct Publishing {
    /// By frame.
    steps: Vec<Vec<Step>>,
}

/// What is needed of an outbox row.
#[derive(Deserialize)]
struct Traced<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    traceparent: Option<Cow<'a, str>>,
}

impl Publishing {
    pub(crate) fn begin(frames: &[Frame]) -> Self {
        if !is_on() {
            return Self::default();
        }
        Self { steps: frames.iter().map(steps_of).collect() }
    }

    /// The broker has answered for the frame with this number.
    pub(crate) fn end(&mut self, frame: usize, result: &Result<(), PublishError>) {
        let Some(steps) = self.steps.get_mut(frame) else { return };
        for mut step in steps.drain(..) {
            if let Err(error) = result {
                step.fail(error.to_string());
            }
        }
    }
}

fn steps_of(frame: &Frame) -> Vec<Step> {
    let company = i64::try_from(frame.events.len()).unwrap_or(i64::MAX);
    let steps = frame.events.iter().filter_map(|event| {
        let Traced { id, traceparent } = serde_json::from_slice(event).ok()?;
        let mut step = step(format_args!("publish {}", frame.event_type), SpanKind::Producer, traceparent.as_deref())?;
        step.note("messaging.system", "rabbitmq");
        step.note("messaging.operation.type", "send");
        step.note("messaging.destination.name", frame.exchange.clone());
        step.note("messaging.rabbitmq.destination.routing_key", frame.routing_key.clone());
        step.note("messaging.message.id", id.into_owned());
        step.note("messaging.batch.message_count", company);
        Some(step)
    });
    steps.collect()
}

/// The events of a batch in their handler, a span each: from what it prepares to its commit.
pub(crate) struct Handling {
    steps: Vec<Step>,
    events: Vec<Incoming>,
}

impl Handling {
    /// `None` when nothing is recorded of any of them.
    pub(crate) fn begin(group: &str, events: &[Incoming]) -> Option<Self> {
        if !is_on() {
            return None;
        }
        let company = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let mut handling = Self { steps: Vec::new(), events: Vec::new() };
        for (nth, event) in events.iter().enumerate() {
            let parent = event.envelope.cause.traceparent.as_deref();
            let Some(mut step) = step(format_args!("process {group}"), SpanKind::Consumer, parent) else { continue };
            step.note("messaging.system", "rabbitmq");
            step.note("messaging.operation.type", "process");
            step.note("messaging.consumer.group.name", group.to_owned());
            step.note("messaging.message.id", event.envelope.id.to_string());
            step.note("messaging.batch.message_count", company);
            step.note("vostro.event.type", event.envelope.event_type.to_string());
            if handling.events.is_empty() {
                handling.events = events.to_vec();
            }
            handling.events[nth].envelope.cause.traceparent = Some(step.traceparent());
            handling.steps.push(step);
        }
        (!handling.steps.is_empty()).then_some(handling)
    }

    /// The same events for the handler: what it publishes because of one is below that one's span. What is parked is what
    /// came.
    pub(crate) fn events(&self) -> &[Incoming] {
        &self.events
    }

    /// Nothing of the batch has taken effect.
    pub(crate) fn fail(mut self, kind: &'static str) {
        self.steps.iter_mut().for_each(|step| step.fail(kind));
    }
}
