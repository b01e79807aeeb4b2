use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_graphql::Variables;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use vostro_schema::stitch::{SubgraphOperation, SubgraphRequest, SubgraphResponse, SubgraphTransport};

/// One call of a module: what it was asked, and from when to when.
#[derive(Clone)]
pub struct Call {
    pub module: Arc<str>,
    pub operation: Arc<SubgraphOperation>,
    pub variables: Variables,
    asked: Instant,
    answered: Instant,
}

/// The calls of one operation.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<Call>>>);

impl Notes {
    /// The calls since the last time, in waves: those of one were under way together, and the next wave began when all of
    /// them were answered.
    pub fn take(&self) -> Vec<Vec<Call>> {
        waves(std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn waves(mut calls: Vec<Call>) -> Vec<Vec<Call>> {
    calls.sort_by_key(|call| call.asked);
    let mut waves: Vec<Vec<Call>> = Vec::new();
    for call in calls {
        match waves.last_mut() {
            Some(wave) if wave.iter().any(|other| call.asked < other.answered) => wave.push(call),
            _ => waves.push(vec![call]),
        }
    }
    waves
}

/// How long at least one of the calls was under way.
pub fn under_way(waves: &[Vec<Call>]) -> Duration {
    let span = |wave: &Vec<Call>| {
        let begin = wave.iter().map(|call| call.asked).min()?;
        let end = wave.iter().map(|call| call.answered).max()?;
        Some(end.saturating_duration_since(begin))
    };
    waves.iter().filter_map(span).sum()
}

/// A way to a module that notes its calls.
pub struct Witness {
    module: Arc<str>,
    transport: Arc<dyn SubgraphTransport>,
    notes: Notes,
}

impl Witness {
    pub fn new(module: &str, transport: Arc<dyn SubgraphTransport>, notes: Notes) -> Self {
        Self { module: module.into(), transport, notes }
    }
}

impl SubgraphTransport for Witness {
    fn execute(&self, request: SubgraphRequest) -> BoxFuture<'_, SubgraphResponse> {
        async move {
            // What noting costs counts as the module's time, not as the engine's.
            let asked = Instant::now();
            let (operation, variables) = (Arc::clone(&request.operation), request.variables.clone());
            let response = self.transport.execute(request).await;
            let mut calls = self.notes.0.lock().unwrap_or_else(PoisonError::into_inner);
            let module = Arc::clone(&self.module);
            calls.push(Call { module, operation, variables, asked, answered: Instant::now() });
            response
        }
        .boxed()
    }

    fn execute_stream(&self, request: SubgraphRequest) -> BoxStream<'static, SubgraphResponse> {
        self.transport.execute_stream(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_calls_share_counts_once_and_time_between_them_not_at_all() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let document = async_graphql::parser::parse_query("{ a }").expect("a query");
        let operation = Arc::new(SubgraphOperation { text: "{ a }".to_owned(), document });
        let call = |asked, answered| Call {
            module: "account".into(),
            operation: Arc::clone(&operation),
            variables: Variables::default(),
            asked: at(asked),
            answered: at(answered),
        };
        let waves = waves(vec![call(20, 23), call(0, 10), call(5, 12), call(22, 30)]);
        assert_eq!(waves.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(under_way(&waves), Duration::from_millis(12 + 10));
    }
}
