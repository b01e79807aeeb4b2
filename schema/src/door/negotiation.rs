//! Which media type and status an answer has (GraphQL over HTTP).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::faults::FaultCode;
use crate::stitch::Reply;

/// The media type of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `application/graphql-response+json`: the status tells whether the request was executed.
    GraphqlResponse,
    /// `application/json`: always 200 for a well-formed request, for clients that treat anything else as a failure of
    /// the network.
    Json,
}

impl Media {
    /// Chooses by `Accept`: the newer type where it is named, else JSON where anything allows it; `None` is a 406.
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        let mut named = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
        if named.peek().is_none() {
            return Some(Self::Json);
        }
        let mut json = false;
        for range in named.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            if refused {
                continue;
            }
            if media.eq_ignore_ascii_case("application/graphql-response+json") {
                return Some(Self::GraphqlResponse);
            }
            json |= ["application/json", "application/*", "*/*"].iter().any(|known| media.eq_ignore_ascii_case(known));
        }
        json.then_some(Self::Json)
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        }
    }

    /// The answer to an operation.
    pub fn answer(self, reply: Reply, statuses: Statuses) -> Response {
        let status = match (self, reply.code) {
            (Self::GraphqlResponse, Some(code)) if !reply.executed => statuses.refused(code),
            (Self::GraphqlResponse, Some(_)) => statuses.partial(),
            _ => StatusCode::OK,
        };
        self.with_status(status, reply)
    }

    /// The answer with a status that holds for every media type: what the transport itself refuses.
    pub fn with_status(self, status: StatusCode, reply: Reply) -> Response {
        let wait = reply.retry_after;
        let mut response = self.body(status, reply.body);
        // In whole seconds, and never so few that the client comes too early.
        if let Some(wait) = wait.map(|wait| wait.as_millis().div_ceil(1_000).max(1).to_string())
            && let Ok(value) = HeaderValue::from_str(&wait)
        {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }

    /// A body that is written already.
    pub fn body(self, status: StatusCode, body: Vec<u8>) -> Response {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        response
    }
}

/// Which statuses `application/graphql-response+json` is sent with where drafts of GraphQL over HTTP disagree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Statuses {
    /// 400 for whatever is wrong with an operation, 200 for everything that was executed: what clients know and the
    /// published audit asks for.
    #[default]
    Established,
    /// As the draft of August 2026 has it: 422 for an operation that can be read and is not valid, 294 for an answer with
    /// both `data` and `errors`.
    Draft,
}

impl Statuses {
    const fn refused(self, code: FaultCode) -> StatusCode {
        match (self, code) {
            (Self::Draft, FaultCode::GraphqlValidationFailed | FaultCode::BadUserInput) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            _ => status_of(code),
        }
    }

    fn partial(self) -> StatusCode {
        match self {
            Self::Established => StatusCode::OK,
            Self::Draft => StatusCode::from_u16(294).unwrap_or(StatusCode::OK),
        }
    }
}

/// The status of a request that was not executed.
pub const fn status_of(code: FaultCode) -> StatusCode {
    match code {
        FaultCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        FaultCode::Forbidden => StatusCode::FORBIDDEN,
        FaultCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        FaultCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        FaultCode::ModuleUnavailable | FaultCode::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        FaultCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
        FaultCode::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_media_type_is_used_where_it_is_named() {
        let accepted = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(text));
            Media::accepted(&headers)
        };
        assert_eq!(Media::accepted(&HeaderMap::new()), Some(Media::Json));
        assert_eq!(accepted("application/graphql-response+json, application/json;q=0.9"), Some(Media::GraphqlResponse));
        assert_eq!(accepted("application/json; charset=utf-8"), Some(Media::Json));
        assert_eq!(accepted("*/*"), Some(Media::Json));
        assert_eq!(accepted("text/html, application/*;q=0.5"), Some(Media::Json));
        assert_eq!(accepted("text/html"), None);
        assert_eq!(accepted("application/json;q=0"), None);
        assert_eq!(accepted("application/graphql-response+json; q=0, application/json"), Some(Media::Json));
    }
}
