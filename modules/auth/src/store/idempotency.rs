use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// A command that was carried out under a key.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) user_id: Uuid,
}

/// Takes the key for this command. `false` when it is taken; a transaction that is just taking it is waited for.
pub(crate) async fn claim_in_tx(
    connection: &mut PgConnection,
    command: &str,
    key: &str,
    fingerprint: &[u8],
    user_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let claimed = sqlx::query!(
        "insert into auth.idempotency (command, key, fingerprint, user_id, created_at) values ($1, $2, $3, $4, $5)
         on conflict (command, key) do nothing",
        command,
        key,
        fingerprint,
        user_id,
        now
    )
    .execute(connection)
    .await?;
    Ok(claimed.rows_affected() > 0)
}

pub(crate) async fn find_claim(pool: &PgPool, command: &str, key: &str) -> sqlx::Result<Option<Claim>> {
    sqlx::query_as!(
        Claim,
        "select fingerprint, user_id from auth.idempotency where command = $1 and key = $2",
        command,
        key
    )
    .fetch_optional(pool)
    .await
}
