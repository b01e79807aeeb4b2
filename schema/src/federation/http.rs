//! The gateway's way to a subgraph in another process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::{ServerError, Value};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};
use vostro_kernel::Clock;

use super::events::EventReader;
use super::statement::{GatewayKey, Statement};
use super::{STATEMENT_HEADER, subgraph_path};
use crate::faults::{FaultCode, fault, module_unavailable};
use crate::scope::RequestScope;
use crate::stitch::{SubgraphOperation, SubgraphRequest, SubgraphResponse, SubgraphTransport};
use crate::upload::{UploadedFile, named_in};

/// Larger answers are not read: no subgraph of the bank writes one.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;

/// How long the gateway waits for whom.
#[derive(Debug, Clone, Copy)]
pub struct HttpTimes {
    /// For a connection.
    pub connect: Duration,
    /// For the whole answer to a query or mutation, and for the first word of a subscription.
    pub call: Duration,
    /// For the next sign of life of a subscription. The other side gives one every [`super::EntranceConfig::keep_alive`].
    pub silence: Duration,
}

impl Default for HttpTimes {
    fn default() -> Self {
        let (connect, call) = (Duration::from_secs(1), Duration::from_secs(8));
        Self { connect, call, silence: Duration::from_secs(60) }
    }
}

/// A way to a subgraph that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{0:?} is no base address of a process of the bank: it looks like http://10.0.0.5:21080")]
    Address(String),
    #[error("no HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}

/// One process of the bank, as a gateway calls it.
#[derive(Clone)]
pub(super) struct Line {
    pub base: Url,
    client: Client,
    key: Arc<GatewayKey>,
    clock: Arc<dyn Clock>,
    pub times: HttpTimes,
}

