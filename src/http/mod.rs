//! Everything the bank answers over HTTP: GraphQL, health, metrics and the keys its tokens are signed with.

mod health;
mod observe;
mod server;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub use health::{Component, Health};
pub use server::{HEAD_TIMEOUT, serve};

use crate::telemetry;

/// What the routes outside GraphQL need.
#[derive(Clone)]
pub struct Operations {
    pub health: Arc<Health>,
    /// Where the auth module runs.
    pub auth: Option<vostro_auth::Auth>,
}

/// All routes. `graphql` brings `/graphql` and, when enabled, `/graphiql`, or the subgraphs for gateways.
pub fn router(graphql: Router, operations: Operations) -> Router {
    Router::new()
        .route("/health/live", get(|| async { "alive" }))
        .route("/health/ready", get(health::ready))
        .route("/health", get(health::report))
        .route("/metrics", get(metrics))
        .route("/.well-known/jwks.json", get(jwks))
        .with_state(operations)
        .merge(graphql)
        .layer(middleware::from_fn(observe::observe))
}

/// The routes of a gateway beside its API: it stands on nothing of its own, so it is ready while it serves.
pub fn gateway_router(graphql: Router, draining: CancellationToken) -> Router {
    let ready = move || {
        let draining = draining.is_cancelled();
        async move {
            let status = if draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            (status, Json(json!({"ready": !draining})))
        }
    };
    let metrics = || async { page(telemetry::metrics().render()) };
    Router::new()
        .route("/health/live", get(|| async { "alive" }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .merge(graphql)
        .layer(middleware::from_fn(observe::observe))
}

async fn metrics(State(operations): State<Operations>) -> impl IntoResponse {
    operations.health.sample_pools();
    page(telemetry::metrics().render())
}

fn page(metrics: String) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics)
}

/// RFC 7517. Whoever verifies tokens may keep the set for ten minutes: a new key is published long before it signs.
async fn jwks(State(operations): State<Operations>) -> Response {
    let Some(auth) = operations.auth else { return StatusCode::NOT_FOUND.into_response() };
    let headers = [(CONTENT_TYPE, "application/jwk-set+json"), (CACHE_CONTROL, "public, max-age=600")];
    (headers, auth.jwks().to_string()).into_response()
}
