//! Statements as jobs, and the parts that are written of them.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use vostro_events::Cause;
use vostro_kernel::Page;

use super::{Viewer, text};
use crate::domain::{Period, Statement, StatementFailure, StatementLine, StatementStatus};

/// A statement joined with its account, as every query here selects it.
struct Row {
    id: Uuid,
    account_id: Uuid,
    owner_id: Option<Uuid>,
    requested_by: Uuid,
    first_day: NaiveDate,
    last_day: NaiveDate,
    currency: String,
    first_entry: i64,
    entries: i64,
    opening_balance: i64,
    closing_balance: i64,
    status: String,
    done: i64,
    parts: i32,
    version: i64,
    term_id: Uuid,
    requested_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    failure_code: Option<String>,
    correlation_id: Uuid,
    causation_id: Uuid,
    actor_kind: String,
    actor_id: Option<Uuid>,
    traceparent: Option<String>,
}

/// A statement with what caused it.
pub(crate) struct Job {
    pub statement: Statement,
    pub cause: Cause,
}

impl TryFrom<Row> for Job {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let statement = Statement {
            id: row.id,
            account_id: row.account_id,
            owner_id: row.owner_id,
            requested_by: row.requested_by,
            period: Period::accepted(row.first_day, row.last_day),
            currency: text::parse("currency", &row.currency)?,
            first_entry: row.first_entry,
            entries: row.entries,
            opening_balance: row.opening_balance,
            closing_balance: row.closing_balance,
            status: text::parse("status", &row.status)?,
            done: row.done,
            parts: row.parts,
            version: row.version,
            term_id: row.term_id,
            requested_at: row.requested_at,
            changed_at: row.changed_at,
            ended_at: row.ended_at,
            failure: row.failure_code.as_deref().map(|code| text::parse("failure_code", code)).transpose()?,
        };
        let cause = Cause {
            correlation_id: row.correlation_id,
            causation_id: row.causation_id,
            command: None,
            actor_kind: text::parse("actor_kind", &row.actor_kind)?,
            actor_id: row.actor_id,
            traceparent: row.traceparent,
        };
        Ok(Self { statement, cause })
    }
}

/// Selects statements; the argument continues the statement behind its `from`.
macro_rules! select_statements {
    ($tail:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select s.id, s.account_id, a.owner_id, s.requested_by, s.first_day, s.last_day, a.currency, s.first_entry,
                    s.entries, s.opening_balance, s.closing_balance, s.status, s.done, s.parts, s.version, s.term_id,
                    s.requested_at, greatest(s.changed_at, s.requested_at, s.ended_at) as "changed_at!", s.ended_at,
                    s.failure_code, s.correlation_id, s.causation_id, s.actor_kind, s.actor_id, s.traceparent
             from account.statement s join account.account a on a.id = s.account_id "# + $tail
            $(, $argument)*
        )
    };
}

/// Which entries of an account are in a period.
pub(crate) struct Range {
    pub first_entry: i64,
    pub entries: i64,
    /// Before the first of them.
    pub opening_balance: i64,
}

/// The entries of an account between the first booked on or after the period's first day and the first booked after it.
///
/// There is no index by day, because every posting would pay for it. The number of the entry before the first of a day is
/// found bit by bit, the highest first: some sixty look-ups by the primary key. Its probes do not depend on how many entries
/// there are, so a day has the same first entry whenever it is asked for: neighbouring statements neither overlap nor leave
/// a gap, also where a clock that was set back has booked two days in turns.
pub(crate) async fn range_in_tx(connection: &mut PgConnection, account: Uuid, period: Period) -> sqlx::Result<Range> {
    sqlx::query_as!(
        Range,
        r#"with recursive descent (first_day, bit, before) as (
             select day, 62, 0::bigint from unnest(array[$2::date, $3::date]) as day
             union all
             select first_day, bit - 1,
                    case when exists (
                      select from account.entry e
                      where e.account_id = $1 and e.sequence = before + (1::bigint << bit) and e.booking_date < first_day
                    ) then before + (1::bigint << bit) else before end
             from descent where bit >= 0
           ), bounds as (
             select min(before) as before, max(before) as last from descent where bit = -1
           )
           select before + 1 as "first_entry!", last - before as "entries!", coalesce(e.balance_after, 0) as "opening_balance!"
           from bounds left join account.entry e on e.account_id = $1 and e.sequence = before"#,
        account,
        period.first(),
        period.next()
    )
    .fetch_one(connection)
    .await
}

