use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, PgPool};

/// Keeps data under its digests. What is there already is kept for as long as if it were new.
pub(crate) async fn keep_in_tx(
    connection: &mut PgConnection,
    digests: &[Vec<u8>],
    data: &[Vec<u8>],
) -> sqlx::Result<()> {
    sqlx::query!(
        // In the order of the digests, so that two transactions that keep the same do not wait for each other in a circle.
        "insert into claim (digest, data)
         select distinct on (digest) digest, data from unnest($1::bytea[], $2::bytea[]) as new (digest, data) order by digest
         on conflict (digest) do update set kept_at = now()",
        digests,
        data
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Up to `most` bytes from `offset` (0 is the first); `None` when nothing is kept under the digest.
pub(super) async fn part(pool: &PgPool, digest: &[u8], offset: i32, most: i32) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar!(
        r#"select substring(data from $2::int + 1 for $3) as "part!" from claim where digest = $1"#,
        digest,
        offset,
        most
    )
    .fetch_optional(pool)
    .await
}

/// Deletes up to `most` of what no event has referred to for this long, unless an event is still to be published that may.
pub(super) async fn delete_older_than(pool: &PgPool, age: Duration, most: i64) -> sqlx::Result<u64> {
    let age = PgInterval { months: 0, days: 0, microseconds: i64::try_from(age.as_micros()).unwrap_or(i64::MAX) };
    let deleted = sqlx::query!(
        "delete from claim where digest in (
             select digest from claim where kept_at < now() - $1::interval order by kept_at limit $2 for update skip locked
         ) and not exists (select from outbox where occurred_at < now() - $1::interval)",
        age,
        most
    )
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}
