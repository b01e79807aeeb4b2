//! How measured times are kept and written.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Ten minutes.
const LONGEST_MICROS: u64 = 600_000_000;

/// A histogram for times in microseconds, of up to ten minutes.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST_MICROS, 3).expect("the bounds are valid")
}

pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds in words. Below ten milliseconds with two places, as some goals are fractions of one.
pub fn milliseconds(micros: u64) -> String {
    if micros < 10_000 {
        format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
    } else {
        format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
    }
}

pub fn thousandths(per_mille: u64) -> String {
    format!("{}.{:03}", per_mille / 1000, per_mille % 1000)
}

/// p50 / p99 / max.
pub fn summary(histogram: &Histogram<u64>) -> String {
    [0.5, 0.99, 1.0].map(|quantile| milliseconds(histogram.value_at_quantile(quantile))).join(" / ")
}

/// Count, p50, p99 and maximum, in microseconds.
pub fn quantiles(histogram: &Histogram<u64>) -> Value {
    json!({
        "count": histogram.len(), "p50": histogram.value_at_quantile(0.5),
        "p99": histogram.value_at_quantile(0.99), "max": histogram.max(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_of_a_millisecond_can_be_read() {
        assert_eq!(milliseconds(296), "0.29 ms");
        assert_eq!(milliseconds(9_999), "9.99 ms");
        assert_eq!(milliseconds(51_260), "51.2 ms");
        assert_eq!(thousandths(1_049), "1.049");
    }
}
