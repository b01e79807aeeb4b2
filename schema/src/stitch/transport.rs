//! How the engine reaches a module: as a Rust value in the same process, or over HTTP ([`crate::federation::Http`]).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{ObjectType, Request, Response, Schema, ServerError, SubscriptionType, Value, Variables};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

use crate::scope::RequestScope;

/// An operation as the planner wrote it for one module; made once per plan and shared by all requests.
#[derive(Debug)]
pub struct SubgraphOperation {
    /// The operation as text, for transports that send text.
    pub text: String,
    /// The same, parsed, for those that do not.
    pub document: ExecutableDocument,
}

/// One call of a module.
pub struct SubgraphRequest {
    pub operation: Arc<SubgraphOperation>,
    pub variables: Variables,
    pub scope: Arc<RequestScope>,
}

/// What a module answered.
#[derive(Debug, Default)]
pub struct SubgraphResponse {
    pub data: Value,
    pub errors: Vec<ServerError>,
}

/// A module that can be asked.
pub trait SubgraphTransport: Send + Sync {
    /// Runs a query or mutation. A module that cannot be reached answers with an error, never by panicking.
    fn execute(&self, request: SubgraphRequest) -> BoxFuture<'_, SubgraphResponse>;

    /// Runs a subscription; one response per event. Dropping the stream ends it.
    fn execute_stream(&self, request: SubgraphRequest) -> BoxStream<'static, SubgraphResponse>;
}

impl<T: SubgraphTransport + ?Sized> SubgraphTransport for Arc<T> {
    fn execute(&self, request: SubgraphRequest) -> BoxFuture<'_, SubgraphResponse> {
        self.as_ref().execute(request)
    }

    fn execute_stream(&self, request: SubgraphRequest) -> BoxStream<'static, SubgraphResponse> {
        self.as_ref().execute_stream(request)
    }
}

/// A module's schema in the same process.
pub struct InProcess<Q, M, S>(pub Schema<Q, M, S>);

impl<Q, M, S> InProcess<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    /// The engine's request as the module's library wants it. The document is cloned because execution consumes it;
    /// that is far cheaper than parsing.
    fn request(request: SubgraphRequest) -> Request {
        let mut inner = Request::new(String::new()).variables(request.variables).data(request.scope);
        inner.set_parsed_query(request.operation.document.clone());
        inner
    }
}

impl<Q, M, S> SubgraphTransport for InProcess<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    fn execute(&self, request: SubgraphRequest) -> BoxFuture<'_, SubgraphResponse> {
        async move {
            let response = AssertUnwindSafe(self.0.execute(Self::request(request))).catch_unwind().await;
            response.map_or_else(|_| panicked(), SubgraphResponse::from)
        }
        .boxed()
    }

    fn execute_stream(&self, request: SubgraphRequest) -> BoxStream<'static, SubgraphResponse> {
        let events = AssertUnwindSafe(self.0.execute_stream(Self::request(request))).catch_unwind();
        // A stream that panicked must not be polled again.
        futures::stream::unfold(Some(Box::pin(events)), |events| async move {
            let mut events = events?;
            match events.next().await? {
                Ok(response) => Some((response.into(), Some(events))),
                Err(_) => Some((panicked(), None)),
            }
        })
        .boxed()
    }
}

/// A panic in one resolver is a fault of one request. The panic hook has logged where it happened.
fn panicked() -> SubgraphResponse {
    SubgraphResponse { data: Value::Null, errors: vec![ServerError::new("a resolver panicked", None)] }
}

impl From<Response> for SubgraphResponse {
    fn from(response: Response) -> Self {
        Self { data: response.data, errors: response.errors }
    }
}
