use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use metrics::{counter, histogram};

/// Counts and times every request by route, so that an unknown path cannot make a label.
pub async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", |path| known(path.as_str()));
    let response = next.run(request).await;
    let status = class(response.status().as_u16());
    counter!("vostro_http_requests_total", "route" => route, "status" => status).increment(1);
    histogram!("vostro_http_request_seconds", "route" => route).record(started.elapsed());
    response
}

fn known(path: &str) -> &'static str {
    const ROUTES: [&str; 9] = [
        "/graphql",
        "/graphiql",
        "/subgraph/{name}",
        "/federation/identity",
        "/health",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/.well-known/jwks.json",
    ];
    ROUTES.into_iter().find(|route| *route == path).unwrap_or("other")
}

const fn class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
