use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use crate::domain::LockoutPolicy;

/// How long a key a client chose is remembered.
const IDEMPOTENCY_KEPT: TimeDelta = TimeDelta::days(7);
/// How long a session is kept after it could last be used, so that a token of it is still recognised as used.
const SESSIONS_KEPT: TimeDelta = TimeDelta::days(7);
/// Rows deleted by one statement, so that none holds its locks for long.
const AT_A_TIME: i64 = 1000;

/// Deletes a portion of what nobody needs any more; returns how many rows.
pub(crate) async fn sweep(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let sessions = sqlx::query!(
        "delete from auth.session where id in (
             select id from auth.session where expires_at < $1 order by expires_at limit $2 for update skip locked)",
        now - SESSIONS_KEPT,
        AT_A_TIME
    )
    .execute(pool)
    .await?;
    let failures = sqlx::query!(
        "delete from auth.login_throttle where bucket in (
             select bucket from auth.login_throttle
             where last_failure_at < $1 and (blocked_until is null or blocked_until < $3)
             order by last_failure_at limit $2 for update skip locked)",
        now - LockoutPolicy::REMEMBERED,
        AT_A_TIME,
        now
    )
    .execute(pool)
    .await?;
    let claims = sqlx::query!(
        "delete from auth.idempotency where (command, key) in (
             select command, key from auth.idempotency
             where created_at < $1 order by created_at limit $2 for update skip locked)",
        now - IDEMPOTENCY_KEPT,
        AT_A_TIME
    )
    .execute(pool)
    .await?;
    Ok(sessions.rows_affected() + failures.rows_affected() + claims.rows_affected())
}
