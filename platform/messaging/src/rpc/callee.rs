use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt as _;
use metrics::{counter, histogram};
use opentelemetry::trace::SpanKind;
use tracing::{error, warn};
use vostro_events::query::Query;

use super::Reply;
use crate::Manifest;
use crate::trace::{self, Step};

/// A question as it reaches the callee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub query: String,
    /// The module that asks, as the broker authenticated it; empty when it did not.
    pub caller: String,
    /// How much longer the caller waits. A span and not an instant: the caller's clock may be wrong, or ours. What the
    /// question spent in the queue is not in it, so the callee may work on for longer than somebody waits, never
    /// shorter.
    pub patience: Duration,
    /// JSON.
    pub body: Vec<u8>,
    /// W3C trace context of what it is asked for.
    pub traceparent: Option<String>,
}

/// Why a question is not answered.
#[derive(Debug, thiserror::Error)]
pub enum RespondError {
    /// The question makes no sense; the caller is told.
    #[error("{0}")]
    Refused(String),
    /// This module's own trouble; the caller only learns that there is some.
    #[error("{0}")]
    Fault(Box<dyn std::error::Error + Send + Sync>),
}

impl From<sqlx::Error> for RespondError {
    fn from(error: sqlx::Error) -> Self {
        Self::Fault(Box::new(error))
    }
}

/// Answers questions of one type. Must not change anything: a question may be asked, and answered, more than once.
#[async_trait]
pub trait Responder: Send + Sync + 'static {
    /// The type of the questions.
    fn query(&self) -> &'static str;

    /// The answer as JSON.
    ///
    /// # Errors
    /// [`RespondError`].
    async fn respond(&self, body: &[u8]) -> Result<Vec<u8>, RespondError>;
}

/// Answers questions `Q` with a function.
pub fn respond_to<Q, F, A>(answer: F) -> Arc<dyn Responder>
where
    Q: Query,
    F: Fn(Q) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Q::Answer, RespondError>> + Send + 'static,
{
    Arc::new(Typed { answer, query: std::marker::PhantomData::<fn(Q)> })
}

struct Typed<Q, F> {
    answer: F,
    query: std::marker::PhantomData<fn(Q)>,
}

#[async_trait]
impl<Q, F, A> Responder for Typed<Q, F>
where
    Q: Query,
    F: Fn(Q) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Q::Answer, RespondError>> + Send + 'static,
{
    fn query(&self) -> &'static str {
        Q::TYPE
    }

    async fn respond(&self, body: &[u8]) -> Result<Vec<u8>, RespondError> {
        let query = serde_json::from_slice(body).map_err(|error| RespondError::Refused(error.to_string()))?;
        let answer = (self.answer)(query).await?;
        serde_json::to_vec(&answer).map_err(|error| RespondError::Fault(Box::new(error)))
    }
}

/// Everything one module answers, and whom.
pub struct Callee {
    module: &'static str,
    responders: HashMap<&'static str, Arc<dyn Responder>>,
    /// Who may ask what. The broker keeps others from the module's queue; this is about the single question.
    callers: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

impl Callee {
    /// The module's responders, and the manifests of all modules, which say who calls them.
    pub fn new(module: &'static str, responders: Vec<Arc<dyn Responder>>, manifests: &[Manifest]) -> Self {
        let mut callers = BTreeMap::<_, BTreeSet<_>>::new();
        for manifest in manifests {
            for query in manifest.calls {
                callers.entry(*query).or_default().insert(manifest.module);
            }
        }
        let responders = responders.into_iter().map(|responder| (responder.query(), responder)).collect();
        Self { module, responders, callers }
    }

    pub const fn module(&self) -> &'static str {
        self.module
    }

    pub fn answers_nothing(&self) -> bool {
        self.responders.is_empty()
    }

    /// Answers while the caller waits; `None` when nobody waits any more. A responder that panics has failed.
    pub async fn answer(&self, asked: Asked) -> Option<Reply> {
        let Some(responder) = self.responders.get(asked.query.as_str()) else {
            return Some(self.refuse(&asked, "this release does not answer such questions"));
        };
        let query = responder.query();
        if !self.callers.get(query).is_some_and(|callers| callers.contains(asked.caller.as_str())) {
            warn!(callee = self.module, query, caller = asked.caller, "a question of somebody who may not ask it");
            return Some(self.refuse(&asked, "the caller's manifest does not name the question"));
        }
        if asked.patience.is_zero() {
            self.count(query, "expired");
            return None;
        }
        let started = Instant::now();
        let mut step = trace::step(format_args!("answer {query}"), SpanKind::Server, asked.traceparent.as_deref());
        let traceparent = step.as_ref().map(Step::traceparent).or(asked.traceparent.clone());
        // Left to itself a panic would end the task without a reply and without an acknowledgement, and so take one of the
        // few places in which questions are worked on until the connection ends. Responders change nothing that could be
        // left half done.
        let responding = AssertUnwindSafe(trace::within(traceparent, responder.respond(&asked.body))).catch_unwind();
        let responding = responding.map(|result| result.unwrap_or_else(|_| Err(RespondError::Fault("a panic".into()))));
        let result = tokio::time::timeout(asked.patience, responding).await;
        if let (Some(step), Err(_) | Ok(Err(RespondError::Fault(_)))) = (&mut step, &result) {
            step.fail("no answer");
        }
        histogram!("vostro_rpc_answer_seconds", "callee" => self.module, "query" => query).record(started.elapsed());
        match result {
            Err(_) => {
                self.count(query, "expired");
                None
            }
            Ok(Ok(body)) => {
                self.count(query, "answered");
                Some(Reply::Answered(body))
            }
            Ok(Err(RespondError::Refused(reason))) => Some(self.refuse(&asked, &reason)),
            Ok(Err(RespondError::Fault(fault))) => {
                self.count(query, "failed");
                error!(callee = self.module, query, %fault, "a question could not be answered");
                Some(Reply::Failed)
            }
        }
    }

    fn refuse(&self, asked: &Asked, reason: &str) -> Reply {
        // Not the query as it was asked: a metric must not have as many series as somebody can invent names.
        let query = self.responders.get_key_value(asked.query.as_str()).map_or("unknown", |(query, _)| *query);
        self.count(query, "refused");
        Reply::Refused(reason.to_owned())
    }

    fn count(&self, query: &'static str, outcome: &'static str) {
        counter!("vostro_rpc_answers_total", "callee" => self.module, "query" => query, "outcome" => outcome)
            .increment(1);
    }
}
