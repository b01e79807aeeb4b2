//! The rows of leases. Times are the database's: instances need not agree on the hour.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

/// A lease as everybody sees it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub what: String,
    /// Whoever holds it now; `None` when it may be taken.
    pub owner: Option<Uuid>,
}

/// An instance that is there.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub id: Uuid,
    /// What it would take if it were free, or has.
    pub candidate_for: Vec<String>,
}

/// A lease that was just taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub what: String,
    pub epoch: i64,
    /// Who let it expire or ended; `None` when it was given back.
    pub previous: Option<Uuid>,
}

/// Says that the instance is there and what it stands for, and renews what it holds. Returns the epochs of the leases that
/// are its own for that much longer.
pub(super) async fn renew(
    pool: &PgPool,
    instance: Uuid,
    name: &str,
    expire: Duration,
    epochs: &[i64],
    candidate_for: &[String],
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "with here as (
             insert into instance (id, name, candidate_for, expires_at)
             values ($1, $2, $5, clock_timestamp() + $3 * interval '1 second')
             on conflict (id) do update
                 set expires_at = excluded.expires_at, candidate_for = excluded.candidate_for)
         update lease set expires_at = clock_timestamp() + $3 * interval '1 second'
         where owner = $1 and epoch = any($4) returning epoch",
        instance,
        name,
        expire.as_secs_f64(),
        epochs,
        candidate_for
    )
    .fetch_all(pool)
    .await
}

/// The instances that are there.
pub(super) async fn instances(pool: &PgPool) -> sqlx::Result<Vec<Instance>> {
    sqlx::query_as!(
        Instance,
        "select id, candidate_for from instance where expires_at >= clock_timestamp() and is_connected(id)"
    )
    .fetch_all(pool)
    .await
}

/// Forgets those that have not been there for a day.
pub(super) async fn forget_instances(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::query!("delete from instance where expires_at < clock_timestamp() - interval '1 day'").execute(pool).await?;
    Ok(())
}

/// These leases; those that nobody ever wanted are not among them.
pub(super) async fn look(pool: &PgPool, wanted: &[String]) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        "select what, case when expires_at >= clock_timestamp() and is_connected(owner) then owner end as owner
         from lease where what = any($1) order by what",
        wanted
    )
    .fetch_all(pool)
    .await
}

/// Makes rows for what nobody has wanted before, and forgets what nobody has wanted for a day.
pub(super) async fn prepare(pool: &PgPool, wanted: &[String]) -> sqlx::Result<()> {
    sqlx::query!(
        "with unwanted as (
                  delete from lease where what <> all($1) and expires_at < clock_timestamp() - interval '1 day')
         insert into lease (what) select * from unnest($1::text[]) on conflict do nothing",
        wanted
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes at most `most` of the wanted leases that nobody holds: given back, expired, or of an instance that has ended.
///
/// One that a transaction of its last owner still holds is left out rather than waited for: its owner may be paused, and
/// the database ends its session when it stays silent.
pub(super) async fn take(
    pool: &PgPool,
    instance: Uuid,
    expire: Duration,
    wanted: &[String],
    most: i64,
) -> sqlx::Result<Vec<Taken>> {
    sqlx::query_as!(
        Taken,
        r#"with free as (
               select what, owner from lease
               where what = any($3) and (owner is null or owner = $1 or expires_at < clock_timestamp() or not is_connected(owner))
               order by what limit $4 for update skip locked)
           update lease set owner = $1, epoch = nextval('lease_epoch'), taken_at = clock_timestamp(),
                            expires_at = clock_timestamp() + $2 * interval '1 second'
           from free where lease.what = free.what
           returning lease.what, lease.epoch, nullif(free.owner, $1) as previous"#,
        instance,
        expire.as_secs_f64(),
        wanted,
        most
    )
    .fetch_all(pool)
    .await
}

/// Gives a lease back, so that another may take it at once.
pub(super) async fn give_back(pool: &PgPool, instance: Uuid, epoch: i64) -> sqlx::Result<bool> {
    let given = sqlx::query!(
        "update lease set owner = null, expires_at = clock_timestamp() where owner = $1 and epoch = $2",
        instance,
        epoch
    )
    .execute(pool)
    .await?;
    Ok(given.rows_affected() > 0)
}

/// The instance goes, and all it holds is free.
pub(super) async fn leave(pool: &PgPool, instance: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "with gone as (delete from instance where id = $1)
         update lease set owner = null, expires_at = clock_timestamp() where owner = $1",
        instance
    )
    .execute(pool)
    .await?;
    Ok(())
}
