//! Keeps an eye on the archive for the metrics, so that a missing event is seen without anybody asking.

use std::time::Duration;

use chrono::TimeDelta;
use metrics::gauge;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use vostro_messaging::Foundation;

use crate::store::{gaps, head};

/// Looks every `every` until `stop`; a gap counts when it is open for longer than `grace`.
pub async fn run(foundation: Foundation, grace: TimeDelta, every: Duration, stop: CancellationToken) {
    let mut reported = 0;
    loop {
        // A database that is away is reported by everybody else.
        if let Ok(open) = look(&foundation, grace).await {
            if open > reported {
                error!(gaps = open, "events are missing from the archive");
            } else if open < reported {
                info!(gaps = open, "missing events have arrived");
            }
            reported = open;
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn look(foundation: &Foundation, grace: TimeDelta) -> sqlx::Result<i64> {
    let open = gaps::count_open_since(&foundation.pool, foundation.clock.now() - grace).await?;
    gauge!("vostro_event_gaps").set(as_gauge(open));
    if let Some(head) = head::read(&foundation.pool).await? {
        gauge!("vostro_audit_head_position").set(as_gauge(head.position));
    }
    Ok(open)
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts are far below 2^52")]
fn as_gauge(count: i64) -> f64 {
    count as f64
}
