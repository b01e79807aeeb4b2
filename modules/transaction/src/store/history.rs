use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;
use vostro_events::transaction::TransactionKind;
use vostro_kernel::{Page, PageDirection};

use super::row::Row;
use crate::domain::{Status, Transaction};

/// What a list of transactions is narrowed to. Nothing set means everything the caller may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Debited or credited.
    pub account_id: Option<Uuid>,
    pub status: Option<Status>,
    pub kind: Option<TransactionKind>,
    /// Initiated at or after.
    pub from: Option<DateTime<Utc>>,
    /// Initiated before.
    pub to: Option<DateTime<Utc>>,
    /// Part of the reference, in any case.
    pub reference: Option<String>,
}

/// The transactions with these ids, in no particular order.
pub(crate) async fn by_ids(pool: &PgPool, ids: &[Uuid]) -> sqlx::Result<Vec<Transaction>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        Row,
        "select id, initiator_id, kind, status, amount_minor, currency, source_account_id, destination_account_id,
                source_owner_id, destination_owner_id, reference, channel, failure_code, initiated_at, completed_at
         from transaction.transaction where id = any($1)",
        ids
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Row::into_transaction).collect()
}

/// Selects transactions; the texts continue the statement behind its `select`.
macro_rules! select_transactions {
    ($($text:literal)+ $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(Row, "select " $(+ $text)+ $(, $argument)*)
    };
}

/// A page of the transactions of these accounts, newest first. A transaction between two of the accounts appears once.
///
/// Reads at most as many rows as the page may have, per account and side, from the two history indexes, so the cost does
/// not grow with the length of the history, only with how rarely the rest of the filter matches.
pub(crate) async fn of_accounts(
    pool: &PgPool,
    accounts: &[Uuid],
    filter: &Filter,
    page: Page<Uuid>,
) -> sqlx::Result<Vec<Transaction>> {
    macro_rules! outwards {
        ($beyond:literal, $order:literal) => {
            select_transactions!(
                r#"t.id as "id!", t.initiator_id as "initiator_id!", t.kind as "kind!", t.status as "status!",
                   t.amount_minor as "amount_minor!", t.currency as "currency!",
                   t.source_account_id as "source_account_id!",
                   t.destination_account_id as "destination_account_id!",
                   t.source_owner_id, t.destination_owner_id, t.reference, t.channel, t.failure_code,
                   t.initiated_at as "initiated_at!", t.completed_at
                   from (
                       select distinct on (id) h.* from unnest($1::uuid[]) as account (id) cross join lateral (
                           (select * from transaction.transaction s
                            where s.source_account_id = account.id and s.id "# $beyond r#" $2
                              and ($3::text is null or s.status = $3) and ($4::text is null or s.kind = $4)
                              and ($5::timestamptz is null or s.initiated_at >= $5)
                              and ($6::timestamptz is null or s.initiated_at < $6)
                              and ($7::text is null or position(lower($7) in lower(s.reference)) > 0)
                            order by s.id "# $order r#" limit $8)
                           union all
                           (select * from transaction.transaction d
                            where d.destination_account_id = account.id and d.id "# $beyond r#" $2
                              and ($3::text is null or d.status = $3) and ($4::text is null or d.kind = $4)
                              and ($5::timestamptz is null or d.initiated_at >= $5)
                              and ($6::timestamptz is null or d.initiated_at < $6)
                              and ($7::text is null or position(lower($7) in lower(d.reference)) > 0)
                            order by d.id "# $order r#" limit $8)
                       ) h
                       order by id "# $order r#" limit $8
                   ) t"#,
                accounts,
                page.from_or(Uuid::max(), Uuid::nil()),
                filter.status.map(Status::as_str),
                filter.kind.map(TransactionKind::as_str),
                filter.from,
                filter.to,
                filter.reference,
                page.limit
            )
            .fetch_all(pool)
            .await?
        };
    }
    let rows = match page.direction {
        PageDirection::Forward => outwards!("<", "desc"),
        PageDirection::Backward => outwards!(">", "asc"),
    };
    page.in_order(rows).into_iter().map(Row::into_transaction).collect()
}

/// The transactions of these accounts with ids from `from` on, newest first, from below `before` on; at most `limit` of each
/// account and direction. Ids begin with a time, so that `from` bounds what is read however long the history is.
pub(crate) async fn since(
    pool: &PgPool,
    accounts: &[Uuid],
    from: Uuid,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Transaction>> {
    if accounts.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        Row,
        r#"select distinct on (h.id) h.id as "id!", h.initiator_id as "initiator_id!", h.kind as "kind!",
                  h.status as "status!", h.amount_minor as "amount_minor!", h.currency as "currency!",
                  h.source_account_id as "source_account_id!", h.destination_account_id as "destination_account_id!",
                  h.source_owner_id, h.destination_owner_id, h.reference, h.channel, h.failure_code,
                  h.initiated_at as "initiated_at!", h.completed_at
           from unnest($1::uuid[]) as account (id) cross join lateral (
               (select * from transaction.transaction s
                where s.source_account_id = account.id and s.id >= $2 and s.id < $3 order by s.id desc limit $4)
               union all
               (select * from transaction.transaction d
                where d.destination_account_id = account.id and d.id >= $2 and d.id < $3 order by d.id desc limit $4)
           ) h
           order by h.id desc"#,
        accounts,
        from,
        before.unwrap_or(Uuid::max()),
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Row::into_transaction).collect()
}

/// A page of the transactions of the whole bank, newest first. For staff.
pub(crate) async fn of_everybody(pool: &PgPool, filter: &Filter, page: Page<Uuid>) -> sqlx::Result<Vec<Transaction>> {
    macro_rules! outwards {
        ($beyond:literal, $order:literal) => {
            select_transactions!(
                "id, initiator_id, kind, status, amount_minor, currency, source_account_id, destination_account_id,
                 source_owner_id, destination_owner_id, reference, channel, failure_code, initiated_at, completed_at
                 from transaction.transaction
                 where id " $beyond " $1 and ($2::text is null or status = $2) and ($3::text is null or kind = $3)
                   and ($4::timestamptz is null or initiated_at >= $4) and ($5::timestamptz is null or initiated_at < $5)
                   and ($6::text is null or position(lower($6) in lower(reference)) > 0)
                 order by id " $order " limit $7",
                page.from_or(Uuid::max(), Uuid::nil()),
                filter.status.map(Status::as_str),
                filter.kind.map(TransactionKind::as_str),
                filter.from,
                filter.to,
                filter.reference,
                page.limit
            )
            .fetch_all(pool)
            .await?
        };
    }
    let rows = match page.direction {
        PageDirection::Forward => outwards!("<", "desc"),
        PageDirection::Backward => outwards!(">", "asc"),
    };
    page.in_order(rows).into_iter().map(Row::into_transaction).collect()
}
