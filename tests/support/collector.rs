use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::net::TcpListener;

use super::{BankProcess, World};

/// A bank that sends this share of its spans to a collector at `address`, and soon.
pub async fn traced_bank(world: &World, address: SocketAddr, ratio: &str) -> BankProcess {
    // More than any test makes: none is lost, however slowly they are sent.
    traced_with(world, address, ratio, "65536").await
}

/// The same with so little room for spans that a collector which is away makes it overflow.
pub async fn traced_bank_without_room(world: &World, address: SocketAddr) -> BankProcess {
    traced_with(world, address, "1.0", "256").await
}

async fn traced_with(world: &World, address: SocketAddr, ratio: &str, room: &str) -> BankProcess {
    let endpoint = format!("http://{address}");
    let environment = [
        ("VOSTRO__TRACING__OTLP_ENDPOINT", endpoint.as_str()),
        ("VOSTRO__TRACING__RATIO", ratio),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", room),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "64"),
    ];
    world.spawn_bank(&environment).await
}

/// An OpenTelemetry collector: takes spans over HTTP and keeps them.
pub struct Collector {
    pub address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

/// What tests look at. Ids in hex, the parent's empty when there is none.
#[derive(Debug, Clone)]
pub struct Span {
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub has_failed: bool,
    /// Nanoseconds.
    pub started: u64,
    pub ended: u64,
}

impl Collector {
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
        tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, spans }
    }

    /// What has come of one trace.
    pub fn spans_of(&self, trace: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.trace == trace).collect()
    }

    /// Everything that has come.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().expect("nobody panics with it").clone()
    }
}

async fn take(State(spans): State<Arc<Mutex<Vec<Span>>>>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let taken = scopes.flat_map(|scope| scope.spans).map(|span| Span {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        has_failed: span.status.is_some_and(|status| status.code == 2),
        started: span.start_time_unix_nano,
        ended: span.end_time_unix_nano,
        name: span.name,
    });
    spans.lock().expect("nobody panics with it").extend(taken);
    StatusCode::OK
}
