//! What becomes of trace contexts. Recording is turned on for a whole process, so there is one test.

use vostro_messaging::trace::{self, SpanKind};

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn a_trace_is_recorded_where_it_is_admitted_and_passed_on_everywhere() {
    assert!(!trace::is_on());
    let (step, context) = trace::enter("request", Some(SAMPLED.to_owned()));
    assert!(step.is_none() && context.as_deref() == Some(SAMPLED), "off: passed on as it came");
    assert!(trace::step("step", SpanKind::Internal, Some(SAMPLED)).is_none());
    assert_eq!(trace::within(Some(SAMPLED.to_owned()), async { trace::current() }).await, None);

    let refused = "4bf92f3577b34da6a3ce929d0e0e4736";
    trace::turn_on(move |trace| trace.to_string() != refused);
    let (step, context) = trace::enter("request", Some(SAMPLED.to_owned()));
    assert!(step.is_none(), "not admitted");
    assert_eq!(context, Some(SAMPLED.replace("-01", "-00")), "nobody after it records anything");
    assert!(trace::step("step", SpanKind::Internal, context.as_deref()).is_none());

    let admitted = SAMPLED.replace("4bf9", "5bf9");
    let (step, _) = trace::enter("request", Some(admitted.clone()));
    assert!(step.is_some());
    assert!(trace::step("step", SpanKind::Internal, Some(&admitted)).is_some());
    assert!(trace::step("step", SpanKind::Internal, Some("00-malformed")).is_none());
    assert!(trace::step("step", SpanKind::Internal, None).is_none());
    assert_eq!(trace::within(Some(admitted.clone()), async { trace::current() }).await, Some(admitted));
    assert_eq!(trace::current(), None, "it ends with the work");
}
