use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;
use vostro_kernel::{Page, PageDirection};

use super::{JobState, MaintenanceJob, Work};

/// A job as its row has it; the check constraints keep its texts to those of the enums.
struct Row {
    id: Uuid,
    subject: String,
    work: Json<Work>,
    dry_run: bool,
    reason: String,
    state: String,
    requested_by: Uuid,
    requested_at: DateTime<Utc>,
    correlation_id: Uuid,
    traceparent: Option<String>,
    decided_by: Option<Uuid>,
    decided_at: Option<DateTime<Utc>>,
    position: i64,
    target: i64,
    events: i64,
    expected: Option<i64>,
    report: Option<Value>,
    failure: Option<String>,
    attempts: i32,
    ended_at: Option<DateTime<Utc>>,
}

impl From<Row> for MaintenanceJob {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            subject: row.subject,
            work: row.work.0,
            dry_run: row.dry_run,
            reason: row.reason,
            state: JobState::parse(&row.state),
            requested_by: row.requested_by,
            requested_at: row.requested_at,
            correlation_id: row.correlation_id,
            traceparent: row.traceparent,
            decided_by: row.decided_by,
            decided_at: row.decided_at,
            position: row.position,
            target: row.target,
            events: row.events,
            expected: row.expected,
            report: row.report,
            failure: row.failure,
            attempts: row.attempts,
            ended_at: row.ended_at,
        }
    }
}

/// Selects whole jobs; the texts say which.
macro_rules! jobs {
    ($($rest:literal)+ $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select id, subject, work as "work: Json<Work>", dry_run, reason, state, requested_by, requested_at,
                   correlation_id, traceparent, decided_by, decided_at, position, target, events, expected, report, failure,
                   attempts, ended_at
               from maintenance_job "# $(+ $rest)+
            $(, $argument)*
        )
    };
}

