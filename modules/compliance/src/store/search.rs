use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;
use vostro_kernel::{Page, PageDirection};

use super::events::StoredRow;

/// What to look for; everything that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Criteria {
    /// The aggregate, or what a refused command was about.
    pub subject_id: Option<Uuid>,
    /// Who gave the command.
    pub actor_id: Option<Uuid>,
    pub correlation_id: Option<Uuid>,
    /// Codes of the event types.
    pub types: Option<Vec<i16>>,
    pub outcome: Option<i16>,
    /// The lowest position.
    pub from: i64,
    /// Above the highest position.
    pub before: i64,
    /// Which part of what is found.
    pub page: Page<i64>,
}

impl Criteria {
    /// The positions to look at.
    fn range(&self) -> (i64, i64) {
        match (self.page.direction, self.page.from) {
            (_, None) => (self.from, self.before),
            (PageDirection::Forward, Some(position)) => (self.from, self.before.min(position)),
            (PageDirection::Backward, Some(position)) => (self.from.max(position.saturating_add(1)), self.before),
        }
    }
}

/// A transaction for looking things up. Every statement in it is planned for its actual arguments: absent criteria then
/// vanish from the plan, and a busy account is told from a quiet one.
///
/// # Errors
/// Database faults.
pub async fn begin(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    let mut transaction = vostro_messaging::begin(pool).await?;
    sqlx::query!("select set_config('plan_cache_mode', 'force_custom_plan', true)")
        .fetch_one(&mut *transaction)
        .await?;
    Ok(transaction)
}

/// A page of the events that meet the criteria, newest first.
///
/// # Errors
/// Database faults.
pub async fn find(connection: &mut PgConnection, criteria: &Criteria) -> sqlx::Result<Vec<StoredRow>> {
    let (page, (from, before)) = (criteria.page, criteria.range());
    macro_rules! outwards {
        ($order:literal) => {
            sqlx::query_as!(
                StoredRow,
                r#"select position, occurred_at, recorded_at, sequence, event_id, aggregate_id, correlation_id, causation_id,
                          actor_id, partition_key, subject_id, type as event_type, stream, actor_kind, outcome, command,
                          code, hash, data
                   from compliance.event
                   where position >= $1 and position < $2
                     and ($3::uuid is null or aggregate_id = $3 or subject_id = $3)
                     and ($4::uuid is null or (actor_id = $4 and outcome <> 0))
                     and ($5::uuid is null or correlation_id = $5)
                     and ($6::smallint[] is null or type = any($6))
                     and ($7::smallint is null or outcome = $7)
                   order by position "# + $order + " limit $8",
                from,
                before,
                criteria.subject_id,
                criteria.actor_id,
                criteria.correlation_id,
                criteria.types.as_deref() as Option<&[i16]>,
                criteria.outcome,
                page.limit
            )
            .fetch_all(connection)
            .await?
        };
    }
    let rows = match page.direction {
        PageDirection::Forward => outwards!("desc"),
        PageDirection::Backward => outwards!("asc"),
    };
    Ok(page.in_order(rows))
}

/// The first position recorded at this time or later; one behind the last when there is none. Positions are in the order
/// of their times, so it is found by halving what is left.
///
/// # Errors
/// Database faults.
pub async fn first_position_at(connection: &mut PgConnection, time: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"with recursive search (low, high) as (
               select 1::bigint, position + 1 from compliance.chain_head
               union all
               select case when later then low else middle + 1 end, case when later then middle else high end
               from (
                   select low, high, (low + high) / 2 as middle, coalesce((
                       select event.recorded_at >= $1 from compliance.event where event.position = (low + high) / 2
                   ), false) as later
                   from search where low < high
               ) step
           )
           select low as "low!" from search where low >= high"#,
        time
    )
    .fetch_one(connection)
    .await
}