impl Line {
    pub fn new(base: &str, key: Arc<GatewayKey>, clock: Arc<dyn Clock>, times: HttpTimes) -> Result<Self, HttpError> {
        let address = || HttpError::Address(base.to_owned());
        let base = Url::parse(base).map_err(|_| address())?;
        if base.scheme() != "http" || base.host().is_none() || base.path() != "/" || base.query().is_some() {
            return Err(address());
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // Whether to ask again is decided here, by what is asked.
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .connect_timeout(times.connect)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(HttpError::Client)?;
        Ok(Self { base, client, key, clock, times })
    }

    /// Posts a JSON body to a path, with a statement for whoever is called so.
    pub async fn post(
        &self,
        path: &str,
        audience: &str,
        statement: &Statement,
        accept: &'static str,
        body: Vec<u8>,
    ) -> Result<Response, Failure> {
        let mut url = self.base.clone();
        url.set_path(path);
        let signed = self.key.sign(statement, audience, &body, self.clock.now());
        let request = self.client.post(url).header(CONTENT_TYPE, "application/json").header(ACCEPT, accept);
        let response = request.header(STATEMENT_HEADER, signed).body(body).send().await.map_err(Failure::of)?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) => Err(Failure::Refused(status)),
            status => Err(Failure::Status(status)),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nothing was sent.
    #[error("it cannot be reached: {0}")]
    Unreachable(#[source] reqwest::Error),
    /// The request may have been read.
    #[error("the connection broke: {0}")]
    Lost(#[source] reqwest::Error),
    #[error("it did not answer in time")]
    Late,
    #[error("it does not take this gateway's calls (status {0}): see federation.gateways and federation.subgraphs")]
    Refused(StatusCode),
    #[error("it answered with status {0}")]
    Status(StatusCode),
    #[error("its answer is not one to a GraphQL request: {0}")]
    Unreadable(String),
}

impl Failure {
    fn of(error: reqwest::Error) -> Self {
        if error.is_connect() { Self::Unreachable(error) } else { Self::Lost(error) }
    }

    /// As the client reads it. A command that may have been read may have been carried out.
    fn shown(&self, kind: Kind) -> ServerError {
        let error = match (self, kind) {
            (Self::Late, Kind::Other) => fault(FaultCode::Timeout, "This part of the bank did not answer in time."),
            (Self::Late, Kind::Mutation) => {
                fault(FaultCode::Timeout, format!("The answer did not come in time. {REPEAT}"))
            }
            (Self::Lost(_) | Self::Status(_) | Self::Unreadable(_), Kind::Mutation) => {
                fault(FaultCode::ModuleUnavailable, format!("The answer was lost. {REPEAT}"))
            }
            _ => module_unavailable(),
        };
        error.into_server_error(async_graphql::Pos::default())
    }
}

const REPEAT: &str = "Whether the command was carried out is not known: repeat it with the same idempotency key.";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mutation,
    Other,
}

impl Kind {
    fn of(operation: &SubgraphOperation) -> Self {
        use async_graphql::parser::types::OperationType;
        let mutates = operation.document.operations.iter().any(|(_, one)| one.node.ty == OperationType::Mutation);
        if mutates { Self::Mutation } else { Self::Other }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    query: &'a str,
    variables: &'a async_graphql::Variables,
    /// A file goes with the call that has its name in the variables.
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    files: HashMap<&'a str, &'a UploadedFile>,
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Value>,
    #[serde(default)]
    errors: Vec<ServerError>,
}

/// A subgraph in another process.
///
/// The call has a deadline, which travels with it; a call that is dropped is ended there too. What is only asked is asked
/// once more when the connection broke, because a connection that was kept may be one that the other side has just given
/// up. A mutation is sent once: only the client knows under which key to repeat it.
#[derive(Clone)]
pub struct Http {
    name: Arc<str>,
    line: Line,
}

impl Http {
    /// The subgraph with this name, in the process at this base address.
    ///
    /// # Errors
    /// [`HttpError::Address`] when the address is none.
    pub fn new(
        name: &str,
        base: &str,
        key: Arc<GatewayKey>,
        clock: Arc<dyn Clock>,
        times: HttpTimes,
    ) -> Result<Self, HttpError> {
        Ok(Self { name: name.into(), line: Line::new(base, key, clock, times)? })
    }

    async fn send(&self, scope: &RequestScope, accept: &'static str, body: Vec<u8>) -> Result<Response, Failure> {
        let context = scope.context();
        let statement = Statement {
            actor: context.actor,
            correlation_id: context.correlation_id,
            traceparent: vostro_messaging::trace::current().or_else(|| context.traceparent.clone()),
            wait_ms: u64::try_from(self.line.times.call.as_millis()).unwrap_or(u64::MAX),
        };
        self.line.post(&subgraph_path(&self.name), &self.name, &statement, accept, body).await
    }

    async fn ask(&self, scope: &RequestScope, body: Vec<u8>) -> Result<SubgraphResponse, Failure> {
        let mut response = self.send(scope, "application/json", body).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(Failure::Lost)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LARGEST_ANSWER {
                return Err(Failure::Unreadable("it is too large".to_owned()));
            }
        }
        read(&bytes)
    }

    async fn answer(&self, request: SubgraphRequest) -> SubgraphResponse {
        let kind = Kind::of(&request.operation);
        let asking = async {
            let body = written(&request);
            match self.ask(&request.scope, body).await {
                Err(Failure::Unreachable(_) | Failure::Lost(_)) if kind == Kind::Other => {
                    self.ask(&request.scope, written(&request)).await
                }
                answered => answered,
            }
        };
        let answered = tokio::time::timeout(self.line.times.call, asking).await;
        answered.unwrap_or(Err(Failure::Late)).unwrap_or_else(|failure| self.failed(&failure, kind))
    }

    fn failed(&self, failure: &Failure, kind: Kind) -> SubgraphResponse {
        let subgraph = &*self.name;
        if matches!(failure, Failure::Refused(_)) {
            error!(subgraph, %failure, "a subgraph cannot be asked");
        } else {
            warn!(subgraph, failure = with_causes(failure), "a subgraph cannot be asked");
        }
        SubgraphResponse { data: Value::Null, errors: vec![failure.shown(kind)] }
    }

    /// The events of a subscription until it ends, or one error and no more when it cannot go on.
    async fn next(self, stage: Stage) -> Option<(SubgraphResponse, (Self, Stage))> {
        let over = |this: Self, failure: Failure| {
            let response = this.failed(&failure, Kind::Other);
            Some((response, (this, Stage::Over)))
        };
        let mut events = match stage {
            Stage::Over => return None,
            Stage::Running(events) => events,
            Stage::Beginning(request) => {
                let sending = self.send(&request.scope, "text/event-stream", written(&request));
                match tokio::time::timeout(self.line.times.call, sending).await {
                    Ok(Ok(response)) => Box::new(EventReader::of(response)),
                    Ok(Err(failure)) => return over(self, failure),
                    Err(_) => return over(self, Failure::Late),
                }
            }
        };
        match tokio::time::timeout(self.line.times.silence, events.next()).await {
            Ok(Ok(Some(event))) => match read(&event) {
                Ok(response) => Some((response, (self, Stage::Running(events)))),
                Err(failure) => over(self, failure),
            },
            Ok(Ok(None)) => None,
            Ok(Err(failure)) => over(self, failure),
            Err(_) => over(self, Failure::Late),
        }
    }
}

enum Stage {
    Beginning(Box<SubgraphRequest>),
    Running(Box<EventReader>),
    Over,
}

impl SubgraphTransport for Http {
    fn execute(&self, request: SubgraphRequest) -> BoxFuture<'_, SubgraphResponse> {
        self.answer(request).boxed()
    }

    fn execute_stream(&self, request: SubgraphRequest) -> BoxStream<'static, SubgraphResponse> {
        let beginning = (self.clone(), Stage::Beginning(Box::new(request)));
        futures::stream::unfold(beginning, |(this, stage)| this.next(stage)).boxed()
    }
}

