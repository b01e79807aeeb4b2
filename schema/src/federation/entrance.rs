//! A process's subgraphs, for gateways.
//!
//! Nobody gets in without a statement by a gateway this process trusts, and nothing else in a request is believed about its
//! caller. What a field requires is checked by the module itself, here as in one process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Variables;
use async_graphql::parser::types::{DocumentOperations, OperationType};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt;
use moka::sync::Cache;
use serde::Deserialize;
use tokio::sync::watch;
use tracing::warn;
use uuid::Uuid;
use vostro_kernel::{Clock, Ids, RequestContext};
use vostro_messaging::AdmissionGate;
use vostro_messaging::trace::{self, SpanKind};

use super::identity::{Identity, Question};
use super::statement::{Statement, StatementFault, TrustedGateways};
use super::{IDENTITY_AUDIENCE, IDENTITY_PATH, STATEMENT_HEADER};
use crate::door::{Accepted, Authenticator, Media, sha256};
use crate::faults::FaultCode;
use crate::scope::RequestScope;
use crate::stitch::{
    FieldError, Limits, OperationKind, Reply, RequestError, SubgraphOperation, SubgraphRequest, SubgraphResponse,
    SubgraphTransport, keeps_within, overloaded,
};
use crate::upload::Files;

/// How the entrance behaves.
#[derive(Debug, Clone)]
pub struct EntranceConfig {
    /// Bytes of a request body. Entities are asked for by the hundred.
    pub body_limit: usize,
    /// The longest any call may take, whatever its gateway is ready to wait.
    pub call: Duration,
    /// How often a subscription without news gives a sign of life.
    pub keep_alive: Duration,
    /// What a document may look like. A gateway has checked what its clients may ask, and what it makes of it is larger;
    /// this is for gateways that check less.
    pub limits: Limits,
}

impl Default for EntranceConfig {
    fn default() -> Self {
        let limits = Limits {
            document_bytes: 256 * 1024,
            tokens: 50_000,
            depth: 30,
            aliases: 2_000,
            root_fields: 200,
            directives: 2_000,
            expanded_selections: 20_000,
            ..Limits::default()
        };
        let (call, keep_alive) = (Duration::from_secs(10), Duration::from_secs(15));
        Self { body_limit: 4 * 1024 * 1024, call, keep_alive, limits }
    }
}

