use std::collections::HashMap;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use vostro_events::account::{AccountKind, AccountStatus};
use vostro_kernel::Currency;

use super::decode;
use crate::domain::AccountView;

/// What is known of these accounts. Those whose creation has not been heard of are left out.
pub(crate) async fn views_in_tx(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, AccountView>> {
    let rows = sqlx::query!(
        r#"select id, kind as "kind!", owner_id, currency as "currency!", status as "status!"
           from transaction.account_view where id = any($1) and number is not null"#,
        ids
    )
    .fetch_all(connection)
    .await?;
    let mut views = HashMap::with_capacity(rows.len());
    for row in rows {
        let view = AccountView {
            id: row.id,
            kind: kind(&row.kind)?,
            owner_id: row.owner_id,
            currency: decode(&row.currency)?,
            status: status(&row.status)?,
        };
        views.insert(row.id, view);
    }
    Ok(views)
}

/// The accounts of a customer.
pub(crate) async fn owned_by(pool: &PgPool, owner: Uuid) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!("select id from transaction.account_view where owner_id = $1", owner).fetch_all(pool).await
}

/// The customer whose account has this number; nobody when it is closed, or not a customer's.
pub(crate) async fn holder_of(pool: &PgPool, number: &str) -> sqlx::Result<Option<Uuid>> {
    let owner = sqlx::query_scalar!(
        "select owner_id from transaction.account_view where number = $1 and status <> 'CLOSED'",
        number
    );
    Ok(owner.fetch_optional(pool).await?.flatten())
}

/// An account's state after the latest of its lifecycle events in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LifecycleChange {
    pub account_id: Uuid,
    pub sequence: i64,
    /// Number and kind, which only the creation tells.
    pub creation: Option<(String, AccountKind)>,
    pub owner_id: Option<Uuid>,
    pub currency: Currency,
    pub status: AccountStatus,
}

/// An account's balance after the latest of its postings in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BalanceChange {
    pub account_id: Uuid,
    pub sequence: i64,
    pub available_minor: i64,
}

/// The view, or the one that is built again beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Live,
    Rebuilt,
}

/// The same statement for both tables, each checked against the database when it is compiled. The first part ends with the
/// live table's name.
macro_rules! execute_on {
    ($table:expr, $connection:expr, $before:literal, $after:literal, $($argument:expr),+ $(,)?) => {
        match $table {
            Table::Live => sqlx::query!($before + $after, $($argument),+).execute($connection).await,
            Table::Rebuilt => {
                sqlx::query!($before + "_rebuild" + $after, $($argument),+).execute($connection).await
            }
        }
    };
}

/// Applies changes of accounts, one per account. What an older event tells never replaces what a newer one told, but a
/// creation that comes late still adds the number and the kind.
pub(crate) async fn apply_lifecycle_in_tx(
    connection: &mut PgConnection,
    table: Table,
    changes: &mut [LifecycleChange],
) -> sqlx::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    // Rows are locked in the order of this array: the same everywhere, so that two instances cannot deadlock.
    changes.sort_unstable_by_key(|change| change.account_id);
    let changes = &*changes;
    let (numbers, kinds): (Vec<Option<&str>>, Vec<Option<&str>>) = changes
        .iter()
        .map(|change| change.creation.as_ref().map(|(number, kind)| (number.as_str(), kind_name(*kind))).unzip())
        .unzip();
    execute_on!(
        table,
        connection,
        "insert into transaction.account_view",
        " as v (id, number, kind, owner_id, currency, status, lifecycle_sequence)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bigint[])
         on conflict (id) do update set
             number = coalesce(v.number, excluded.number),
             kind = coalesce(v.kind, excluded.kind),
             owner_id = coalesce(v.owner_id, excluded.owner_id),
             currency = coalesce(v.currency, excluded.currency),
             status = case when excluded.lifecycle_sequence > v.lifecycle_sequence then excluded.status else v.status end,
             lifecycle_sequence = greatest(v.lifecycle_sequence, excluded.lifecycle_sequence)
         where excluded.lifecycle_sequence > v.lifecycle_sequence or (v.number is null and excluded.number is not null)",
        &changes.iter().map(|change| change.account_id).collect::<Vec<_>>(),
        &numbers as &[Option<&str>],
        &kinds as &[Option<&str>],
        &changes.iter().map(|change| change.owner_id).collect::<Vec<_>>() as &[Option<Uuid>],
        &changes.iter().map(|change| change.currency.code()).collect::<Vec<_>>() as &[&str],
        &changes.iter().map(|change| change.status.as_str()).collect::<Vec<_>>() as &[&str],
        &changes.iter().map(|change| change.sequence).collect::<Vec<_>>()
    )?;
    Ok(())
}

/// Applies balances, one per account; older ones change nothing. An account that is not known yet gets a row that waits
/// for its creation.
pub(crate) async fn apply_balances_in_tx(
    connection: &mut PgConnection,
    table: Table,
    changes: &mut [BalanceChange],
) -> sqlx::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    changes.sort_unstable_by_key(|change| change.account_id);
    let changes = &*changes;
    execute_on!(
        table,
        connection,
        "insert into transaction.account_view",
        " as v (id, available_minor, balance_sequence)
         select * from unnest($1::uuid[], $2::bigint[], $3::bigint[])
         on conflict (id) do update set
             available_minor = excluded.available_minor, balance_sequence = excluded.balance_sequence
         where excluded.balance_sequence > v.balance_sequence",
        &changes.iter().map(|change| change.account_id).collect::<Vec<_>>(),
        &changes.iter().map(|change| change.available_minor).collect::<Vec<_>>(),
        &changes.iter().map(|change| change.sequence).collect::<Vec<_>>()
    )?;
    Ok(())
}

const fn kind_name(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::Customer => "CUSTOMER",
        AccountKind::Internal => "INTERNAL",
    }
}

fn kind(text: &str) -> sqlx::Result<AccountKind> {
    let kind = [AccountKind::Customer, AccountKind::Internal].into_iter().find(|kind| kind_name(*kind) == text);
    kind.ok_or_else(|| sqlx::Error::Decode(format!("unknown account kind {text:?}").into()))
}

fn status(text: &str) -> sqlx::Result<AccountStatus> {
    [AccountStatus::Active, AccountStatus::Frozen, AccountStatus::Closed]
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| sqlx::Error::Decode(format!("unknown account status {text:?}").into()))
}
