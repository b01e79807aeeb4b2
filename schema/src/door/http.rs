//! Operations over HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use futures::StreamExt;

use super::auth::by_headers;
use super::caller::Caller;
use super::envelope::{Batch, Envelope};
use super::multipart::{Form, Head};
use super::negotiation::{Accepted, Media, names, status_of};
use super::tracing_headers::Correlation;
use super::{Asked, Door, Principal, TooMany, event_stream, socket};
use crate::faults::FaultCode;
use crate::stitch::{OperationKind, Reply, RequestError, type_at};
use crate::upload::UploadLimit;

/// Bytes a second. A client that sends large things slower than this is given up.
const SLOWEST: usize = 32 * 1024;

/// One HTTP request on its way through the door.
struct Visit<'a> {
    door: &'a Arc<Door>,
    headers: &'a HeaderMap,
    caller: Caller,
    correlation: Correlation,
    accepted: Accepted,
    media: Media,
    started: Instant,
}

/// `POST /graphql`.
pub async fn by_post(
    State(door): State<Arc<Door>>,
    Extension(correlation): Extension<Correlation>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let visit = match Visit::begin(&door, &parts, correlation) {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    if Form::is_sent(&parts.headers) {
        return visit.with_files(body).await.unwrap_or_else(|refused| *refused);
    }
    if !is_json(&parts.headers) {
        return visit.unsupported_media_type();
    }
    let body = match visit.arriving(door.config.body_limit, read(body, door.config.body_limit)).await {
        Ok(body) => body,
        Err(refused) => return *refused,
    };
    match Envelope::batch(&body, door.config.batch_limit) {
        Ok(Batch::One(envelope)) => visit.operation(envelope, false).await,
        Ok(Batch::Several(envelopes)) => visit.batch(envelopes).await,
        Err(error) => visit.refuse(StatusCode::BAD_REQUEST, error),
    }
}

/// `GET /graphql`: a query in the address, a WebSocket, or a person with a browser.
pub async fn by_get(
    State(door): State<Arc<Door>>,
    Extension(correlation): Extension<Correlation>,
    Query(parameters): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    if parts.headers.contains_key(header::UPGRADE) {
        return match WebSocketUpgrade::from_request_parts(&mut parts, &door).await {
            Ok(upgrade) => {
                let caller = Caller::of(&parts, &door.config);
                socket::accept(door, upgrade, parts.headers, caller)
            }
            Err(rejection) => rejection.into_response(),
        };
    }
    let parameter = |name: &str| parameters.get(name).map(String::as_str);
    if ["query", "documentId", "extensions"].iter().all(|name| parameter(name).is_none())
        && door.config.graphiql
        && names(&parts.headers, "text/html")
    {
        return Redirect::to("graphiql").into_response();
    }
    let visit = match Visit::begin(&door, &parts, correlation) {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    match Envelope::from_parameters(parameter) {
        Ok(envelope) => visit.operation(envelope, true).await,
        Err(error) => visit.refuse(StatusCode::BAD_REQUEST, error),
    }
}

impl<'a> Visit<'a> {
    /// Settles the media type of the answer first, so that every later refusal can be read.
    fn begin(door: &'a Arc<Door>, parts: &'a Parts, correlation: Correlation) -> Result<Self, Box<Response>> {
        let headers = &parts.headers;
        let accepted = Accepted::of(headers);
        // Whoever takes a stream only reads in JSON why there is none.
        let media = accepted.media().unwrap_or(Media::Json);
        let caller = Caller::of(parts, &door.config);
        let visit = Self { door, headers, caller, correlation, accepted, media, started: Instant::now() };
        if !accepted.is_nothing() {
            return Ok(visit);
        }
        let message =
            "Answers are application/graphql-response+json, application/json or text/event-stream: accept one of them.";
        Err(Box::new(visit.refuse(StatusCode::NOT_ACCEPTABLE, RequestError::new(FaultCode::BadUserInput, message))))
    }

    async fn operation(self, envelope: Envelope<'_>, only_queries: bool) -> Response {
        let (principal, asked) = match self.admit(&envelope).await {
            Ok(admitted) => admitted,
            Err(refused) => return *refused,
        };
        let kind = asked.prepared.kind();
        let streams = self.accepted.streams(kind);
        match kind {
            OperationKind::Query => {}
            OperationKind::Mutation if !only_queries => {}
            OperationKind::Subscription if streams => {}
            kind => return self.not_allowed(kind, only_queries),
        }
        let scope = Arc::new(self.door.scope(&principal, &self.caller, self.correlation.0, &asked));
        let (engine, prepared) = (self.door.engine.clone(), asked.prepared);
        if !streams {
            return self.answer(engine.execute(&prepared, envelope.variables, scope).await);
        }
        let connected = match self.door.connect(&principal, &self.caller) {
            Ok(connected) => connected,
            Err(TooMany(most)) => {
                let message =
                    format!("You have {most} connections already, which is as many as are allowed: close one.");
                let error = RequestError::new(FaultCode::RateLimited, message);
                return self.refuse(status_of(error.code), error);
            }
        };
        let replies = if kind == OperationKind::Subscription {
            engine.subscribe(prepared, envelope.variables, scope)
        } else {
            let variables = envelope.variables;
            let answer = async move { engine.execute(&prepared, variables, scope).await };
            futures::stream::once(answer).boxed()
        };
        let counted = replies.map(move |reply| {
            let _ = &connected;
            reply
        });
        event_stream::respond(self.door, self.headers, &principal, kind, counted.boxed(), self.correlation.0)
    }

    /// Who asks, and for what.
    async fn admit(&self, envelope: &Envelope<'_>) -> Result<(Principal, Asked), Box<Response>> {
        if envelope.query.is_none() && envelope.document_id().is_none() {
            let error = RequestError::new(FaultCode::BadUserInput, "The request has neither `query` nor `documentId`.");
            return Err(Box::new(self.refuse(StatusCode::BAD_REQUEST, error)));
        }
        let principal = by_headers(self.door.authenticator.as_ref(), self.headers).await;
        let principal = principal.map_err(|fault| Box::new(self.unauthenticated(fault.into())))?;
        let asked = self.prepare(envelope).map_err(|refused| Box::new(self.answer(refused)))?;
        Ok((principal, asked))
    }

    /// One mutation with files.
    async fn with_files(&self, body: Body) -> Result<Response, Box<Response>> {
        let refuse = |error: RequestError| Box::new(self.refuse(status_of(error.code), error));
        let (engine, limit) = (&self.door.engine, self.door.config.body_limit);
        let schema = engine.planner().api_schema();
        let mut form = Form::open(self.headers, body, limit, schema.largest_upload()).map_err(refuse)?;
        let Head { operations, map } = self.arriving(2 * limit, form.head()).await?;
        let mut envelope = Envelope::from_json(&operations).map_err(refuse)?;
        let (principal, asked) = self.admit(&envelope).await?;
        let prepared = &asked.prepared;
        let takes = match &prepared.planned.root_fields[..] {
            [mutation] if prepared.kind() == OperationKind::Mutation => schema.upload(mutation),
            _ => UploadLimit::NONE,
        };
        if takes == UploadLimit::NONE {
            let message = "A request with files has one mutation, and that takes files.";
            return Err(refuse(RequestError::new(FaultCode::OperationNotAllowed, message)));
        }
        let is_upload =
            |variable: &str, inside: &[&str]| type_at(schema, &prepared.variables, variable, inside) == Some("Upload");
        let awaited = map.put(takes, is_upload, &mut envelope.variables).map_err(refuse)?;
        let files = self.arriving(takes.bytes_in_all(), form.files(awaited, takes.bytes)).await?;
        let scope = self.door.scope(&principal, &self.caller, self.correlation.0, &asked).with_files(files);
        Ok(self.answer(engine.execute(prepared, envelope.variables, Arc::new(scope)).await))
    }

    /// Several operations, one after the other: the later ones of a batch may count on what the earlier ones did. Together
    /// they have the time of one.
    async fn batch(self, envelopes: Vec<Envelope<'_>>) -> Response {
        let principal = match by_headers(self.door.authenticator.as_ref(), self.headers).await {
            Ok(principal) => principal,
            Err(fault) => return self.unauthenticated(fault.into()),
        };
        let deadline = Instant::now() + self.door.engine.limits().request;
        let mut body = Vec::with_capacity(1024);
        for envelope in envelopes {
            body.push(if body.is_empty() { b'[' } else { b',' });
            let reply = self.one_of_a_batch(&principal, envelope, deadline).await;
            body.extend_from_slice(&reply.body);
        }
        body.push(b']');
        self.media.body(StatusCode::OK, body)
    }

    async fn one_of_a_batch(&self, principal: &Principal, envelope: Envelope<'_>, deadline: Instant) -> Reply {
        let left = || deadline.saturating_duration_since(Instant::now());
        if left().is_zero() {
            let message = "The operations before it in the batch took all its time; this one was not begun.";
            return self.refused(&[RequestError::new(FaultCode::Timeout, message)]);
        }
        let asked = match self.prepare(&envelope) {
            Ok(asked) => asked,
            Err(refused) => return refused,
        };
        if asked.prepared.kind() == OperationKind::Subscription {
            let message = "A batch has queries and mutations only.";
            let error = RequestError::new(FaultCode::OperationNotAllowed, message);
            return Reply::refused(&[error], self.correlation.0);
        }
        let scope = Arc::new(self.door.scope(principal, &self.caller, self.correlation.0, &asked));
        self.door.engine.execute_within(left(), &asked.prepared, envelope.variables, scope).await
    }

    /// Finds the document and its plan.
    fn prepare(&self, envelope: &Envelope<'_>) -> Result<Asked, Reply> {
        self.door.prepare(envelope, &self.caller).map_err(|errors| self.refused(&errors))
    }

    fn refused(&self, errors: &[RequestError]) -> Reply {
        self.door.engine.record_refusal(self.started, errors);
        Reply::refused(errors, self.correlation.0)
    }

    /// What a client sends, of so many bytes at most, while it is not too slow: it holds a connection and memory meanwhile.
    async fn arriving<T>(
        &self,
        bytes: usize,
        reading: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, Box<Response>> {
        let sending = Duration::from_secs(u64::try_from(bytes / SLOWEST).unwrap_or(u64::MAX));
        let refused = match tokio::time::timeout(self.door.config.body_timeout.saturating_add(sending), reading).await {
            Ok(Ok(arrived)) => return Ok(arrived),
            Ok(Err(error)) => self.refuse(status_of(error.code), error),
            Err(_) => {
                let message = "The body of the request did not arrive in time. Nothing was done.";
                self.refuse(StatusCode::REQUEST_TIMEOUT, RequestError::new(FaultCode::Timeout, message))
            }
        };
        Err(Box::new(refused))
    }

    fn answer(&self, reply: Reply) -> Response {
        self.media.answer(reply, self.door.config.statuses)
    }

    fn refuse(&self, status: StatusCode, error: RequestError) -> Response {
        self.media.with_status(status, self.refused(&[error]))
    }

    fn unauthenticated(&self, error: RequestError) -> Response {
        if error.code != FaultCode::Unauthenticated {
            return self.refuse(status_of(error.code), error);
        }
        let mut response = self.refuse(StatusCode::UNAUTHORIZED, error);
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        response
    }

    fn not_allowed(&self, kind: OperationKind, by_get: bool) -> Response {
        let refuse = |message| RequestError::new(FaultCode::OperationNotAllowed, message);
        if kind == OperationKind::Subscription {
            let message = "Subscriptions need a WebSocket (graphql-transport-ws) or `Accept: text/event-stream`.";
            return self.refuse(StatusCode::BAD_REQUEST, refuse(message));
        }
        debug_assert!(by_get, "a mutation is refused over GET only");
        let mut response = self.refuse(StatusCode::METHOD_NOT_ALLOWED, refuse("Send mutations with POST."));
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        response
    }

    /// A browser sends a form or plain text to any site without asking; `application/json` it asks about first. Taking
    /// JSON, and forms with a header of ours, is what keeps other sites from posting operations in a visitor's name. (A
    /// GET carries no credentials a browser would add by itself, as the bank uses no cookies, and changes nothing: ADR 33.)
    fn unsupported_media_type(&self) -> Response {
        let message = "Send the operation with `Content-Type: application/json`, with files as `multipart/form-data`.";
        self.refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, RequestError::new(FaultCode::BadUserInput, message))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str) else { return false };
    let mut parts = value.split(';').map(str::trim);
    let json = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    let charset =
        parts.find_map(|parameter| parameter.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("charset")));
    json && charset.is_none_or(|(_, value)| value.trim_matches('"').eq_ignore_ascii_case("utf-8"))
}

async fn read(body: Body, limit: usize) -> Result<Bytes, RequestError> {
    to_bytes(body, limit).await.map_err(|_| {
        let message = format!("The request body is too large or was cut off: at most {limit} bytes are allowed.");
        RequestError::new(FaultCode::PayloadTooLarge, message)
    })
}
