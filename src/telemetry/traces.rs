use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use metrics::counter;
use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_otlp::{Protocol, SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingDecision, SdkTracerProvider, ShouldSample as _, Span,
    SpanData, SpanExporter, SpanProcessor,
};
use tracing::{info, warn};
use vostro_messaging::trace;

use crate::config::TracingConfig;

/// Spans on their way to the collector.
pub struct Traces(SdkTracerProvider);

/// How long the collector may take for a batch. Meanwhile spans queue up, and are dropped beyond the queue's bound.
const PATIENCE: Duration = Duration::from_secs(5);
/// Spans that wait for the collector at most, those it is just being sent included.
const QUEUE: usize = 2048;

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
        .with_span_processor(Bounded::new(exporter, QUEUE))
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

/// Hands finished spans on in batches while fewer than `most` wait, and counts those it drops. The batches have a bound of
/// their own, which is so never reached: what is dropped there is counted nowhere.
#[derive(Debug)]
struct Bounded {
    batches: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    most: usize,
    is_full: AtomicBool,
}

impl Bounded {
    fn new(exporter: impl SpanExporter + 'static, most: usize) -> Self {
        // A counter that appears with its first failure has not increased, as Prometheus sees it.
        [SENT, LOST, DROPPED].into_iter().for_each(|outcome| count(outcome, 0));
        let waiting = Arc::new(AtomicUsize::new(0));
        let exporter = Counted { exporter, waiting: Arc::clone(&waiting), is_failing: AtomicBool::new(false) };
        let bounds = BatchConfigBuilder::default().with_max_queue_size(most).build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(bounds).build();
        Self { batches, waiting, most, is_full: AtomicBool::new(false) }
    }
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let is_full = self.waiting.fetch_add(1, Ordering::Relaxed) >= self.most;
        let was_full = self.is_full.swap(is_full, Ordering::Relaxed);
        if !is_full {
            self.batches.on_end(span);
            return;
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        count(DROPPED, 1);
        if !was_full {
            warn!("more spans than the collector takes: the newest are dropped");
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// An exporter that says what becomes of its spans: a collector that is away would otherwise not be noticed before somebody
/// looks for a trace.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    waiting: Arc<AtomicUsize>,
    is_failing: AtomicBool,
}

const SENT: &str = "sent";
/// The collector did not take them.
const LOST: &str = "lost";
/// They did not get as far as being sent.
const DROPPED: &str = "dropped";

fn count(outcome: &'static str, spans: usize) {
    counter!("vostro_spans_total", "outcome" => outcome).increment(u64::try_from(spans).unwrap_or(u64::MAX));
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
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
    use std::sync::{Mutex, mpsc};

    use opentelemetry::trace::{Tracer as _, TracerProvider as _};

    use super::*;

    /// Takes nothing until the other end of `closed` is dropped.
    #[derive(Debug)]
    struct Closed {
        closed: Mutex<mpsc::Receiver<()>>,
        sent: Arc<AtomicUsize>,
    }

    impl SpanExporter for Closed {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            let _ = self.closed.lock().expect("nobody panicked with it").recv();
            self.sent.fetch_add(batch.len(), Ordering::SeqCst);
            Ok(())
        }
    }

    #[test]
    fn spans_beyond_the_bound_are_counted_and_the_others_are_sent() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let metrics = recorder.handle();
        let (open, closed) = mpsc::channel();
        let sent = Arc::new(AtomicUsize::new(0));
        let exporter = Closed { closed: Mutex::new(closed), sent: Arc::clone(&sent) };
        metrics::with_local_recorder(&recorder, || {
            let provider = SdkTracerProvider::builder().with_span_processor(Bounded::new(exporter, 8)).build();
            let tracer = provider.tracer("test");
            (0..20).for_each(|_| drop(tracer.start("span")));
            drop(open);
            provider.force_flush().expect("sent");
            assert_eq!(sent.load(Ordering::SeqCst), 8);
            drop(tracer.start("there is room again"));
            provider.shutdown().expect("ended");
            assert_eq!(sent.load(Ordering::SeqCst), 9);
        });
        let page = metrics.render();
        assert!(page.contains("vostro_spans_total{outcome=\"dropped\"} 12\n"), "{page}");
    }

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
