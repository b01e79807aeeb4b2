use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Reads a W3C `traceparent` of version 00: `00-<32 hex>-<16 hex>-<2 hex>`, ids not all zero.
pub(super) fn read(text: &str) -> Option<SpanContext> {
    let parts: [&str; 4] = text.split('-').collect::<Vec<_>>().try_into().ok()?;
    let [version, trace, span, flags] = parts;
    let is_hex =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if version != "00" || !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

/// Whether a caller's trace context is well formed. Another one is ignored, as the recommendation asks.
pub fn is_valid(text: &str) -> bool {
    read(text).is_some()
}

pub(super) fn write(context: &SpanContext) -> String {
    // Of the flags only this one is defined in version 00.
    let sampled = u8::from(context.is_sampled());
    format!("00-{}-{}-{sampled:02x}", context.trace_id(), context.span_id())
}

/// The same, not recorded.
pub(super) fn unsampled(context: &SpanContext) -> SpanContext {
    SpanContext::new(context.trace_id(), context.span_id(), TraceFlags::NOT_SAMPLED, true, TraceState::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_written_as_it_was_read() {
        assert_eq!(write(&read(SAMPLED).expect("well formed")), SAMPLED);
        let ignored = unsampled(&read(SAMPLED).expect("well formed"));
        assert_eq!(write(&ignored), SAMPLED.replace("-01", "-00"));
    }

    #[test]
    fn only_a_well_formed_context_is_read() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert!(!is_valid(text), "{text}");
        }
    }
}
