//! Operations over HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, FromRequestParts, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::auth::by_headers;
use super::envelope::Envelope;
use super::negotiation::Media;
use super::tracing_headers::Correlation;
use super::{Door, Principal, socket};
use crate::faults::FaultCode;
use crate::stitch::{OperationKind, Reply, RequestError};

/// One HTTP request on its way through the door.
struct Visit<'a> {
    door: &'a Door,
    headers: &'a HeaderMap,
    correlation: Correlation,
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
    let visit = match Visit::begin(&door, &parts.headers, correlation) {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    if !is_json(&parts.headers) {
        return visit.unsupported_media_type();
    }
    let body = match read(body, door.config.body_limit).await {
        Ok(body) => body,
        Err(error) => return visit.refuse(StatusCode::PAYLOAD_TOO_LARGE, error),
    };
    match Envelope::from_json(&body) {
        Ok(envelope) => visit.operation(envelope, false).await,
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
            Ok(upgrade) => socket::accept(door, upgrade, parts.headers),
            Err(rejection) => rejection.into_response(),
        };
    }
    let parameter = |name: &str| parameters.get(name).map(String::as_str);
    if parameter("query").is_none() && door.config.graphiql && wants_a_page(&parts.headers) {
        return Redirect::to("graphiql").into_response();
    }
    let visit = match Visit::begin(&door, &parts.headers, correlation) {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    match Envelope::from_parameters(parameter("query"), parameter("operationName"), parameter("variables")) {
        Ok(envelope) => visit.operation(envelope, true).await,
        Err(error) => visit.refuse(StatusCode::BAD_REQUEST, error),
    }
}

impl<'a> Visit<'a> {
    /// Settles the media type of the answer first, so that every later refusal can be read.
    fn begin(door: &'a Door, headers: &'a HeaderMap, correlation: Correlation) -> Result<Self, Box<Response>> {
        let media = Media::accepted(headers);
        let visit = Self { door, headers, correlation, media: media.unwrap_or(Media::Json), started: Instant::now() };
        if media.is_some() {
            return Ok(visit);
        }
        let message = "Answers are application/graphql-response+json or application/json: accept one of them.";
        Err(Box::new(visit.refuse(StatusCode::NOT_ACCEPTABLE, RequestError::new(FaultCode::BadUserInput, message))))
    }

    async fn operation(&self, envelope: Envelope<'_>, only_queries: bool) -> Response {
        let document = match envelope.document() {
            Ok(document) => document,
            Err(error) => return self.refuse(StatusCode::BAD_REQUEST, error),
        };
        let principal = match by_headers(self.door.authenticator.as_ref(), self.headers) {
            Ok(principal) => principal,
            Err(fault) => return self.unauthenticated(fault.into()),
        };
        let engine = &self.door.engine;
        let prepared = match engine.prepare(document, envelope.operation_name.as_deref()) {
            Ok(prepared) => prepared,
            Err(errors) => {
                engine.record_refusal(self.started, &errors);
                return self.media.answer(Reply::refused(&errors, self.correlation.0));
            }
        };
        match prepared.kind() {
            OperationKind::Query => {}
            OperationKind::Mutation if !only_queries => {}
            kind => return self.not_allowed(kind, only_queries),
        }
        let scope = self.scope(&principal);
        self.media.answer(engine.execute(&prepared, envelope.variables, scope).await)
    }

    fn scope(&self, principal: &Principal) -> Arc<crate::scope::RequestScope> {
        self.door.scope(principal, self.correlation.0, self.headers)
    }

    fn refuse(&self, status: StatusCode, error: RequestError) -> Response {
        let errors = [error];
        self.door.engine.record_refusal(self.started, &errors);
        self.media.with_status(status, Reply::refused(&errors, self.correlation.0))
    }

    fn unauthenticated(&self, error: RequestError) -> Response {
        let mut response = self.refuse(StatusCode::UNAUTHORIZED, error);
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        response
    }

    fn not_allowed(&self, kind: OperationKind, by_get: bool) -> Response {
        let refuse = |message| RequestError::new(FaultCode::OperationNotAllowed, message);
        if kind == OperationKind::Subscription {
            let message = "Subscriptions need a WebSocket (graphql-transport-ws).";
            return self.refuse(StatusCode::BAD_REQUEST, refuse(message));
        }
        debug_assert!(by_get, "a mutation is refused over GET only");
        let mut response = self.refuse(StatusCode::METHOD_NOT_ALLOWED, refuse("Send mutations with POST."));
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        response
    }

    /// A browser sends a form or plain text to any site without asking; `application/json` it asks about first. Taking
    /// JSON only is what keeps other sites from posting operations in a visitor's name. (A GET carries no credentials
    /// a browser would add by itself, as the bank uses no cookies, and changes nothing.)
    fn unsupported_media_type(&self) -> Response {
        let message = "Send the operation with `Content-Type: application/json`.";
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

fn wants_a_page(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("text/html"))
}

async fn read(body: Body, limit: usize) -> Result<Bytes, RequestError> {
    to_bytes(body, limit).await.map_err(|_| {
        let message = format!("The request body is too large or was cut off: at most {limit} bytes are allowed.");
        RequestError::new(FaultCode::PayloadTooLarge, message)
    })
}
