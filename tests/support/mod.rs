//! A bank of one's own for each test.

mod collector;
pub mod people;
mod port;
mod servers;
mod world;

pub use collector::{Collector, Span, traced_bank};
pub use people::{Person, Staff};
pub use servers::{PrivateServers, Servers};
pub use world::{BankProcess, World};

use std::time::{Duration, Instant};

/// Waits until `condition` gives a value, asking again and again.
///
/// # Panics
/// With `what` when it has not happened within a minute: a slow machine is given time, a broken bank is not.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "did not happen within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
