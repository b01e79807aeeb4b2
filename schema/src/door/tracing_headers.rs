//! What ties a request to its logs and events: correlation id and trace context.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;
use vostro_messaging::trace::{self, Step};

use super::Door;

/// Carries the correlation id in both directions.
pub const CORRELATION_HEADER: HeaderName = HeaderName::from_static("x-correlation-id");

/// The correlation id of a request, put into its extensions.
#[derive(Debug, Clone, Copy)]
pub struct Correlation(pub Uuid);

/// The trace context of a request, put into its extensions while traces are recorded: what it leads to belongs to it.
#[derive(Debug, Clone)]
pub struct Traced(pub Option<String>);

/// Gives every request a correlation id and every response its header, whatever the response is. A request that is traced is
/// one span.
pub async fn correlate(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Response {
    let id = wanted(request.headers()).unwrap_or_else(|| door.ids.next());
    request.extensions_mut().insert(Correlation(id));
    let step = if trace::is_on() { begin(&mut request) } else { None };
    let mut response = next.run(request).await;
    if let Some(mut step) = step {
        step.note("http.response.status_code", i64::from(response.status().as_u16()));
        step.note("vostro.correlation_id", id.to_string());
        if response.status().is_server_error() {
            step.fail("");
        }
    }
    let mut text = Uuid::encode_buffer();
    if let Ok(value) = HeaderValue::from_str(id.as_hyphenated().encode_lower(&mut text)) {
        response.headers_mut().insert(CORRELATION_HEADER, value);
    }
    response
}

fn begin(request: &mut Request) -> Option<Step> {
    // The route and not the path: a name must not have as many values as somebody can invent.
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
    let (step, traceparent) =
        trace::enter(format_args!("{} {route}", request.method()), traceparent(request.headers()));
    request.extensions_mut().insert(Traced(traceparent));
    step
}

/// The caller's own id. Anything but a UUID is ignored: the id goes into logs and database columns.
fn wanted(headers: &HeaderMap) -> Option<Uuid> {
    let text = headers.get(CORRELATION_HEADER)?.to_str().ok()?;
    Uuid::try_parse(text).ok().filter(|id| !id.is_nil())
}

/// The caller's W3C trace context, when it is well formed.
pub fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    trace::is_valid(text).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_trace_context_is_passed_on() {
        let taken = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_static(text));
            traceparent(&headers).is_some()
        };
        assert!(taken("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(!taken(text), "{text}");
        }
    }
}
