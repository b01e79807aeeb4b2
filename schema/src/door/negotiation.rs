//! Which media type and status an answer has (GraphQL over HTTP).

use std::cmp::Ordering;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::faults::FaultCode;
use crate::stitch::{OperationKind, Reply};

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

/// What a client takes of what the bank can answer with (RFC 9110, section 12.5.1): a weight for each, in thousandths, 0 for
/// what is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    graphql_response: u16,
    json: u16,
    /// A stream is for whoever names it: those who take anything could rarely read one.
    events: u16,
    /// Whether the newer type of JSON was named, which then comes before the older one of the same weight.
    names_graphql_response: bool,
}

/// Accepts nothing more than this.
const ALL: u16 = 1_000;

impl Accepted {
    /// Reads `Accept`; without it everything is acceptable, and JSON is sent.
    pub fn of(headers: &HeaderMap) -> Self {
        let (mut graphql_response, mut json, mut application, mut anything) = (None, None, None, None);
        let (mut events, mut is_empty) = (None, true);
        for (range, weight) in ranges(headers) {
            is_empty = false;
            let slot = match range {
                _ if range.eq_ignore_ascii_case("application/graphql-response+json") => &mut graphql_response,
                _ if range.eq_ignore_ascii_case("application/json") => &mut json,
                _ if range.eq_ignore_ascii_case("text/event-stream") => &mut events,
                _ if range.eq_ignore_ascii_case("application/*") => &mut application,
                "*/*" => &mut anything,
                _ => continue,
            };
            *slot = (*slot).max(Some(weight));
        }
        // What is named counts before the kind it is of, and that before anything.
        let wide = application.or(anything).unwrap_or(if is_empty { ALL } else { 0 });
        Self {
            graphql_response: graphql_response.unwrap_or(wide),
            json: json.unwrap_or(wide),
            events: events.unwrap_or_default(),
            names_graphql_response: graphql_response.is_some(),
        }
    }

    /// How an answer is written that is no stream; `None` where only a stream is acceptable, or nothing at all.
    pub fn media(self) -> Option<Media> {
        let is_newer = match self.graphql_response.cmp(&self.json) {
            Ordering::Greater => true,
            Ordering::Equal => self.names_graphql_response,
            Ordering::Less => false,
        };
        let (media, weight) =
            if is_newer { (Media::GraphqlResponse, self.graphql_response) } else { (Media::Json, self.json) };
        (weight > 0).then_some(media)
    }

    /// Whether an operation is answered as a stream of events. A subscription has no other answer; of the others it is the
    /// one to whoever likes nothing better.
    pub fn streams(self, kind: OperationKind) -> bool {
        let others = if kind == OperationKind::Subscription { 0 } else { self.graphql_response.max(self.json) };
        self.events > 0 && self.events >= others
    }

    pub const fn is_nothing(self) -> bool {
        self.graphql_response == 0 && self.json == 0 && self.events == 0
    }
}

/// Whether a type is named by `Accept`, and acceptable.
pub fn names(headers: &HeaderMap, media: &str) -> bool {
    ranges(headers).any(|(range, weight)| weight > 0 && range.eq_ignore_ascii_case(media))
}

/// The ranges of `Accept` with their weights. Parameters of media types tell nothing apart here.
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = (&str, u16)> {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|range| !range.is_empty());
    ranges.map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let named = parts.filter_map(|parameter| parameter.split_once('='));
        let weight =
            named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("q")).find_map(|(_, text)| weight(text.trim()));
        (media, weight.unwrap_or(ALL))
    })
}