/// One subgraph, as it is served.
struct Served {
    name: Box<str>,
    transport: Arc<dyn SubgraphTransport>,
    gate: Option<(AdmissionGate, &'static str, &'static [&'static str])>,
    /// Operations by their text: gateways send the same ones again and again.
    operations: Cache<String, Arc<SubgraphOperation>>,
}

/// Operations that are kept parsed, for each subgraph.
const KEPT: u64 = 2_000;

/// The way in for gateways.
pub struct Entrance {
    gateways: TrustedGateways,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    config: EntranceConfig,
    served: HashMap<String, Served>,
    authenticator: Option<Arc<dyn Authenticator>>,
    closing: watch::Sender<bool>,
}

impl Entrance {
    pub fn new(gateways: TrustedGateways, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>, config: EntranceConfig) -> Self {
        let (served, closing) = (HashMap::new(), watch::Sender::new(false));
        Self { gateways, clock, ids, config, served, authenticator: None, closing }
    }

    /// Serves a subgraph.
    #[must_use]
    pub fn subgraph(mut self, name: &str, transport: impl SubgraphTransport + 'static) -> Self {
        let operations = Cache::new(KEPT);
        let served = Served { name: name.into(), transport: Arc::new(transport), gate: None, operations };
        self.served.insert(name.to_owned(), served);
        self
    }

    /// Turns mutations of a subgraph away while its module's gate is closed, except those of these names.
    #[must_use]
    pub fn gate(mut self, module: &'static str, gate: AdmissionGate, always: &'static [&'static str]) -> Self {
        if let Some(served) = self.served.get_mut(module) {
            served.gate = Some((gate, module, always));
        }
        self
    }

    /// Tells gateways whom access tokens speak for.
    #[must_use]
    pub fn identifies_with(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// The routes, and what ends all subscriptions when it is set, so that a process that drains does not wait for them.
    pub fn router(self) -> (Router, watch::Sender<bool>) {
        let closing = self.closing.clone();
        let router = Router::new()
            .route("/subgraph/{name}", post(operation))
            .route(IDENTITY_PATH, post(identity))
            .with_state(Arc::new(self));
        (router, closing)
    }

    /// What the gateway states, and the body it states it about.
    async fn admit(&self, request: Request, audience: &str) -> Result<(Statement, HeaderMap, Bytes), Response> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, self.config.body_limit).await.map_err(|_| {
            refused(StatusCode::PAYLOAD_TOO_LARGE, FaultCode::PayloadTooLarge, "The body is too large.")
        })?;
        let text = parts.headers.get(STATEMENT_HEADER).and_then(|value| value.to_str().ok());
        let stated = match text {
            Some(text) => self.gateways.verify(text, audience, &body, self.clock.now()),
            None => Err(StatementFault::Missing),
        };
        let statement = stated.map_err(|fault| {
            warn!(audience, %fault, "a call was refused");
            refused(StatusCode::UNAUTHORIZED, FaultCode::Unauthenticated, &format!("{fault}."))
        })?;
        Ok((statement, parts.headers, body))
    }
}

/// What a gateway sends.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call {
    query: String,
    #[serde(default)]
    variables: Option<Variables>,
    #[serde(default)]
    files: Files,
}

/// `POST /subgraph/{name}`.
async fn operation(State(entrance): State<Arc<Entrance>>, Path(name): Path<String>, request: Request) -> Response {
    let Some(served) = entrance.served.get(&name) else {
        return refused(StatusCode::NOT_FOUND, FaultCode::ModuleUnavailable, "This process runs no such subgraph.");
    };
    let (statement, headers, body) = match entrance.admit(request, &name).await {
        Ok(admitted) => admitted,
        Err(response) => return response,
    };
    let correlation_id = statement.correlation_id;
    let refuse = |error: RequestError| answered(Reply::refused(&[error], correlation_id));
    let Ok(call) = serde_json::from_slice::<Call>(&body) else {
        return refuse(RequestError::new(FaultCode::BadUserInput, "The body has no `query`."));
    };
    let (operation, kind) = match served.operation(&call.query, &entrance.config.limits) {
        Ok(found) => found,
        Err(error) => return refuse(error),
    };
    if let Err(error) = served.lets_in(&operation, kind) {
        return refuse(error);
    }
    let step = trace::step(format_args!("subgraph {name}"), SpanKind::Internal, statement.traceparent.as_deref());
    let traceparent = step.as_ref().map(trace::Step::traceparent).or(statement.traceparent);
    let context = RequestContext {
        actor: statement.actor,
        correlation_id,
        command_id: entrance.ids.next(),
        traceparent: traceparent.clone(),
    };
    let step = step.filter(|_| kind != OperationType::Subscription);
    let scope = Arc::new(RequestScope::new(context, Arc::clone(&entrance.ids)).with_files(call.files).with_step(step));
    let request = SubgraphRequest { operation, variables: call.variables.unwrap_or_default(), scope };
    if kind == OperationType::Subscription {
        return subscription(&entrance, served, request, correlation_id, &headers);
    }
    let wait = Duration::from_millis(statement.wait_ms).min(entrance.config.call);
    let work = trace::within(traceparent, served.transport.execute(request));
    match tokio::time::timeout(wait, work).await {
        Ok(response) => answered(served.reply(response, correlation_id)),
        // The gateway has gone by now, and its client knows.
        Err(_) => refuse(RequestError::new(FaultCode::Timeout, "This part of the bank did not answer in time.")),
    }
}

impl Served {
    /// Finds or parses an operation.
    fn operation(&self, text: &str, limits: &Limits) -> Result<(Arc<SubgraphOperation>, OperationType), RequestError> {
        let id = sha256(text);
        let operation = match self.operations.get(&id) {
            Some(operation) => operation,
            None => {
                keeps_within(text, limits)?;
                let document = async_graphql::parser::parse_query(text)
                    .map_err(|_| RequestError::new(FaultCode::GraphqlParseFailed, "The document is not GraphQL."))?;
                let operation = Arc::new(SubgraphOperation { text: text.to_owned(), document });
                self.operations.insert(id, Arc::clone(&operation));
                operation
            }
        };
        let mut all = operation.document.operations.iter();
        match (all.next(), all.next()) {
            (Some((_, only)), None) => {
                let kind = only.node.ty;
                Ok((operation, kind))
            }
            _ => Err(RequestError::new(FaultCode::BadUserInput, "The document needs exactly one operation.")),
        }
    }