fn written(request: &SubgraphRequest) -> Vec<u8> {
    let SubgraphRequest { operation, variables, scope } = request;
    let body = Body { query: &operation.text, variables, files: named_in(scope.files(), variables) };
    serde_json::to_vec(&body).expect("GraphQL values can be written as JSON")
}

fn read(bytes: &[u8]) -> Result<SubgraphResponse, Failure> {
    let answer: Answer = serde_json::from_slice(bytes).map_err(|error| Failure::Unreadable(error.to_string()))?;
    if answer.data.is_none() && answer.errors.is_empty() {
        return Err(Failure::Unreadable("it has neither data nor errors".to_owned()));
    }
    Ok(SubgraphResponse { data: answer.data.unwrap_or_default(), errors: answer.errors })
}

/// The failure and what is behind it, for the log.
pub(super) fn with_causes(failure: &dyn std::error::Error) -> String {
    let mut text = failure.to_string();
    let mut source = failure.source().and_then(std::error::Error::source);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_data_or_errors() {
        let response =
            read(br#"{"data":{"a":1},"errors":[{"message":"no","path":["b",0],"extensions":{"code":"X"}}]}"#);
        let response = response.expect("an answer");
        assert_eq!(response.data.to_string(), "{a: 1}");
        assert_eq!(response.errors[0].path.len(), 2);
        assert_eq!(read(br#"{"errors":[{"message":"no"}]}"#).expect("an answer").data, Value::Null);
        for text in ["{}", "[]", "null", "<html>", r#"{"data":null}"#, ""] {
            assert!(matches!(read(text.as_bytes()), Err(Failure::Unreadable(_))), "{text}");
        }
    }

    #[test]
    fn an_address_is_scheme_host_and_port() {
        let key = || Arc::new(GatewayKey::new("main", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").expect("a key"));
        let line = |base| Line::new(base, key(), Arc::new(vostro_kernel::SystemClock), HttpTimes::default()).is_ok();
        assert!(line("http://10.0.0.5:21080") && line("http://bank.internal/"));
        for base in
            ["", "10.0.0.5:21080", "https://bank.internal", "http://bank.internal/graphql", "ftp://x", "http://x/?a"]
        {
            assert!(!line(base), "{base}");
        }
    }
}
