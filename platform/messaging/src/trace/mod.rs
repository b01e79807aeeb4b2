//! Traces: what one request led to, across commits, messages and modules.
//!
//! A W3C trace context travels with the command into the outbox row and from there in every message, parked or redriven
//! ones included. Each step records one span below the context it was given:
//!
//! | span | from | to |
//! |---|---|---|
//! | `POST /graphql` | the request is read | the answer is written |
//! | `mutation` (the command), `query` | the operation begins | its result is known |
//! | `commit` | a command joins its group | the group is committed |
//! | `publish <type>` | the relay hands the event over | the broker has confirmed it |
//! | `process <subscription>` | the events go to their handler, which may ask for what it needs first | its transaction is committed, or has failed |
//! | `ask <query>`, `answer <query>` | a question between modules | its answer |
//! | `completion` | the transfer is accepted | its outcome is committed |
//!
//! Events of one message have traces of their own, so there is a span an event, not a span a message. What a handler
//! publishes is below the span in which it was handled.
//!
//! Whether a trace is recorded is decided once, where the request enters, and travels in the context's sampled flag. Nothing
//! is done before [`turn_on`]: [`is_on`] reads one word, and everything here asks it first.

mod context;
mod events;

use std::borrow::Cow;
use std::fmt::Display;
use std::future::Future;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
pub use opentelemetry::KeyValue;
use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
pub use opentelemetry::trace::SpanKind;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanContext, Status, TraceContextExt as _, TraceId, Tracer as _};
use opentelemetry::{Context, Value};

pub use self::context::is_valid;
pub(crate) use self::events::{Handling, Publishing};

/// What spans are recorded with.
struct Recorder {
    tracer: BoxedTracer,
    admits: Box<dyn Fn(TraceId) -> bool + Send + Sync>,
}

static RECORDER: OnceLock<Recorder> = OnceLock::new();

tokio::task_local! {
    /// What the current task works for.
    static CURRENT: Option<String>;
}

/// Records spans from now on, with OpenTelemetry's global tracer provider. `admits` says which traces that others have begun
/// are recorded: who calls does not decide how much we keep. Only the first call counts.
pub fn turn_on(admits: impl Fn(TraceId) -> bool + Send + Sync + 'static) {
    let _ = RECORDER.set(Recorder { tracer: global::tracer("vostro"), admits: Box::new(admits) });
}

/// Whether spans are recorded at all.
pub fn is_on() -> bool {
    RECORDER.get().is_some()
}

/// A span that is not over. It ends when this is dropped.
pub struct Step(BoxedSpan);

impl Step {
    fn start(recorder: &Recorder, name: &impl Display, kind: SpanKind, parent: &Context) -> Self {
        Self::build(recorder, SpanBuilder::from_name(name.to_string()).with_kind(kind), parent)
    }

    fn build(recorder: &Recorder, builder: SpanBuilder, parent: &Context) -> Self {
        Self(recorder.tracer.build_with_context(builder, parent))
    }

    /// The context for whatever this leads to.
    pub fn traceparent(&self) -> String {
        context::write(self.0.span_context())
    }

    pub fn note(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(key, value));
    }

    /// It did not work.
    pub fn fail(&mut self, reason: impl Into<Cow<'static, str>>) {
        self.0.set_status(Status::error(reason));
    }
}

fn below(parent: SpanContext) -> Context {
    Context::new().with_remote_span_context(parent)
}

/// A step of what `parent` belongs to; none when nothing is recorded of it. The name is put together only if it is needed:
/// give `format_args!`.
pub fn step(name: impl Display, kind: SpanKind, parent: Option<&str>) -> Option<Step> {
    let recorder = RECORDER.get()?;
    let parent = parent.and_then(context::read).filter(SpanContext::is_sampled)?;
    Some(Step::start(recorder, &name, kind, &below(parent)))
}

/// The context, if it is well formed and its trace is recorded: worth keeping for what is said later.
pub fn sampled(traceparent: Option<&str>) -> Option<&str> {
    traceparent.filter(|text| context::read(text).is_some_and(|context| context.is_sampled()))
}

/// A step of what the current task works for.
pub fn step_here(name: impl Display, kind: SpanKind) -> Option<Step> {
    if !is_on() {
        return None;
    }
    step(name, kind, current().as_deref())
}

/// A step that began earlier and ends now.
pub fn past(name: &'static str, parent: Option<&str>, began: DateTime<Utc>, notes: Vec<KeyValue>) {
    let Some(recorder) = RECORDER.get() else { return };
    if let Some(parent) = parent.and_then(context::read).filter(SpanContext::is_sampled) {
        let builder = SpanBuilder::from_name(name).with_start_time(began).with_attributes(notes);
        drop(Step::build(recorder, builder, &below(parent)));
    }
}

/// Where a request enters: its step, if it is recorded, and the context for what it leads to. `caller` is the context it
/// came with, if any; it is passed on as it is while nothing is recorded.
pub fn enter(name: impl Display, caller: Option<String>) -> (Option<Step>, Option<String>) {
    let Some(recorder) = RECORDER.get() else { return (None, caller) };
    let given = caller.as_deref().and_then(context::read);
    if let Some(given) = given.filter(|given| !given.is_sampled() || !(recorder.admits)(given.trace_id())) {
        return (None, Some(context::write(&context::unsampled(&given))));
    }
    let parent = caller.as_deref().and_then(context::read).map_or_else(Context::new, below);
    let step = Step::start(recorder, &name, SpanKind::Server, &parent);
    let traceparent = Some(step.traceparent());
    (Some(step), traceparent)
}

/// Lets everything in `work` know what it works for.
pub async fn within<F: Future>(traceparent: Option<String>, work: F) -> F::Output {
    if is_on() { CURRENT.scope(traceparent, work).await } else { work.await }
}

/// The context of what the current task works for.
pub fn current() -> Option<String> {
    if is_on() { CURRENT.try_with(Clone::clone).ok().flatten() } else { None }
}
