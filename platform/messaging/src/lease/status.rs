use chrono::{DateTime, Utc};
use sqlx::PgPool;

/// Who holds a lease, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseStatus {
    /// `relay`, or the name of a queue.
    pub what: String,
    /// The name of the instance; `None` while nobody holds it.
    pub holder: Option<String>,
    /// When it last changed hands.
    pub since: DateTime<Utc>,
    /// Until when it is held unless it is renewed.
    pub expires_at: DateTime<Utc>,
    /// Whether its holder has ended, or has not renewed it in time: free to be taken.
    pub expired: bool,
}

/// The leases of the module whose pool this is.
///
/// # Errors
/// Database faults.
pub async fn leases(pool: &PgPool) -> sqlx::Result<Vec<LeaseStatus>> {
    sqlx::query_as!(
        LeaseStatus,
        r#"select l.what, coalesce(i.name, l.owner::text) as holder, l.taken_at as since, l.expires_at,
                  (l.expires_at < clock_timestamp() or not is_connected(l.owner)) is true as "expired!"
           from lease l left join instance i on i.id = l.owner order by l.what"#
    )
    .fetch_all(pool)
    .await
}
