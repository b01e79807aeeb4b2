use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use opentelemetry::trace::SpanKind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{debug, info, warn};
use vostro_events::query::{Query, callee_of};
use vostro_kernel::{Clock, Ids, SystemClock, SystemIds};

use super::{Breaker, BreakerState, CallError, Caller, Reply, Request};
use crate::trace::{self, Step};

/// How a module asks others. Cheap to clone: clones share the breakers and the wire.
#[derive(Clone)]
pub struct Asking {
    inner: Arc<Inner>,
}

struct Inner {
    module: &'static str,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    wire: OnceLock<Arc<dyn Caller>>,
    /// By callee.
    breakers: Mutex<HashMap<&'static str, Breaker>>,
}

/// Why there is no answer. Asking changes nothing, so it can always be done again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The callee has not answered for a while and was not asked.
    #[error("{0} does not answer and is left in peace for a while")]
    CircuitOpen(&'static str),
    #[error(transparent)]
    Call(#[from] CallError),
    /// The callee will not answer this question, however often it is asked.
    #[error("refused: {0}")]
    Refused(String),
    /// The callee could not answer; why is in its log.
    #[error("the callee failed")]
    Failed,
    /// The answer cannot be read.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
}

impl AskError {
    /// Whether the callee's health is in doubt: it did not answer, or could not.
    const fn is_failure(&self) -> bool {
        matches!(self, Self::Call(_) | Self::Failed)
    }

    const fn outcome(&self) -> &'static str {
        match self {
            Self::CircuitOpen(_) => "circuit-open",
            Self::Call(CallError::Unavailable(_)) => "unavailable",
            Self::Call(CallError::Unroutable) => "unroutable",
            Self::Call(CallError::DeadlineExceeded) => "deadline",
            Self::Refused(_) => "refused",
            Self::Failed => "failed",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

impl Asking {
    /// A module that is not connected yet: whatever it asks is [`CallError::Unavailable`] until [`Self::connect`].
    pub fn new(module: &'static str) -> Self {
        Self::with(module, Arc::new(SystemClock), Arc::new(SystemIds))
    }

    /// The same with a clock and ids that a test controls.
    pub fn with(module: &'static str, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        let inner = Inner { module, clock, ids, wire: OnceLock::new(), breakers: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Gives it its wire. Only the first one counts.
    pub fn connect(&self, wire: Arc<dyn Caller>) {
        let _ = self.inner.wire.set(wire);
    }

    /// Asks, and waits for the answer for `budget` at the longest.
    ///
    /// # Errors
    /// [`AskError`]; what to do without the answer is for the caller to know.
    pub async fn ask<Q: Query>(&self, query: &Q, budget: Duration) -> Result<Q::Answer, AskError> {
        self.ask_for(Q::TYPE, query, budget).await
    }

    /// The same for a question whose type is known at run time only.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask_for<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        query: &'static str,
        question: &Q,
        budget: Duration,
    ) -> Result<A, AskError> {
        let (caller, callee) = (self.inner.module, callee_of(query));
        let started = Instant::now();
        if !self.breaker(callee, |breaker| breaker.admits(started)) {
            return Err(self.count(query, AskError::CircuitOpen(callee)));
        }
        let result = self.call(query, question, callee, budget).await;
        histogram!("vostro_rpc_seconds", "caller" => caller, "query" => query).record(started.elapsed());
        match result {
            Ok(answer) => {
                self.breaker(callee, |breaker| breaker.succeeded());
                counter!("vostro_rpc_calls_total", "caller" => caller, "query" => query, "outcome" => "answered")
                    .increment(1);
                Ok(answer)
            }
            Err(error) => {
                let failed = error.is_failure();
                self.breaker(
                    callee,
                    |breaker| if failed { breaker.failed(Instant::now()) } else { breaker.succeeded() },
                );
                Err(self.count(query, error))
            }
        }
    }

    /// How the breaker of a callee stands.
    pub fn state_of(&self, callee: &str) -> BreakerState {
        let breakers = self.inner.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        breakers.get(callee).map_or(BreakerState::Closed, Breaker::state)
    }

    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        query: &'static str,
        question: &Q,
        callee: &'static str,
        budget: Duration,
    ) -> Result<A, AskError> {
        let Inner { wire, clock, ids, .. } = &*self.inner;
        let wire = wire.get().ok_or_else(|| CallError::Unavailable("not connected yet".to_owned()))?;
        let body = serde_json::to_vec(question).expect("questions are plain data and always serialise");
        let mut step = trace::step_here(format_args!("ask {query}"), SpanKind::Client);
        let traceparent = step.as_ref().map(Step::traceparent).or_else(trace::current);
        let deadline = clock.now() + budget;
        let request = Request { id: ids.next(), query, callee, deadline, body, traceparent };
        // The wire keeps the deadline itself; this is for the case that it hangs.
        let replied =
            tokio::time::timeout(budget, wire.call(request)).await.unwrap_or(Err(CallError::DeadlineExceeded));
        if let (Some(step), Err(error)) = (&mut step, &replied) {
            step.fail(error.to_string());
        }
        match replied? {
            Reply::Answered(body) => {
                serde_json::from_slice(&body).map_err(|error| AskError::Unreadable(error.to_string()))
            }
            Reply::Refused(reason) => Err(AskError::Refused(reason)),
            Reply::Failed => Err(AskError::Failed),
        }
    }

    fn count(&self, query: &'static str, error: AskError) -> AskError {
        let caller = self.inner.module;
        counter!("vostro_rpc_calls_total", "caller" => caller, "query" => query, "outcome" => error.outcome())
            .increment(1);
        debug!(caller, query, %error, "a question was not answered");
        error
    }

    /// Changes the breaker of a callee, and tells when that changes what it does.
    fn breaker<T>(&self, callee: &'static str, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let (value, before, after) = {
            let mut breakers = self.inner.breakers.lock().unwrap_or_else(PoisonError::into_inner);
            let breaker = breakers.entry(callee).or_default();
            let before = breaker.state();
            let value = change(breaker);
            (value, before, breaker.state())
        };
        if before != after {
            self.tell(callee, before, after);
        }
        value
    }

    fn tell(&self, callee: &'static str, before: BreakerState, after: BreakerState) {
        let caller = self.inner.module;
        let number = match after {
            BreakerState::Closed => 0.0,
            BreakerState::HalfOpen => 1.0,
            BreakerState::Open => 2.0,
        };
        gauge!("vostro_rpc_breaker_state", "caller" => caller, "callee" => callee).set(number);
        match after {
            BreakerState::Open if before == BreakerState::Closed => {
                counter!("vostro_rpc_breaker_opened_total", "caller" => caller, "callee" => callee).increment(1);
                warn!(caller, callee, "does not answer: it is left in peace for a while");
            }
            BreakerState::Closed => info!(caller, callee, "answers again"),
            _ => {}
        }
    }
}