/// Inserts a statement. `false` when its requester has one under this key, one of this account in preparation, or one
/// of this account and period; a transaction that is inserting such a one is waited for.
pub(crate) async fn insert_in_tx(
    connection: &mut PgConnection,
    statement: &Statement,
    request: &str,
    cause: &Cause,
) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "insert into account.statement
           (id, account_id, requested_by, request, first_day, last_day, first_entry, entries, opening_balance,
            closing_balance, status, version, term_id, correlation_id, causation_id, actor_kind, actor_id, traceparent,
            requested_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
         on conflict do nothing",
        statement.id,
        statement.account_id,
        statement.requested_by,
        request,
        statement.period.first(),
        statement.period.last(),
        statement.first_entry,
        statement.entries,
        statement.opening_balance,
        statement.closing_balance,
        statement.status.as_str(),
        statement.version,
        statement.term_id,
        cause.correlation_id,
        cause.causation_id,
        cause.actor_kind.as_str(),
        cause.actor_id,
        cause.traceparent,
        statement.requested_at
    )
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// What somebody has requested under this key.
pub(crate) async fn by_key_in_tx(
    connection: &mut PgConnection,
    requested_by: Uuid,
    request: &str,
) -> sqlx::Result<Option<Statement>> {
    let row = select_statements!("where s.requested_by = $1 and s.request = $2", requested_by, request)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(Job::try_from).transpose()?.map(|job| job.statement))
}

/// The statement of a period that somebody has or will have.
pub(crate) async fn by_period_in_tx(
    connection: &mut PgConnection,
    requested_by: Uuid,
    account: Uuid,
    period: Period,
) -> sqlx::Result<Option<Statement>> {
    let row = select_statements!(
        "where s.requested_by = $1 and s.account_id = $2 and s.first_day = $3 and s.last_day = $4
           and s.status in ('PREPARING', 'READY')",
        requested_by,
        account,
        period.first(),
        period.last()
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Job::try_from).transpose()?.map(|job| job.statement))
}

/// The statement whose next part has been due longest, locked. One that somebody else is writing or ending is left to them.
pub(crate) async fn take_due_in_tx(connection: &mut PgConnection) -> sqlx::Result<Option<Job>> {
    let row = select_statements!(
        "where s.status = 'PREPARING' and s.due_at <= now() order by s.due_at limit 1 for update of s skip locked"
    )
    .fetch_optional(connection)
    .await?;
    row.map(Job::try_from).transpose()
}

/// The statement, locked; `None` for those who may not see it. Waits for whoever is writing a part of it.
pub(crate) async fn lock_in_tx(connection: &mut PgConnection, viewer: Viewer, id: Uuid) -> sqlx::Result<Option<Job>> {
    let row = select_statements!(
        "where s.id = $1 and ($2::uuid is null or a.owner_id = $2 and s.requested_by = $2) for update of s",
        id,
        viewer.owner()
    )
    .fetch_optional(connection)
    .await?;
    row.map(Job::try_from).transpose()
}

/// The statement's entries from behind those that are written, in their order.
pub(crate) async fn next_lines_in_tx(
    connection: &mut PgConnection,
    statement: &Statement,
    most: i64,
) -> sqlx::Result<Vec<StatementLine>> {
    let first = statement.first_entry + statement.done;
    let behind = first + most.min(statement.entries - statement.done);
    sqlx::query_as!(
        StatementLine,
        "select sequence, transaction_id, amount, balance_after, booked_at, booking_date from account.entry
         where account_id = $1 and sequence >= $2 and sequence < $3 order by sequence",
        statement.account_id,
        first,
        behind
    )
    .fetch_all(connection)
    .await
}

