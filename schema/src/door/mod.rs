//! HTTP and WebSocket in front of the stitch engine.
//!
//! - `POST /graphql` (`application/json`): queries and mutations;
//! - `GET /graphql`: queries only;
//! - either with `Accept: text/event-stream`: subscriptions too, as server-sent events;
//! - `POST /graphql` with an array: a few operations, one after the other;
//! - `GET /graphql` with an upgrade: subscriptions (and everything else) by `graphql-transport-ws`;
//! - `GET /graphiql`: GraphiQL, from inside the binary.
//!
//! Every answer carries `x-correlation-id`: the caller's own if it sent a UUID, else a new one. The same id is in the
//! `traceId` of errors, in the logs and in every event the request causes.

mod auth;
mod budget;
mod caller;
mod clients;
mod documents;
mod envelope;
mod event_stream;
mod graphiql;
mod http;
mod listening;
mod multipart;
mod negotiation;
mod socket;
mod socket_messages;
mod tracing_headers;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use tokio::sync::watch;
use uuid::Uuid;
use vostro_kernel::{Clock, Ids, RequestContext};
use vostro_messaging::trace::{self, SpanKind, Step};

pub use auth::{AuthFault, Authenticator, Principal};
pub use budget::Budget;
pub(crate) use budget::{Budgets, Spender};
pub use documents::{DocumentPolicy, ManifestError, TrustedDocuments, manifest, sha256};
pub(crate) use event_stream::until as event_stream_until;
pub use graphiql::{EXAMPLES, examples};
pub(crate) use negotiation::{Accepted, Media};
pub use negotiation::{Statuses, status_of};
pub use tracing_headers::CORRELATION_HEADER;

use caller::Caller;
use clients::Client;
use envelope::Envelope;
use listening::{Connected, Listeners, TooMany};

use crate::scope::RequestScope;
use crate::stitch::{Engine, OperationKind, Prepared, RequestError};

/// How the door behaves.
#[derive(Debug, Clone)]
pub struct DoorConfig {
    /// Bytes of a request body, and of one WebSocket message.
    pub body_limit: usize,
    /// How long the body of a request may take to arrive, beside what its largest size takes at 32 KiB a second.
    pub body_timeout: Duration,
    /// How long a WebSocket client may take to introduce itself.
    pub init_timeout: Duration,
    /// How often a silent WebSocket connection is asked whether it is still there. It is given up after three such
    /// intervals without a sign of life.
    pub keep_alive: Duration,
    /// Operations at the same time on one WebSocket connection.
    pub operations_per_connection: usize,
    /// WebSocket connections and event streams of one caller at the same time; 0 for as many as they like.
    pub connections_per_caller: usize,
    /// Operations in one request; 1 for no batches. Those of one batch run one after the other.
    pub batch_limit: usize,
    pub statuses: Statuses,
    /// Whether documents that nobody registered are taken.
    pub documents: DocumentPolicy,
    pub registered: Arc<TrustedDocuments>,
    /// What callers may spend, and once more for the events of their subscriptions; no budget is no limit, and costs are not
    /// told.
    pub budget: Option<Budget>,
    /// What each client may spend of its caller's budget; all of it without. Where no client is known all are the same one,
    /// and none is kept from anything.
    pub client_budget: Option<Budget>,
    /// Whether the last address in `X-Forwarded-For` is the caller's: only behind a proxy of our own that sets it.
    pub behind_proxy: bool,
    /// Whether `/graphiql` is served.
    pub graphiql: bool,
}

impl Default for DoorConfig {
    fn default() -> Self {
        Self {
            body_limit: 128 * 1024,
            body_timeout: Duration::from_secs(10),
            init_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(25),
            operations_per_connection: 50,
            connections_per_caller: 200,
            batch_limit: 10,
            statuses: Statuses::default(),
            documents: DocumentPolicy::Any,
            registered: Arc::default(),
            budget: Some(Budget { maximum: 50_000, restore_per_second: 20_000 }),
            client_budget: None,
            behind_proxy: false,
            graphiql: false,
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
    budgets: Option<Budgets>,
    listeners: Listeners,
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
        let share = config.client_budget.filter(|_| !config.registered.known().is_empty());
        let budgets = config.budget.map(|budget| Budgets::new(budget).of_which_each_client(share));
        let listeners = Listeners::new(config.budget, config.connections_per_caller);
        let closing = watch::Sender::new(false);
        Arc::new(Self { engine, authenticator, ids, clock, config, budgets, listeners, closing })
    }

    /// The routes `/graphql` and, if configured, `/graphiql`.
    pub fn router(self: &Arc<Self>) -> Router {
        let mut router = Router::new().route("/graphql", post(http::by_post).get(http::by_get));
        if self.config.graphiql {
            router = router
                .route("/graphiql", get(graphiql::page))
                .route("/graphiql/modules.json", get(graphiql::modules))
                .route("/graphiql/{file}", get(graphiql::asset));
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

    /// Finds the document a caller means and its plan.
    fn prepare(&self, envelope: &Envelope<'_>, caller: &Caller) -> Result<Asked, Vec<RequestError>> {
        let resolved = self.config.registered.resolve(self.config.documents, envelope, caller.client);
        let (document, client) = resolved.map_err(|error| vec![error])?;
        let prepared = self.engine.prepare(document, envelope.operation_name.as_deref())?;
        Ok(Asked { prepared, client })
    }

    /// Lets a caller have one more WebSocket connection or event stream; one that cannot be told from others has any number.
    fn connect(&self, principal: &Principal, caller: &Caller) -> Result<Option<Connected>, TooMany> {
        Spender::of(principal.actor.id, caller.address).map(|spender| self.listeners.connect(spender)).transpose()
    }

    /// The scope of one operation. When it is traced it is a span, until nobody needs the scope any more.
    fn scope(&self, principal: &Principal, caller: &Caller, correlation_id: Uuid, asked: &Asked) -> RequestScope {
        let (step, traceparent) = begin(&asked.prepared, caller);
        let context =
            RequestContext { actor: principal.actor, correlation_id, command_id: self.ids.next(), traceparent };
        let spender = Spender::of(principal.actor.id, caller.address);
        let budget =
            self.budgets.as_ref().zip(spender).map(|(budgets, spender)| budgets.of_client(spender, asked.client));
        let is_stream = asked.prepared.kind() == OperationKind::Subscription;
        let listener = spender.filter(|_| is_stream);
        let meter = listener.and_then(|spender| self.listeners.meter(spender));
        RequestScope::new(context, Arc::clone(&self.ids)).with_budget(budget).with_meter(meter).with_step(step)
    }
}

/// What is asked for, and by which client.
struct Asked {
    prepared: Arc<Prepared>,
    client: Client,
}

/// The span of an operation, and the trace context of what it leads to.
fn begin(prepared: &Prepared, caller: &Caller) -> (Option<Step>, Option<String>) {
    let outside = caller.traceparent.clone();
    let kind = match prepared.kind() {
        OperationKind::Query => "query",
        OperationKind::Mutation => "mutation",
        // What lasts as long as its subscriber is no step of anything.
        OperationKind::Subscription => return (None, outside),
    };
    if !trace::is_on() {
        return (None, outside);
    }
    let name = format_args!("{kind} {}", prepared.label);
    if caller.is_connection {
        // It may last for hours: each of its operations is a trace of its own.
        return trace::enter(name, None);
    }
    let step = trace::step(name, SpanKind::Internal, outside.as_deref());
    let traceparent = step.as_ref().map(Step::traceparent).or(outside);
    (step, traceparent)
}