    fn lets_in(&self, operation: &SubgraphOperation, kind: OperationType) -> Result<(), RequestError> {
        let Some((gate, module, always)) = self.gate.as_ref().filter(|_| kind == OperationType::Mutation) else {
            return Ok(());
        };
        match gate.refuses() {
            Some(wait) if !commands(operation).all(|name| always.contains(&name)) => {
                AdmissionGate::count_refusal(module);
                Err(overloaded(wait))
            }
            _ => Ok(()),
        }
    }

    /// As a client would read it: a gateway that is not ours passes errors on as they are.
    fn reply(&self, response: SubgraphResponse, correlation_id: Uuid) -> Reply {
        let SubgraphResponse { data, errors } = response;
        let errors: Vec<FieldError> = errors
            .into_iter()
            .map(|mut error| FieldError {
                module: Some(self.name.clone()),
                path: std::mem::take(&mut error.path),
                error,
            })
            .collect();
        Reply::executed(&errors, correlation_id, |out| {
            serde_json::to_writer(out, &data).expect("GraphQL values can be written as JSON");
            data != async_graphql::Value::Null
        })
    }
}

/// The root fields of the one operation. What stands in fragments counts as unknown.
fn commands(operation: &SubgraphOperation) -> impl Iterator<Item = &str> {
    use async_graphql::parser::types::Selection;
    let operations = match &operation.document.operations {
        DocumentOperations::Single(only) => vec![only],
        DocumentOperations::Multiple(named) => named.values().collect(),
    };
    operations.into_iter().flat_map(|operation| &operation.node.selection_set.node.items).map(|selection| {
        match &selection.node {
            Selection::Field(field) => field.node.name.node.as_str(),
            Selection::FragmentSpread(_) | Selection::InlineFragment(_) => "",
        }
    })
}

fn subscription(
    entrance: &Entrance,
    served: &Served,
    request: SubgraphRequest,
    correlation_id: Uuid,
    headers: &HeaderMap,
) -> Response {
    if !Accepted::of(headers).streams(OperationKind::Subscription) {
        let message = "Subscriptions need `Accept: text/event-stream`.";
        let error = RequestError::new(FaultCode::OperationNotAllowed, message);
        return answered(Reply::refused(&[error], correlation_id));
    }
    let name = served.name.clone();
    let errors_of = Served { name, transport: Arc::clone(&served.transport), gate: None, operations: Cache::new(0) };
    let replies = served.transport.execute_stream(request);
    let replies = replies.map(move |response| errors_of.reply(response, correlation_id)).boxed();
    crate::door::event_stream_until(replies, entrance.config.keep_alive, entrance.closing.subscribe(), correlation_id)
}

/// `POST /federation/identity`.
async fn identity(State(entrance): State<Arc<Entrance>>, request: Request) -> Response {
    let Some(authenticator) = &entrance.authenticator else {
        return refused(StatusCode::NOT_FOUND, FaultCode::ModuleUnavailable, "This process reads no access tokens.");
    };
    let (_, _, body) = match entrance.admit(request, IDENTITY_AUDIENCE).await {
        Ok(admitted) => admitted,
        Err(response) => return response,
    };
    let Ok(Question { token }) = serde_json::from_slice(&body) else {
        return refused(StatusCode::BAD_REQUEST, FaultCode::BadUserInput, "The body has no `token`.");
    };
    let identity = Identity::from(authenticator.authenticate(Some(&token)).await);
    let body = serde_json::to_vec(&identity).expect("an identity can be written as JSON");
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], Body::from(body))
        .into_response()
}

/// Everything that is an answer to a GraphQL request has status 200: gateways take other statuses for failures of the way.
fn answered(reply: Reply) -> Response {
    Media::Json.body(StatusCode::OK, reply.body)
}

fn refused(status: StatusCode, code: FaultCode, message: &str) -> Response {
    Media::Json.body(status, Reply::refused(&[RequestError::new(code, message)], Uuid::nil()).body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::SUPERGRAPH;
    use crate::stitch::Engine;

    #[test]
    fn the_files_of_any_mutation_fit_into_a_call() {
        let engine = Engine::over(SUPERGRAPH).and_then(|engine| engine.build()).expect("an engine");
        let largest = engine.planner().api_schema().largest_upload();
        assert!(largest > 0, "there are files");
        // In base64, beside the largest operation.
        let EntranceConfig { body_limit, limits, .. } = EntranceConfig::default();
        assert!(largest.div_ceil(3) * 4 + limits.document_bytes <= body_limit);
    }
}