/// Keeps the part that was just written.
pub(crate) async fn add_part_in_tx(
    connection: &mut PgConnection,
    statement: &Statement,
    content: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into account.statement_part (statement_id, part, content) values ($1, $2, $3)",
        statement.id,
        statement.parts,
        content
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes how far a statement is. It goes to the back of the queue, so that a short one does not wait for a long one.
pub(crate) async fn update_in_tx(connection: &mut PgConnection, statement: &Statement) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.statement
         set status = $2, done = $3, parts = $4, closing_balance = $5, version = $6, term_id = $7, ended_at = $8,
             failure_code = $9, changed_at = $10, due_at = clock_timestamp(), attempts = 0
         where id = $1",
        statement.id,
        statement.status.as_str(),
        statement.done,
        statement.parts,
        statement.closing_balance,
        statement.version,
        statement.term_id,
        statement.ended_at,
        statement.failure.map(StatementFailure::as_str),
        statement.changed_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes what was written of a statement.
pub(crate) async fn delete_parts_in_tx(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("delete from account.statement_part where statement_id = $1", id).execute(connection).await?;
    Ok(())
}

/// Puts off a statement whose next part could not be written, for this reason: by `pause`, doubled for each time in a
/// row, up to a minute. Says how often that was.
pub(crate) async fn put_off(pool: &PgPool, id: Uuid, failure: StatementFailure, pause: Duration) -> sqlx::Result<i32> {
    let pause = PgInterval { months: 0, days: 0, microseconds: i64::try_from(pause.as_micros()).unwrap_or(i64::MAX) };
    let attempts = sqlx::query_scalar!(
        "update account.statement
         set attempts = attempts + 1, failure_code = $3,
             due_at = clock_timestamp() + least($2::interval * (1 << least(attempts, 10)), interval '1 minute')
         where id = $1 and status = 'PREPARING' returning attempts",
        id,
        pause,
        failure.as_str()
    )
    .fetch_optional(pool)
    .await?;
    Ok(attempts.unwrap_or_default())
}

/// The statements with these ids which the viewer may see, in no particular order: those a holder asked for, all for
/// staff. A holder does not learn of those the bank has prepared about the account.
pub(crate) async fn find(pool: &PgPool, viewer: Viewer, ids: &[Uuid]) -> sqlx::Result<Vec<Statement>> {
    let rows = select_statements!(
        "where s.id = any($1) and ($2::uuid is null or a.owner_id = $2 and s.requested_by = $2)",
        ids,
        viewer.owner()
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| Job::try_from(row).map(|job| job.statement)).collect()
}

/// Pages of the ids of statements the viewer may see, newest first: one of each account. Each id comes with the place of its
/// page in the request, from 1. One statement for all, whichever way each is read.
pub(crate) async fn pages(
    pool: &PgPool,
    viewer: Viewer,
    accounts: &[Uuid],
    pages: &[Page<Uuid>],
) -> sqlx::Result<Vec<(i64, Uuid)>> {
    let rows = sqlx::query!(
        r#"select asked.page as "page!", s.id as "id!"
           from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::boolean[]) with ordinality
                as asked (account_id, beside, most, backward, page)
           cross join lateral (
               (select s.id from account.statement s
                where not asked.backward and s.account_id = asked.account_id and s.id < asked.beside
                  and ($5::uuid is null or s.requested_by = $5)
                order by s.id desc limit asked.most)
               union all
               (select s.id from account.statement s
                where asked.backward and s.account_id = asked.account_id and s.id > asked.beside
                  and ($5::uuid is null or s.requested_by = $5)
                order by s.id limit asked.most)
           ) s
           order by asked.page, s.id desc"#,
        accounts,
        &pages.iter().map(|page| page.from_or(Uuid::max(), Uuid::nil())).collect::<Vec<_>>(),
        &pages.iter().map(|page| page.limit.max(0)).collect::<Vec<_>>(),
        &pages.iter().map(Page::is_backward).collect::<Vec<_>>(),
        viewer.owner()
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.page, row.id)).collect())
}

/// The text of one part of a statement that is ready.
pub(crate) async fn part(pool: &PgPool, viewer: Viewer, id: Uuid, part: i32) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "select p.content from account.statement_part p
         join account.statement s on s.id = p.statement_id
         join account.account a on a.id = s.account_id
         where p.statement_id = $1 and p.part = $2 and s.status = $3
           and ($4::uuid is null or a.owner_id = $4 and s.requested_by = $4)",
        id,
        part,
        StatementStatus::Ready.as_str(),
        viewer.owner()
    )
    .fetch_optional(pool)
    .await
}
