//! Which events a subscription has already taken effect for.

use std::collections::HashSet;

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// Claims events for a subscription in the handler's transaction and returns those that were not claimed before. The
/// others are duplicates. A concurrent claim of the same event waits here until the other transaction has ended.
///
/// # Errors
/// Database faults.
pub async fn claim_in_tx(
    connection: &mut PgConnection,
    subscription: &str,
    events: &[Uuid],
) -> sqlx::Result<HashSet<Uuid>> {
    let fresh = sqlx::query_scalar!(
        "insert into inbox (subscription, event_id) select $1, * from unnest($2::uuid[])
         on conflict do nothing returning event_id",
        subscription,
        events
    )
    .fetch_all(connection)
    .await?;
    Ok(fresh.into_iter().collect())
}

/// Those of the events that have a row.
///
/// # Errors
/// Database faults.
pub(crate) async fn known<'c>(
    connection: impl PgExecutor<'c>,
    subscription: &str,
    events: &[Uuid],
) -> sqlx::Result<HashSet<Uuid>> {
    let known = sqlx::query_scalar!(
        "select event_id from inbox where subscription = $1 and event_id = any($2)",
        subscription,
        events
    )
    .fetch_all(connection)
    .await?;
    Ok(known.into_iter().collect())
}
