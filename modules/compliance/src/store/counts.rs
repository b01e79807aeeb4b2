use sqlx::PgPool;

/// How many events of a type are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCount {
    pub event_type: String,
    pub count: i64,
}

/// By type, in the order of their names.
///
/// # Errors
/// Database faults.
pub async fn by_type(pool: &PgPool) -> sqlx::Result<Vec<EventCount>> {
    sqlx::query_as!(
        EventCount,
        "select name as event_type, count from compliance.event_count join compliance.event_type on code = type
         where count > 0 order by name"
    )
    .fetch_all(pool)
    .await
}
