//! HTTP and WebSocket in front of the stitch engine.
//!
//! - `POST /graphql` (`application/json`): queries and mutations;
//! - `GET /graphql`: queries only;
//! - `GET /graphql` with an upgrade: subscriptions (and everything else) by `graphql-transport-ws`;
//! - `GET /graphiql`: GraphiQL, from inside the binary.
//!
//! Every answer carries `x-correlation-id`: the caller's own if it sent a UUID, else a new one. The same id is in the
//! `traceId` of errors, in the logs and in every event the request causes.

mod auth;
mod envelope;
mod graphiql;
mod http;
mod negotiation;
mod socket;
mod socket_messages;
mod tracing_headers;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::middleware;
use axum::routing::{get, post};
use tokio::sync::watch;
use uuid::Uuid;
use vostro_kernel::{Clock, Ids, RequestContext};

pub use auth::{AuthFault, Authenticator, Principal};
pub use tracing_headers::CORRELATION_HEADER;

use crate::scope::RequestScope;
use crate::stitch::Engine;

/// How the door behaves.
#[derive(Debug, Clone)]
pub struct DoorConfig {
    /// Bytes of a request body, and of one WebSocket message.
    pub body_limit: usize,
    /// How long a WebSocket client may take to introduce itself.
    pub init_timeout: Duration,
    /// How often a silent WebSocket connection is asked whether it is still there. It is given up after three such
    /// intervals without a sign of life.
    pub keep_alive: Duration,
    /// Operations at the same time on one WebSocket connection.
    pub operations_per_connection: usize,
    /// Whether `/graphiql` is served.
    pub graphiql: bool,
}

impl Default for DoorConfig {
    fn default() -> Self {
        Self {
            body_limit: 128 * 1024,
            init_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(25),
            operations_per_connection: 50,
            graphiql: true,
        }
    }
}

/// The public side of the API.
pub struct Door {
    engine: Engine,
    authenticator: Arc<dyn Authenticator>,
    ids: Arc<dyn Ids>,
    clock: Arc<dyn Clock>,
    config: DoorConfig,
    closing: watch::Sender<bool>,
}

impl Door {
    pub fn new(
        engine: Engine,
        authenticator: Arc<dyn Authenticator>,
        ids: Arc<dyn Ids>,
        clock: Arc<dyn Clock>,
        config: DoorConfig,
    ) -> Arc<Self> {
        Arc::new(Self { engine, authenticator, ids, clock, config, closing: watch::Sender::new(false) })
    }

    /// The routes `/graphql` and, if configured, `/graphiql`.
    pub fn router(self: &Arc<Self>) -> Router {
        let mut router = Router::new().route("/graphql", post(http::by_post).get(http::by_get));
        if self.config.graphiql {
            router = router.route("/graphiql", get(graphiql::page)).route("/graphiql/{file}", get(graphiql::asset));
        }
        router
            .layer(middleware::from_fn_with_state(Arc::clone(self), tracing_headers::correlate))
            .with_state(Arc::clone(self))
    }

    /// Ends all WebSocket connections with code 1001, so that a server that drains does not wait for its subscribers.
    /// New ones are turned away. Requests over HTTP are not affected.
    pub fn close_connections(&self) {
        self.closing.send_replace(true);
    }

    /// The scope of one operation.
    fn scope(&self, principal: &Principal, correlation_id: Uuid, headers: &HeaderMap) -> Arc<RequestScope> {
        let context = RequestContext {
            actor: principal.actor,
            correlation_id,
            command_id: self.ids.next(),
            traceparent: tracing_headers::traceparent(headers),
        };
        Arc::new(RequestScope::new(context, Arc::clone(&self.ids)))
    }
}
