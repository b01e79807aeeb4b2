use chrono::{DateTime, Utc};
use sqlx::postgres::types::PgInterval;
use sqlx::{PgExecutor, PgPool};

use crate::domain::LockoutPolicy;

/// Whether a password may be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Yes; the attempt is counted as a failure until it turns out to be none.
    Allowed,
    Blocked,
}

/// Counts an attempt *before* the password is looked at, and says whether it may be: in one statement, so that guesses
/// made at the same moment are all counted. A blocked identifier is not counted further.
pub(crate) async fn count_attempt(
    pool: &PgPool,
    bucket: &[u8],
    now: DateTime<Utc>,
    policy: &LockoutPolicy,
) -> sqlx::Result<Attempt> {
    let free = i32::try_from(policy.failures).unwrap_or(i32::MAX);
    let counted = sqlx::query_scalar!(
        "insert into auth.login_throttle as t (bucket, failures, window_started_at, last_failure_at)
         values ($1, 1, $2, $2)
         on conflict (bucket) do update set (failures, window_started_at, last_failure_at, blocked_until) = (
             select case when forgotten then 1 else t.failures + 1 end,
                    case when forgotten then $2 else t.window_started_at end,
                    $2,
                    case when not forgotten and t.failures + 1 >= $3
                         then $2 + interval '1 second'
                              * ($6::bigint[])[least(t.failures + 2 - $3, cardinality($6::bigint[]))] end
             from (select case when t.failures < $3 then t.window_started_at <= $2 - $4::interval
                               else t.last_failure_at <= $2 - $5::interval end as forgotten) as past
         )
         where t.blocked_until is null or t.blocked_until <= $2
         returning failures",
        bucket,
        now,
        free,
        interval(policy.window),
        interval(LockoutPolicy::REMEMBERED),
        &policy.blocks()
    )
    .fetch_optional(pool)
    .await?;
    Ok(if counted.is_some() { Attempt::Allowed } else { Attempt::Blocked })
}

/// The password was right: the identifier starts anew.
pub(crate) async fn forget_failures(executor: impl PgExecutor<'_>, bucket: &[u8]) -> sqlx::Result<()> {
    sqlx::query!("delete from auth.login_throttle where bucket = $1", bucket).execute(executor).await?;
    Ok(())
}

fn interval(delta: chrono::TimeDelta) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: delta.num_microseconds().unwrap_or(i64::MAX) }
}