fn interval(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// Stores a new job, which for so long nobody else takes.
pub(super) async fn insert_in_tx(
    connection: &mut PgConnection,
    job: &MaintenanceJob,
    taken_for: Duration,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into maintenance_job (id, kind, subject, work, dry_run, reason, state, requested_by, requested_at,
             correlation_id, traceparent, target, due_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now() + make_interval(secs => $13))",
        job.id,
        job.work.kind(),
        job.subject,
        Json(&job.work) as _,
        job.dry_run,
        job.reason,
        job.state.as_str(),
        job.requested_by,
        job.requested_at,
        job.correlation_id,
        job.traceparent,
        job.target,
        interval(taken_for)
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A job that is to do exactly this and has not ended.
pub(super) async fn same_in_tx(
    connection: &mut PgConnection,
    subject: &str,
    work: &Work,
    dry_run: bool,
) -> sqlx::Result<Option<MaintenanceJob>> {
    let row = jobs!(
        "where subject = $1 and work = $2 and dry_run = $3 and state in ('OPEN', 'RUNNING') limit 1",
        subject,
        Json(work) as _,
        dry_run
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Into::into))
}

/// The job, locked: two people cannot decide about it at the same time.
pub(super) async fn lock_in_tx(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<MaintenanceJob>> {
    let row = jobs!("where id = $1 for update", id).fetch_optional(connection).await?;
    Ok(row.map(Into::into))
}

/// Says how it was decided, by the database's clock. The database refuses it when both are the same person.
pub(super) async fn decide_in_tx(
    connection: &mut PgConnection,
    id: Uuid,
    state: JobState,
    by: Uuid,
    at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update maintenance_job
         set state = $2, decided_by = $3, decided_at = $4, due_at = now(),
             ended_at = case when $5 then $4::timestamptz end
         where id = $1",
        id,
        state.as_str(),
        by,
        at,
        state.has_ended()
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn find(pool: &PgPool, id: Uuid) -> sqlx::Result<Option<MaintenanceJob>> {
    Ok(jobs!("where id = $1", id).fetch_optional(pool).await?.map(Into::into))
}

/// A page of the jobs, newest first, those that have not ended only if asked so.
pub(super) async fn list(
    pool: &PgPool,
    unfinished_only: bool,
    page: Page<(DateTime<Utc>, Uuid)>,
) -> sqlx::Result<Vec<MaintenanceJob>> {
    let (requested_at, id) = page.from.unzip();
    macro_rules! outwards {
        ($keyset:literal) => {
            jobs!(
                "where (not $1 or state in ('OPEN', 'RUNNING')) and " $keyset " limit $4",
                unfinished_only,
                requested_at,
                id.unwrap_or_default(),
                page.limit
            )
            .fetch_all(pool)
            .await?
        };
    }
    let rows = match page.direction {
        PageDirection::Forward => outwards!(
            "(requested_at, id) < (coalesce($2, 'infinity'::timestamptz), $3::uuid) order by requested_at desc, id desc"
        ),
        PageDirection::Backward => outwards!(
            "(requested_at, id) > (coalesce($2, '-infinity'::timestamptz), $3::uuid) order by requested_at, id"
        ),
    };
    Ok(page.in_order(rows).into_iter().map(Into::into).collect())
}

/// Takes the job that has been due longest, or this one if it is due, for so long.
pub(super) async fn take(pool: &PgPool, only: Option<Uuid>, lease: Duration) -> sqlx::Result<Option<MaintenanceJob>> {
    let taken = sqlx::query_scalar!(
        "update maintenance_job set due_at = now() + make_interval(secs => $2)
         where id = (
             select id from maintenance_job
             where state = 'RUNNING' and due_at <= now() and ($1::uuid is null or id = $1)
             order by due_at limit 1 for update skip locked
         )
         returning id",
        only,
        interval(lease)
    )
    .fetch_optional(pool)
    .await?;
    match taken {
        Some(id) => find(pool, id).await,
        None => Ok(None),
    }
}

/// Keeps the job, or gives it to whoever comes next with a lease of nothing.
pub(super) async fn keep(pool: &PgPool, id: Uuid, lease: Duration) -> sqlx::Result<()> {
    sqlx::query!(
        "update maintenance_job set due_at = now() + make_interval(secs => $2) where id = $1 and state = 'RUNNING'",
        id,
        interval(lease)
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Keeps the job, and says how far it is.
pub(super) async fn reach(pool: &PgPool, id: Uuid, position: i64, target: i64, lease: Duration) -> sqlx::Result<()> {
    sqlx::query!(
        "update maintenance_job set position = $2, target = $3, due_at = now() + make_interval(secs => $4)
         where id = $1 and state = 'RUNNING'",
        id,
        position,
        target,
        interval(lease)
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes what there is to publish, if nobody else has. `false`: somebody has.
pub(super) async fn count_in_tx(
    connection: &mut PgConnection,
    id: Uuid,
    before: i64,
    expected: i64,
    report: &Value,
) -> sqlx::Result<bool> {
    let noted = sqlx::query!(
        "update maintenance_job set position = $2, expected = $3, report = $4, attempts = 0, failure = null
         where id = $1 and state = 'RUNNING' and expected is null",
        id,
        before,
        expected,
        report
    )
    .execute(connection)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Moves the job from one position to the next, if it is still there. `false`: somebody else has moved it.
pub(super) async fn advance_in_tx(
    connection: &mut PgConnection,
    id: Uuid,
    from: i64,
    to: i64,
    events: i64,
    lease: Duration,
) -> sqlx::Result<bool> {
    let moved = sqlx::query!(
        "update maintenance_job
         set position = $3, events = events + $4, attempts = 0, failure = null,
             due_at = now() + make_interval(secs => $5)
         where id = $1 and position = $2 and state = 'RUNNING'",
        id,
        from,
        to,
        events,
        interval(lease)
    )
    .execute(connection)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Ends the job with what came of it, if it has not ended. `false`: it has.
pub(crate) async fn done_in_tx<'c>(
    executor: impl PgExecutor<'c>,
    id: Uuid,
    events: i64,
    report: Option<&Value>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update maintenance_job
         set state = 'DONE', ended_at = clock_timestamp(), failure = null, position = target, events = $2,
             report = coalesce($3, report)
         where id = $1 and state = 'RUNNING'",
        id,
        events,
        report
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes an attempt that did not work; the next one is made after the pause.
pub(super) async fn stumble(pool: &PgPool, id: Uuid, failure: &str, pause: Duration) -> sqlx::Result<()> {
    sqlx::query!(
        "update maintenance_job set attempts = attempts + 1, failure = $2, due_at = now() + make_interval(secs => $3)
         where id = $1 and state = 'RUNNING'",
        id,
        failure,
        interval(pause)
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Ends the job as failed, if it has not ended.
pub(super) async fn fail_in_tx(connection: &mut PgConnection, id: Uuid, failure: &str) -> sqlx::Result<bool> {
    let failed = sqlx::query!(
        "update maintenance_job set state = 'FAILED', ended_at = clock_timestamp(), failure = $2
         where id = $1 and state = 'RUNNING'",
        id,
        failure
    )
    .execute(connection)
    .await?;
    Ok(failed.rows_affected() == 1)
}
