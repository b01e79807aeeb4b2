use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

/// What was decided about a transaction.
pub(crate) struct Decided {
    pub transaction_id: Uuid,
    pub decided_at: DateTime<Utc>,
    /// The rule that refused it; none when it was booked.
    pub refusal_code: Option<String>,
}

/// Those of the transactions that are decided. A decision and its refusal are committed together, so one statement sees
/// both or neither.
pub(crate) async fn of(pool: &PgPool, transactions: &[Uuid]) -> sqlx::Result<Vec<Decided>> {
    sqlx::query_as!(
        Decided,
        r#"select p.transaction_id, p.decided_at, r.code as "refusal_code?"
           from account.posting p left join account.rejection r on r.transaction_id = p.transaction_id
           where p.transaction_id = any($1)"#,
        transactions
    )
    .fetch_all(pool)
    .await
}