/// A weight in thousandths: from 0 to 1, with at most three decimals. What is none counts as if it were not there.
fn weight(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = decimals.bytes().chain(std::iter::repeat(b'0')).take(3);
    let thousandths = digits.fold(u16::from(whole == "1"), |sum, digit| sum * 10 + u16::from(digit - b'0'));
    (thousandths <= ALL).then_some(thousandths)
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

    fn accepted(text: &str) -> Accepted {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(text).expect("a header"));
        Accepted::of(&headers)
    }

    #[test]
    fn the_newer_media_type_is_used_where_it_is_named_and_liked_as_much() {
        for (text, expected) in [
            ("application/graphql-response+json, application/json;q=0.9", Some(Media::GraphqlResponse)),
            ("application/json, APPLICATION/GraphQL-response+json", Some(Media::GraphqlResponse)),
            ("application/graphql-response+json;q=0.5, */*;q=0.1", Some(Media::GraphqlResponse)),
            ("application/graphql-response+json;q=0.8, application/json;q=0.9", Some(Media::Json)),
            ("application/graphql-response+json;q=0.5, */*", Some(Media::Json)),
            ("application/json; charset=utf-8", Some(Media::Json)),
            ("*/*", Some(Media::Json)),
            ("", Some(Media::Json)),
            ("text/html, application/*;q=0.5", Some(Media::Json)),
            ("text/html", None),
            ("text/event-stream", None),
        ] {
            assert_eq!(accepted(text).media(), expected, "{text}");
        }
        assert_eq!(Accepted::of(&HeaderMap::new()).media(), Some(Media::Json), "without the header");
    }

    #[test]
    fn what_has_no_weight_is_not_acceptable_whatever_is_wider() {
        for (text, expected) in [
            ("application/json;q=0", None),
            ("application/*;q=0, */*", None),
            ("application/json;q=0, application/graphql-response+json;q=0.000, */*", None),
            ("application/graphql-response+json; q=0, application/json", Some(Media::Json)),
            ("application/graphql-response+json ; Q=0.0, application/json", Some(Media::Json)),
            ("application/json;q=0, */*", Some(Media::GraphqlResponse)),
        ] {
            assert_eq!(accepted(text).media(), expected, "{text}");
        }
    }

    #[test]
    fn a_stream_is_for_whoever_names_it_and_likes_nothing_better() {
        use OperationKind::{Mutation, Query, Subscription};
        for (text, of_queries, of_subscriptions) in [
            ("text/event-stream", true, true),
            ("application/json, text/event-stream", true, true),
            ("application/json;q=0.5, text/event-stream;q=0.6", true, true),
            ("application/json, text/event-stream;q=0.9", false, true),
            ("application/json, text/event-stream;q=0", false, false),
            ("text/event-stream;q=0, */*", false, false),
            ("*/*", false, false),
            ("text/*", false, false),
            ("", false, false),
        ] {
            let accepted = accepted(text);
            assert_eq!((accepted.streams(Query), accepted.streams(Mutation)), (of_queries, of_queries), "{text}");
            assert_eq!(accepted.streams(Subscription), of_subscriptions, "{text}");
        }
    }

    #[test]
    fn a_request_that_takes_none_of_the_answers_is_told_from_one_that_takes_a_stream() {
        assert!(accepted("text/html, application/json;q=0, text/event-stream;q=0").is_nothing());
        assert!(!accepted("text/event-stream;q=0.001").is_nothing());
    }

    #[test]
    fn several_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        for line in ["application/json;q=0.2", "text/html,, application/graphql-response+json;q=0.1"] {
            headers.append(header::ACCEPT, HeaderValue::from_static(line));
        }
        assert_eq!(Accepted::of(&headers).media(), Some(Media::Json));
        assert!(names(&headers, "text/html"));
    }

    #[test]
    fn a_weight_has_three_decimals_and_is_no_more_than_one() {
        for (text, expected) in [
            ("1", Some(1_000)),
            ("1.000", Some(1_000)),
            ("0", Some(0)),
            ("0.", Some(0)),
            ("0.5", Some(500)),
            ("0.05", Some(50)),
            ("0.001", Some(1)),
            ("1.001", None),
            ("0.0001", None),
            ("2", None),
            ("-1", None),
            ("0.x", None),
            ("", None),
        ] {
            assert_eq!(weight(text), expected, "{text}");
        }
        assert_eq!(accepted("application/json;q=much").media(), Some(Media::Json), "as if it were not there");
    }
}
