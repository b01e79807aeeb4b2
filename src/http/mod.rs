//! Everything the bank answers over HTTP: GraphQL, health, metrics and the keys its tokens are signed with.

mod health;
mod observe;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Router, middleware};

pub use health::{Component, Health};

use crate::telemetry;

/// What the routes outside GraphQL need.
#[derive(Clone)]
pub struct Operations {
    pub health: Arc<Health>,
    pub auth: vostro_auth::Auth,
}

/// All routes. `graphql` brings `/graphql` and, when enabled, `/graphiql`.
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

async fn metrics(State(operations): State<Operations>) -> impl IntoResponse {
    operations.health.sample_pools();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::metrics().render())
}

/// RFC 7517. Whoever verifies tokens may keep the set for ten minutes: a new key is published long before it signs.
async fn jwks(State(operations): State<Operations>) -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "application/jwk-set+json"), (CACHE_CONTROL, "public, max-age=600")];
    (headers, operations.auth.jwks().to_string())
}
