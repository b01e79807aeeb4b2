use std::time::{Duration, Instant};

/// Waits until `condition` gives a value, asking again and again.
///
/// # Panics
/// With `what` when it has not happened within two minutes: a slow machine is given time, a broken bank is not.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "did not happen within two minutes: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
