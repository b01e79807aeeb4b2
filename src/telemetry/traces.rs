use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::counter;
use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{Protocol, SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler, SamplingDecision, SdkTracerProvider, ShouldSample as _, SpanData, SpanExporter,
};
use tracing::{info, warn};
use vostro_messaging::trace;

use crate::config::TracingConfig;

/// Spans on their way to the collector.
pub struct Traces(SdkTracerProvider);

/// How long the collector may take for a batch. Meanwhile spans queue up, and are dropped beyond the queue's bound.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends spans to the configured collector from now on, in batches and beside the bank's work; nothing when none is
/// configured. A collector that is away costs spans and nothing else.
///
/// # Errors
/// When the address is none.
pub fn start_tracing(config: &TracingConfig) -> Result<Option<Traces>, String> {
    let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
    // The counters below need it.
    super::metrics();
    let exporter = OtlpExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(PATIENCE)
        .build()
        .map_err(|error| format!("tracing.otlp_endpoint: {error}"))?;
    let share = Sampler::TraceIdRatioBased(config.ratio);
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Counted::new(exporter))
        // Decided where a request enters; what follows from it follows the decision.
        .with_sampler(Sampler::ParentBased(Box::new(share.clone())))
        .with_resource(
            Resource::builder()
                .with_service_name("vostro")
                .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
                .build(),
        )
        .build();
    global::set_tracer_provider(provider.clone());
    trace::turn_on(move |trace| admits(&share, trace));
    Ok(Some(Traces(provider)))
}

fn admits(share: &Sampler, trace: TraceId) -> bool {
    let result = share.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

impl Traces {
    /// Sends what is left. Waits a few seconds at the longest.
    pub async fn finish(self) {
        // It waits for a thread of its own, which must not stop ours.
        let finished = tokio::task::spawn_blocking(move || self.0.shutdown()).await;
        if let Ok(Err(error)) = finished {
            warn!(%error, "the last spans may be lost");
        }
    }
}

/// An exporter that says what becomes of its spans: a collector that is away would otherwise not be noticed before somebody
/// looks for a trace.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    is_failing: AtomicBool,
}

const SENT: &str = "sent";
const LOST: &str = "lost";

impl<E> Counted<E> {
    fn new(exporter: E) -> Self {
        // A counter that appears with its first failure has not increased, as Prometheus sees it.
        count(SENT, 0);
        count(LOST, 0);
        Self { exporter, is_failing: AtomicBool::new(false) }
    }
}

fn count(outcome: &'static str, spans: usize) {
    counter!("vostro_spans_total", "outcome" => outcome).increment(u64::try_from(spans).unwrap_or(u64::MAX));
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        count(if result.is_ok() { SENT } else { LOST }, spans);
        // Told once, not with every batch.
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !was_failing => warn!(%error, "the collector does not take spans; they are lost"),
            Ok(()) if was_failing => info!("the collector takes spans again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_traces_that_others_begin_is_kept() {
        let kept = |ratio| {
            let share = Sampler::TraceIdRatioBased(ratio);
            (0..1000_u64)
                .filter(|number| admits(&share, TraceId::from(u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))))
                .count()
        };
        assert_eq!((kept(0.0), kept(1.0)), (0, 1000));
        assert!((50..150).contains(&kept(0.1)), "{}", kept(0.1));
    }
}
